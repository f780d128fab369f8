"""What a step's fingerprint covers: which modules rerun which steps, and which packages a record names."""

from __future__ import annotations

from pathlib import Path

import pytest

from cardproof.evidence import provenance
from cardproof.evidence.provenance import ENGINES, STEPS, code_fingerprint, modules_of, packages_of

RERUNS = {
    "benchmark/licences": {"acquire_benchmark"},
    "acquire/wheels": {"acquire_model"},
    "acquire/folders": {"acquire_model"},
    "verifier/planted": {"train_verifier", "check_verifier"},
    "verifier/check_verifier": {"check_verifier"},
    "contract/asking": {"prompts", "distill"},
    "pages/drawing": {"figures", "card", "report"},
    "training/distill": {"distill"},
}
"""A module -> the steps that an edit of it reruns, besides what follows from their results."""


@pytest.mark.parametrize("module", RERUNS)
def test_an_edit_reruns_the_steps_it_belongs_to_and_no_other(module: str) -> None:
    assert {step for step in STEPS if module in modules_of(step)} == RERUNS[module]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_configured_engine_counts_and_the_other_does_not(engine: str) -> None:
    (other,) = ENGINES.keys() - {engine}
    for module, reruns in ((ENGINES[engine], {"sample"}), (ENGINES[other], set())):
        assert {step for step in STEPS if module in modules_of(step, engine)} == reruns


def fingerprint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str) -> str:
    (tmp_path / "step.py").write_text(source)
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    monkeypatch.setitem(STEPS, "step", ("step",))
    provenance._module.cache_clear()
    try:
        return code_fingerprint("step")
    finally:
        provenance._module.cache_clear()


CODE = 'def f(x):\n    """Double it."""\n    return 2 * x\n'


@pytest.mark.parametrize(
    ("source", "same"),
    [
        ('def f(x):\n    """Twice as much."""\n    return 2 * x  # a remark\n', True),
        ('"""A module."""\n\n\ndef f(x): return 2*x\n', True),
        ("def f(x):\n    return 3 * x\n", False),
        ("def f(x, y=None):\n    return 2 * x\n", False),
        ("def g(x):\n    return 2 * x\n", False),
        ("def f(x):\n    return '2' * x\n", False),
    ],
)
def test_words_and_layout_do_not_count_and_code_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, same: bool) -> None:
    assert (fingerprint(monkeypatch, tmp_path, source) == fingerprint(monkeypatch, tmp_path, CODE)) is same


def test_a_record_names_the_packages_that_compute_the_step() -> None:
    assert {"pyarrow", "rapidfuzz", "nltk"} <= set(packages_of("score"))
    assert not {"torch", "rouge_score", "matplotlib"} & set(packages_of("score"))
    assert {"torch", "transformers", "peft", "bitsandbytes"} <= set(packages_of("train"))
    assert "matplotlib" in packages_of("figures")
