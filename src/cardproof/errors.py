"""The one exception that a user reads, and errors of other libraries turned into it: a sentence that names the place, and a hint."""

from __future__ import annotations

import difflib
import errno
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

if TYPE_CHECKING:
    from jinja2 import TemplateError
    from pydantic import BaseModel, ValidationError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)
LONGEST = 2_000
"""Longest sentence in characters."""


class CardproofError(Exception):
    """Bad input: one sentence and a hint. The command line prints both and exits with `exit_code`."""

    exit_code = 2

    def __init__(self, sentence: str, hint: str) -> None:
        self.sentence, self.hint = shown(sentence), shown(hint)
        super().__init__(self.sentence)

    def __str__(self) -> str:
        return f"{self.sentence}\nHint: {self.hint}"


def shown(text: str) -> str:
    """A text from outside on one line of a terminal: what is not printable is written by its number, and the middle of a long one left out.

    A file's name or a value may have line ends, sequences that move the cursor, or characters that turn the direction of writing.
    """
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    if text.isprintable():
        return text
    return "".join(ch if ch.isprintable() else repr(ch)[1:-1] if ch != "\xa0" else ch for ch in text)


def brief(error: BaseException, most: int = 200) -> str:
    """Kind and message of another library's exception, on one line and at most that long."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:most]


class InvalidValue(ValueError):
    """What a validator of a pydantic model raises: a sentence without its place and full stop, and a hint; see `of_validation`."""

    def __init__(self, sentence: str, hint: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.hint = hint


# --- the system -------------------------------------------------------------------------------------------------------


def of_system(error: OSError) -> CardproofError:
    """An error of the operating system, with the file and what to do about it."""
    hint = "check the path."
    if error.errno in FULL:
        hint = "free space on that disk and run the same command again; finished work is kept."
    elif error.errno in CLOSED:
        hint = "check the path and its permissions, or work in another folder."
    # When a file is copied, the one that was written is the second.
    name = error.filename2 or error.filename or "a file"
    return CardproofError(f"{name}: {error.strerror or error}.", hint)


def unwritable(error: BaseException) -> OSError | None:
    """The full or closed disk behind an error of a library that writes files itself, or None for any other error."""
    if isinstance(error, CardproofError):
        return None
    if isinstance(error, OSError) and error.errno is not None:
        return error if error.errno in (*FULL, *CLOSED) else None
    text = str(error)
    number = re.search(r"os error (\d+)|\[Errno (\d+)\]", text)
    code = int(number[1] or number[2]) if number else next((n for n in (*FULL, *CLOSED) if os.strerror(n) in text), None)
    # PyTorch reports only a short write.
    if code is None and isinstance(error, RuntimeError) and "inline_container" in text:
        code = errno.ENOSPC
    return OSError(code, os.strerror(code)) if code in (*FULL, *CLOSED) else None


# --- misspelt words ---------------------------------------------------------------------------------------------------


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word nearest to a misspelt one, or None if none is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return near[0] if near else None


def did_you_mean(word: object, known: Iterable[str], otherwise: str) -> str:
    """A hint that names the known word nearest to a misspelt one, or the hint `otherwise` if none is near."""
    near = nearest(str(word), known)
    return f"did you mean {near!r}?" if near else otherwise


# --- pydantic ---------------------------------------------------------------------------------------------------------


def of_validation(error: ValidationError, where: str, model: type[BaseModel], *, noun: str = "key", hint: str = "") -> CardproofError:
    """The first thing wrong with a value that does not fit `model`; `where` names its file or row, `noun` what its parts are called.

    `hint` is used if nothing better is known. Without it, the hint lists the parts of the model.
    """
    first = first_error(error)
    path = [str(part) for part in first["loc"]]
    name = ".".join(path)
    known = [key for m in models_at(model, path[:-1]) for key in m.model_fields]
    listed = f"known {noun}s: {', '.join(dict.fromkeys(known))}."
    if first["type"] == "json_invalid":
        cut = "a file or line must be one whole JSON value; if it is cut, its writer was interrupted."
        return CardproofError(f"{where} is not valid JSON ({first['ctx']['error']}).", cut)
    if first["type"] == "extra_forbidden":
        inside = f" in {'.'.join(path[:-1])!r}" if path[:-1] else ""
        return CardproofError(f"{where}: unknown {noun} {path[-1]!r}{inside}.", did_you_mean(path[-1], known, listed))
    if first["type"] == "missing":
        return CardproofError(f"{where}: the {noun} {name!r} is missing.", hint or listed)
    if first["type"] == "union_tag_invalid":
        tags = first["ctx"]["expected_tags"].replace("'", "").split(", ")
        tag = first["ctx"]["tag"]
        return CardproofError(f"{where}: the {name} {tag!r} is unknown.", did_you_mean(tag, tags, f"write one of {', '.join(tags)}."))
    place = f"the {noun} {name!r}: " if name else ""
    if first["type"] == "value_error":
        said = first["ctx"]["error"]
        if isinstance(said, InvalidValue):
            return CardproofError(f"{where}: {said.sentence}.", said.hint)
        return CardproofError(f"{where}: {place}{said}.", hint or listed)
    message = first["msg"][0].lower() + first["msg"][1:]
    return CardproofError(f"{where}: {place}{message}, found {_found(first['input'])}.", hint or listed)


def _found(value: object) -> str:
    """The beginning of a value as Python writes it."""
    try:
        return f"{value!r:.60}"
    except (ValueError, RecursionError):  # Python does not write numbers of thousands of digits
        return "a value too long to show"


def first_error(error: ValidationError) -> Any:
    """The error to report, as pydantic describes it: a misspelt key if any, because it explains a missing one; otherwise the first."""
    return min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")


def models_at(model: type[BaseModel], path: Iterable[str]) -> list[type[BaseModel]]:
    """The models that can be at a path into a value of `model`. Keys of mappings, indices and tags on the way are skipped."""
    models = [model]
    for part in path:
        below = [inner for m in models if part in m.model_fields for inner in _models_in(m.model_fields[part].annotation)]
        models = below or models
    return models


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that an annotation such as `dict[str, Model] | None` names."""
    if hasattr(annotation, "model_fields"):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


# --- Jinja ------------------------------------------------------------------------------------------------------------


def of_template(error: TemplateError, folder: Path, name: str, missing_hint: str) -> CardproofError:
    """What is wrong with the template `name` of a folder, or one that it includes; `missing_hint` is the hint if a value is missing."""
    import jinja2

    if isinstance(error, jinja2.TemplateNotFound):
        return CardproofError(f"{folder / str(error.name)} does not exist.", "give the folder with the templates.")
    if isinstance(error, jinja2.TemplateSyntaxError):
        return CardproofError(f"{folder / (error.name or name)}, line {error.lineno}: {error.message}.", "correct the template (Jinja2).")
    if isinstance(error, jinja2.UndefinedError):
        return CardproofError(f"{folder / name} asks for a value that it is not given: {error.message}.", missing_hint)
    return CardproofError(f"{folder / name} cannot be filled: {error}.", "correct the template (Jinja2).")
