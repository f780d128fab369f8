"""The rollout store: every finished item of an arm, written durably at once, so that a killed run repeats none of them.

It lies outside the steps' declared outputs. An item is taken from it only where everything it depends on is the same (its key), so a
changed prompt, seed, model, adapter or decoder is sampled anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from cardproof.evidence.sealed_lines import key, parse
from cardproof.records import Rollout


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
