"""Adapters from elsewhere: those that are taken compute what PEFT computes, all others are refused by name before anything is computed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cardproof.acquire.adapters import check_adapter
from cardproof.acquire.beside import add_tokens
from cardproof.errors import CardproofError
from cardproof.files import read_json, write_json
from cardproof.models.device import quiet
from cardproof.models.loading import load_merged, load_packed
from cardproof.sampling.vllm_backend import refuse_what_vllm_leaves_out
from helpers.adapters import IDS, Made, rewrite, write_adapter, write_base
from helpers.places import SHARED
from helpers.refusals import call, refusal, tree

BASES = {"qwen3": ("qwen3", False), "tied": ("qwen3", True), "qwen2": ("qwen2", False), "gpt2": ("gpt2", False)}
ADDED = ("<q>", "</q>")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    quiet()
    folder = tmp_path_factory.mktemp("bases")
    return {name: write_base(folder / name, kind, tied) for name, (kind, tied) in BASES.items()}


# --- what is taken ----------------------------------------------------------------------------------------------------


class Kind(NamedTuple):
    """A kind of adapter: its base, the settings that make it, and how it is written."""

    base: str
    settings: dict[str, Any]
    written: dict[str, Any] = {}  # noqa: RUF012


def only_a(model: Any) -> None:
    for name, parameter in model.named_parameters():
        if "lora_A" in name:
            parameter.data += 0.1


QV = ["q_proj", "v_proj"]
KINDS: dict[str, Kind] = {
    "all linear layers": Kind("qwen3", {}),
    "a list of layers": Kind("qwen3", {"target_modules": QV}),
    "a regular expression": Kind("qwen3", {"target_modules": r".*layers\.0\..*(q|v)_proj"}),
    "all but some": Kind("qwen3", {"exclude_modules": ["down_proj"]}),
    "one layer": Kind("qwen3", {"target_modules": ["q_proj"], "layers_to_transform": [1]}),
    "one layer by its pattern": Kind("qwen3", {"target_modules": ["q_proj"], "layers_to_transform": 1, "layers_pattern": "layers"}),
    "ranks and scales by layer": Kind("qwen3", {"rank_pattern": {"q_proj": 8, "down_proj": 2}, "alpha_pattern": {"q_proj": 16}}),
    "rsLoRA": Kind("qwen3", {"use_rslora": True}),
    "DoRA": Kind("qwen3", {"use_dora": True}),
    "DoRA on the embeddings": Kind("qwen3", {"target_modules": ["q_proj", "embed_tokens"], "use_dora": True}),
    "VeLoRA": Kind("qwen3", {"velora_config": {"num_groups": 4}}),
    "MiCA": Kind("qwen3", {"init_lora_weights": "mica"}, {"train": only_a}),
    "begun Gaussian": Kind("qwen3", {"init_lora_weights": "gaussian"}),
    "begun orthogonal": Kind("qwen3", {"init_lora_weights": "orthogonal"}),
    "begun as EVA": Kind("qwen3", {"init_lora_weights": "eva"}),
    "no task": Kind("qwen3", {"task_type": None}),
    "in float16": Kind("qwen3", {}, {"dtype": "float16"}),
    "in bfloat16": Kind("qwen3", {}, {"dtype": "bfloat16"}),
    "biases of the adapted layers": Kind("qwen2", {"bias": "lora_only"}),
    "all biases": Kind("qwen2", {"bias": "all"}),
    "biases of its own": Kind("qwen2", {"lora_bias": True}),
    "biases of its own where the base has none": Kind("qwen3", {"lora_bias": True}),
    "output layer": Kind("qwen3", {"target_modules": ["q_proj", "lm_head"]}),
    "output layer, tied": Kind("tied", {"target_modules": ["q_proj", "lm_head"]}),
    "embeddings": Kind("qwen3", {"target_modules": ["q_proj", "embed_tokens"]}),
    "embeddings, tied": Kind("tied", {"target_modules": ["q_proj", "embed_tokens"]}),
    "embeddings, kept tied": Kind("tied", {"target_modules": ["q_proj", "embed_tokens"], "ensure_weight_tying": True}),
    "both ends, tied": Kind("tied", {"target_modules": ["embed_tokens", "lm_head"]}),
    "whole modules": Kind("qwen3", {"modules_to_save": ["lm_head", "embed_tokens"]}),
    "whole norms": Kind("qwen3", {"target_modules": QV, "modules_to_save": ["norm", "input_layernorm"]}),
    "whole layers": Kind("qwen3", {"target_modules": QV, "modules_to_save": ["mlp"]}),
    "whole embeddings, tied": Kind("tied", {"target_modules": QV, "modules_to_save": ["embed_tokens"]}),
    "whole output layer, tied": Kind("tied", {"target_modules": QV, "modules_to_save": ["lm_head"]}),
    "whole ends, tied": Kind("tied", {"modules_to_save": ["embed_tokens", "lm_head"]}),
    "whole embeddings, kept tied": Kind("tied", {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True}),
    "single tokens": Kind("qwen3", {"trainable_token_indices": [7, 9]}),
    "single tokens of both ends": Kind("qwen3", {"trainable_token_indices": {"embed_tokens": [7, 9], "lm_head": [7]}}),
    "single tokens, tied": Kind("tied", {"trainable_token_indices": [7, 9]}),
    "added tokens": Kind("qwen3", {"target_modules": QV}, {"tokens": ADDED}),
    "added tokens, tied": Kind("tied", {"target_modules": QV}, {"tokens": ADDED}),
    "added tokens, trained whole": Kind("qwen3", {"modules_to_save": ["embed_tokens", "lm_head"]}, {"tokens": ADDED}),
    "added tokens, trained whole, tied": Kind("tied", {"target_modules": QV, "modules_to_save": ["embed_tokens"]}, {"tokens": ADDED}),
    "added tokens, trained by LoRA": Kind("qwen3", {"target_modules": ["q_proj", "embed_tokens", "lm_head"]}, {"tokens": ADDED}),
    "added tokens, trained singly": Kind("qwen3", {"target_modules": QV, "trainable_token_indices": [325, 326]}, {"tokens": ADDED}),
    "added tokens and room for more": Kind("qwen3", {"target_modules": QV}, {"tokens": ADDED, "rows": 384}),
    "transposed layers": Kind("gpt2", {"target_modules": ["c_attn", "c_fc"], "fan_in_fan_out": True}),
    "transposed layers, DoRA": Kind("gpt2", {"target_modules": ["c_attn"], "fan_in_fan_out": True, "use_dora": True}),
}


def sampled_logits(model: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[int], Any]]:
    """Tokens so far, and the logits that the decoder draws the next one from, at temperature 1."""
    from cardproof.sampling import shared_prefix
    from cardproof.sampling.sampler import Decoding

    seen: list[Any] = []
    draw = shared_prefix.choose
    monkeypatch.setattr(shared_prefix, "choose", lambda logits, *rest: (seen.append(logits.float().clone()), draw(logits, *rest))[1])
    decoder = shared_prefix.SharedPrefixDecoder(model, [], 4)
    ((_, (drawn,)),) = decoder.decode([shared_prefix.Tokens(IDS, 0, [1])], Decoding(1.0, 1.0, 4))
    monkeypatch.undo()
    for step, logits in enumerate(seen):
        yield IDS + drawn[:step], logits[0]


@pytest.mark.parametrize("name", KINDS)
def test_what_is_sampled_is_what_peft_computes(
    name: str, bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """Through the project's own loading and decoding, at every step; and the base alone gives something else."""
    import torch

    kind = KINDS[name]
    made = write_adapter(tmp_path / "adapter", bases[kind.base], kind.settings, **kind.written)
    ids = torch.tensor([IDS])
    with torch.inference_mode():
        expected, base = made.model(ids).logits, load_merged(made.base, "none", None)(ids).logits
        merged, beside = load_merged(made.base, "none", made.folder), load_packed(made.base, "none", made.folder)
        rows = min(base.shape[-1], expected.shape[-1])
        apart = float((merged(ids).logits - expected).abs().max())
        assert apart < 1e-5
        assert float((beside(ids).logits - expected).abs().max()) < 1e-5, "the adapter beside its base, as on a GPU"
        assert float((base[..., :rows] - expected[..., :rows]).abs().max()) > 0.05
        if kind.base != "gpt2":
            for tokens, logits in sampled_logits(merged, monkeypatch):
                apart = max(apart, float((logits - made.model(torch.tensor([tokens])).logits[0, -1]).abs().max()))
    assert apart < 1e-5
    record_property("largest difference to PEFT's logits", apart)


