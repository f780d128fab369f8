"""Pack a run without its weights, so that anyone can score its samples again on a CPU, without a model.

An archive is a tar file compressed with zstd; the same files give the same bytes. It contains the configuration, prompts, samples, support,
training metrics, every result and every record. It leaves out weights, logs and the rollout store. The prompts contain passages, so an
archive is under their licence.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from cardproof import outside, runs
from cardproof.config.places import published
from cardproof.errors import CardproofError
from cardproof.evidence.verify import Chain, Files, check
from cardproof.files import atomic

LEVEL = 10
CHANGED = "the archive was changed; fetch it again."
WHOLE = "fetch it again; it is made by `cardproof archive`."
MADE_BY = "give an archive made by `cardproof archive`, or the folder of a run."
MOST_BYTES = outside.MOST_ROWS_BYTES
"""Most bytes of an unpacked archive."""
MOST_RATIO, SMALL = 200, 100_000_000
"""Most bytes that one byte of an archive unpacks to (texts: ten), and how many are never too many."""
MOST_HEADERS = 1_000_000
"""Most bytes between the contents of two files in an archive: its headers are a thousand each."""
WEIGHTS = (".safetensors",)
SKIPPED = ("logs", "store", "work", "shards")
"""Folders of work in progress, and of what names the machine."""
OF_THE_MACHINE = (runs.LEFT_OUT, runs.LOGS, "preflight.json")
"""Files that tell of the machine or the archive, not of the results."""
_MEASURED = re.compile(rb"s\th:m:s(?:\t\w{1,20})*(?:\r?\n[0-9A-Za-z.:, -]{0,40}(?:\t[0-9A-Za-z.:, -]{0,40})*)*\s*")
"""A table of Snakemake's measurements. Nothing else in the folder of costs is packed, since no record says what should be there."""


