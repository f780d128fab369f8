"""The benchmark: passages and the questions on them, embedded (licence texts) or from a folder, checked before anything uses them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from importlib.resources import files
from pathlib import Path

from cardproof.benchmark.licences import MAX_WORDS, licence_passages
from cardproof.errors import CardproofError, nearest
from cardproof.files import read_json, read_rows, sha256_file, write_rows
from cardproof.records import Passage, Question

Benchmark = tuple[list[Passage], list[Question]]

REPEAT = 0.5
"""A licence passage is left out where this share of its word 8-grams stands in an earlier licence (AGPL repeats GPL, CC-BY-SA repeats
CC-BY): a quote from it could be found in two documents, and attribution would be a matter of luck."""


MAX_TEXT = 200_000
"""Longest text of a passage or question in characters. A model is shown passages whole, and no context holds more."""


def document_of(passage_id: str) -> str:
    """The document a passage belongs to: `7.3.2-c4-s2` -> `7.3.2`, `GPL-3.0-only#6.1` -> `GPL-3.0-only`, any other id -> itself."""
    if "#" in passage_id:
        return passage_id.split("#", 1)[0]
    return re.sub(r"-c\d+(?:-s\d+)?$", "", passage_id)


def fold(text: str) -> str:
    """A text for comparing: whitespace runs become one space, case is folded."""
    return " ".join(text.split()).casefold()


def word_ngrams(text: str, n: int) -> frozenset[tuple[str, ...]]:
    """The distinct word n-grams of a text, case folded, punctuation left out; a text shorter than n words is one n-gram."""
    words = re.findall(r"\w+", text.casefold())
    return frozenset(tuple(words[i : i + n]) for i in range(max(1, len(words) - n + 1))) if words else frozenset()


# --- embedded ---------------------------------------------------------------------------------------------------------


def load_embedded(max_words: int = MAX_WORDS) -> Benchmark:
    """The licence benchmark: passages of at most `max_words` words, and the project's own questions on them.

    Passage ids depend on `max_words`; a question follows its key phrases to the passage that holds them. CardproofError where
    passages are so short that no single one does.
    """
    passages = licence_passages(max_words)
    phrases = key_phrases()
    questions = [_follow(q, phrases[q.id], passages, max_words) for q in embedded_questions()]
    passages = drop_repeats(passages, keep={q.relevant_passage_id for q in questions})
    check(passages, questions, "the embedded benchmark")
    return passages, questions


def embedded_questions() -> list[Question]:
    """The project's own questions as stored, with passage ids for the default length."""
    return read_rows(Path(str(files("cardproof") / "data" / "licence_questions.jsonl")), Question)


def key_phrases() -> dict[int, list[str]]:
    """By question id: phrases the oracle passage must hold, compared after `fold`."""
    stored = read_json(Path(str(files("cardproof") / "data" / "licence_key_phrases.json")))
    return {int(id): phrases for id, phrases in stored.items()}


def drop_repeats(passages: list[Passage], keep: Set[str] = frozenset(), threshold: float = REPEAT, n: int = 8) -> list[Passage]:
    """The passages without those of which `threshold` or more of the word n-grams stand in an earlier document; ids in `keep` stay."""
    kept: list[Passage] = []
    earlier: set[tuple[str, ...]] = set()
    current: set[tuple[str, ...]] = set()
    document = None
    for p in passages:
        if document_of(p.id) != document:
            earlier |= current
            current, document = set(), document_of(p.id)
        grams = word_ngrams(p.text, n)
        current |= grams
        if p.id in keep or len(grams & earlier) < threshold * len(grams):
            kept.append(p)
    return kept


def _follow(question: Question, phrases: list[str], passages: list[Passage], max_words: int) -> Question:
    document = document_of(question.relevant_passage_id)
    holds = [p.id for p in passages if document_of(p.id) == document and all(fold(x) in fold(p.text) for x in phrases)]
    if not holds:
        raise CardproofError(
            f"With max_words {max_words}, no passage of {document} holds all that question {question.id} needs.",
            f"use {MAX_WORDS} or more: every question is answerable there.",
        )
    oracle = question.relevant_passage_id if question.relevant_passage_id in holds else holds[0]
    return question.model_copy(update={"relevant_passage_id": oracle})


# --- a folder ---------------------------------------------------------------------------------------------------------


def load_folder(
    folder: Path,
    corpus_file: str | None = None,
    questions_file: str | None = None,
    pins: Mapping[str, str | None] | None = None,
) -> Benchmark:
    """A benchmark from a folder in the format of Legal RAG Bench.

    Questions: `qa.jsonl` or `questions.jsonl`. Corpus: `corpus.jsonl`, or the one other `corpus*.jsonl`. `pins`: file name -> sha256;
    a file without one is not checked. CardproofError names file, line or id, and field of the first thing wrong.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CardproofError(f"{folder} is no folder.", "give the folder that holds the corpus and the questions.")
    corpus = _find(folder, corpus_file, ("corpus.jsonl",), "corpus*.jsonl", "the corpus")
    asked = _find(folder, questions_file, ("qa.jsonl", "questions.jsonl"), "q*.jsonl", "the questions")
    for file in (corpus, asked):
        expected = (pins or {}).get(file.name)
        if expected:
            check_sha256(file, expected)
    return read(corpus, asked)


def read(corpus: Path, questions: Path) -> Benchmark:
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
            near = nearest(q.relevant_passage_id, ids)
            raise CardproofError(
                f"{asked}, question {q.id}: field 'relevant_passage_id': {q.relevant_passage_id!r} is not in {corpus_name}.",
                f"did you mean {near!r}?" if near else "corpus and questions must be of the same release.",
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


def _find(folder: Path, name: str | None, known: tuple[str, ...], pattern: str, what: str) -> Path:
    """The file of a folder that is named, or is known, or is the only one that matches `pattern`."""
    if name is not None:
        if not (folder / name).is_file():
            near = nearest(name, [p.name for p in folder.iterdir()])
            raise CardproofError(f"{folder / name} does not exist.", f"did you mean {near!r}?" if near else f"the folder must hold {what}.")
        return folder / name
    for k in known:
        if (folder / k).is_file():
            return folder / k
    found = sorted(folder.glob(pattern))
    if len(found) == 1:
        return found[0]
    several = f": {', '.join(p.name for p in found)}" if found else ""
    raise CardproofError(
        f"{folder} holds {len(found) or 'no'} files that may be {what}{several}.",
        f"name one; expected {' or '.join(known)}.",
    )