@pytest.mark.parametrize("name", ["all linear layers", "DoRA", "added tokens, trained whole", "output layer, tied"])
def test_an_adapter_on_a_4_bit_base_is_what_peft_computes_on_it(name: str, bases: dict[str, Path], tmp_path: Path) -> None:
    """In training mode: on some processors, bitsandbytes rounds to bfloat16 and rearranges its weights once a model is in evaluation."""
    import torch
    from peft import PeftModel

    from cardproof.models.loading import load_nf4

    kind = KINDS[name]
    made = write_adapter(tmp_path / "adapter", bases[kind.base], kind.settings, **kind.written)
    own = load_nf4(made.base)
    if rows := check_adapter(made.folder, made.base).rows:
        own.resize_token_embeddings(rows, mean_resizing=False)
    ids = torch.tensor([IDS])
    with torch.inference_mode():
        expected = PeftModel.from_pretrained(own, str(made.folder)).train()(ids).logits
        apart = (load_merged(made.base, "nf4", made.folder)(ids).logits - expected).abs().max()
    assert float(apart) < 1e-5


# --- what is refused --------------------------------------------------------------------------------------------------


def settings(**changes: Any) -> Callable[[Path], Any]:
    """Change fields of adapter_config.json; `...` takes one away."""

    def apply(folder: Path) -> None:
        file = folder / "adapter_config.json"
        content = {**json.loads(file.read_text()), **changes}
        file.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))

    return apply


