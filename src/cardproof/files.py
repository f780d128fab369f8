"""Reading and writing the files of a run: typed, atomic, and exact about what is wrong with a row."""

from __future__ import annotations

import fcntl
import glob
import hashlib
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from cardproof import outside
from cardproof.errors import CardproofError, of_validation, unwritable

R = TypeVar("R", bound=BaseModel)

TEMPORARY = ".tmp"
AGAIN = "delete it and run the step that makes it again."
ONCE = "give each key once: of two values, readers take either."


def sha256_text(text: str) -> str:
    """Hex sha256 of a text in UTF-8."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def sha256_bytes(content: bytes) -> str:
    """Hex sha256 of some bytes."""
    return hashlib.sha256(content).hexdigest()


def seeded_hash(seed: int, *parts: object) -> str:
    """Hex sha256 of a seed and the thing it is for. Sorting by it draws at random, but the same way everywhere.

    Unlike a draw from a random generator, it depends on neither the order of the input nor the Python version.
    """
    return sha256_text("|".join(map(str, (seed, *parts))))


def sha256_file(path: Path) -> str:
    """Hex sha256 of a plain file's bytes, read in blocks; CardproofError as `outside.opened`."""
    with outside.opened(path) as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists: where a disk's free space is asked for."""
    return next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path that replaces `path` when the block ends without an error, so that no reader ever sees half a file.

    First, temporary files that a killed writer of the same `path` left behind are removed: their lock ended with the writer.
    """
    path = Path(path)
    tmp = None
    held = -1
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_orphans(path)
        held, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=TEMPORARY)
        tmp = Path(name)
        with suppress(OSError):  # a file system without locks: no other writer removes the file then
            fcntl.flock(held, fcntl.LOCK_EX)
        yield tmp
        umask = os.umask(0)
        os.umask(umask)
        tmp.chmod(0o666 & ~umask)
        tmp.replace(path)
    except Exception as e:
        cause = e if isinstance(e, OSError) and e.errno is not None else unwritable(e)
        # The error of a full disk names no file, and the name of the temporary file means nothing to a reader.
        if cause and (cause.filename is None or str(cause.filename) == str(tmp) or Path(str(cause.filename)).name.startswith(".")):
            raise OSError(cause.errno, cause.strerror, str(path)) from e
        raise
    finally:
        if tmp is not None:
            tmp.unlink(missing_ok=True)
            os.close(held)


def _remove_orphans(path: Path) -> None:
    """Remove the temporary files of `path` whose writer has ended."""
    for orphan in path.parent.glob(f".{glob.escape(path.name)}.*{TEMPORARY}"):
        with suppress(OSError), open(orphan, "rb") as f:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            orphan.unlink()


@contextmanager
def nothing_partial(out: Path) -> Iterator[None]:
    """If the block fails, remove `.NAME.partial` beside the folder `out`, and name files of `out` in the error, not partial ones."""
    partial = out.with_name(f".{out.name}.partial")
    try:
        yield
    except Exception as e:
        shutil.rmtree(partial, ignore_errors=True)
        cause = unwritable(e)
        name = str((cause.filename2 or cause.filename) if cause else "")
        if cause and (not name or Path(name).is_relative_to(partial)):
            raise OSError(cause.errno, cause.strerror, str(out / Path(name).relative_to(partial) if name else out)) from e
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, UTF-8, `\\n` line ends."""
    with atomic(path) as tmp:
        tmp.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: with an indent of two, keys in their order, and no non-finite numbers (ValueError)."""
    write_text(path, json.dumps(plain(value), ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """A value with every pydantic model in it as plain JSON types."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


def read_json(path: Path, hint: str = AGAIN, most: int = outside.MOST_JSON, constants: bool = False) -> Any:
    """Read a JSON file; CardproofError if it is missing, broken, or larger or deeper than the limits in `outside`.

    `constants`: let NaN and infinity pass, where the reader's own check names the field that has them.
    """
    try:
        return parse_json(outside.read_bytes(Path(path), most), str(path), hint, _CONSTANTS if constants else _JSON)
    except FileNotFoundError:
        raise CardproofError(f"{path} does not exist.", "run the step that makes it, or check the path.") from None


def parse_json(raw: bytes, where: str, hint: str = AGAIN, decoder: json.JSONDecoder | None = None) -> Any:
    """The value of a JSON text in UTF-8; CardproofError, beginning with `where`, names what is wrong, and a repeated key with its line.

    Stricter than Python: no key twice in an object, no NaN or infinity, no half characters, no endless numbers, no endless nesting.
    """
    try:
        value = (decoder or _JSON).decode(raw.decode("utf-8-sig"))
        if b"\\u" in raw:
            json.dumps(value, ensure_ascii=False).encode()
    except RepeatedKey as e:
        raise CardproofError(f"{where}, line {_line_of_repeated(raw.decode('utf-8-sig'))}: {e}.", ONCE) from None
    except UnicodeEncodeError as e:
        raise CardproofError(f"{where} is not valid JSON: it has half of a character, {e.object[e.start]!r}.", hint) from None
    except (ValueError, RecursionError) as e:
        raise CardproofError(f"{where} is not valid JSON: {e}.", hint) from None
    _check_depth(value, where, hint)
    return value


