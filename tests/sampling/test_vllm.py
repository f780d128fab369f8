"""The vLLM backend with vLLM's real CPU build in its own environment: the same records, and the same replies if decoding is greedy.

`make test-vllm` builds the environment and runs these; elsewhere they are skipped. The agreement they measure is printed (pytest -s).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cardproof.benchmark.embedded import load_embedded
from cardproof.benchmark.prompts import build_prompts
from cardproof.config.settings import Condition, Contract
from cardproof.errors import CardproofError
from cardproof.files import read_rows, write_rows
from cardproof.records import Prompt, Rollout
from cardproof.sampling.dequantise import dequantise
from cardproof.sampling.vllm_backend import RANKS, rank_room
from helpers.places import ROOT
from helpers.tiny_qwen3 import write_tiny_adapter
from helpers.workflow import PATIENCE

VLLM = Path(os.environ.get("CARDPROOF_VLLM_PYTHON", ROOT / ".venv-vllm" / "bin" / "python"))
ITEMS = 12
RANK = 8

needs_vllm = [
    pytest.mark.slow,
    pytest.mark.skipif(not VLLM.is_file(), reason=f"vLLM is not installed: no {VLLM}; make test-vllm builds it and runs this test"),
]


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve contract prompts of the embedded benchmark, without worked examples."""
    passages, questions = load_embedded()
    rows, _ = build_prompts("clean", Condition(), Contract(), passages, questions[:ITEMS], 0, ROOT / "prompts")
    path = tmp_path_factory.mktemp("prompts") / "clean.jsonl"
    write_rows(path, rows)
    return path


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> Path:
    return write_tiny_adapter(tmp_path_factory.mktemp("adapter"), smollm2, rank=RANK, scale=0.5)


