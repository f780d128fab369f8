"""What a step's fingerprint covers: which modules rerun which steps, and which packages a record names."""

from __future__ import annotations

from pathlib import Path

import pytest

from cardproof.evidence import provenance
from cardproof.evidence.provenance import ENGINES, STEPS, code_fingerprint, modules_of, packages_of

RERUNS = {
    "benchmark/licences": {"acquire_benchmark"},
    "acquire/wheels": {"acquire_model", "acquire_adapter"},
    "acquire/folders": {"acquire_model", "acquire_adapter"},
    "verifier/planted": {"train_verifier", "check_verifier"},
    "verifier/check_verifier": {"check_verifier"},
    "contract/asking": {"prompts", "distill"},
    "pages/drawing": {"figures", "report"},
    "training/distill": {"distill"},
}
"""A module -> the steps that an edit of it reruns, besides what follows from their results."""


MODULES = {
    "acquire_benchmark": (
        "acquire: hub; benchmark: acquire_benchmark, embedded, folder, licences, parts, passages, subset, tables; contract: ids"
    ),
    "acquire_model": "acquire: acquire_model, folders, hub, model_hash, weights, wheels",
    "acquire_adapter": "acquire: acquire_model, adapters, beside, folders, hub, lora, model_hash, weights, wheels",
    "split": "benchmark: passages, retrieval, split; contract: ladder",
    "prompts": "benchmark: passages, prompts, retrieval, subset; contract: asking, form, ids, ladder",
    "dequantise": "acquire: model_hash, weights; models: architecture, device, layers, nf4, products; sampling: dequantise",
    "sample": (
        "acquire: adapters, beside, lora, model_hash, weights; contract: reasoning; evidence: sealed_lines; models: architecture, "
        "cache, chat, device, layers, loading, nf4, products, template_process, templates, tokens; sampling: generate, kinds, lookup, "
        "packed, recorded, sample, sampler, shared_prefix, step, store, transformers_backend"
    ),
    "gather": "sampling: gather",
    "train_verifier": (
        "benchmark: passages; contract: citing, ids; models: device, products, tokenizer_files; verifier: answers, auc, model, pairs, "
        "planted, results, sentences, train_verifier"
    ),
    "support": (
        "contract: citing, form, ids, reading, reasoning; models: device, products, tokenizer_files; verifier: answers, model, "
        "sentences, support"
    ),
    "check_verifier": (
        "contract: citing, form, ids, reading, reasoning; models: device, products, tokenizer_files; verifier: answers, auc, "
        "check_verifier, model, planted, results, sentences, support"
    ),
    "score": "contract: citing, form, grounding, ids, ladder, reading, reasoning; scoring: rollouts, rouge, score, table",
    "distill": "contract: asking, citing, form, ids, reading, reasoning; scoring: frames; training: distill",
    "train": (
        "acquire: adapters, beside, lora, model_hash, sources, weights; contract: reasoning; models: architecture, chat, device, "
        "layers, loading, lora, nf4, products, template_process, templates, tokens; training: results, train"
    ),
    "evaluate": (
        "evaluation: axes, between_seeds, bounded, contrast, evaluate, mechanism, noticed, of_run, picked_rouge, rerank, results, "
        "statistics; scoring: frames, library_rouge, rouge"
    ),
    "reconcile": (
        "cards: intervals, numbers; claims: claims_file, comparable, found, grim, identities, pointers, reconcile, verdicts; "
        "evaluation: axes, printed; training: results"
    ),
    "provenance": "evidence: provenance",
    "replay": "evidence: archive, replay, sealed_lines, sidecars, verify",
    "audit": (
        "cards: architecture, document, finding, front_matter, intervals, names, numbers, tables; claims: audit, checks, claims_file, "
        "denominators, findings, grim, identities, pointers, predicates, ranges, recipe_checks; evaluation: axes, printed; models: "
        "sizes"
    ),
    "claims": (
        "cards: architecture, document, finding, front_matter, intervals, names, numbers, tables; claims: answer, audit, checks, "
        "claims, claims_file, comparable, denominators, family, findings, found, grim, identities, own, pointers, predicates, "
        "printed, ranges, recipe_checks, verdicts, words; evaluation: axes, bounded, contrast, noticed, printed, results, statistics; "
        "models: sizes"
    ),
    "figures": "claims: verdicts; evaluation: axes, of_run, printed, results; pages: drawing, figures; training: results",
    "card": (
        "acquire: sources; cards: architecture, document, finding, front_matter, intervals, names, numbers, tables; claims: answer, "
        "audit, checks, claims, claims_file, comparable, denominators, family, findings, found, grim, identities, own, pointers, "
        "predicates, printed, ranges, recipe_checks, reconcile, verdicts, words; config: texts; evaluation: axes, bounded, contrast, "
        "noticed, of_run, printed, results, statistics; evidence: sealed_lines, sidecars, verify; models: sizes; pages: base_card, "
        "card, card_metadata, definitions, formats, over, usage; scoring: frames; training: results; verifier: results"
    ),
    "report": (
        "acquire: sources; cards: architecture, document, finding, front_matter, intervals, names, numbers, tables; claims: answer, "
        "audit, checks, claims, claims_file, comparable, denominators, family, findings, found, grim, identities, own, pointers, "
        "predicates, printed, ranges, recipe_checks, reconcile, verdicts, words; config: texts; contract: citing, form, grounding, "
        "ids, ladder, reading, reasoning; evaluation: axes, bounded, contrast, evaluate, mechanism, noticed, of_run, picked_rouge, "
        "printed, rerank, results, statistics; evidence: sealed_lines, sidecars, verify; models: sizes; pages: base_card, card, "
        "card_metadata, definitions, diff, drawing, figures, formats, inline_figures, items, over, per_item, report, usage; scoring: "
        "frames, library_rouge, rouge; training: results; verifier: results"
    ),
}
"""Every module in the fingerprint of each step, by room. An import that joins two steps must be meant: say so here."""


def written(modules: list[str]) -> str:
    rooms: dict[str, list[str]] = {}
    for module in modules:
        room, _, name = module.partition("/")
        rooms.setdefault(room, []).append(name)
    return "; ".join(f"{room}: {', '.join(names)}" for room, names in rooms.items())


@pytest.mark.parametrize("step", STEPS)
def test_a_step_covers_these_modules_and_no_other(step: str) -> None:
    assert written(modules_of(step)) == MODULES[step]


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
