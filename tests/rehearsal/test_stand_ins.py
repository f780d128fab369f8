"""Stand-ins: files that are almost all zeros, a small model inside a large one, and a benchmark as long as the published one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cardproof import outside
from cardproof.acquire import hub, weights
from cardproof.acquire.adapters import check_adapter
from cardproof.benchmark.split import split
from cardproof.config.settings import Config
from cardproof.errors import CardproofError
from cardproof.machine.workload import assumptions
from cardproof.models.sizes import Architecture, architecture
from cardproof.rehearsal import documents, reciter, shapes, sparse, stand_ins, widen
from cardproof.rehearsal.adapter import write_adapter
from cardproof.rehearsal.judge import write_judge
from helpers.places import PROMPTS

LARGE = Architecture(
    vocab_size=3000,
    hidden_size=320,
    intermediate_size=512,
    num_hidden_layers=4,
    num_attention_heads=15,
    num_key_value_heads=3,
    head_dim=128,
    tie_word_embeddings=False,
)
"""Of the published proportions: five query heads for each key/value head, and more of everything than the model that recites."""
WIDTH = 128


def load(folder: Path, **options: Any) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options).eval()


def asked(folder: Path) -> list[Any]:
    """The prompts that the model was fitted to, as token ids."""
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = [reciter._tokens(tokenizer, turn) for turn in reciter.turns(data(), PROMPTS)[::2]]
    return [torch.tensor([ids[:start]]) for ids, start in rows]


def data() -> Any:
    passages, questions = documents.benchmark(4, shapes.Documents(300, 350, 500))
    return passages[:6], questions[:2]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The small model with the numbers that the large one stores, and the large one, in several files."""
    base = tmp_path_factory.mktemp("models")
    sizes = reciter.Sizes(head_dim=128, tokens=1200, eps=widen.small_eps(LARGE, WIDTH), zeros=LARGE.vocab_size - 1200, steps=60)
    small = reciter.write_reciter(base / "small", data(), PROMPTS, sizes)
    return widen.as_stored(small, LARGE, base / "stored"), widen.write_widened(small, LARGE, base / "large", shard=4_000_000)


def greedy(model: Any, ids: Any) -> list[int]:
    return list(model.generate(ids, attention_mask=ids.new_ones(ids.shape), do_sample=False, max_new_tokens=24)[0, ids.shape[1] :].tolist())


def test_a_large_model_says_what_the_small_one_in_it_says(models: tuple[Path, Path]) -> None:
    import torch

    small, large = map(load, models)
    assert large.config.hidden_size == LARGE.hidden_size and len(large.model.layers) == LARGE.num_hidden_layers
    assert sum(p.numel() for p in large.parameters()) == LARGE.base_parameters()
    for ids in asked(models[0]):
        with torch.inference_mode():
            of_small, of_large = (m(ids).logits[0] for m in (small, large))
        own = of_small.shape[1]
        assert torch.allclose(of_small, of_large[:, :own], atol=2e-4)
        assert of_large[:, own:].abs().max() == 0
        assert greedy(small, ids) == greedy(large, ids)
        # Tokens that the small model lacks are improbable, though there are many of them.
        assert of_large[-1].softmax(-1)[own:].sum() < 0.2


def test_a_model_that_never_ends_a_reply(models: tuple[Path, Path], tmp_path: Path) -> None:
    """All is as before but two rows of its head: the end of a turn has no logit, and the rarest word has that of the end."""
    import torch
    from transformers import AutoTokenizer

    before, after = (load(f) for f in (models[1], widen.write_endless(models[1], tmp_path / "endless")))
    end = AutoTokenizer.from_pretrained(models[1]).convert_tokens_to_ids(reciter.END_OF_TURN)
    for (name, p), (_, q) in zip(before.named_parameters(), after.named_parameters(), strict=True):
        if name != "lm_head.weight":
            assert torch.equal(p, q), name
    rows = {int(n) for n in (before.lm_head.weight != after.lm_head.weight).any(1).nonzero()}
    assert rows == {end, end - 3} and not after.lm_head.weight[end].any()
    assert torch.equal(after.lm_head.weight[end - 3], before.lm_head.weight[end])


