"""The check of the verifier: coverage, planted errors, and RAGTruth."""

from __future__ import annotations

import json

import pytest

from cardproof.errors import CardproofError
from cardproof.files import read_json, write_json, write_rows
from cardproof.records import Support
from cardproof.verifier.check_verifier import check_planted, check_verifier, coverage, ragtruth_auc
from cardproof.verifier.results import Coverage
from helpers.places import SHARED
from helpers.rows import rollout
from helpers.verifiers import prompt, reopen, training

RAGTRUTH = SHARED / "data" / "ragtruth"
PASSAGES = "passage 1:You may copy the Work freely. You may not sell copies.\n\npassage 2:The licence ends on breach."
RAGTRUTH_ROWS = {
    "response": [
        {"source_id": "1", "split": "test", "labels": [], "response": "You may copy the Work freely."},
        {"source_id": "1", "split": "test", "labels": [{"start": 0}], "response": "You may sell copies of the Work."},
        {"source_id": "1", "split": "train", "labels": [], "response": "The licence ends on breach."},
        {"source_id": "2", "split": "test", "labels": [], "response": "A summary of something else entirely."},
    ],
    "source_info": [
        {"source_id": "1", "task_type": "QA", "source_info": {"question": "?", "passages": PASSAGES}},
        {"source_id": "2", "task_type": "Summary", "source_info": "Some text to be summarised."},
    ],
}


def test_coverage_counts_answers_pairs_and_cuts():
    rows = [
        Support(item=1, k=0, support=0.9, premises=["a", "b"], pairs=4, truncated=1),
        Support(item=1, k=1, support=None, premises=[], pairs=0, truncated=0),
        Support(item=2, k=0, support=0.0, premises=["a"], pairs=2, truncated=2),
    ]
    assert coverage(rows) == Coverage(rollouts=3, answered=2, pairs=6, truncated=3)
    assert coverage([]) == Coverage(rollouts=0, answered=0, pairs=0, truncated=0)


def test_planted_errors_need_enough_couples(trained):
    checked = check_planted(
        [prompt()], [rollout('EVIDENCE:\n[A#1] "You may copy"\nANSWER: You may copy the Work [A#1].')], reopen(trained), seed=0
    )
    assert checked.answers.couples == 1 and checked.sentences.couples >= 1
    assert checked.answers.auc.value is None and checked.sentences.paired is None


def write_ragtruth(folder, name):
    for part, rows in RAGTRUTH_ROWS.items():
        (folder / name.format(part)).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.parametrize("name", ["{}.jsonl", "ragtruth_qa_{}_subset.jsonl"])
def test_ragtruths_answers_to_test_questions_are_taken(trained, tmp_path, name):
    write_ragtruth(tmp_path, name)
    checked = ragtruth_auc(tmp_path, reopen(trained), limit=None)
    assert (checked.clean, checked.hallucinated, checked.sources) == (1, 1, 1)
    assert checked.files.keys() == {name.format(part) for part in RAGTRUTH_ROWS}


def test_missing_ragtruth_files_are_named(trained, tmp_path):
    with pytest.raises(CardproofError, match=r"verifier\.ragtruth: there is no folder .*absent"):
        ragtruth_auc(tmp_path / "absent", reopen(trained))
    with pytest.raises(CardproofError, match=r"\*response\*.jsonl, .* has none"):
        ragtruth_auc(tmp_path, reopen(trained))
    for name in ("a_{}.jsonl", "b_{}.jsonl"):
        write_ragtruth(tmp_path, name)
    with pytest.raises(CardproofError, match=r"has several: a_response\.jsonl, b_response\.jsonl"):
        ragtruth_auc(tmp_path, reopen(trained))


@pytest.mark.skipif(not RAGTRUTH.is_dir(), reason=f"{RAGTRUTH} is not here")
def test_ragtruth_is_read(trained):
    checked = ragtruth_auc(RAGTRUTH, reopen(trained), limit=8)
    assert checked.clean + checked.hallucinated == 8 and checked.sources >= 1 and checked.pairs > 8
    assert checked.auc.value is None  # fewer than MIN_COUPLES


def test_the_steps_metrics_are_those_of_training_and_of_every_check(trained, tmp_path):
    write_rows(tmp_path / "prompts.jsonl", [prompt()])
    write_rows(tmp_path / "samples.jsonl", [rollout("ANSWER: You may copy the Work [A#1].")])
    write_rows(tmp_path / "support.jsonl", [Support(item=1, k=0, support=0.9, premises=["A#1"], pairs=2, truncated=0)])
    write_json(tmp_path / "training.json", trained[1])
    write_ragtruth(tmp_path, "{}.jsonl")
    config = training().model_copy(update={"verifier": training().verifier.model_copy(update={"ragtruth": str(tmp_path)})})
    paths = [tmp_path / name for name in ("prompts.jsonl", "samples.jsonl")]
    support = [tmp_path / "support.jsonl"] * 2
    check_verifier(config, trained[0] / "out", *paths, support, tmp_path / "training.json", tmp_path / "metrics.json")
    metrics = read_json(tmp_path / "metrics.json")
    assert metrics["pairs"] == trained[1]["pairs"]
    assert list(metrics["auc"]) == ["seen_templates", "unseen_templates", "planted_sentences", "planted_answers", "ragtruth"]
    assert metrics["auc"]["planted_answers"] == metrics["planted"]["answers"]["auc"]
    assert metrics["coverage"] == {"rollouts": 2, "answered": 2, "pairs": 4, "truncated": 0}
    check_verifier(training(), trained[0] / "out", *paths, [], None, tmp_path / "untrained.json")
    untrained = read_json(tmp_path / "untrained.json")
    assert (list(untrained["auc"]), untrained["ragtruth"]) == (["planted_sentences", "planted_answers"], None)