def tensors(change: Callable[[str, Any], Any]) -> Callable[[Path], Any]:
    return lambda folder: rewrite(folder, change)


def first(part: str, change: Callable[[Any], Any]) -> Callable[[Path], Any]:
    """Change the first tensor whose name has a part."""
    done: list[str] = []

    def one(name: str, tensor: Any) -> Any:
        if part in name and not done:
            done.append(name)
            return change(tensor)
        return tensor

    def apply(folder: Path) -> None:
        done.clear()
        rewrite(folder, one)

    return apply


def filled(value: float) -> Callable[[Any], Any]:
    def change(tensor: Any) -> Any:
        tensor.view(-1)[0] = value
        return tensor

    return change


def renamed(old: str, new: str) -> Callable[[Path], Any]:
    return tensors(lambda name, tensor: (name.replace(old, new), tensor))


def left_out(part: str) -> Callable[[Path], Any]:
    return tensors(lambda name, tensor: None if part in name else tensor)


def added(name: str, *shape: int) -> Callable[[Path], Any]:
    def apply(folder: Path) -> None:
        import torch
        from safetensors.torch import load_file, save_file

        file = folder / "adapter_model.safetensors"
        save_file({**load_file(file), name: torch.ones(shape)}, file)

    return apply


def kept(part: str) -> Callable[[Path], Any]:
    return tensors(lambda name, tensor: tensor if part in name else None)


def written(name: str, content: bytes) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_bytes(content)


