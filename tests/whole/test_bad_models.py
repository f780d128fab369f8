"""Base models that cannot serve, through the command line: one sentence that names what, a hint, nothing half-written, in seconds."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from cardproof.cli.main import main
from cardproof.config import reading, texts
from cardproof.files import write_rows
from cardproof.records import Example, Message, Prompt, Turn
from helpers import tiny_chat
from helpers.decoding import make_prompt
from helpers.places import CLAIMS, PROMPTS, ROOT
from helpers.tiny_chat import change, write_model

Break = Callable[[Path], None]


class Case(NamedTuple):
    """How a good model folder is broken, and what the error must say."""

    spoil: Break
    sentence: tuple[str, ...]
    hint: str


def template(text: str | None) -> Break:
    def spoil(model: Path) -> None:
        (model / "chat_template.jinja").unlink(missing_ok=True)
        change(model / "tokenizer_config.json", chat_template=text or ...)

    return spoil


def config(**fields: Any) -> Break:
    return lambda model: change(model / "config.json", **fields)


def generation(**fields: Any) -> Break:
    return lambda model: change(model / "generation_config.json", **fields)


def both(*spoils: Break) -> Break:
    return lambda model: [spoil(model) for spoil in spoils][-1]


def content(name: str, data: bytes) -> Break:
    def spoil(model: Path) -> None:
        (model / name).write_bytes(data)

    return spoil


def gone(name: str) -> Break:
    return lambda model: (model / name).unlink()


def weights(edit: Callable[[dict[str, Any]], Any]) -> Break:
    def spoil(model: Path) -> None:
        tensors = load_file(model / "model.safetensors")
        edit(tensors)
        save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})

    return spoil


def fewer_tokens() -> Break:
    """A vocabulary without the control tokens."""
    names = ("lm_head.weight", "model.embed_tokens.weight")
    return both(config(vocab_size=270), weights(lambda tensors: tensors.update({name: tensors[name][:270].copy() for name in names})))


def mamba() -> Break:
    """Another architecture altogether, whole and sound."""

    def spoil(model: Path) -> None:
        from transformers import AutoModelForCausalLM, MambaConfig

        size = json.loads((model / "config.json").read_text())["vocab_size"]
        config = MambaConfig(vocab_size=size, hidden_size=32, num_hidden_layers=2, state_size=4)
        AutoModelForCausalLM.from_config(config).save_pretrained(model)

    return spoil


LAYER = "model.layers.1.mlp.up_proj.weight"
SPIN = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
NO_END = tiny_chat.PLAIN.replace("<eot>\n", "{% if m.role == 'user' %}<eot>{% endif %}")

ACQUIRED = {
    # architecture
    "config: missing": Case(gone("config.json"), ("model has no config.json",), "transformers model"),
    "config: no JSON": Case(content("config.json", b"{"), ("config.json is not valid JSON",), ""),
    "config: a list": Case(content("config.json", b"[]"), ("config.json is not a JSON object",), "folder"),
    "config: no model_type": Case(config(model_type=...), ("config.json", "'model_type' is missing"), "decoder-only"),
    "config: unknown model_type": Case(config(model_type="mine"), ("'mine' is not a causal language model",), "decoder-only"),
    "config: an encoder and a decoder": Case(config(model_type="t5"), ("'t5' is not a causal language model",), "decoder-only"),
    "config: an encoder and a decoder that is also a causal one": Case(
        config(model_type="bart", is_encoder_decoder=True), ("'bart' is a model of encoder and decoder",), "decoder-only"
    ),
    "config: code of its own": Case(
        config(model_type="mine", auto_map={"AutoModelForCausalLM": "mine.M"}), ("'auto_map'", "never runs"), "transformers"
    ),
    "config: a billion layers": Case(config(num_hidden_layers=10**9), ("'num_hidden_layers'", "1000000000"), "again"),
    "config: a vast vocabulary": Case(config(vocab_size=10**12), ("'vocab_size'",), "again"),
    "config: fewer heads than none": Case(config(num_attention_heads=-4), ("'num_attention_heads'", "-4"), "again"),
    "config: a size that is a truth value": Case(config(hidden_size=True), ("'hidden_size'", "True"), "again"),
    "config: a size in words": Case(config(hidden_size="wide"), ("config.json", "'wide'"), "again"),
    "config: heads that do not divide": Case(config(num_attention_heads=5), ("model",), "again"),
    "config: unknown positions": Case(config(rope_parameters={"rope_type": "spiral", "rope_theta": 1e4}), ("spiral",), "again"),
    # quantised by others
    **{
        f"quantised: {method}": Case(
            config(quantization_config={"quant_method": method, "bits": 4}), ("already quantised", method), "16 or 32"
        )
        for method in ("gptq", "awq", "bitsandbytes", "fp8", "compressed-tensors", "mxfp4", "hqq", "aqlm")
    },
    "quantised: without a name": Case(
        config(quantization_config={"bnb_4bit_quant_type": "nf4"}), ("already quantised (bitsandbytes)",), "16 or 32"
    ),
    "quantised: only the weights say so": Case(
        weights(lambda tensors: tensors.update({LAYER: tensors[LAYER].astype(np.int8)})),
        (LAYER, "type I8", "already quantised"),
        "16 or 32",
    ),
    # weights
    "weights: one is missing": Case(weights(lambda tensors: tensors.pop(LAYER)), (f"the weights lack {LAYER},",), "again"),
    "weights: a layer is missing": Case(
        weights(lambda tensors: [tensors.pop(name) for name in list(tensors) if ".layers.1." in name]),
        ("the weights lack", "and 8 more"),
        "",
    ),
    "weights: of another shape": Case(
        weights(lambda tensors: tensors.update({LAYER: np.zeros((5, 5), np.float32)})), (LAYER, "[5, 5]", "[96, 64]"), "again"
    ),
    "weights: an adapter among them": Case(
        weights(lambda tensors: tensors.update({"model.layers.0.self_attn.q_proj.lora_A.weight": np.zeros((2, 64), np.float32)})),
        ("lora_A", "adapter"),
        "adapter in one of its own",
    ),
    "weights: for another architecture": Case(config(model_type="gpt2", n_layer=2, n_embd=64, n_head=4), ("the weights lack",), "again"),
    "weights: a shard is missing": Case(
        both(
            lambda model: (model / "model.safetensors").rename(model / "model-00001-of-00002.safetensors"),
            content("model.safetensors.index.json", json.dumps({"metadata": {}, "weight_map": {LAYER: "gone.safetensors"}}).encode()),
        ),
        ("cannot load the model", "gone.safetensors"),
        "again",
    ),
    # tokenizer
    "tokenizer: missing": Case(both(gone("tokenizer.json"), gone("tokenizer_config.json")), ("tokenizer",), ""),
    "tokenizer: broken": Case(content("tokenizer.json", b'{"version": "1.0"'), ("the tokenizer cannot be loaded",), "tokenizer.json"),
    "tokenizer: of an unknown kind": Case(content("tokenizer.json", b'{"model": {"type": "?"}}'), ("the tokenizer cannot be loaded",), ""),
    "tokenizer: code of its own": Case(
        both(
            lambda model: change(model / "tokenizer_config.json", tokenizer_class="Mine", auto_map={"AutoTokenizer": ["mine.T", None]}),
            content("mine.py", b"raise SystemExit('run')"),
        ),
        ("'auto_map'", "never runs"),
        "part of transformers",
    ),
    "tokenizer: of a larger vocabulary": Case(fewer_tokens(), ("writes the token", "has only 270"), "another model"),
    # chat template
    "template: none": Case(template(None), ("the tokenizer has no chat template",), "instruction-tuned"),
    "template: broken": Case(template("{% if %}"), ("TemplateSyntaxError",), "publisher"),
    "template: refuses every conversation": Case(template("{{ raise_exception('tools only') }}"), ("it says 'tools only'",), "publisher"),
    "template: leaves out the question": Case(
        template("<s>{% if add_generation_prompt %}<turn>{% endif %}"), ("leaves out the",), "publisher"
    ),
    "template: knows no earlier turns": Case(
        template(tiny_chat.PLAIN.replace("in messages", "in messages[:1] + messages[-1:]")), ("several turns",), "contract.demonstration"
    ),
    "template: an endless loop": Case(template(SPIN), ("more than 2 s",), "publisher"),
    "template: all memory": Case(template("{{ 'x' * 10 ** 10 }}"), ("too much memory",), "publisher"),
    "template: a vast conversation": Case(
        template("{% for i in range(90000) %}{{ 'x' * 1000 }}{% endfor %}"), ("characters",), "publisher"
    ),
    "template: endless recursion": Case(template("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"), ("nested too deeply",), "publisher"),
    "template: reaches for Python": Case(template("{{ ''.__class__.__mro__ }}"), ("SecurityError",), "publisher"),
    "template: too long": Case(template("x" * 600_000), ("600,000 characters",), "publisher"),
    "template: several, and none is the default": Case(
        template([{"name": "tools", "template": "x"}, {"name": "rag", "template": "y"}]),  # type: ignore[arg-type]
        ("none of its chat templates (rag, tools) is the default",),
        "publisher",
    ),
    "template: nothing ends a turn": Case(
        both(template(NO_END), lambda model: change(model / "tokenizer_config.json", eos_token=...)), ("nothing ends a reply",), "eos_token"
    ),
    "template: reasons where the reply has its prefix": Case(template(tiny_chat.THINKS), ("opens a block of reasoning",), "reply_prefix"),
    "training: layers that PEFT cannot adapt": Case(mamba(), ("PEFT cannot train a LoRA adapter", "'mamba'"), "other layers"),
    # room
    "context: shorter than a reply": Case(config(max_position_embeddings=40), ("takes 40 tokens", "may have 64"), "max_new_tokens"),
}


def settings(folder: Path, **over: Any) -> Path:
    over = {"contract": {"demonstration": True, "reply_prefix": "EVIDENCE:\n"}, **over}
    loaded = reading.load(ROOT / "config.yaml", ROOT / "config/ci.yaml", overrides=over)
    (folder / "config.yaml").write_text(texts.to_yaml(loaded))
    return folder / "config.yaml"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("good") / "model")


def call(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["cardproof", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def refused(arguments: list[str], case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    started = time.process_time()
    assert call(arguments, monkeypatch) == 2
    assert time.process_time() - started < 10
    error, hint, *rest = capsys.readouterr().err.strip().splitlines()
    assert rest == []
    assert re.fullmatch(r"cardproof: error: \S.*\.", error), error
    assert re.fullmatch(r"Hint: \S.*[.?)]", hint), hint
    assert len(error) < 800
    for part in case.sentence:
        assert part in error
    assert case.hint in hint
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before, "something was half-written"


@pytest.mark.parametrize("name", ACQUIRED)
def test_a_model_that_cannot_serve_is_refused_when_it_is_acquired(
    name: str, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(good, tmp_path / "model")
    ACQUIRED[name].spoil(tmp_path / "model")
    settings(tmp_path)
    arguments = ["acquire-model", "--source", "folder", "--id", "model", "--model-of", "config.yaml", "--out", "out/base"]
    refused(arguments, ACQUIRED[name], tmp_path, monkeypatch, capsys)
    assert not (tmp_path / "out").exists()


def test_a_language_model_is_checked_even_if_nobody_says_what_it_is_for(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(good, tmp_path / "model")
    config(quantization_config={"quant_method": "gptq"})(tmp_path / "model")
    case = Case(lambda _: None, ("already quantised (gptq)",), "16 or 32")
    refused(["acquire-model", "--source", "folder", "--id", "model", "--out", "out/base"], case, tmp_path, monkeypatch, capsys)


# --- later: what only the prompts, or the weights, show -----------------------------------------------------------------


def asked(condition: str = "clean", words: int = 0) -> Prompt:
    row = make_prompt(3, condition)
    more = Message(role="user", content=f"{row.messages[-1].content} {'word ' * words}")
    return row.model_copy(update={"messages": [*row.messages[:-1], more]})


def sampled(folder: Path, prompts: list[Prompt]) -> list[str]:
    write_rows(folder / "clean.jsonl", prompts)
    work = ["--work", "clean.jsonl", "out/samples.jsonl", "--store", "store.jsonl"]
    return ["sample", "--config", "config.yaml", "--arm", "base", "--model", "model", *work]


LONG = Case(config(max_position_embeddings=300), ("item 3", "does not fit the model's 300 together with a reply of"), "longer context")


@pytest.mark.parametrize("backend", ["transformers", "vllm"])
def test_a_prompt_beyond_the_context_is_refused_by_both_engines(
    backend: str, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(good, tmp_path / "model")
    LONG.spoil(tmp_path / "model")
    settings(tmp_path, sampling={"backend": backend})
    refused(sampled(tmp_path, [make_prompt(1), asked(words=300)]), LONG, tmp_path, monkeypatch, capsys)


def test_an_example_beyond_the_context_is_refused_by_training(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(good, tmp_path / "model")
    LONG.spoil(tmp_path / "model")
    settings(tmp_path)
    turn = Turn(messages=asked(words=300).messages, reply="ANSWER: yes")
    write_rows(tmp_path / "raft.jsonl", [Example(item=3, k=0, composite=1.0, contract=turn, freeform=turn)])
    out = ["--out", "out/adapter", "--metrics", "out/metrics.json", "--work", "out/work"]
    arguments = ["train", "--config", "config.yaml", "--variant", "grounded", "--examples", "raft.jsonl", "--model", "model", *out]
    refused(arguments, LONG, tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("verb", ["plan", "preflight"])
def test_plan_and_preflight_refuse_prompts_beyond_the_context(
    verb: str, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(good, tmp_path / "model")
    LONG.spoil(tmp_path / "model")
    settings(tmp_path, model={"source": "folder", "id": "model"})
    more = ["--configfile" if verb == "plan" else "--config", "config.yaml"]
    case = Case(LONG.spoil, ("item ", "does not fit the model's 300 together with a reply of 64"), "longer context")
    refused([verb, *more, "--templates", str(PROMPTS), "--claims", str(CLAIMS)], case, tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("rows", [slice(None), slice(40, 41)])
def test_logits_that_are_no_numbers_stop_sampling_with_the_items_name(
    rows: slice, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(good, tmp_path / "model")

    def spoil(tensors: dict[str, Any]) -> None:
        tensors["lm_head.weight"] = tensors["lm_head.weight"].copy()
        tensors["lm_head.weight"][rows] = np.nan

    weights(spoil)(tmp_path / "model")
    settings(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert call(sampled(tmp_path, [asked()]), monkeypatch) == 2
    said = capsys.readouterr().err
    assert "cardproof: error: the model's logits for item 3 of clean are not finite numbers, so no token can be drawn.\nHint: " in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_a_token_that_the_model_lacks_is_named(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(good, tmp_path / "model")
    fewer_tokens()(tmp_path / "model")
    settings(tmp_path)
    case = Case(lambda _: None, ("item 3 has the token", "has only 270"), "another model")
    refused(sampled(tmp_path, [asked()]), case, tmp_path, monkeypatch, capsys)


def test_there_are_enough_cases(record_property: Callable[[str, object], None]) -> None:
    record_property("cases of bad input in the table of models", len(ACQUIRED))
    assert len(ACQUIRED) >= 50