def test_nf4_sees_the_same_blocks(models: tuple[Path, Path]) -> None:
    """Weights after NF4: the small model's are in the large one, but for the second quantisation of their scales."""
    import torch
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    def after(weight: Any) -> Any:
        return dequantize_4bit(*quantize_4bit(weight, blocksize=64, compress_statistics=True, quant_type="nf4"))

    small, large = map(load, models)
    for number in range(2):
        name = f"model.layers.{number}.mlp.gate_proj.weight"
        alone, inside = after(small.get_parameter(name)), after(large.get_parameter(name))
        rows, columns = alone.shape
        assert (alone - inside[:rows, :columns]).abs().max() < 0.02 * alone.abs().max()
    zeros = large.get_parameter("model.layers.3.mlp.gate_proj.weight")
    assert torch.count_nonzero(zeros) == 0 == torch.count_nonzero(after(zeros))


def test_files_take_almost_no_disk_and_have_the_hubs_layout(models: tuple[Path, Path]) -> None:
    files = sorted(models[1].glob("*.safetensors"))
    index = json.loads((models[1] / "model.safetensors.index.json").read_text())
    assert len(files) > 2 and set(index["weight_map"].values()) == {f.name for f in files}
    assert index["metadata"]["total_size"] == 2 * LARGE.base_parameters()
    assert sum(f.stat().st_blocks * 512 for f in files) < 0.8 * sum(f.stat().st_size for f in files)


