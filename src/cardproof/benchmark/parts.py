"""Which files of a folder or data set are the corpus, and which the questions."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from fnmatch import fnmatchcase
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from cardproof.errors import CardproofError
from cardproof.outside import MOST_FILES

SUFFIXES = (".jsonl", ".parquet", ".csv")
"""Formats of rows that are read."""


class Parts(NamedTuple):
    """Paths below the folder or data set; each part may be in several files, one after the other."""

    corpus: list[str]
    questions: list[str]

    @property
    def names(self) -> list[str]:
        """All of them."""
        return [*self.corpus, *self.questions]


class _Part(NamedTuple):
    what: str
    setting: str
    stems: tuple[str, ...]
    begins: str


CORPUS = _Part("the corpus", "benchmark.corpus", ("corpus",), "corpus")
QUESTIONS = _Part("the questions", "benchmark.questions", ("qa", "questions"), "q")


def parts_of(names: Collection[str], where: str, corpus: str | None = None, questions: str | None = None) -> Parts:
    """The parts among the names of files; `corpus` and `questions` are patterns that choose them, such as `data/corpus-*.parquet`.

    Without a pattern, the corpus is the first of these that there is: `corpus.SUFFIX`; the files of a folder `corpus`; `corpus.SUFFIX` in
    some folder; shards `corpus-00000-of-00002.SUFFIX`; the only file whose name begins so. Questions are found by the names `qa` and
    `questions`. CardproofError, beginning with `where`, if either cannot be told.
    """
    rows = sorted(name for name in names if name.endswith(SUFFIXES))
    return Parts(_found(rows, where, CORPUS, corpus), _found(rows, where, QUESTIONS, questions))


def names_in(folder: Path) -> list[str]:
    """The files of a folder and of the folders in it, as paths below it; CardproofError if it is not a folder, or has too many."""
    if not folder.is_dir():
        raise CardproofError(f"{folder} is not a folder.", "give the folder with the corpus and the questions.")
    # A folder of such a name is listed, too: whoever reads it says what it is.
    found = (path for path in chain(folder.glob("*"), folder.glob("*/*")) if path.suffix in SUFFIXES)
    names = [path.relative_to(folder).as_posix() for path in islice(found, MOST_FILES + 1)]
    if len(names) > MOST_FILES:
        raise CardproofError(f"{folder} has more than {MOST_FILES:,} files.", "give the folder with the corpus and the questions alone.")
    return names


def _found(names: list[str], where: str, part: _Part, pattern: str | None) -> list[str]:
    if pattern is not None:
        chosen = [name for name in names if fnmatchcase(name, pattern)]
        if not chosen:
            listed = f"it has: {', '.join(names[:20])}." if names else f"it has no file that ends in {', '.join(SUFFIXES)}."
            raise CardproofError(f"{where} has no file {pattern!r:.200} ({part.setting}).", listed)
        return _of_one_kind(chosen, where, part)
    for rank in _RANKS:
        for stem in part.stems:
            if chosen := [name for name in names if rank(PurePosixPath(name), stem)]:
                return _of_one_kind(chosen, where, part)
    matches = [name for name in names if name.startswith(part.begins) and "/" not in name]
    if len(matches) == 1:
        return matches
    raise _unclear(matches, where, part)


_RANKS: tuple[Callable[[PurePosixPath, str], object], ...] = (
    lambda path, stem: path.stem == stem and len(path.parts) == 1,
    lambda path, stem: path.parent.name == stem,
    lambda path, stem: path.stem == stem,
    lambda path, stem: re.fullmatch(rf"{stem}-\d+-of-\d+", path.stem),
)
"""Ways to be a part, by path and name of the part; the first that any file fits is taken."""


def _of_one_kind(chosen: list[str], where: str, part: _Part) -> list[str]:
    """The files, if they are pieces of one table: in one folder, of one format, and not two tables of one name."""
    paths = [PurePosixPath(name) for name in chosen]
    if len({(path.parent, path.suffix) for path in paths}) > 1:
        raise _unclear(chosen, where, part)
    return chosen


def _unclear(matches: list[str], where: str, part: _Part) -> CardproofError:
    several = f": {', '.join(matches[:20])}" if matches else ""
    return CardproofError(
        f"{where} has {len(matches) or 'no'} files that may be {part.what}{several}.",
        f"name the right one {' or '.join(f'{stem}.jsonl' for stem in part.stems)} (or .parquet, .csv), or set {part.setting} to it.",
    )