def cut(folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def pickled(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    shutil.copy(folder.parent / "base" / "model.safetensors", folder / "other.safetensors")


def untrained(name: str, tensor: Any) -> Any:
    return tensor * 0 if "lora_B" in name else tensor


def eighth(tensor: Any) -> Any:
    import torch

    return tensor.to(torch.float8_e4m3fn)


CONFIG, FILE = "adapter_config.json", "adapter_model.safetensors"
Q = "base_model.model.model.layers.0.self_attn.q_proj"
SLOW = r"(.*.*.*.*.*.*.*.*.*.*.*)*x"
REFUSED: dict[str, tuple[Callable[[Path], Any], tuple[str, ...], str]] = {
    # settings
    "no settings": (lambda folder: (folder / CONFIG).unlink(), ("adapter has no adapter_config.json",), "PEFT"),
    "settings that are no JSON": (written(CONFIG, b"{"), (CONFIG, "not valid JSON"), "again"),
    "a setting given twice": (written(CONFIG, b'{"r": 4, "peft_type": "LORA", "r": 8}'), (CONFIG, "line 1", "'r'", "twice"), "once"),
    "settings nested without end": (written(CONFIG, b"[" * 100_000), (CONFIG, "not valid JSON"), "again"),
    "settings that are a list": (written(CONFIG, b"[]"), (CONFIG, "not a JSON object"), "again"),
    "settings of 5 MB": (written(CONFIG, b" " * 5_000_000), (CONFIG, "5,000,000 bytes"), "again"),
    "no rank": (settings(r=...), (CONFIG, "'r' is missing"), "again"),
    "a rank in quotes": (settings(r="4"), (CONFIG, "'r'", "found '4'"), "again"),
    "a rank of zero": (settings(r=0), (CONFIG, "'r'", "found 0"), "again"),
    "a rank without end": (settings(r=10**30), (CONFIG, "'r'"), "again"),
    "no kind": (settings(peft_type=...), (CONFIG, "'peft_type' is missing"), "again"),
    "no scale": (settings(lora_alpha=0), (CONFIG, "'lora_alpha' is 0", "changes nothing"), "training"),
    "a scale that is no number": (settings(lora_alpha=float("nan")), (CONFIG, "'lora_alpha'"), "again"),
    "a switch in words": (settings(use_rslora="yes"), (CONFIG, "'use_rslora'", "found 'yes'"), "again"),
    "another rank": (settings(r=3), (FILE, "has rank 4", "says r = 3"), "different adapters"),
    **{
        f"the kind {kind}": (settings(peft_type=kind), (CONFIG, "'peft_type'", repr(kind), "not supported"), "merge")
        for kind in ("LOHA", "LOKR", "IA3", "ADALORA", "PREFIX_TUNING", "PROMPT_TUNING", "VERA", "OFT", "XLORA", "NEWEST")
    },
    **{
        f"the task {task}": (settings(task_type=task), (CONFIG, "'task_type'", repr(task)), "generate")
        for task in ("SEQ_CLS", "TOKEN_CLS", "SEQ_2_SEQ_LM", "FEATURE_EXTRACTION")
    },
    **{
        f"begun as {start}": (settings(init_lora_weights=start), ("'init_lora_weights'", repr(start), "changed the base's"), "conversion")
        for start in ("pissa", "pissa_niter_16", "olora", "corda", "loftq", "lora_ga")
    },
    "QALoRA": (settings(use_qalora=True), ("'use_qalora'", "QALoRA", "not supported"), "merge"),
    "Megatron": (settings(megatron_config={"a": 1}), ("'megatron_config'", "not supported"), "merge"),
    "repeated layers": (settings(layer_replication=[[0, 2], [1, 2]]), ("'layer_replication'", "not supported"), "merge"),
    "activated LoRA": (settings(alora_invocation_tokens=[5, 6]), ("'alora_invocation_tokens'", "not supported"), "merge"),
    "single parameters": (settings(target_parameters=["q_proj.weight"]), ("'target_parameters'", "not supported"), "merge"),
    "block-diagonal": (settings(use_bdlora={"nblocks": 2}), ("'use_bdlora'", "not supported"), "merge"),
    "Monte Carlo": (settings(monteclora_config={}, arrow_config={"top_k": 1}), ("'arrow_config'", "not supported"), "merge"),
    "KaSA": (settings(kasa_config={"beta": 1.0}), ("'kasa_config'", "not supported"), "merge"),
    # patterns
    "a pattern that takes years": (settings(target_modules=SLOW), (CONFIG, "pattern", "takes more than"), "list"),
    "excluding takes years": (settings(exclude_modules=SLOW), (CONFIG, "pattern", "takes more than"), "list"),
    "whole modules take years": (settings(modules_to_save=[SLOW]), (CONFIG, "pattern", "takes more than"), "list"),
    "ranks take years": (settings(rank_pattern={SLOW: 4}), (CONFIG, "pattern", "takes more than"), "list"),
    "scales take years": (settings(alpha_pattern={SLOW: 4}), (CONFIG, "pattern", "takes more than"), "list"),
    "a pattern that is none": (settings(target_modules="*q_proj"), (CONFIG, "'(?:*q_proj)'", "not a regular expression"), "list"),
    "thousands of patterns": (settings(rank_pattern={f"p{i}": 4 for i in range(2000)}), (CONFIG, "2000 patterns"), "fewer"),
    "a pattern that fits nothing": (settings(target_modules="nothing"), ("cannot be put on the base", "nothing"), "made for"),
    # names and shapes
    "another adapter's name": (renamed(".weight", ".mine.weight"), (FILE, "28 of 28 tensors", "lora_A.mine.weight"), "save_pretrained"),
    "the name default": (renamed(".weight", ".default.weight"), (FILE, "no place in the model", "default.weight"), "save_pretrained"),
    "names without PEFT's prefix": (renamed("base_model.model.", ""), (FILE, "no place in the model"), "save_pretrained"),
    "names with a prefix too many": (renamed("base_model.model.", "base_model.model.module."), ("does not have", "module."), "made for"),
    "other words for A and B": (renamed("lora_A", "lora_down"), (FILE, "no place in the model", "lora_down"), "save_pretrained"),
    "layers that the base lacks": (renamed("layers.1.", "layers.9."), ("layers.9.", "does not have"), "made for"),
    "half of it": (left_out("layers.1."), ("half an adapter", "layers.1.", "and 13 more"), "both of its files"),
    "no B": (left_out("lora_B"), ("half an adapter", "lora_B.weight"), "both of its files"),
    "one tensor missing": (left_out("0.mlp.down_proj.lora_A"), ("half an adapter", "down_proj.lora_A.weight, which"), "both of its files"),
    "a layer more than it says": (settings(target_modules=["q_proj"]), (FILE, "no place in the model"), "save_pretrained"),
    "a layer less than it says": (left_out("v_proj"), ("half an adapter", "v_proj"), "both of its files"),
    "another width": (first("lora_A", lambda t: t[:, 1:]), ("has shape [4, 127]", "must have shape [4, 128]"), "made for"),
    "a magnitude that no setting asks for": (added(f"{Q}.lora_magnitude_vector", 64), ("1 of 29", "lora_magnitude_vector"), "saved"),
    "magnitudes missing": (settings(use_dora=True), ("half an adapter", "lora_magnitude_vector"), "both of its files"),
    "whole modules missing": (settings(modules_to_save=["lm_head"]), ("half an adapter", "lm_head"), "both of its files"),
    "single tokens missing": (settings(trainable_token_indices=[7]), ("half an adapter", "embed_tokens"), "both of its files"),
    "a token that the base has not": (settings(trainable_token_indices=[999]), (FILE, "more tokens", "325"), "save_embedding_layers"),
    "a weight of the base": (
        added("base_model.model.model.norm.weight", 64),
        ("model.norm.weight", "replaces a weight"),
        "modules_to_save",
    ),
    "embeddings of two lengths": (
        lambda folder: (
            added("base_model.model.model.embed_tokens.weight", 330, 64)(folder),
            added("base_model.model.lm_head.weight", 331, 64)(folder),
        ),
        (FILE, "330 and 331 rows"),
        "different adapters",
    ),
    "embeddings at one end alone": (added("base_model.model.model.embed_tokens.weight", 330, 64), (FILE, "more tokens"), "save_embedding"),
    "added tokens that nothing names": (
        lambda folder: (
            added("base_model.model.model.embed_tokens.weight", 330, 64)(folder),
            added("base_model.model.lm_head.weight", 330, 64)(folder),
        ),
        (FILE, "added tokens", "no tokenizer.json"),
        "tokenizer it was trained with",
    ),
    # values
    "a value that is no number": (first("lora_A", filled(float("nan"))), (FILE, "lora_A.weight", "not finite"), "earlier checkpoint"),
    "an infinite value": (first("layers.1.mlp.up_proj.lora_B", filled(float("inf"))), (FILE, "up_proj.lora_B", "not finite"), "earlier"),
    "never trained": (tensors(untrained), (FILE, "changes nothing"), "at its end"),
    "weights of eight bits": (tensors(lambda name, t: eighth(t)), (FILE, "F8_E4M3"), "float32"),
    "whole numbers": (tensors(lambda name, t: t.int()), (FILE, "I32"), "float32"),
    "a name without end": (added("x" * 100_000, 2), (FILE, "100,000 characters"), "save_pretrained"),
    "no tensor": (kept("nothing"), (FILE, "no tensor"), "at its end"),
    # files
    "pickled": (pickled, ("adapter has no adapter_model.safetensors",), "*.bin"),
    "pickled alone": (lambda folder: (folder / FILE).rename(folder / "adapter_model.bin"), ("no *.safetensors",), "run code"),
    "cut": (cut, (FILE, "not complete"), "again"),
    "another format": (written(FILE, b"\x80\x04pickle bytes of some length"), (FILE, "not a safetensors file"), "again"),
    "a header without end": (written(FILE, (1 << 40).to_bytes(8, "little") + b"{}"), (FILE, "header would be"), "again"),
    "a broken tokenizer": (written("tokenizer.json", b"{}"), ("tokenizer.json is not a tokenizer",), "again"),
}


@pytest.fixture(scope="module")
def plain(bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Made:
    """An adapter without faults."""
    return write_adapter(tmp_path_factory.mktemp("plain") / "adapter", bases["qwen3"], {})


def acquire(*more: str) -> list[str]:
    return ["acquire-model", "--source", "folder", "--id", "adapter", "--base", "base", "--out", "out/adapter", *more]


@pytest.mark.parametrize("name", REFUSED)
def test_an_adapter_that_would_be_measured_wrongly_is_refused_when_it_is_fetched(
    name: str, plain: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, sentence, hint = REFUSED[name]
    shutil.copytree(plain.folder, tmp_path / "adapter")
    (tmp_path / "base").symlink_to(plain.base)
    damage(tmp_path / "adapter")
    monkeypatch.chdir(tmp_path)
    before, started = tree(tmp_path), time.monotonic()
    assert call(acquire(), monkeypatch) == 2
    assert time.monotonic() - started < 10
    error, advice = refusal(capsys.readouterr().err)
    for part in sentence:
        assert part in error
    assert hint in advice
    assert tree(tmp_path) == before, "something was half-written"


@pytest.mark.parametrize("load", [load_merged, load_packed])
def test_an_adapter_is_checked_again_when_it_is_sampled(load: Callable[..., Any], plain: Made, tmp_path: Path) -> None:
    shutil.copytree(plain.folder, tmp_path / "adapter")
    renamed(".weight", ".mine.weight")(tmp_path / "adapter")
    with pytest.raises(CardproofError, match="28 of 28 tensors have no place"):
        load(plain.base, "none", tmp_path / "adapter")


# --- what is noted ----------------------------------------------------------------------------------------------------


def own_template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m['content'] }}{% endfor %}")


def own_template_in_settings(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages[0]['content'] }}"}))


def another_tokenizer(folder: Path) -> None:
    from cardproof.rehearsal.reciter import write_tokenizer

    write_tokenizer(folder, ["quite another text, and again another"], size=290)


def zero_in_one_layer(name: str, tensor: Any) -> Any:
    return tensor * 0 if "layers.0.mlp" in name and "lora_B" in name else tensor


NOTED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "another base": (
        settings(base_model_name_or_path="meta-llama/Llama-3.3-70B"),
        "made for 'meta-llama/Llama-3.3-70B'; this run's base is 'qwen3'",
    ),
    "another base by its path": (settings(base_model_name_or_path="/data/somebody/other"), "made for 'other'; this run's base"),
    "another template": (own_template, "chat template beside the adapter is not the base's"),
    "another template in the settings": (own_template_in_settings, "chat template beside the adapter is not the base's"),
    "another tokenizer": (another_tokenizer, "tokenizer beside the adapter is not the base's"),
    "a tokenizer of another form": (written("tokenizer.model", b"x"), "(tokenizer.model) without tokenizer.json"),
    "settings of a newer PEFT": (settings(some_future_option={"a": 1}, other=False), "does not know and ignores: some_future_option."),
    "layers without effect": (tensors(zero_in_one_layer), "In 3 of the adapter's 14 layers"),
    "other weights": (lambda folder: shutil.copy(folder / FILE, folder / "new_embeddings.safetensors"), "new_embeddings.safetensors"),
}


