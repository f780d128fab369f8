"""The verb that shows how a reply is read, on replies by hand and on the shared cases from the field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from cardproof.cli.main import cli
from helpers.places import SHARED

CASES = SHARED / "cases"
DOCUMENTS = [
    {"id": "A#1", "text": "A loan may be renewed *twice*, unless\nanother reader has reserved the book.", "title": "ignored"},
    {"id": "B#2", "text": "Lost books must be paid for."},
]
QUOTES = '[A#1] "A loan may be renewed twice, unless another reader"\n[A#1] "Lost books"\n[B#2] "Lost books"\n[C#9] "nothing \x1b[31m"'
REPLY = f"EVIDENCE:\n{QUOTES}\nANSWER: Twice [A#1; C#9], at [34]."


def ground(tmp_path: Path, reply: str, documents: list[dict[str, Any]], *options: str) -> Result:
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(d) + "\n" for d in documents), encoding="utf-8")
    (tmp_path / "r.txt").write_bytes(reply.encode())
    return CliRunner().invoke(cli, ["ground", "--reply", str(tmp_path / "r.txt"), "--documents", str(tmp_path / "d.jsonl"), *options])


def told(tmp_path: Path, reply: str, documents: list[dict[str, Any]], *options: str) -> dict[str, Any]:
    result = ground(tmp_path, reply, documents, "--format", "json", *options)
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def test_a_reply_as_json(tmp_path: Path) -> None:
    found = told(tmp_path, REPLY, DOCUMENTS)
    near = found["quotes"][0]
    assert {key: near[key] for key in ("cited", "kind", "steps", "document", "start", "end")} == {
        "cited": "A#1", "kind": "near_miss", "steps": ["whitespace", "markup"], "document": "A#1", "start": 0, "end": 52,
    }  # fmt: skip
    assert "".join(theirs for _, _, theirs in near["diff"]) == DOCUMENTS[0]["text"][0:52]
    assert [(q["kind"], q["document"], q["start"], q["end"]) for q in found["quotes"][1:]] == [
        ("misattributed", "B#2", 0, 10), ("strict", "B#2", 0, 10), ("fabricated", None, None, None),
    ]  # fmt: skip
    assert (found["citations"], found["citation_validity"], found["answer"]) == (
        ["A#1", "B#2", "C#9"], 0.0, "Twice [A#1; C#9], at [34].",
    )  # fmt: skip
    assert (found["refusal"], found["defects"]) == (False, [])


def test_a_reply_as_text_says_it_in_the_pages_words_and_obeys_no_control_character(tmp_path: Path) -> None:
    result = ground(tmp_path, REPLY, DOCUMENTS)
    assert result.exit_code == 0
    assert "1. near miss cites A#1; repaired by whitespace, markup; in A#1, characters 0 to 52" in result.stdout
    assert "A loan may be renewed {+*+}twice{+*+}, unless[-·-]{+⏎+}another reader" in result.stdout
    assert "nothing <U+001B>[31m" in result.stdout
    assert "C#9 (not shown)" in result.stdout
    assert "\x1b" not in result.stdout
    coloured = (
        CliRunner().invoke(cli, ["ground", "--reply", str(tmp_path / "r.txt"), "--documents", str(tmp_path / "d.jsonl")], color=True).stdout
    )
    assert click.style("misattributed", fg="magenta", bold=False) in coloured


def test_refusals_reasoning_and_free_form(tmp_path: Path) -> None:
    assert told(tmp_path, "ANSWER: INSUFFICIENT EVIDENCE", DOCUMENTS)["refusal"]
    assert told(tmp_path, "ANSWER: I cannot say.", DOCUMENTS, "--refusal", "I cannot say")["refusal"]
    draft = 'hm\nEVIDENCE:\n[A#1] "a draft"\nANSWER: perhaps [A#1]'
    assert [q["text"] for q in told(tmp_path, draft, DOCUMENTS)["quotes"]] == ["a draft"]
    cut = told(tmp_path, draft, DOCUMENTS, "--thinking")
    assert (cut["quotes"], cut["answer"], cut["citations"], "unfinished_reasoning" in cut["defects"]) == ([], "", [], True)
    done = told(tmp_path, f'{draft}</think>\nEVIDENCE:\n[B#2] "Lost books"\nANSWER: Pay [B#2].', DOCUMENTS, "--thinking")
    assert [q["text"] for q in done["quotes"]] == ["Lost books"]
    assert told(tmp_path, '[A#1] "A loan"', DOCUMENTS)["answer"] == ""
    assert told(tmp_path, '[A#1] "A loan"', DOCUMENTS, "--freeform")["answer"] == '[A#1] "A loan"'


def test_the_reply_may_come_from_standard_input(tmp_path: Path) -> None:
    ground(tmp_path, "", DOCUMENTS)
    result = CliRunner().invoke(
        cli, ["ground", "--reply", "-", "--documents", str(tmp_path / "d.jsonl"), "--format", "json"], input="ANSWER: Twice [A#1]."
    )
    assert json.loads(result.stdout)["citations"] == ["A#1"]


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        ([{"id": 3, "text": "x"}], "field 'id'"),
        ([{"id": "a", "text": "x"}] * 2, "row 2: field 'id': 'a' is given twice"),
        ([{"id": "a"}], "'text'"),
    ],
)
def test_bad_documents_are_named(tmp_path: Path, documents: list[dict[str, Any]], said: str) -> None:
    error = ground(tmp_path, "x", documents).exception
    assert said in str(error) and "d.jsonl" in str(error)


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases from the field are not here: set CARDPROOF_SHARED")
@pytest.mark.parametrize("file", ["grounding.jsonl", "replies.jsonl"])
def test_every_case_from_the_field_is_as_expected(tmp_path: Path, file: str, record_property) -> None:
    failed, count = [], 0
    for case in map(json.loads, (CASES / file).read_text(encoding="utf-8").rstrip("\n").split("\n")):
        count += 1
        if file == "grounding.jsonl":
            # A quote with quotation marks in it is given in curly ones.
            found = told(tmp_path, f"EVIDENCE:\n[d] “{case['quote']}”\nANSWER: Yes [d].", [{"id": "d", "text": case["text"]}])
            got = {"expect": found["quotes"][0]["kind"], "quote": found["quotes"][0]["text"]}
            good = got == {"expect": case["expect"], "quote": case["quote"]} and len(found["quotes"]) == 1
        else:
            expect = case["expect"]
            documents = [{"id": doc_id, "text": "a person must not"} for doc_id in case["provided"]]
            found = told(tmp_path, case["reply"], documents, *(["--thinking"] if expect.get("thinking") else []))
            got = {"citations": found["citations"], "valid": found["citation_validity"], "quotes": [q["text"] for q in found["quotes"]]}
            good = all(got[key] == value for key, value in expect.items() if key in got)
        if not good:
            failed.append((case["group"], case["note"], got))
    record_property(f"cases from the field, {file}", count)
    assert failed == []
