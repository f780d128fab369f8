"""A benchmark in files: its passages and the questions on them, checked before anything uses them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pydantic import ValidationError, model_validator

from cardproof.benchmark.parts import Parts, names_in, parts_of
from cardproof.benchmark.tables import PASSAGES, QUESTIONS, Column, table_rows
from cardproof.contract.ids import same, unfit
from cardproof.errors import CardproofError, did_you_mean, of_validation
from cardproof.files import read_rows, sha256_file, write_rows
from cardproof.records import Passage, Question, Row

R = TypeVar("R", Passage, Question)
M = TypeVar("M", bound=Row)
Rows = tuple[list[Passage], list[Question]]
"""A benchmark: its passages, and the questions on them."""


WHOLE = re.compile(r"\s*[+-]?\d+\s*")
"""A text that is read as a number."""
MAX_NAME = 200
"""Longest id of a question, in characters."""
MOST_ORACLES = 20
"""Most gold passages of a question: a prompt shows them all."""
MAX_TEXT = 200_000
"""Longest text of a passage or question, in characters. Prompts show passages whole, and no model's context is larger."""


def load_folder(
    folder: Path, pins: Mapping[str, str | None] | None = None, corpus: str | None = None, questions: str | None = None
) -> Rows:
    """A benchmark from a folder, in JSON Lines, Parquet or CSV with the columns of Legal RAG Bench.

    See `parts.parts_of` for the names of the files, and what `corpus` and `questions` choose. `pins`: file name -> sha256; a part without
    pins is not checked. CardproofError names file, line or id, and field of the first fault.
    """
    found = parts_of(names_in(folder), str(folder), corpus, questions)
    if missing := unmatched(found.names, pins or {}):
        # A run is said to have used the files that it pins, so it must not read others in their place.
        raise CardproofError(
            f"{folder}: {missing[0]} is pinned (benchmark.sha256) but not there; read are {', '.join(found.names)}.",
            f"set benchmark.sha256.{missing[0]} to null, and pin the files that are read.",
        )
    check_whole(found, pins or {}, str(folder))
    for name in found.names:
        if expected := pin_of(name, pins or {}):
            check_sha256(folder / name, expected)
    return read_parts([folder / name for name in found.corpus], [folder / name for name in found.questions])


def pin_of(name: str, pins: Mapping[str, str | None]) -> str | None:
    """The sha256 that is expected of a file: by its path, else by its name alone."""
    return pins.get(name) or pins.get(PurePosixPath(name).name)


def unmatched(names: Sequence[str], pins: Mapping[str, str | None]) -> list[str]:
    """The pinned files that are not among those that are read."""
    found = {*names, *(PurePosixPath(name).name for name in names)}
    return [pinned for pinned, digest in pins.items() if digest and pinned not in found]


def check_whole(parts: Parts, pins: Mapping[str, str | None], where: str) -> None:
    """CardproofError if only some files of a part are pinned: with rows of others, the data are not those that the pins stand for."""
    for names in (parts.corpus, parts.questions):
        free = [name for name in names if not pin_of(name, pins)]
        if free and len(free) < len(names):
            pinned = next(name for name in names if name not in free)
            raise CardproofError(
                f"{where}: {free[0]} is read as well as {pinned}, which is pinned (benchmark.sha256), but is not pinned itself.",
                f"pin it, set the pin of {PurePosixPath(pinned).name} to null, or choose by benchmark.corpus and benchmark.questions.",
            )


def read(corpus: Path, questions: Path) -> Rows:
    """A benchmark from its two files, checked (see `check`). Passage ids are brought to NFC, in which models write them."""
    return read_parts([corpus], [questions])


def read_parts(corpus: Sequence[Path], questions: Sequence[Path]) -> Rows:
    """The same where each part may be in several files."""
    given = _rows(corpus, Passage, PASSAGES)
    in_corpus, in_questions = _called(corpus), _called(questions)
    _check_alike(given, in_corpus)
    passages = [_composed(p, "id") for p in given]
    asked = [_cited_in_nfc(q) for q in _numbered(_rows(questions, GivenQuestion, QUESTIONS))]
    check(passages, asked, in_corpus, in_questions)
    return passages, asked


def _called(files: Sequence[Path]) -> str:
    """The files of one part in words."""
    return str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"


def _rows(files: Sequence[Path], kind: type[M], columns: Mapping[str, Column]) -> list[M]:
    """The rows of all files, in order: JSON Lines exactly, the tables through `datasets`."""
    rows: list[M] = []
    for path in files:
        if path.suffix not in (".parquet", ".csv"):
            rows += read_rows(path, kind)
            continue
        for number, row in enumerate(table_rows(path, columns), 1):
            try:
                rows.append(kind.model_validate(row))
            except ValidationError as e:
                raise of_validation(e, f"{path}, row {number}", kind, noun="field") from None
    return rows


class GivenQuestion(Question):
    """A question as data may have it: with a text for an id, and with a list of gold passages."""

    @model_validator(mode="before")
    @classmethod
    def _as_given(cls, row: Any) -> Any:
        if not isinstance(row, dict):
            return row
        gold, name = row.get("relevant_passage_id"), row.get("id")
        if isinstance(gold, list) and gold:
            row = {**row, "relevant_passage_id": gold[0], "further_passage_ids": gold[1:]}
        if isinstance(name, str) and name.strip() and not WHOLE.fullmatch(name):
            row = {**row, "id": 0, "name": name}
        return row


