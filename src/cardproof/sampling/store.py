"""The rollout store: every finished item of an arm, written durably at once, so that a killed run repeats none of them.

It lies outside the steps' declared outputs. An item is taken from it only where everything it depends on is the same (its key), so a
changed prompt, seed, model, adapter or decoder is sampled anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cardproof.files import sha256_text
from cardproof.records import Rollout


def key(**depends_on: Any) -> str:
    """Name of an item's rollouts: sha256 over everything they depend on."""
    return sha256_text(json.dumps(depends_on, sort_keys=True))


class Store:
    """Append-only JSON Lines of {key, rollouts}; a line torn by a kill is dropped when the file is next opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.items: dict[str, list[Rollout]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = 0
        if path.exists():
            for line in path.read_bytes().splitlines(keepends=True):
                try:
                    row = json.loads(line)
                    rollouts = [Rollout.model_validate(r) for r in row["rollouts"]]
                except (ValueError, KeyError, TypeError, ValidationError):
                    break
                if not line.endswith(b"\n"):
                    break
                self.items[row["key"]] = rollouts
                whole += len(line)
        self.file = open(path, "ab")  # noqa: SIM115
        self.file.truncate(whole)

    def add(self, name: str, rollouts: Sequence[Rollout]) -> None:
        """Write one item; when this returns, it is on the disk."""
        row = {"key": name, "rollouts": [r.model_dump(mode="json") for r in rollouts]}
        self.file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())
        self.items[name] = list(rollouts)

    def close(self) -> None:
        """Close the file."""
        self.file.close()
