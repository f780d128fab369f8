"""The hash of a model folder: what tells one model from another, in samples and records."""

from __future__ import annotations

import json
from pathlib import Path

from cardproof.errors import CardproofError
from cardproof.files import sha256_file, sha256_text


def fingerprint(folder: Path) -> str:
    """sha256 over the names and sha256 of a model folder's weights, configuration and tokenizer files.

    Raises CardproofError if the folder has no safetensors. Pickled weights are refused because they can run code.
    """
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise CardproofError(
            f"{folder} has no *.safetensors file.",
            "give a model folder in safetensors format; pickled weights (*.bin, *.pt) are refused because loading them can run code.",
        )
    rest = sorted(p for p in folder.iterdir() if p.suffix in {".json", ".txt", ".jinja", ".model"} and p.name != "source.json")
    return sha256_text("\n".join(f"{p.name} {sha256_file(p)}" for p in [*weights, *rest]))


def model_hash(folder: Path) -> str:
    """A model folder's fingerprint, as its `source.json` records it, or computed now."""
    source = folder / "source.json"
    return json.loads(source.read_text())["model_hash"] if source.exists() else fingerprint(folder)
