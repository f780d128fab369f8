"""Pack a run without its weights, so that anyone can score its samples again on a CPU, without a model.

An archive is a tar file compressed with zstd; the same files give the same bytes. It contains the configuration, prompts, samples, support,
training metrics, every result and every record. It leaves out weights, logs and the rollout store. The prompts contain passages, so an
archive is under their licence.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from cardproof import runs
from cardproof.errors import CardproofError
from cardproof.evidence.verify import check
from cardproof.files import atomic

LEVEL = 10
CHANGED = "the archive was changed; fetch it again."
MADE_BY = "give an archive made by `cardproof archive`, or the folder of a run."
MOST_BYTES = 2_000_000_000
"""Most bytes of an unpacked archive: many times a published run, and less than a machine's memory."""
WEIGHTS = ("*.safetensors",)


def archive(run: Path, out: Path) -> tuple[int, str]:
    """Write a run as one `.tar.zst`; returns the number of files and the digest of its chain.

    CardproofError if the run's chain is broken or not recorded: an archive must be worth replaying.
    """
    import zstandard

    chain = check(run)
    if chain.state != "whole":
        why = chain.problems[0].sentence if chain.problems else f"{run} has no record of how its results were made."
        raise CardproofError(why, "archive a finished run whose every result follows from its inputs; see `cardproof verify`.")
    if not (run / runs.CLAIMS).is_file():
        raise CardproofError(f"{run / 'claims.json'} does not exist.", "finish the run first.")
    folders = sorted({p.parent.relative_to(run).as_posix() for pattern in WEIGHTS for p in run.rglob(pattern)})
    names = [p.relative_to(run).as_posix() for p in sorted(run.rglob("*")) if p.is_file() and p.name != ".snakemake_timestamp"]
    skipped = tuple(f"{folder}/" for folder in ("logs", "store", "work", "shards", *folders))
    kept = [name for name in names if not name.startswith(skipped) and name not in (runs.LEFT_OUT, runs.LOGS)]
    # The configuration first: it is read before all else.
    kept.sort(key=lambda n: (n != runs.CONFIG, n))
    left_out = json.dumps(folders, indent=2).encode() + b"\n"
    with (
        atomic(out) as tmp,
        open(tmp, "wb") as f,
        zstandard.ZstdCompressor(level=LEVEL).stream_writer(f, closefd=False) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name in kept:
            _add(tar, name, (run / name).read_bytes())
        _add(tar, runs.LEFT_OUT, left_out)
    return len(kept) + 1, chain.digest


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """One file, without time, owner or mode of this machine."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    tar.addfile(info, io.BytesIO(content))


@contextmanager
def opened(source: Path) -> Iterator[Iterator[tuple[str, bytes]]]:
    """The files of an archive, or of a run's folder, as (path below the run, content); CardproofError if it is neither, or is cut."""
    if source.is_dir():
        if not (source / runs.CONFIG).is_file():
            raise CardproofError(f"{source / 'config.yaml'} does not exist.", MADE_BY)
        names = sorted(p.relative_to(source).as_posix() for p in source.rglob("*") if p.is_file())
        names.sort(key=lambda n: n != runs.CONFIG)
        yield ((name, (source / name).read_bytes()) for name in names if not name.endswith(".safetensors"))
        return
    if not source.is_file():
        raise CardproofError(f"{source} does not exist.", MADE_BY)
    import zstandard

    try:
        with (
            open(source, "rb") as f,
            zstandard.ZstdDecompressor().stream_reader(f) as stream,
            tarfile.open(fileobj=_Bounded(source, stream), mode="r|") as tar,  # type: ignore[call-overload]
        ):
            yield _members(source, tar)
    except (zstandard.ZstdError, tarfile.TarError, EOFError) as e:
        raise CardproofError(f"{source} is not a whole archive: {e}.", "fetch it again; it is made by `cardproof archive`.") from None


class _Bounded:
    """An unpacked stream of at most MOST_BYTES; CardproofError beyond that. A few bytes can unpack to more than any memory."""

    def __init__(self, source: Path, stream: Any) -> None:
        self.source, self.stream, self.left = source, stream, MOST_BYTES

    def read(self, size: int) -> bytes:
        content: bytes = self.stream.read(size)
        self.left -= len(content)
        if self.left < 0:
            raise CardproofError(f"{self.source} unpacks to more than {MOST_BYTES:,} bytes.", MADE_BY)
        return content


def _members(source: Path, tar: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    """The files of a tar file, which may come from anyone: only plain files below the run, each once, none larger than MOST_BYTES."""
    seen: set[str] = set()
    for member in tar:
        name = member.name
        if not member.isreg():
            raise CardproofError(f"{source}: {name!r} is not a plain file.", MADE_BY)
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\0" in name:
            raise CardproofError(f"{source}: {name!r} lies outside the run.", MADE_BY)
        if name in seen:
            raise CardproofError(f"{source}: {name!r} appears twice.", MADE_BY)
        if member.size > MOST_BYTES:
            raise CardproofError(f"{source}: {name!r} claims {member.size:,} bytes, more than {MOST_BYTES:,}.", MADE_BY)
        seen.add(name)
        content = tar.extractfile(member)
        assert content is not None
        yield name, content.read()
