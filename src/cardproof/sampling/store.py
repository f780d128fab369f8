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
    """Append-only JSON Lines of {key, rollouts, sha256 over both}.

    A line torn by a kill is cut off when the file is next opened; a line that was changed is passed over, so its item is sampled again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.items: dict[str, list[Rollout]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes() if path.exists() else b""
        for line in content.splitlines(keepends=True):
            if line.endswith(b"\n") and (row := parse(line)) is not None:
                self.items[row[0]] = row[1]
        self.file = open(path, "ab")  # noqa: SIM115
        self.file.truncate(content.rfind(b"\n") + 1)

    def add(self, name: str, rollouts: Sequence[Rollout]) -> None:
        """Write one item; when this returns, it is on the disk."""
        row = {"key": name, "rollouts": [r.model_dump(mode="json") for r in rollouts]}
        self.file.write(json.dumps({**row, "sha256": key(**row)}, ensure_ascii=False).encode() + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())
        self.items[name] = list(rollouts)

    def close(self) -> None:
        """Close the file."""
        self.file.close()


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
