"""Lines that carry a hash of their own, as in the rollout store: what was written, and whether it still is that."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from cardproof.files import sha256_text
from cardproof.records import Rollout


def key(**depends_on: Any) -> str:
    """Name of an item's rollouts: sha256 over everything they depend on."""
    return sha256_text(json.dumps(depends_on, sort_keys=True))


def parse(line: bytes) -> tuple[str, list[Rollout]] | None:
    """Key and rollouts of one line; None where it is no whole line, or not as it was written."""
    try:
        row = json.loads(line)
        digest = row.pop("sha256")
        if line != json.dumps({**row, "sha256": digest}, ensure_ascii=False).encode() + b"\n" or digest != key(**row):
            return None
        return row["key"], [Rollout.model_validate(r) for r in row["rollouts"]]
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError):
        return None