class RepeatedKey(ValueError):
    """One key twice in a JSON object. Plain JSON readers silently take the last value."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise RepeatedKey(f"the key {twice!r:.80} is given twice in one object")
    return found


def _whole(digits: str) -> int:
    if len(digits) > outside.MOST_DIGITS:
        raise ValueError(f"a number has {len(digits):,} digits")
    return int(digits)


def _of_row(digits: str) -> int:
    """A whole number of a row: tables have columns of 64 bits."""
    number = _whole(digits)
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"the number {digits} has more than 64 bits")
    return number


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"the number {text:.40} is too large")
    return number


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not a JSON value")


_JSON = json.JSONDecoder(object_pairs_hook=_pairs, parse_int=_whole, parse_float=_finite, parse_constant=_no_constant)
_CONSTANTS = json.JSONDecoder(object_pairs_hook=_pairs, parse_int=_whole)
_ROW = json.JSONDecoder(object_pairs_hook=_pairs, parse_int=_of_row, parse_float=_finite, parse_constant=_no_constant)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]')
_COLON = re.compile(r"\s*:")


def _line_of_repeated(text: str) -> int:
    """The line of the first key that its object has already; `text` is valid JSON that has one."""
    open_objects: list[set[str] | None] = []
    for token in _TOKEN.finditer(text):
        if token[0] in "{[":
            open_objects.append(set() if token[0] == "{" else None)
        elif token[0] in "}]":
            open_objects.pop()
        elif (keys := open_objects[-1] if open_objects else None) is not None and _COLON.match(text, token.end()):
            if (key := json.loads(token[0])) in keys:
                return text.count("\n", 0, token.start()) + 1
            keys.add(key)
    raise AssertionError("no key is repeated")


def _check_depth(value: Any, where: str, hint: str) -> None:
    level, depth = [value], 0
    while level := [
        part for node in level if isinstance(node, dict | list) for part in (node.values() if isinstance(node, dict) else node)
    ]:
        depth += 1
        if depth > outside.MOST_DEPTH:
            raise CardproofError(f"{where} is not valid JSON: it is nested more than {outside.MOST_DEPTH} deep.", hint)


def write_rows(path: Path, rows: Iterable[BaseModel]) -> int:
    """Write rows as JSON Lines, atomically; returns their number."""
    n = 0
    with atomic(path) as tmp, open(tmp, "w", encoding="utf-8", newline="\n") as f:
        for row in rows:
            f.write(row.model_dump_json() + "\n")
            n += 1
    return n


def read_rows(path: Path, kind: type[R]) -> list[R]:
    """Read JSON Lines as rows of `kind`; CardproofError names file, line and field of the first bad row."""
    return list(iter_rows(path, kind))


def iter_rows(path: Path, kind: type[R]) -> Iterator[R]:
    """Like `read_rows`, but one row at a time."""
    try:
        f = outside.opened(path, outside.MOST_ROWS_BYTES)
    except FileNotFoundError:
        raise CardproofError(f"{path} does not exist.", "run the step that makes it, or check the path.") from None
    with f:
        for number, raw in enumerate(outside.lines(f, path), 1):
            if not raw.isspace():
                yield parse_row(raw, kind, path, number)


def parse_row(raw: bytes, kind: type[R], path: Path, number: int) -> R:
    """Line `number` of a file of JSON Lines as a row; CardproofError names the file, the line, the field and its value."""
    try:
        row = kind.model_validate_json(raw)
        _ROW.decode(raw.decode("utf-8"))
    except (ValueError, RecursionError) as e:
        raise _explained(e, raw, kind, f"{path}, line {number}") from None
    return row


def _explained(error: Exception, raw: bytes, kind: type[R], where: str) -> CardproofError:
    """What is wrong with a line that is not a row."""
    if raw.startswith(b"\xef\xbb\xbf"):
        return CardproofError(f"{where}: starts with a byte order mark.", "save the file as UTF-8 without BOM.")
    if packed := next((name for begin, name in PACKED.items() if raw.startswith(begin)), None):
        return CardproofError(f"{where}: this is a {packed} file, not JSON Lines.", "unpack or convert it: one JSON object a line.")
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as e:
        return CardproofError(f"{where}: byte {e.start + 1} is not valid UTF-8.", "save the file as UTF-8.")
    has = f"a {kind.__name__} row has: {', '.join(kind.model_fields)}."
    if isinstance(error, ValidationError):
        return of_validation(error, where, kind, noun="field", hint=has)
    if isinstance(error, RepeatedKey):
        return CardproofError(f"{where}: {error}.", ONCE)
    return CardproofError(f"{where} is not valid JSON: {error}.", has)


PACKED = {b"PAR1": "Parquet", b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
"""First bytes of files that are given where rows are expected, by name."""


K = TypeVar("K")


V = TypeVar("V")


class InStep(Generic[K, V]):
    """Rows by key, read from a file only as far as needed. If keys come in the order of the file, one row at a time is in memory.

    Any other order works as well; then the rows that were skipped stay in memory until their turn.
    """

    def __init__(self, rows: Iterator[V], key: Callable[[V], K]) -> None:
        self._rows = chain(list(islice(rows, 1)), rows)  # a missing file is an error at once
        self._key = key
        self._passed: dict[K, V] = {}

    def take(self, key: K) -> V | None:
        """Take the row with that key out; None if the file has none."""
        if self._passed and (earlier := self._passed.pop(key, None)) is not None:
            return earlier
        for row in self._rows:
            if (of := self._key(row)) == key:
                return row
            self._passed[of] = row
        return None

    def finish(self) -> list[K]:
        """Read the rest, so that a broken row is an error wherever it is; returns the keys of the rows that nobody took."""
        return [*self._passed, *map(self._key, self._rows)]