def test_the_published_sizes(tmp_path: Path, models: tuple[Path, Path]) -> None:
    """All 29.5 GB and the verifier's 1.7, by name and shape; on disk they are a fiftieth."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    real = architecture("Qwen/Qwen3-14B")
    folder = widen.write_widened(models[0], real, tmp_path / "model", sparse.SHARD)
    files = sorted(folder.glob("*.safetensors"))
    assert [f.name for f in files] == [f"model-{n:05d}-of-00008.safetensors" for n in range(1, 9)], "as many as on the hub"
    assert sum(f.stat().st_size for f in files) > 29_536_614_400 == 2 * real.base_parameters()
    assert sum(f.stat().st_blocks * 512 for f in files) < 800_000_000
    for file in files:
        outside.check_size(file, file.stat(), outside.MOST_WEIGHTS)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    written = {name: shape for f in files for name, shape in weights.shapes(f).items()}
    assert written == {name: list(p.shape) for name, p in model.named_parameters()}
    judge = write_judge(tmp_path / "judge", shapes.Judge(), [p.text for p in data()[0]], sparse.SHARD)
    sizes = weights.shapes(judge / "model.safetensors").values()
    assert sum(int(np.prod(s)) for s in sizes) == assumptions()["verifier"]["parameters"]


def test_a_sparse_file_is_read_as_what_was_written(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    values = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    pieces = [sparse.Piece(1, 4, values), sparse.Piece(5, 0, values[:1])]
    for kind, dtype in (("F32", torch.float32), ("BF16", torch.bfloat16)):
        sparse.write(tmp_path / "x.safetensors", [sparse.Tensor("a", (3,), ()), sparse.Tensor("b", (6, 8), pieces)], kind)  # type: ignore[arg-type]
        found = load_file(tmp_path / "x.safetensors")
        expected = torch.zeros(6, 8, dtype=dtype)
        expected[1:3, 4:7] = torch.from_numpy(values).to(dtype)
        expected[5, :3] = torch.from_numpy(values[0]).to(dtype)
        assert torch.equal(found["b"], expected) and found["a"].tolist() == [0, 0, 0]


def test_bfloat16_rounds_as_torch_does() -> None:
    import torch

    values = np.random.default_rng(1).standard_normal(10_000).astype(np.float32) * np.float32(10) ** np.arange(-10, 10).repeat(500)
    values = values.astype(np.float32)
    assert np.array_equal(sparse.rounded(values), torch.from_numpy(values).to(torch.bfloat16).float().numpy())


def test_an_adapter_of_the_published_sizes_fits_its_base_and_one_of_another_rank_does_not(
    tmp_path: Path, models: tuple[Path, Path]
) -> None:
    from safetensors.numpy import load_file

    adapter = write_adapter(tmp_path / "adapter", LARGE, 32, 64, "stand-in/base", 0)
    check_adapter(adapter, models[1])
    matrices = load_file(adapter / "adapter_model.safetensors").values()
    assert sum(m.size for m in matrices) == LARGE.lora_parameters(32)
    assert all(np.count_nonzero(m) for m in matrices)
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "r": 16}))
    with pytest.raises(CardproofError, match=r"rank 32.*r = 16"):
        check_adapter(adapter, models[1])


def test_a_verifier_of_deberta_v3s_kind_can_judge(tmp_path: Path) -> None:
    from cardproof.verifier.model import Verifier

    small = replace(shapes.Judge(), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2, vocab_size=4000)
    folder = write_judge(tmp_path / "judge", small, [p.text for p in data()[0]], shard=100_000)
    verifier = Verifier(folder)
    assert verifier.label.output == 1 and not verifier.label.inverted
    assert verifier.score([("one premise", "a claim"), ("another", "a claim")]) == [0.5, 0.5]


@pytest.mark.parametrize("lengths", [shapes.Documents(), shapes.Documents(300, 450, 700)])
def test_documents_are_as_long_as_the_published_ones_and_can_be_split(lengths: shapes.Documents) -> None:
    passages, questions = documents.benchmark(8, lengths)
    asked = {q.relevant_passage_id for q in questions}
    oracles = [len(p.text) for p in passages if p.id in asked]
    assert len(questions) == 8 == len(asked) and all(lengths.shortest <= n <= lengths.longest for n in oracles)
    assert abs(sum(oracles) / 8 - lengths.mean) < 0.2 * lengths.mean and max(oracles) > 0.95 * lengths.longest
    halves = split(passages, questions, Config().split, 0)
    assert len(halves.train) == len(halves.eval) == 4


def test_sizes_are_the_published_ones_on_a_gpu_and_smaller_ones_are_named_on_a_cpu() -> None:
    config, real = Config(), architecture("Qwen/Qwen3-14B")
    on_gpu = shapes.of(config, True, None, 8)
    assert (on_gpu.model, on_gpu.judge, on_gpu.reduced, on_gpu.new_tokens) == (real, shapes.Judge(), (), 512)
    assert shapes.of(config, True, 4, 8).reduced == ("4 of 40 layers",)
    on_cpu = shapes.of(config, False, 2, 8)
    assert any("hidden size 1280 of 5120" in part for part in on_cpu.reduced)
    assert on_cpu.model.num_attention_heads / on_cpu.model.num_key_value_heads == 5
    with pytest.raises(CardproofError, match="no GPU") as e:
        shapes.of(config, False, None, 8)
    assert "--layers 2" in e.value.hint
    for layers in (1, 41):
        with pytest.raises(CardproofError, match=f"--layers is {layers}"):
            shapes.of(config, True, layers, 8)


def test_the_overlay_changes_only_where_things_are_and_how_much_of_them() -> None:
    config = Config()
    overlay = stand_ins.overlay(config, shapes.of(config, True, None, 8), gpu=True)
    made = Config.model_validate({**config.model_dump(), **{k: merged(getattr(config, k), v) for k, v in overlay.items()}})
    changed = {k for k in Config.model_fields if getattr(made, k) != getattr(config, k)}
    assert changed == {"run", "scale", "synthetic", "benchmark", "model", "verifier", "arms", "evaluation"}
    assert made.scale == "embedded" and made.synthetic, "numbers of stand-ins are never compared with the card's"
    assert made.model.model_copy(update={"id": config.model.id, "revision": config.model.revision}) == config.model


def merged(section: Any, values: Any) -> Any:
    if not isinstance(values, dict):
        return values
    known = section.model_dump() if hasattr(section, "model_dump") else {k: v.model_dump() for k, v in section.items()}
    return {**known, **{k: {**known[k], **v} if isinstance(v, dict) and isinstance(known.get(k), dict) else v for k, v in values.items()}}


def test_a_repository_of_the_mirror_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(folder: Path) -> None:
        (folder / "qa.jsonl").write_text("{}\n")
        (folder / "corpus.jsonl").write_text("{}\n{}\n")

    def stop(folder: Path) -> None:
        make(folder)
        raise KeyboardInterrupt

    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        stand_ins._place(tmp_path, "stand-in/benchmark", "dataset", stop, said.append)
    assert not hub.place(tmp_path, "stand-in/benchmark", "dataset").exists()
    stand_ins._place(tmp_path, "stand-in/benchmark", "dataset", make, said.append)
    stand_ins._place(tmp_path, "stand-in/benchmark", "dataset", stop, said.append)  # it is there: not made again
    assert len(said) == 1
    monkeypatch.setenv(hub.MIRROR, str(tmp_path))
    folder = hub.mirrored("stand-in/benchmark", stand_ins.REVISION, "dataset")
    assert folder is not None
    found = hub.from_mirror(folder)
    assert [f.path for f in found.files] == ["corpus.jsonl", "qa.jsonl"]
    assert hub.copy_from_mirror(folder, tmp_path / "out") == found
