"""Lines that carry their own hash, as in the rollout store, so that a changed one is noticed."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from cardproof.files import sha256_text
from cardproof.records import Rollout


def key(**depends_on: Any) -> str:
    """The name of an item's rollouts: sha256 over everything they depend on."""
    return sha256_text(json.dumps(depends_on, sort_keys=True))


def parse(line: bytes) -> tuple[str, list[Rollout]] | None:
    """The key and the rollouts of one line; None if the line is incomplete or was changed."""
    try:
        row = json.loads(line)
        digest = row.pop("sha256")
        if line != json.dumps({**row, "sha256": digest}, ensure_ascii=False).encode() + b"\n" or digest != key(**row):
            return None
        return row["key"], [Rollout.model_validate(r) for r in row["rollouts"]]
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError):
        return None
