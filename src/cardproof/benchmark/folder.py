"""The benchmark: passages and the questions on them, embedded (licence texts) or from a folder, checked before anything uses them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cardproof.errors import CardproofError, did_you_mean
from cardproof.files import read_rows, sha256_file, write_rows
from cardproof.records import Passage, Question

Rows = tuple[list[Passage], list[Question]]
"""A benchmark: its passages, and the questions on them."""


MAX_TEXT = 200_000
"""Longest text of a passage or question in characters. A model is shown passages whole, and no context holds more."""


# --- a folder ---------------------------------------------------------------------------------------------------------


def load_folder(folder: Path, pins: Mapping[str, str | None] | None = None) -> Rows:
    """A benchmark from a folder in the format of Legal RAG Bench.

    Questions: `qa.jsonl` or `questions.jsonl`. Corpus: `corpus.jsonl`, or the one other `corpus*.jsonl`. `pins`: file name -> sha256;
    a file without one is not checked. CardproofError names file, line or id, and field of the first thing wrong.
    """
    if not folder.is_dir():
        raise CardproofError(f"{folder} is no folder.", "give the folder that holds the corpus and the questions.")
    corpus = _find(folder, ("corpus.jsonl",), "corpus*.jsonl", "the corpus")
    asked = _find(folder, ("qa.jsonl", "questions.jsonl"), "q*.jsonl", "the questions")
    for file in (corpus, asked):
        expected = (pins or {}).get(file.name)
        if expected:
            check_sha256(file, expected)
    return read(corpus, asked)


def read(corpus: Path, questions: Path) -> Rows:
    """A benchmark from its two files, checked (see `check`)."""
    benchmark = read_rows(corpus, Passage), read_rows(questions, Question)
    check(*benchmark, str(corpus), str(questions))
    return benchmark


def write(passages: Iterable[Passage], questions: Iterable[Question], corpus_path: Path, questions_path: Path) -> None:
    """Write a benchmark as its two files."""
    write_rows(corpus_path, passages)
    write_rows(questions_path, questions)


def check_sha256(path: Path, expected: str) -> None:
    """CardproofError, with both hashes, where a file's sha256 is not `expected`."""
    if not Path(path).is_file():
        raise CardproofError(f"{path} does not exist.", "check the path.")
    found = sha256_file(path)
    if found != expected.strip().casefold():
        raise CardproofError(
            f"{path} is not the pinned file: sha256 {found}, expected {expected}.",
            "fetch the pinned revision again, or change the pin if another file is meant.",
        )


def check(passages: list[Passage], questions: list[Question], corpus_name: str, questions_name: str | None = None) -> None:
    """CardproofError where ids repeat, a text is blank, a file is empty or a question's passage is not in the corpus.

    The names are those of the files, for the message.
    """
    asked = questions_name or corpus_name
    for rows, name, what in ((passages, corpus_name, "passage"), (questions, asked, "question")):
        if not rows:
            raise CardproofError(f"{name} holds no {what}.", "the file is empty: check that it was fetched whole.")
    _check_rows(passages, corpus_name, "passage", ("text",))
    _check_rows(questions, asked, "question", ("question", "answer"))
    ids = {p.id for p in passages}
    for q in questions:
        if q.relevant_passage_id not in ids:
            raise CardproofError(
                f"{asked}, question {q.id}: field 'relevant_passage_id': {q.relevant_passage_id!r} is not in {corpus_name}.",
                did_you_mean(q.relevant_passage_id, ids, "corpus and questions must be of the same release."),
            )


def _check_rows(rows: Sequence[Passage | Question], name: str, what: str, texts: tuple[str, ...]) -> None:
    seen: dict[str | int, int] = {}
    for number, row in enumerate(rows, 1):
        if row.id in seen:
            raise CardproofError(
                f"{name}: field 'id': {row.id!r} stands in {what} {seen[row.id]} and again in {what} {number}.", "ids must be unique."
            )
        seen[row.id] = number
        for field in texts:
            text, where = str(getattr(row, field)), f"{name}, {what} {row.id!r}: field {field!r}"
            if not text.strip():
                raise CardproofError(f"{where} is blank.", "give it a text, or leave the row out.")
            if len(text) > MAX_TEXT:
                hint = "cut the document into passages: a model is shown a passage whole."
                raise CardproofError(f"{where} has {len(text):,} characters; at most {MAX_TEXT:,} are allowed.", hint)
            if "\0" in text:
                hint = "remove it: no tokenizer keeps it, so no reply could quote it."
                raise CardproofError(f"{where}: character {text.index(chr(0)) + 1} is the control character U+0000.", hint)


def _find(folder: Path, names: tuple[str, ...], pattern: str, what: str) -> Path:
    """The file of a folder that has one of the names, or is the only one that matches `pattern`."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    matches = sorted(folder.glob(pattern))
    if len(matches) == 1:
        return matches[0]
    several = f": {', '.join(p.name for p in matches)}" if matches else ""
    raise CardproofError(
        f"{folder} has {len(matches) or 'no'} files that may be {what}{several}.",
        f"name the right one {' or '.join(names)}.",
    )