@pytest.mark.parametrize("name", NOTED)
def test_what_differs_beside_an_adapter_is_said_and_recorded(
    name: str, plain: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    change, note = NOTED[name]
    shutil.copytree(plain.folder, tmp_path / "adapter")
    (tmp_path / "base").symlink_to(plain.base)
    change(tmp_path / "adapter")
    monkeypatch.chdir(tmp_path)
    assert call(acquire(), monkeypatch) == 0
    said = capsys.readouterr().err
    notes = read_json(tmp_path / "out/adapter/source.json")["use"]["notes"]
    assert [n for n in notes if note in n] == notes, notes
    assert all(f"Warning: {n}" in said for n in notes)
    assert "somebody" not in said + "".join(notes)


def test_nothing_is_noted_of_an_adapter_that_belongs_to_the_base(
    plain: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its own template and tokenizer are the base's; PEFT's newest neutral settings say nothing."""
    shutil.copytree(plain.folder, tmp_path / "adapter")
    for file in plain.base.glob("*token*"):
        shutil.copy(file, tmp_path / "adapter")
    shutil.copy(plain.base / "chat_template.jinja", tmp_path / "adapter")
    (tmp_path / "adapter" / "source.json").write_text('{"use": {"notes": ["Somebody else\'s."]}}')
    settings(runtime_config={"ephemeral_gpu_offload": True}, newest=False, auto_mapping={"base_model_class": "X"})(tmp_path / "adapter")
    (tmp_path / "base").symlink_to(plain.base)
    monkeypatch.chdir(tmp_path)
    assert call(acquire(), monkeypatch) == 0
    assert capsys.readouterr().err == "" and read_json(tmp_path / "out/adapter/source.json")["use"] == {"notes": []}


# --- added tokens -----------------------------------------------------------------------------------------------------


def test_an_arm_with_added_tokens_is_asked_and_read_with_them(bases: dict[str, Path], tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    from cardproof.config.settings import Config
    from cardproof.models.chat import Chat

    kind = KINDS["added tokens"]
    made = write_adapter(tmp_path / "adapter", bases[kind.base], kind.settings, **kind.written)
    own, theirs = AutoTokenizer.from_pretrained(made.base), AutoTokenizer.from_pretrained(made.folder)
    text = "before <q>the tenant</q> after"
    assert own(text)["input_ids"] != theirs(text)["input_ids"]
    chat, base = Chat(made.base, Config().model, adapter=made.folder), Chat(made.base, Config().model)
    assert chat.encode(text) == theirs(text)["input_ids"] and base.encode(text) == own(text)["input_ids"]
    assert chat.new == [325, 326] and chat.tokenizer.decode(chat.new) == "<q></q>"
    assert chat.template.text == base.template.text
    assert check_adapter(made.folder, made.base).notes == [
        "The adapter adds 2 tokens ('<q>', '</q>'); its arm is asked and read with them."
    ]


def test_embeddings_for_tokens_of_another_tokenizer_are_refused(bases: dict[str, Path], tmp_path: Path) -> None:
    kind = KINDS["added tokens and room for more"]
    made = write_adapter(tmp_path / "adapter", bases[kind.base], kind.settings, **kind.written)
    another_tokenizer(made.folder)
    with pytest.raises(CardproofError, match="beside it has the base's tokens and these"):
        check_adapter(made.folder, made.base)


def test_tokens_without_embeddings_are_refused(plain: Made, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    shutil.copytree(plain.folder, tmp_path / "adapter")
    tokenizer = AutoTokenizer.from_pretrained(plain.base)
    tokenizer.add_tokens(list(ADDED))
    tokenizer.save_pretrained(tmp_path / "adapter")
    with pytest.raises(CardproofError, match="a token has the number 326, but the adapted model has only 325 embeddings"):
        check_adapter(tmp_path / "adapter", plain.base)


def test_a_tokenizer_without_added_tokens_changes_nothing(plain: Made) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(plain.base)
    before = tokenizer.get_vocab()
    assert add_tokens(tokenizer, plain.folder) == [] and tokenizer.get_vocab() == before


# --- what rollouts depend on ------------------------------------------------------------------------------------------


def test_rollouts_depend_on_the_settings_of_an_adapter_as_on_its_weights(plain: Made, tmp_path: Path) -> None:
    from cardproof.config.settings import Config
    from cardproof.sampling.sample import _dependencies

    shutil.copytree(plain.folder, tmp_path / "adapter")
    config = Config()
    before = _dependencies(config, plain.base, tmp_path / "adapter")
    (tmp_path / "adapter" / "source.json").write_text("{}")
    assert _dependencies(config, plain.base, tmp_path / "adapter") == before
    settings(lora_alpha=16)(tmp_path / "adapter")
    assert _dependencies(config, plain.base, tmp_path / "adapter") != before


LEFT_OUT_BY_VLLM = {
    "ranks and scales by layer": "rank_pattern, alpha_pattern",
    "DoRA": "use_dora",
    "output layer": "lm_head",
    "whole modules": "embed_tokens.weight",
    "single tokens": "trainable_tokens_delta",
    "all biases": "bias",
    "biases of its own": "lora_B.bias",
    "added tokens": "lm_head.weight",
}


@pytest.mark.parametrize("name", LEFT_OUT_BY_VLLM)
def test_what_vllm_would_leave_out_is_refused_there(name: str, bases: dict[str, Path], tmp_path: Path) -> None:
    kind = KINDS[name]
    made = write_adapter(tmp_path / "adapter", bases[kind.base], kind.settings, **kind.written)
    with pytest.raises(CardproofError) as e:
        refuse_what_vllm_leaves_out(made.folder)
    assert "vLLM does not compute" in e.value.sentence and "transformers" in e.value.hint
    assert LEFT_OUT_BY_VLLM[name] in e.value.sentence


@pytest.mark.parametrize("name", ["all linear layers", "rsLoRA", "one layer", "a regular expression", "in bfloat16"])
def test_plain_lora_is_for_vllm_too(name: str, bases: dict[str, Path], tmp_path: Path) -> None:
    kind = KINDS[name]
    refuse_what_vllm_leaves_out(write_adapter(tmp_path / "adapter", bases[kind.base], kind.settings, **kind.written).folder)


# --- size -------------------------------------------------------------------------------------------------------------

MEASURE = """
import resource, sys, time
started = time.monotonic()
from pathlib import Path
from cardproof.acquire.adapters import check_adapter
try:
    check_adapter(Path("adapter"), Path("base"))
except Exception as e:
    print(str(e).splitlines()[0])
print(time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def test_the_published_size_is_checked_in_seconds(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Rank 32 on all linear layers of a 14B model: 514 MB of zeros, read to the end and then refused as untrained."""
    from cardproof.models.sizes import architecture

    sizes = architecture("Qwen/Qwen3-14B")
    header, at = {}, 0
    for layer in range(sizes.num_hidden_layers):
        for module, (inner, outer) in sizes.linears().items():
            block = "mlp" if module in ("gate_proj", "up_proj", "down_proj") else "self_attn"
            for side, shape in (("A", [32, inner]), ("B", [outer, 32])):
                end = at + 4 * shape[0] * shape[1]
                name = f"base_model.model.model.layers.{layer}.{block}.{module}.lora_{side}.weight"
                header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, end]}
                at = end
    text = json.dumps(header).encode()
    for folder in ("adapter", "base"):
        (tmp_path / folder).mkdir()
    with open(tmp_path / "adapter" / FILE, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        f.truncate(8 + len(text) + at)
    lora = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 32, "lora_alpha": 64, "target_modules": list(sizes.linears())}
    write_json(tmp_path / "adapter" / CONFIG, lora)
    write_json(tmp_path / "base" / "config.json", {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], **vars(sizes)})
    done = subprocess.run([sys.executable, "-c", MEASURE], cwd=tmp_path, capture_output=True, text=True, check=True)
    sentence, figures = done.stdout.strip().splitlines()
    seconds, gigabytes = map(float, figures.split())
    record_property("seconds and GB to check the published adapter's size", (round(seconds, 1), round(gigabytes, 2)))
    assert "changes nothing" in sentence
    assert seconds < 60 and gigabytes < 3


# --- the cases that are kept outside ----------------------------------------------------------------------------------


def test_the_cases_from_the_field(tmp_path: Path) -> None:
    """Each adapter of the maker kept outside this repository is refused, or computes the logits saved with it."""
    import torch

    makers = SHARED / "cases"
    if not (makers / "make_adapters.py").is_file():
        pytest.skip(f"{makers} is not here")
    for command in (
        ["make_models.py", str(tmp_path / "models")],
        ["make_adapters.py", str(tmp_path / "models"), str(tmp_path / "adapters")],
    ):
        subprocess.run([sys.executable, "-W", "ignore", str(makers / command[0]), *command[1:]], check=True, capture_output=True)
    refused = {}
    for adapter in sorted((tmp_path / "adapters").iterdir()):
        base = tmp_path / "models" / ("tied" if adapter.name == "mts_tied" else "plain")
        expected = torch.load(adapter / "expected.pt")
        try:
            with torch.inference_mode():
                found = load_merged(base, "none", adapter)(expected["ids"]).logits
        except CardproofError as e:
            refused[adapter.name] = e.sentence
        else:
            assert float((found - expected["logits"]).abs().max()) < 1e-5, adapter.name
    assert {"named", "nan", "not_lora", "seq_cls", "r_string"} <= set(refused)
    assert not {"lora", "rslora", "dora", "rank_pattern", "resized", "resized_auto", "mts_tied", "tokens_idx", "bias"} & set(refused)
