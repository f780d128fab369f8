"""The plan: published figures without a GPU, a model or data; its stated sizes against real data; its GPU rules against the rules."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cardproof.config import settings
from cardproof.errors import CardproofError
from cardproof.machine import plan, workload
from helpers.places import ROOT, SHARED
from helpers.tiny_qwen3 import write_tiny_adapter
from helpers.workflow import PATIENCE

LEGAL = SHARED / "data" / "legal_rag_bench"
CLAIMS = ROOT / "published" / "claims.yaml"


def verb(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-c", "from cardproof.cli.main import main; main()", "plan", *arguments]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    result = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=PATIENCE)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("plan")
    figures = json.loads(verb(folder, "--configfile", str(ROOT / "config.yaml"), "--format", "json"))["figures"]
    assert list(folder.iterdir()) == [], "a plan writes nothing"
    assert all(f["how"] and f["kind"] for f in figures)
    return {(f["section"], f["name"]): f for f in figures}


def test_the_published_work(published: dict[tuple[str, str], dict[str, Any]]) -> None:
    def value(section: str, name: str) -> float:
        found: float = published[section, name]["value"]
        return found

    assert [value("prompts", name) for name in ("questions", "train", "clean", "stress", "freeform")] == [100, 50, 50, 50, 50]
    assert value("rollouts", "all") == 50 * 8 + 3 * 3 * 50 * 8
    assert value("training", "examples") == 98
    assert [value("training", f"steps of {name}") for name in ("grounded", "b7x1", "b14x2")] == [28, 14, 14]
    assert value("training", "trainable") == 128_450_560
    assert value("downloads", "Qwen/Qwen3-14B") == 2 * 14_768_307_200
    assert value("jobs", "asking for GPUs") == 1 + 3 + 1 + 3 + 3 + 1 + 1
    assert value("memory: sampling", "KV cache per token") == 2 * 40 * 8 * 128 * 2


def test_parts_add_up_and_fit_the_stated_card(published: dict[tuple[str, str], dict[str, Any]]) -> None:
    for section in ("memory: training", "memory: sampling"):
        parts = [f["value"] for (where, name), f in published.items() if where == section and name != "peak" and "KV cache " not in name]
        assert sum(parts) == published[section, "peak"]["value"] < 24 * plan.GB
    hours = {name: f for (section, name), f in published.items() if section == "hours"}
    assert len(hours) == 4
    assert all(f["kind"] == "assumed" and f["value"] > 0 and "too small" not in f["how"] for f in hours.values())


def test_the_text_form_explains_every_figure_in_narrow_lines(tmp_path: Path) -> None:
    text = verb(tmp_path)
    assert max(len(line) for line in text.splitlines()) <= plan.WIDTH
    assert "ceil(98 / 14) x 2 epochs" in text
    assert "50 prompts x 8 rollouts x 3 arms (base, hybrid, grounded)" in text


def test_a_card_too_small_for_the_run_is_marked(tmp_path: Path) -> None:
    long = settings.Config(training={"gradient_checkpointing": False})
    figures = plan.plan(long, tmp_path, ROOT / "prompts", CLAIMS, tmp_path / "no Snakefile")
    short = {f.name for f in figures if f.section == "hours" and "too small" in f.how}
    assert short == {"L4", "RTX 4090"}
    assert not [f for f in figures if f.section == "jobs"]


def test_vllm_has_no_four_bits(tmp_path: Path) -> None:
    """It samples from the unpacked weights: a card of 24 GB holds them no more."""
    vllm = settings.Config(sampling={"backend": "vllm"})
    found = {(f.section, f.name): f for f in plan.plan(vllm, tmp_path, ROOT / "prompts", CLAIMS, tmp_path / "no Snakefile")}
    assert found["memory: sampling", "weights"].value == 2 * 14_768_307_200
    assert found["disk", plan.COPY].value == 2 * 14_768_307_200
    assert {name for (section, name), f in found.items() if section == "hours" and "too small" in f.how} == {"L4", "RTX 4090"}


def test_seeds_are_counted(tmp_path: Path) -> None:
    seeds = settings.Config(training={"seeds": [0, 1, 2]})
    figures = plan.plan(seeds, tmp_path, ROOT / "prompts", CLAIMS, ROOT / "Snakefile")
    found = {(f.section, f.name): f.value for f in figures}
    assert found["rollouts", "clean"] == 50 * 8 * 5
    assert found["training", "steps"] == 3 * 28 + 14 + 14
    assert (found["jobs", "train"], found["jobs", "sample"]) == (5, 5)


def test_what_is_unknown_is_named(tmp_path: Path) -> None:
    with pytest.raises(CardproofError, match="size of the benchmark 'isaacus/legal-rag-bench' at revision other is not known"):
        plan.plan(settings.Config(benchmark={"revision": "other"}), tmp_path, ROOT / "prompts", CLAIMS, ROOT / "Snakefile")


def test_gpu_rules_are_those_that_ask_for_one() -> None:
    asking: dict[str, bool] = {}
    for file in sorted((ROOT / "rules").glob("*.smk")):
        for block in re.split(r"^(?=rule |use rule )", file.read_text(), flags=re.MULTILINE)[1:]:
            inherited = re.match(r"use rule (\w+) as (\w+)", block)
            name = inherited[2] if inherited else re.match(r"rule (\w+)", block)[1]  # type: ignore[index]
            asking[name] = "gpu=GPUS" in block or bool(inherited and asking[inherited[1]])
    assert {name for name, asks in asking.items() if asks} == set(plan.GPU_RULES)


@pytest.mark.skipif(not (LEGAL / "qa.jsonl").exists(), reason=f"Legal RAG Bench is not at {LEGAL} (set CARDPROOF_SHARED)")
def test_the_stated_sizes_are_those_of_the_real_benchmark(tmp_path: Path) -> None:
    """Exact for questions and answers; prompts within 8% (measured: 5%), as the passages of one side are not of mean length."""
    from cardproof.benchmark.folder import load_folder

    passages, questions = load_folder(LEGAL)
    by_id = {p.id: p for p in passages}
    texts = {
        "question": [q.question for q in questions],
        "answer": [q.answer for q in questions],
        "passage": [by_id[q.relevant_passage_id].text for q in questions],
        "passage_id": [q.relevant_passage_id for q in questions],
    }
    known = workload.assumptions()["benchmarks"]["isaacus/legal-rag-bench"]
    assert known["questions"] == len(questions)
    for name, rows in texts.items():
        assert known[name]["longest"] == max(map(len, rows))
        assert known[name]["mean"] == pytest.approx(sum(map(len, rows)) / len(rows), abs=0.06)
    local = {"source": "folder", "path": str(LEGAL), "sha256": {"qa.jsonl": None, "corpus.jsonl": None}}
    found = [workload.workload(c, tmp_path, None, ROOT / "prompts", 98) for c in (settings.Config(), settings.Config(benchmark=local))]
    for name, estimated in found[0].asked.items():
        counted = found[1].asked[name]
        assert (estimated.prompts, estimated.n) == (counted.prompts, counted.n)
        assert estimated.mean == pytest.approx(counted.mean, rel=0.08)
        assert counted.longest <= estimated.longest <= 1.45 * counted.longest


def test_a_decoding_step_has_as_many_operations_as_the_plan_assumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted on 4-bit layers with an adapter beside them, as a GPU decodes: what is recorded counts once, as a GPU starts a graph.

    Views of tensors are left out: they launch nothing.
    """
    from torch.utils._python_dispatch import TorchDispatchMode
    from transformers import AutoModelForCausalLM, Qwen3Config

    from cardproof.models.loading import load_packed
    from cardproof.sampling import shared_prefix
    from cardproof.sampling.sampler import Decoding
    from cardproof.sampling.shared_prefix import SharedPrefixDecoder, Tokens
    from helpers.recording import Operations, Recorder

    monkeypatch.setattr(shared_prefix, "pack", lambda model: None)  # a GPU's layers are not packed
    narrow = {
        "vocab_size": 100,
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
    }
    views = (
        "view",
        "expand",
        "slice",
        "select.int",
        "unbind",
        "transpose",
        "permute",
        "squeeze",
        "detach",
        "alias",
        "aten.t.",
        "split",
        "as_strided",
        "flatten",
    )
    steps: dict[tuple[int, int], list[int]] = {}

    class Count(TorchDispatchMode):
        total, replaying = 0, False

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            Count.total += not Count.replaying and not any(view in str(func) for view in views)
            return func(*args, **(kwargs or {}))

    class Started(Operations):
        def replay(self) -> None:
            Count.total, Count.replaying = Count.total + 1, True
            super().replay()
            Count.replaying = False

    for layers in (2, 3):
        folder = tmp_path / f"{layers}"
        AutoModelForCausalLM.from_config(Qwen3Config(num_hidden_layers=layers, **narrow)).save_pretrained(folder)
        adapter = write_tiny_adapter(tmp_path / f"{layers}-adapter", folder, rank=32)
        for items in (1, 4):
            decoder = SharedPrefixDecoder(load_packed(folder, "nf4", adapter), [-1], 8 * items)
            decoder.least, decoder.recorder = 8 * items, lambda: Recorder(Started)
            work = [Tokens([5 + i % 50 for i in range(500)], 0, list(range(8))) for _ in range(items)]
            step = decoder._step

            def counting(*args: Any, step: Any = step, key: tuple[int, int] = (layers, items)) -> None:
                Count.total = 0
                with Count():
                    step(*args)
                steps.setdefault(key, []).append(Count.total)

            decoder._step = counting  # type: ignore[method-assign]
            list(decoder.decode(work, Decoding(1.0, 0.95, 4)))
    counted = {key: found[1] for key, found in steps.items()}  # the first is computed twice, and recorded
    known = workload.assumptions()["operations"]
    for items in (1, 4):
        each = counted[3, items] - counted[2, items]
        assert each == pytest.approx(known["layer"] + items * known["item_and_layer"], rel=0.1), counted
