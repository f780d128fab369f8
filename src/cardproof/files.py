"""Reading and writing the files of a run: typed, atomic, and exact about what is wrong with a row."""

from __future__ import annotations

import fcntl
import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from cardproof.errors import CardproofError, of_validation, unwritable

R = TypeVar("R", bound=BaseModel)

TEMPORARY = ".tmp"


def sha256_text(text: str) -> str:
    """Hex sha256 of a text in UTF-8."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def seeded_hash(seed: int, *parts: object) -> str:
    """Hex sha256 of a seed and what it is for. Sorting by it draws at random, and the same way everywhere.

    Unlike a draw from a random generator it depends neither on the order of the input nor on the Python version.
    """
    return sha256_text("|".join(map(str, (seed, *parts))))


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes, read in blocks."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it only when the block ends well, so no reader ever sees half a file.

    Temporary files that a killed writer of the same `path` left are taken away first: the lock on them ended with their writer.
    """
    path = Path(path)
    tmp = None
    held = -1
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _take_away_orphans(path)
        held, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=TEMPORARY)
        tmp = Path(name)
        with suppress(OSError):  # a file system without locks: the file is then nobody's orphan
            fcntl.flock(held, fcntl.LOCK_EX)
        yield tmp
        umask = os.umask(0)
        os.umask(umask)
        tmp.chmod(0o666 & ~umask)
        tmp.replace(path)
    except Exception as e:
        found = e if isinstance(e, OSError) and e.errno is not None else unwritable(e)
        # A full disk names no file, and the temporary one means nothing to a reader.
        if found and (found.filename is None or str(found.filename) == str(tmp) or Path(str(found.filename)).name.startswith(".")):
            raise OSError(found.errno, found.strerror, str(path)) from e
        raise
    finally:
        if tmp is not None:
            tmp.unlink(missing_ok=True)
            os.close(held)


def _take_away_orphans(path: Path) -> None:
    """Remove the temporary files of `path` whose writer no longer lives."""
    for orphan in path.parent.glob(f".{glob.escape(path.name)}.*{TEMPORARY}"):
        with suppress(OSError), open(orphan, "rb") as f:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            orphan.unlink()


@contextmanager
def nothing_partial(out: Path) -> Iterator[None]:
    """Take away what a step that fails has put into `.NAME.partial` beside the folder `out`, and name the folder's files, not those."""
    partial = out.with_name(f".{out.name}.partial")
    try:
        yield
    except Exception as e:
        shutil.rmtree(partial, ignore_errors=True)
        found = unwritable(e)
        name = str((found.filename2 or found.filename) if found else "")
        if found and (not name or Path(name).is_relative_to(partial)):
            raise OSError(found.errno, found.strerror, str(out / Path(name).relative_to(partial) if name else out)) from e
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, UTF-8, `\\n` line ends."""
    with atomic(path) as tmp:
        tmp.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: two-space indent, keys in the order given, non-finite numbers refused."""
    write_text(path, json.dumps(plain(value), ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """A value with every pydantic model in it turned into plain JSON types."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


def read_json(path: Path) -> Any:
    """Read a JSON file; CardproofError where it is missing or broken."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CardproofError(f"{path} does not exist.", "run the step that makes it, or check the path.") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as e:
        raise CardproofError(f"{path} is not valid JSON: {e}.", "delete it and run the step that makes it again.") from None


def write_rows(path: Path, rows: Iterable[BaseModel]) -> int:
    """Write rows as JSON Lines, atomically; returns how many."""
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
    """`read_rows`, one at a time."""
    try:
        f = open(path, "rb")  # noqa: SIM115
    except FileNotFoundError:
        raise CardproofError(f"{path} does not exist.", "run the step that makes it, or check the path.") from None
    with f:
        for number, raw in enumerate(f, 1):
            if raw.isspace():
                continue
            try:
                row = kind.model_validate_json(raw)
            except ValidationError:
                row = parse_row(raw, kind, f"{path}, line {number}")  # says what is wrong
            yield row


def parse_row(raw: bytes, kind: type[R], where: str) -> R:
    """One JSON line as a row; CardproofError says `where`, the field and what was found."""
    if raw.startswith(b"\xef\xbb\xbf"):
        raise CardproofError(f"{where}: starts with a byte order mark.", "save the file as UTF-8 without BOM.")
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as e:
        raise CardproofError(f"{where}: byte {e.start + 1} is not valid UTF-8.", "save the file as UTF-8.") from None
    try:
        return kind.model_validate_json(raw)
    except ValidationError as e:
        hint = f"a {kind.__name__} row has: {', '.join(kind.model_fields)}."
        raise of_validation(e, where, kind, noun="field", hint=hint) from None


K = TypeVar("K")


V = TypeVar("V")


class InStep(Generic[K, V]):
    """Rows found by key, read from a file only as far as they are asked for: in a file of the same order, one row is held at a time.

    In any other order they are found as well; the rows passed over are then held until they are asked for.
    """

    def __init__(self, rows: Iterator[V], key: Callable[[V], K]) -> None:
        self._rows = chain(list(islice(rows, 1)), rows)  # a file that is missing is named at once
        self._key = key
        self._passed: dict[K, V] = {}

    def take(self, key: K) -> V | None:
        """The row of that key, which is then forgotten; None where there is none."""
        if self._passed and (found := self._passed.pop(key, None)) is not None:
            return found
        for row in self._rows:
            if (of := self._key(row)) == key:
                return row
            self._passed[of] = row
        return None

    def finish(self) -> list[K]:
        """Read what nobody asked for, so that a broken row is named wherever it stands; returns its keys."""
        return [*self._passed, *map(self._key, self._rows)]