def archive(run: Path, out: Path) -> tuple[int, str]:
    """Write a run as one `.tar.zst`; returns the number of files and the digest of its chain.

    CardproofError if the run's chain is broken or not recorded: an archive must be worth replaying. Only plain files of the run are packed,
    and the configuration with the names alone of local folders.
    """
    import zstandard

    kept = contents(run)
    with (
        atomic(out) as tmp,
        open(tmp, "wb") as f,
        zstandard.ZstdCompressor(level=LEVEL).stream_writer(f, closefd=False) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name in kept.names:
            _add(tar, name, content_of(run, name))
        _add(tar, runs.LEFT_OUT, kept.left_out)
    return len(kept.names) + 1, kept.chain.digest


class Contents(NamedTuple):
    """What may leave the machine of a finished run."""

    names: list[str]
    """Files of the run, the configuration first: it is read before all else."""
    left_out: bytes
    """The content of `provenance/left_out.json`: the folders of weights."""
    chain: Chain


def contents(run: Path) -> Contents:
    """The files of a run that are packed; CardproofError if its chain is broken or not recorded, or the run is not finished."""
    chain = check(run)
    if chain.state != "whole":
        why = chain.problems[0].sentence if chain.problems else f"{run} has no record of how its results were made."
        raise CardproofError(why, "archive a finished run whose every result follows from its inputs; see `cardproof verify`.")
    files = Files(run)
    if runs.CLAIMS not in files.plain:
        raise CardproofError(f"{run / runs.CLAIMS} does not exist.", "finish the run first.")
    folders = sorted({name.rpartition("/")[0] for name in (*files.plain, *files.other) if name.endswith(WEIGHTS)})
    skipped = tuple(f"{folder}/" for folder in (*SKIPPED, *folders))
    kept = [name for name in files.plain if not name.startswith(skipped) and name not in OF_THE_MACHINE]
    kept = [name for name in kept if not name.endswith(".snakemake_timestamp")]
    return Contents(sorted(kept, key=lambda n: (n != runs.CONFIG, n)), json.dumps(folders, indent=2).encode() + b"\n", chain)


def content_of(run: Path, name: str) -> bytes:
    """A file of a run as it is packed."""
    content = outside.read_bytes(outside.inside(run, name, str(run), outside.PLAIN), outside.MOST_ROWS_BYTES)
    if name == runs.CONFIG:
        return published(content, str(run / name))
    if name.startswith("cost/") and not _MEASURED.fullmatch(content):
        raise CardproofError(f"{run / name} is not a table of measurements.", "remove it: the workflow measures each job again.")
    return content


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """One file, without time, owner or mode of this machine."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    tar.addfile(info, io.BytesIO(content))


class Readable(Protocol):
    """What has bytes to read, a block at a time."""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...


class Packed(NamedTuple):
    """One file of an archive, to be read before the next one."""

    name: str
    stream: Readable

    def content(self, most: int = outside.MOST_JSON) -> bytes:
        """The whole content; CardproofError if it has more than `most` bytes."""
        found = self.stream.read(most + 1)
        if len(found) > most:
            raise CardproofError(f"{self.name!r} has more than {most:,} bytes.", MADE_BY)
        return found


@contextmanager
def opened(source: Path) -> Iterator[Iterator[tuple[str, bytes]]]:
    """The files of an archive, or of a run's folder, as (path below the run, content), each in memory as it comes; see `streamed`."""
    with streamed(source) as files:
        yield ((packed.name, packed.content(MOST_BYTES)) for packed in files)


@contextmanager
def streamed(source: Path, wanted: Callable[[str], bool] = lambda name: True) -> Iterator[Iterator[Packed]]:
    """The files of an archive, or of a run's folder, by their paths below the run: the configuration first, and then those `wanted`.

    Of an archive every file is checked, also those that are not wanted. CardproofError if it is neither, or is cut.
    """
    if source.is_dir():
        files = Files(source)
        if runs.CONFIG not in files.plain:
            raise CardproofError(f"{source / runs.CONFIG} is not a plain file, or does not exist.", MADE_BY)
        names = [runs.CONFIG, *(name for name in files.plain if name != runs.CONFIG and not name.endswith(WEIGHTS) and wanted(name))]
        if odd := next((name for name in files.other if wanted(name)), None):
            raise CardproofError(f"{source}: {odd!r} is {files.other[odd]}, not a plain file.", MADE_BY)
        yield _of_folder(source, names)
        return
    if not source.exists():
        raise CardproofError(f"{source} does not exist.", MADE_BY)
    import zstandard

    try:
        with outside.opened(source) as f, zstandard.ZstdDecompressor().stream_reader(f) as stream:
            bounded = _Bounded(source, stream)
            with _parsing(source):
                tar = tarfile.open(fileobj=bounded, mode="r|")  # type: ignore[call-overload]  # noqa: SIM115
            with tar:
                yield _members(source, tar, bounded, wanted)
    except (zstandard.ZstdError, tarfile.TarError, EOFError) as e:
        raise CardproofError(f"{source} is not a whole archive: {e}.", WHOLE) from None


@contextmanager
def _parsing(source: Path) -> Iterator[None]:
    """Python's reader has no error of its own for many headers that are none."""
    try:
        yield
    except (ValueError, LookupError, ArithmeticError, TypeError, AttributeError, RuntimeError):
        raise CardproofError(f"{source} is not a whole archive: a header cannot be read.", WHOLE) from None


def _of_folder(source: Path, names: list[str]) -> Iterator[Packed]:
    for name in names:
        with outside.opened(source / name, outside.MOST_ROWS_BYTES) as f:
            yield Packed(name, f)


class _Bounded:
    """An unpacked stream of as many bytes as its archive may have, of which `step` may be read until it is set again.

    CardproofError beyond either. A few bytes can unpack to more than any memory, and a tar file's headers are read into memory whole.
    """

    def __init__(self, source: Path, stream: Any) -> None:
        self.source, self.stream, self.step = source, stream, MOST_HEADERS
        self.most = self.left = min(MOST_BYTES, max(SMALL, MOST_RATIO * source.stat().st_size))

    def read(self, size: int) -> bytes:
        content: bytes = self.stream.read(size)
        self.left -= len(content)
        self.step -= len(content)
        if self.left < 0:
            raise CardproofError(f"{self.source} unpacks to more than {self.most:,} bytes.", MADE_BY)
        if self.step < 0:
            raise CardproofError(f"{self.source} has a header of more than {MOST_HEADERS:,} bytes.", MADE_BY)
        return content


def _next(source: Path, tar: tarfile.TarFile) -> tarfile.TarInfo | None:
    with _parsing(source):
        return tar.next()


def _members(source: Path, tar: tarfile.TarFile, bounded: _Bounded, wanted: Callable[[str], bool]) -> Iterator[Packed]:
    """The files of a tar file, which may come from anyone: only plain files below the run, each once, none larger than MOST_BYTES."""
    names = outside.Collisions()
    number = 0
    while (member := _next(source, tar)) is not None:
        name, number = member.name, number + 1
        if not member.isreg() or member.issparse():
            raise CardproofError(f"{source}: {name!r:.200} is not a plain file.", MADE_BY)
        if why := outside.unsafe(name):
            raise CardproofError(f"{source}: {name!r:.200} {why.replace('folder', 'run')}.", MADE_BY)
        if why := names.add(name):
            raise CardproofError(f"{source}: {name!r} {why}.", MADE_BY)
        if member.size > MOST_BYTES:
            raise CardproofError(f"{source}: {name!r} claims {member.size:,} bytes, more than {MOST_BYTES:,}.", MADE_BY)
        if number > outside.MOST_FILES:
            raise CardproofError(f"{source} has more than {outside.MOST_FILES:,} files.", MADE_BY)
        bounded.step = member.size + MOST_HEADERS
        content = tar.extractfile(member)
        assert content is not None
        if name == runs.CONFIG or wanted(name):
            yield Packed(name, content)
        while content.read(1 << 20):
            pass
        bounded.step = MOST_HEADERS
