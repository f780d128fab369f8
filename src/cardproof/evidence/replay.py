"""Replay an archived run: take its samples, support and training metrics, each checked against its record."""

from __future__ import annotations

from pathlib import Path

from cardproof import runs
from cardproof.config.reading import parse, validate
from cardproof.config.settings import Config
from cardproof.errors import CardproofError
from cardproof.evidence.archive import CHANGED, MADE_BY, opened
from cardproof.evidence.sidecars import Record
from cardproof.files import atomic, sha256_file, write_json

REPLAYED = ("prompts/", "samples/", "support/", "distill/", "split/", "verifier/", "training/")
"""What a replay takes from an archive. It makes all other results itself."""


def configuration(source: Path) -> Config:
    """The configuration of an archived run, under the name `RUN-replayed` and with `replay` set.

    Settings that name programs or machines are left out: a replay runs no model, and no program that an archive names.
    """
    with opened(source) as files:
        name, content = next(files, ("", b""))
    if name != runs.CONFIG:
        raise CardproofError(f"{source} has no {runs.CONFIG}.", MADE_BY)
    where = f"{source}: {runs.CONFIG}"
    config = validate(parse(content, where), where)
    here = {
        "run": f"{config.run}-replayed",
        "replay": str(source),
        "sampling": config.sampling.model_copy(update={"python": None}),
        "runtime": config.runtime.model_copy(update={"image": None, "gpus": 0}),
    }
    return config.model_copy(update=here)


def replay(source: Path, run: Path) -> list[str]:
    """Copy samples, support and training metrics from an archive into a run's folder; return their paths below it.

    CardproofError names the first file that is not what its record in the archive says.
    """
    contents: dict[str, bytes] = {}
    records: dict[str, Record] = {}
    with opened(source) as files:
        for name, content in files:
            if name.startswith(f"{runs.RECORDS}/"):
                records[name.removeprefix(f"{runs.RECORDS}/").removesuffix(".json")] = _record(source, name, content)
            elif name.startswith(REPLAYED) and "/adapter/" not in name:
                contents[name] = content
    if not contents:
        raise CardproofError(f"{source} has no samples.", MADE_BY)
    for name, content in contents.items():
        record = records.get(name)
        if record is None:
            raise CardproofError(f"{source}: {name} has no record.", CHANGED)
        with atomic(run / name) as tmp:
            tmp.write_bytes(content)
        if sha256_file(run / name) != record.digest:
            (run / name).unlink()
            raise CardproofError(f"{source}: {name} is not the file that the step {record.step} made.", CHANGED)
    write_json(run / runs.REPLAYED, {name: records[name] for name in sorted(contents)})
    return [*sorted(contents), runs.REPLAYED]


def _record(source: Path, name: str, content: bytes) -> Record:
    try:
        record = Record.model_validate_json(content)
    except ValueError:
        raise CardproofError(f"{source}: {name} is not a record of a result.", CHANGED) from None
    if record.seal != record.sealed():
        raise CardproofError(f"{source}: {name} was changed after it was written.", CHANGED)
    return record
