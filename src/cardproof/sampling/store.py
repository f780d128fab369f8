"""The rollout store: it writes every finished item durably at once, so a killed run does not repeat it.

The file is not among the step's declared outputs. An item's key covers everything that it depends on, so a changed prompt, seed, model,
adapter or decoder is sampled again.
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

    Opening the file cuts off a last line that a kill left incomplete, and skips a line that was changed, so its item is sampled again.
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
        """Write one item; it is on the disk when this returns."""
        row = {"key": name, "rollouts": [r.model_dump(mode="json") for r in rollouts]}
        self.file.write(json.dumps({**row, "sha256": key(**row)}, ensure_ascii=False).encode() + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())
        self.items[name] = list(rollouts)

    def close(self) -> None:
        """Close the file."""
        self.file.close()
