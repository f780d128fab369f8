"""Data as a team has them: texts for ids, several gold passages to a question; and headings of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cardproof.benchmark.folder import load_folder
from cardproof.benchmark.prompts import build_prompts
from cardproof.benchmark.split import split
from cardproof.config import reading as configuration
from cardproof.config.settings import Condition, Config, Contract, Split
from cardproof.contract import reading
from cardproof.contract.form import format_reply
from cardproof.errors import CardproofError
from helpers import own_data
from helpers.places import ROOT

TEMPLATES = ROOT / "prompts"
NOUNS = ("abacus", "banjo", "cello", "drum", "easel", "flute", "gong", "harp")
PASSAGES = own_data.passages(NOUNS)
QUESTIONS = own_data.questions(NOUNS, "shelf")


def folder(path: Path, questions: list[dict[str, Any]] = QUESTIONS) -> Path:
    path.mkdir(exist_ok=True)
    (path / "corpus.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in PASSAGES))
    (path / "qa.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in questions))
    return path


def test_texts_for_ids_become_numbers_and_stay_as_names(tmp_path: Path) -> None:
    _, questions = load_folder(folder(tmp_path))
    assert [q.id for q in questions] == list(range(1, 9))
    assert [q.name for q in questions] == [row["id"] for row in QUESTIONS]
    assert questions[0].called == "'shelf-abacus'"


def test_numbers_stay_as_they_are_and_a_mixture_is_named(tmp_path: Path) -> None:
    numbers = [row | {"id": 40 + i} for i, row in enumerate(QUESTIONS)]
    _, questions = load_folder(folder(tmp_path, numbers))
    assert [(q.id, q.name) for q in questions][:2] == [(40, None), (41, None)]
    _, mixed = load_folder(folder(tmp_path, [*numbers[:2], *QUESTIONS[2:]]))
    assert [(q.id, q.name) for q in mixed][:3] == [(1, "40"), (2, "41"), (3, "shelf-cello")]


def test_a_text_id_twice_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(CardproofError, match="'shelf-banjo' is in question 2 and again in question 3"):
        load_folder(folder(tmp_path, [QUESTIONS[0], QUESTIONS[1], QUESTIONS[1]]))


def test_what_acquire_wrote_loads_again_the_same(tmp_path: Path) -> None:
    passages, questions = load_folder(folder(tmp_path / "given"))
    again = tmp_path / "again"
    again.mkdir()
    (again / "corpus.jsonl").write_text("".join(f"{p.model_dump_json()}\n" for p in passages))
    (again / "questions.jsonl").write_text("".join(f"{q.model_dump_json()}\n" for q in questions))
    assert load_folder(again) == (passages, questions)


@pytest.mark.parametrize("drop", [0.0, 0.5])
def test_all_gold_passages_are_shown_together_and_left_out_together(tmp_path: Path, drop: float) -> None:
    passages, questions = load_folder(folder(tmp_path))
    settings = Condition(distractors=2, oracle_drop=drop)
    prompts, _ = build_prompts("stress", settings, Contract(), passages, questions, 0, TEMPLATES)
    assert sum(not p.oracle_present for p in prompts) == round(drop * len(prompts))
    for prompt, question in zip(prompts, questions, strict=True):
        shown = {d.id for d in prompt.documents if d.role == "oracle"}
        assert shown == (set(question.oracles) if prompt.oracle_present else set())
        distracting = [d.id for d in prompt.documents if d.role == "distractor"]
        assert len(distracting) == 2 and not set(distracting) & set(question.oracles)
        assert (prompt.name, prompt.oracle_id, prompt.further_oracle_ids) == (
            question.name,
            question.relevant_passage_id,
            question.further_passage_ids,
        )


def test_questions_that_share_a_second_gold_passage_stay_on_one_side(tmp_path: Path) -> None:
    shared = [QUESTIONS[0] | {"relevant_passage_id": ["abacus#1", "harp#1"]}, *QUESTIONS[1:]]
    passages, questions = load_folder(folder(tmp_path, shared))
    for seed in range(5):
        halves = split(passages, questions, Split(near_duplicate_threshold=1.0), seed)
        sides = [{q.name for q in half} for half in (halves.train, halves.eval)]
        assert any({"shelf-abacus", "shelf-harp"} <= side for side in sides)
        assert halves.leakage["shared_documents"] == 0


# --- headings ---------------------------------------------------------------------------------------------------------

HEADINGS = ("BELEGE", "ANTWORT")
QUOTES = [("p1", "Der Garten ist offen.")]


def terms(headings: tuple[str, str]) -> reading.Terms:
    return reading.Terms(reading.Ids.of(["p1"]), True, ("KEINE BELEGE",), headings)


def test_a_reply_under_other_headings_reads_as_under_the_usual_ones() -> None:
    text = format_reply(QUOTES, "Ja [p1].", HEADINGS)
    assert text.startswith("BELEGE:\n") and "\nANTWORT: " in text
    found = reading.parse(text, terms(HEADINGS))
    assert ([q.text for q in found.quotes], found.answer, found.citations, found.defects) == ([QUOTES[0][1]], "Ja [p1].", ["p1"], [])
    usual = reading.parse(format_reply(QUOTES, "Ja [p1]."), terms(("EVIDENCE", "ANSWER")))
    assert (usual.answer, usual.citations) == (found.answer, found.citations)


@pytest.mark.parametrize(
    "text", ['**Belege:**\n[p1] "Der Garten ist offen."\n**Antwort:** Ja.', 'BELEGE\n[p1] "Der Garten ist offen." ANTWORT: Ja.']
)
def test_decorated_headings_and_one_within_a_line_are_found(text: str) -> None:
    found = reading.parse(text, terms(HEADINGS))
    assert (len(found.quotes), found.answer) == (1, "Ja.")


def test_the_usual_headings_are_text_where_others_are_asked_for() -> None:
    assert "no_evidence_section" in reading.parse(format_reply(QUOTES, "Ja."), terms(HEADINGS)).defects
    assert reading.parse("ANTWORT: KEINE BELEGE", terms(HEADINGS)).refusal


def test_prompts_demonstrations_and_reading_follow_the_configured_headings(tmp_path: Path) -> None:
    passages, questions = load_folder(folder(tmp_path))
    contract = Contract(evidence_heading="SOURCES USED", answer_heading="REPLY", demonstration=True)
    (prompt, *_), _ = build_prompts("clean", Condition(), contract, passages, questions, 0, TEMPLATES)
    told = "\n".join(m.content for m in prompt.messages)
    assert "SOURCES USED:\n" in told and "REPLY: " in told and "EVIDENCE:" not in told and "ANSWER:" not in told
    assert reading.Terms.of(prompt).headings == ("SOURCES USED", "REPLY")
    text = f'SOURCES USED:\n[{prompt.oracle_id}] "kept in the hall"\nREPLY: There.'
    assert reading.parse(text, reading.Terms.of(prompt)).answer == "There."


@pytest.mark.parametrize("heading", ["", "EVI:DENCE", "[x]", "A\nB", "9", "x" * 41, "-"])
def test_what_cannot_be_a_heading_is_refused(heading: str) -> None:
    with pytest.raises(CardproofError, match="heading"):
        configuration.validate({"contract": {"evidence_heading": heading}})


def test_two_headings_alike_are_refused() -> None:
    with pytest.raises(CardproofError, match="could not be told"):
        configuration.validate({"contract": {"evidence_heading": "Answer"}})
    assert Config().contract.headings == ("EVIDENCE", "ANSWER")