def _numbered(rows: Sequence[GivenQuestion]) -> list[Question]:
    """Questions with numbers for ids: where any has a text, all are numbered from 1 on, and keep what they were called as `name`."""
    plain = [Question.model_validate(row.model_dump()) for row in rows]
    if all(q.name is None for q in plain):
        return plain
    names = [q.name or str(q.id) for q in plain]
    return [q.model_copy(update={"id": number, "name": name}) for number, (q, name) in enumerate(zip(plain, names, strict=True), 1)]


def _cited_in_nfc(question: Question) -> Question:
    composed = [unicodedata.normalize("NFC", id) for id in question.oracles]
    return question.model_copy(update={"relevant_passage_id": composed[0], "further_passage_ids": composed[1:]})


def _composed(row: R, field: str) -> R:
    """A row with one field in NFC."""
    text = getattr(row, field)
    composed = unicodedata.normalize("NFC", text)
    return row if composed == text else row.model_copy(update={field: composed})


def write(passages: Iterable[Passage], questions: Iterable[Question], corpus_path: Path, questions_path: Path) -> None:
    """Write a benchmark as its two files."""
    write_rows(corpus_path, passages)
    write_rows(questions_path, questions)


def check_sha256(path: Path, expected: str) -> None:
    """CardproofError, with both hashes, if a file's sha256 is not `expected`."""
    if not Path(path).exists():
        raise CardproofError(f"{path} does not exist.", "check the path.")
    actual = sha256_file(path)
    if actual != expected.strip().casefold():
        raise CardproofError(
            f"{path} is not the pinned file: sha256 {actual}, expected {expected}.",
            "fetch the pinned revision again, or change the pin if you mean another file.",
        )


def check(passages: list[Passage], questions: list[Question], corpus_name: str, questions_name: str | None = None) -> None:
    """CardproofError if ids repeat or cannot be cited, a text is blank, a file is empty or a question's passage is not in the corpus.

    The message uses the names, which are those of the files.
    """
    asked = questions_name or corpus_name
    for rows, name, what in ((passages, corpus_name, "passage"), (questions, asked, "question")):
        if not rows:
            raise CardproofError(f"{name} has no {what}.", "the file is empty: check that it was fetched completely.")
    _check_rows(passages, corpus_name, "passage", ("text",))
    _check_rows(questions, asked, "question", ("question", "answer"))
    for number, p in enumerate(passages, 1):
        if why := unfit(p.id):
            hint = "give the passage another id, such as `p1`: replies cite documents as [id]."
            raise CardproofError(f"{corpus_name}, passage {number}: field 'id': {p.id!r} {why}.", hint)
    for q in questions:
        if not any(ch.isalnum() for ch in q.answer):
            hint = "an answer is compared with it word by word."
            raise CardproofError(f"{asked}, question {q.called}: field 'answer': {q.answer!r:.80} has no letter or digit.", hint)
    ids = {p.id for p in passages}
    for q in questions:
        where = f"{asked}, question {q.called}: field 'relevant_passage_id': "
        for number, gold in enumerate(q.oracles):
            if gold not in ids:
                hint = did_you_mean(gold, ids, "take corpus and questions of the same release.")
                raise CardproofError(f"{where}{gold!r} is not in {corpus_name}.", hint)
            if gold in q.oracles[:number]:
                raise CardproofError(f"{where}{gold!r} is named twice.", "name each passage that the answer needs once.")
        if len(q.oracles) > MOST_ORACLES:
            hint = "name the passages that the answer needs: all of them are shown together."
            raise CardproofError(f"{where}{len(q.oracles)} passages; at most {MOST_ORACLES} are allowed.", hint)
        if q.name is not None and len(q.name) > MAX_NAME:
            raise CardproofError(f"{asked}: field 'id': {len(q.name)} characters.", f"give ids of at most {MAX_NAME} characters.")


def _check_alike(passages: Sequence[Passage], name: str) -> None:
    """Refuse ids that differ in their Unicode form alone: a reply that cites one of them could mean either."""
    seen: dict[str, int] = {}
    for number, p in enumerate(passages, 1):
        before = seen.setdefault(same(p.id), number)
        if before != number and passages[before - 1].id != p.id:
            found = f"{passages[before - 1].id!a} in passage {before} and {p.id!a} in passage {number}"
            raise CardproofError(f"{name}: field 'id': {found} are the same after Unicode normalisation (NFKC).", "give each its own id.")


def _check_rows(rows: Sequence[Passage | Question], name: str, what: str, texts: tuple[str, ...]) -> None:
    seen: dict[str | int, int] = {}
    for number, row in enumerate(rows, 1):
        id = row.id if isinstance(row, Passage) or row.name is None else row.name
        if id in seen:
            raise CardproofError(f"{name}: field 'id': {id!r} is in {what} {seen[id]} and again in {what} {number}.", "ids must be unique.")
        seen[id] = number
        for field in texts:
            text, where = str(getattr(row, field)), f"{name}, {what} {id!r}: field {field!r}"
            if not text.strip():
                raise CardproofError(f"{where} is blank.", "give it a text, or leave the row out.")
            if len(text) > MAX_TEXT:
                hint = "cut the document into passages: prompts show a passage whole."
                raise CardproofError(f"{where} has {len(text):,} characters; at most {MAX_TEXT:,} are allowed.", hint)
            if "\0" in text:
                hint = "remove it: no tokenizer keeps it, so no reply could quote it."
                raise CardproofError(f"{where}: character {text.index(chr(0)) + 1} is the control character U+0000.", hint)
