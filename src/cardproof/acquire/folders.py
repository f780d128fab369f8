"""Model folders: links to a local one, and the refusal of code that comes with a model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cardproof.acquire.model_hash import fingerprint
from cardproof.acquire.weights import shapes
from cardproof.errors import CardproofError
from cardproof.files import read_json, write_json


def link(folder: Path, out: Path, check: Callable[[Path], Any] = lambda folder: None) -> None:
    """Make `out` a folder of links to a local model's files.

    Raises CardproofError if the model has no safetensors, a cut file or code of its own, and whatever `check` raises.
    """
    if not folder.is_dir():
        raise CardproofError(f"{folder} is not a folder.", "give the path of a local model folder.")
    digest = fingerprint(folder)
    for file in sorted(folder.glob("*.safetensors")):
        shapes(file)  # raises if the file is cut
    refuse_remote_code(folder)
    use = check(folder)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for file in sorted(folder.iterdir()):
        if file.is_file() and file.name != "source.json":
            (out / file.name).symlink_to(file.resolve())
    write_json(out / "source.json", {"name": str(folder), "package": None, "sha256": None, "model_hash": digest, "use": use})


def refuse_remote_code(folder: Path) -> None:
    """CardproofError if a model folder needs code of its own. Only architectures that transformers itself has are run."""
    from transformers import CONFIG_MAPPING

    file = folder / "config.json"
    config = read_json(file) if file.is_file() else {}
    if not isinstance(config, dict):
        raise CardproofError(f"{file} is not a JSON object.", "give the folder of a transformers model.")
    kind = config.get("model_type")
    if "auto_map" in config and kind not in CONFIG_MAPPING:
        raise CardproofError(
            f"{file}: field 'auto_map': the architecture {kind!r} needs code that comes with the model, which cardproof never runs.",
            "use a model whose architecture is part of transformers.",
        )
