"""What comes from outside is never trusted: one rule for paths, one for what may be opened, and every limit in one place.

From outside come data and model folders, mirrors, archives, and runs that somebody else made. Their names stay below their own folder, only
plain files are opened, and nothing is read beyond a limit.
"""

from __future__ import annotations

import io
import os
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from cardproof.errors import CardproofError

# --- limits -----------------------------------------------------------------------------------------------------------

MOST_ROWS_BYTES = 2_000_000_000
"""Most bytes of a file of rows or of an unpacked archive: many times a published run, and less than a machine's memory."""
MOST_TABLE_ROWS = 10_000_000
"""Most rows of a table: a thousand times a published run's."""
MOST_JSON = 64_000_000
"""Most bytes of one JSON file, or of one line of JSON Lines: four times the largest that is read, and worst cases take 2 GB in memory."""
MOST_DEPTH = 100
"""Deepest nesting in JSON and YAML: nothing here needs ten, and a thousand overflow Python's stack."""
MOST_DIGITS = 40
"""Most digits of a whole number in JSON. Tokenizers write "no limit" with 31; thousands take a second each, or overflow."""
MOST_YAML = 2_000_000
"""Most bytes of a YAML file: seventy times the published claims, read in two seconds."""
MOST_VALUES = 100_000
"""Most values in a YAML file, each alias counted in full: a few aliases of aliases would otherwise be billions."""
MOST_TEXT = 20_000_000
"""Most bytes of a text or drawing of a run: the largest card, page or figure is a tenth."""
MOST_MODEL_FILE = 200_000_000
"""Most bytes of a model's file other than its weights: five times the largest tokenizer."""
MOST_WEIGHTS = 500_000_000_000
"""Most bytes of one file of weights. Hubs allow fifty gigabytes."""
MOST_FILES = 100_000
"""Most files of a run, archive or model folder: published runs have a thousand."""
LONGEST_NAME = 255
"""Longest name of a file or folder in bytes, which is that of common file systems."""
LONGEST_PATH = 1_024
"""Longest path below a folder, in bytes."""

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)
_HOLES = 100_000_000
"""Files below this many bytes may have holes: reading zeros takes a tenth of a second."""
PLAIN = "give the files themselves: links, pipes and devices are never followed here."

# --- names ------------------------------------------------------------------------------------------------------------


def unsafe(name: object) -> str | None:
    """Why a name cannot be that of a file below a folder, in words that go on from it; None where it can."""
    if not isinstance(name, str) or not name:
        return "is not the name of a file"
    if any(unicodedata.category(ch) in ("Cc", "Cf", "Cs", "Zl", "Zp") for ch in name):
        return "has a control character in it"
    parts = name.split("/")
    if name.startswith("/") or "\\" in name or ".." in parts:
        return "lies outside the folder"
    if "" in parts or "." in parts:
        return "is not a plain path"
    if len(name.encode()) > LONGEST_PATH or max(len(part.encode()) for part in parts) > LONGEST_NAME:
        return "is longer than a path may be"
    return None


def inside(root: Path, name: object, where: str, hint: str) -> Path:
    """The plain file or folder `name` below `root`; CardproofError, beginning with `where`, if it leads out or is reached by a link.

    A path that does not exist is returned as well.
    """
    if why := unsafe(name) or linked(root, str(name)):
        raise CardproofError(f"{where}: {name!r:.200} {why}.", hint)
    return root / str(name)


def linked(root: Path, name: str) -> str | None:
    """Why the path `name` below `root` is not to be opened, in words that go on from it; None if no part of it is a link or special."""
    path = root
    for part in PurePosixPath(name).parts:
        path = path / part
        try:
            mode = path.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            at = "" if path == root / name else f" lies behind {path.relative_to(root).as_posix()!r}, which"
            return f"{at} is {kind_of(mode)}".strip()
    return None


