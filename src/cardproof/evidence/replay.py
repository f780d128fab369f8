"""Replay an archived run: take its samples, support and training metrics, each checked against its record."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from cardproof import outside, runs
from cardproof.config.reading import parse, validate
from cardproof.config.settings import Config
from cardproof.errors import CardproofError
from cardproof.evidence.archive import CHANGED, MADE_BY, Packed, streamed
from cardproof.evidence.sidecars import Record, parsed
from cardproof.files import write_json

REPLAYED = ("prompts/", "samples/", "support/", "distill/", "split/", "verifier/", "training/")
"""What a replay takes from an archive. It makes all other results itself."""


def configuration(source: Path, card: str | None = None) -> Config:
    """The configuration of an archived run, under the name `RUN-replayed` and with `replay` set.

    An archive has no claims file: a run that was judged by a card of its own is judged by `card` here, and by none without it. Settings
    that name programs or machines are left out: a replay runs no model, and no program that an archive names.
    """
    if set("{}") & set(str(source)):
        raise CardproofError(f"{source} has braces in its path, which Snakemake takes for wildcards.", "rename or copy it.")
    with streamed(source, lambda name: False) as files:
        first = next(files, None)
        content = first.content(outside.MOST_YAML) if first and first.name == runs.CONFIG else None
    if content is None:
        raise CardproofError(f"{source} has no {runs.CONFIG}.", MADE_BY)
    where = f"{source}: {runs.CONFIG}"
    config = validate(parse(content, where), where)
    here = {
        "run": f"{config.run}-replayed",
        "replay": str(source),
        "published": config.published if config.of_the_subject or config.published is None else card,
        "sampling": config.sampling.model_copy(update={"python": None}),
        "runtime": config.runtime.model_copy(update={"image": None, "gpus": 0}),
    }
    return config.model_copy(update=here)


def replay(source: Path, run: Path) -> list[str]:
    """Copy samples, support and training metrics from an archive into a run's folder; return their paths below it.

    CardproofError names the first file that is not what its record in the archive says; then the run's folder is as it was. Contents go to
    the disk as they come, so memory does not grow with the archive.
    """
    records: dict[str, Record] = {}
    digests: dict[str, str] = {}
    partial = run.with_name(f".{run.name}.replayed")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with streamed(source, _wanted) as files:
            for packed in files:
                if packed.name.startswith(f"{runs.RECORDS}/"):
                    name = packed.name.removeprefix(f"{runs.RECORDS}/").removesuffix(".json")
                    records[name] = parsed(packed.content(), f"{source}: {packed.name}", CHANGED)
                elif _taken(packed.name):
                    digests[packed.name] = _copy(packed, partial / packed.name)
        if not digests:
            raise CardproofError(f"{source} has no samples.", MADE_BY)
        for name, digest in digests.items():
            if (record := records.get(name)) is None:
                raise CardproofError(f"{source}: {name} has no record.", CHANGED)
            if digest != record.digest:
                raise CardproofError(f"{source}: {name} is not the file that the step {record.step} made.", CHANGED)
        for name in digests:
            target = outside.inside(run, name, str(run), outside.PLAIN)
            target.parent.mkdir(parents=True, exist_ok=True)
            (partial / name).replace(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    write_json(run / runs.REPLAYED, {name: records[name] for name in sorted(digests)})
    return [*sorted(digests), runs.REPLAYED]


def _taken(name: str) -> bool:
    return name.startswith(REPLAYED) and "/adapter/" not in name


def _wanted(name: str) -> bool:
    return name.startswith(f"{runs.RECORDS}/") or _taken(name)


def _copy(packed: Packed, target: Path) -> str:
    """Write one file of an archive, and return its sha256."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with open(target, "wb") as f:
        while block := packed.stream.read(1 << 20):
            digest.update(block)
            f.write(block)
    return digest.hexdigest()