def sample(
    folder: Path, backend: str, prompts: Path, model: Path, adapter: Path | None = None, n: int = 1, **sampling: Any
) -> list[Rollout]:
    """Run the command with the interpreter of the backend's environment."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "scale": "embedded",
        "conditions": {"clean": {"n": n}},
        "sampling": {"backend": backend, "max_new_tokens": 40, "rows": 16, **sampling},
        "runtime": {"threads": 1, "gpus": 0},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    python = str(VLLM) if backend == "vllm" else sys.executable
    if backend == "vllm":  # it has no NF4, so the workflow gives it weights that went through it
        through_nf4 = folder / "nf4"
        dequantise(model, through_nf4)
        model = through_nf4
    command = [python, "-m", "cardproof", "sample", "--config", str(folder / "config.yaml"), "--arm", "grounded" if adapter else "base"]
    command += ["--model", str(model), *(["--adapter", str(adapter)] if adapter else [])]
    command += ["--work", str(prompts), str(folder / "out.jsonl"), "--store", str(folder / "store.jsonl")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, timeout=PATIENCE)
    assert result.returncode == 0, (result.stdout + result.stderr)[-4000:]
    return read_rows(folder / "out.jsonl", Rollout)


def tokens_in_common(tokenizer: Any, one: Rollout, two: Rollout) -> int:
    """How many tokens two replies have in common from the start."""
    a, b = (tokenizer(r.text, add_special_tokens=False)["input_ids"] for r in (one, two))
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))


class TestGreedy:
    pytestmark = needs_vllm

    @pytest.mark.parametrize("adapted", [False, True], ids=["base", "lora"])
    def test_the_backends_agree_if_decoding_is_greedy(
        self, tmp_path: Path, prompts: Path, smollm2: Path, adapter: Path, adapted: bool
    ) -> None:
        from cardproof.models.tokens import load_tokenizer

        given = adapter if adapted else None
        found = {
            backend: sample(tmp_path / backend, backend, prompts, smollm2, given, temperature=0) for backend in ("transformers", "vllm")
        }
        ours, theirs = found["transformers"], found["vllm"]
        assert len(ours) == len(theirs) == ITEMS
        same = {"item", "k", "arm", "condition", "seed", "prompt_tokens", "model", "model_hash", "adapter_hash", "prompt_hash"}
        assert [r.model_dump(include=same) for r in ours] == [r.model_dump(include=same) for r in theirs]
        tokenizer = load_tokenizer(smollm2)
        equal = [a.text == b.text and a.finish_reason == b.finish_reason for a, b in zip(ours, theirs, strict=True)]
        common = [tokens_in_common(tokenizer, a, b) for a, b in zip(ours, theirs, strict=True)]
        print(f"\ngreedy, {'LoRA' if adapted else 'base'}: {sum(equal)} of {ITEMS} replies equal; tokens in common {common}")
        if given:
            plain = sample(tmp_path / "plain", "transformers", prompts, smollm2, temperature=0)
            assert sum(a.text != b.text for a, b in zip(plain, ours, strict=True)) > ITEMS / 2, "the adapter changes nothing"
        # Both compute in float32 but in a different order, and now and then two tokens are almost tied.
        assert sum(equal) >= ITEMS - 2
        assert sum(common) >= 0.9 * sum(r.completion_tokens for r in ours)


class TestSampling:
    pytestmark = needs_vllm

    def test_every_rollout_has_a_seed_of_its_own_and_a_second_run_repeats_them(self, tmp_path: Path, prompts: Path, smollm2: Path) -> None:
        one, two = (sample(tmp_path / name, "vllm", prompts, smollm2, n=8) for name in ("one", "two"))
        assert [r.text for r in one] == [r.text for r in two]
        assert [(r.item, r.k) for r in one] == [(i, k) for i in sorted({r.item for r in one}) for k in range(8)]
        assert len({r.seed for r in one}) == len(one)
        distinct = [len({r.text for r in one if r.item == item}) for item in {r.item for r in one}]
        assert min(distinct) >= 4

    def test_a_second_start_samples_nothing_again(self, tmp_path: Path, prompts: Path, smollm2: Path) -> None:
        first = sample(tmp_path, "vllm", prompts, smollm2, n=2)
        store = tmp_path / "store.jsonl"
        lines = store.read_bytes().splitlines(keepends=True)
        store.write_bytes(b"".join(lines[:-3]) + b'{"key": "to')
        assert sample(tmp_path, "vllm", prompts, smollm2, n=2) == first
        kept = [json.loads(line)["key"] for line in store.read_bytes().splitlines()]
        assert len(kept) == len(set(kept)) == ITEMS

    def test_a_prompt_that_does_not_fit_is_named(self, tmp_path: Path, prompts: Path, smollm2: Path) -> None:
        (row, *_) = read_rows(prompts, Prompt)
        long = row.model_copy(update={"messages": [m.model_copy(update={"content": m.content * 60}) for m in row.messages]})
        write_rows(tmp_path / "long.jsonl", [long])
        with pytest.raises(
            AssertionError, match=rf"item {row.item} has \d+ tokens and does not fit the model's \d+ together with a reply of 40"
        ):
            sample(tmp_path / "run", "vllm", tmp_path / "long.jsonl", smollm2)


@pytest.mark.parametrize(("rank", "room"), [(1, 8), (8, 8), (9, 16), (32, 32), (65, 128), (512, 512)])
def test_an_adapter_takes_the_smallest_room_that_holds_its_rank(tmp_path: Path, rank: int, room: int) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": rank}))
    assert rank_room(tmp_path) == room
    assert room in RANKS


def test_a_rank_beyond_all_rooms_is_refused(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 513}))
    with pytest.raises(CardproofError, match="r is 513, but vLLM takes at most 512"):
        rank_room(tmp_path)


def test_without_vllm_its_backend_says_how_to_install_it(tmp_path: Path, prompts: Path, tiny_lm: Path) -> None:
    from importlib.util import find_spec

    if find_spec("vllm"):
        pytest.skip("vLLM is installed in this environment, so its absence cannot be tried")
    command = [
        sys.executable,
        "-m",
        "cardproof",
        "sample",
        "--config",
        str(tmp_path / "config.yaml"),
        "--arm",
        "base",
        "--model",
        str(tiny_lm),
    ]
    command += ["--work", str(prompts), str(tmp_path / "out.jsonl"), "--store", str(tmp_path / "store.jsonl")]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"sampling": {"backend": "vllm"}, "model": {"sampling_quantization": "none"}}))
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
    assert result.returncode != 0
    assert "sampling.backend is vllm, which" in result.stderr
    assert "Hint: run `make setup-vllm`" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out.jsonl").exists()