class Collisions:
    """The names of a set of files; each must be told from the others on any file system."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def add(self, name: str) -> str | None:
        """Why a further name cannot be in the set, in words that go on from it; None where it can."""
        folded = unicodedata.normalize("NFC", name).casefold()
        above = {str(parent) for parent in PurePosixPath(folded).parents}
        if folded in self._files:
            return "appears twice, or differs from another name in upper and lower case alone"
        if folded in self._folders or above & self._files:
            return "is both a file and a folder"
        self._files.add(folded)
        self._folders |= above
        return None


# --- files ------------------------------------------------------------------------------------------------------------


def kind_of(mode: int) -> str:
    """What a file is, by its mode."""
    return next((words for test, words in _KINDS if test(mode)), "a plain file")


def opened(path: Path, most: int = MOST_WEIGHTS) -> io.BufferedReader:
    """A plain file, open for reading; CardproofError if it is a pipe, a device or a socket, or has more than `most` bytes.

    A link to a plain file is followed: who may not name one is kept from it by `inside`. OSError as usual.
    """
    # Opening a pipe would otherwise wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(21, "Is a directory", str(path))
        if not stat.S_ISREG(found.st_mode):
            raise CardproofError(f"{path} is {kind_of(found.st_mode)}, not a plain file.", "give a file.")
        check_size(path, found, most)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def check_size(path: Path, found: os.stat_result, most: int) -> None:
    """CardproofError if a file has more than `most` bytes, or is large and almost all holes."""
    if found.st_size > most:
        raise CardproofError(f"{path} has {found.st_size:,} bytes; at most {most:,} are read.", "give a smaller file.")
    if found.st_size > _HOLES and found.st_blocks * 512 < found.st_size // 100:
        raise CardproofError(f"{path} has {found.st_size:,} bytes, of which almost none are on the disk.", "give the file itself.")


def read_bytes(path: Path, most: int) -> bytes:
    """The bytes of a plain file of at most `most`; CardproofError as `opened`, OSError as usual."""
    with opened(path, most) as f:
        return f.read(most)


def lines(f: io.BufferedReader, path: Path) -> Iterator[bytes]:
    """The lines of a file; CardproofError names the first that is longer than MOST_JSON."""
    number = 0
    while line := f.readline(MOST_JSON + 1):
        number += 1
        if len(line) > MOST_JSON:
            raise CardproofError(f"{path}, line {number}: has more than {MOST_JSON:,} bytes.", "write one JSON object a line.")
        yield line


def tree(root: Path) -> tuple[list[str], dict[str, str]]:
    """The plain files below a folder, sorted, and everything else that is not a folder, with what it is. No link is followed.

    CardproofError if there are more than MOST_FILES.
    """
    plain: list[str] = []
    other: dict[str, str] = {}
    todo = [root]
    while todo:
        folder = todo.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    mode = entry.stat(follow_symlinks=False).st_mode
                except FileNotFoundError:  # another job's temporary file
                    continue
                name = Path(entry.path).relative_to(root).as_posix()
                if stat.S_ISDIR(mode):
                    todo.append(Path(entry.path))
                elif stat.S_ISREG(mode):
                    plain.append(name)
                else:
                    other[name] = kind_of(mode)
                if len(plain) + len(other) + len(todo) > MOST_FILES:
                    raise CardproofError(f"{root} has more than {MOST_FILES:,} files.", "give the folder of one run or model.")
    return sorted(plain), dict(sorted(other.items()))


def bounded_values(value: Any, where: str) -> None:
    """CardproofError if a value read from YAML has more than MOST_VALUES parts, where one that is used again counts again.

    A list that contains itself is counted once; the check of the settings refuses it.
    """
    todo, within, count = [value], set[int](), 0
    while todo:
        node = todo.pop()
        if isinstance(node, _Left):
            within.discard(node.container)
            continue
        count += 1
        if count > MOST_VALUES:
            raise CardproofError(f"{where} has more than {MOST_VALUES:,} values.", "write the values out: aliases of aliases multiply.")
        if isinstance(node, dict | list | tuple) and id(node) not in within:
            within.add(id(node))
            todo.append(_Left(id(node)))
            todo.extend(node.values() if isinstance(node, dict) else node)


class _Left(NamedTuple):
    """A container whose parts have all been counted."""

    container: int


def check_table(path: Path, found: Any) -> None:
    """CardproofError if a Parquet file's own account of itself (pyarrow's `FileMetaData`) is beyond the limits."""
    size = sum(found.row_group(i).total_byte_size for i in range(found.num_row_groups))
    if found.num_rows > MOST_TABLE_ROWS or size > MOST_ROWS_BYTES:
        most = f"at most {MOST_TABLE_ROWS:,} rows and {MOST_ROWS_BYTES:,} bytes are read."
        raise CardproofError(f"{path} unpacks to {found.num_rows:,} rows and {size:,} bytes.", most)


def text_of(raw: bytes, where: str) -> str:
    """Bytes as UTF-8; CardproofError names the first byte that is not."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as e:
        raise CardproofError(f"{where}: byte {e.start + 1} is not valid UTF-8.", "save the file as UTF-8.") from None


def read_text(path: Path, most: int = MOST_TEXT) -> str:
    """A text file in UTF-8 with its line ends as `\\n`; CardproofError as `read_bytes` and `text_of`."""
    return io.StringIO(text_of(read_bytes(path, most), str(path)), newline=None).read()
