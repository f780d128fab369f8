"""The command run beside a hub on loopback, and what it said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from helpers.hub_server import Hub
from helpers.places import ROOT
from helpers.workflow import PATIENCE

SECRET = "hf_thisisasecretthatmustnotbewritten"


def cardproof(tmp_path: Path, hub: Hub, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "CARDPROOF_"))}
    settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT / "src"), "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-m", "cardproof", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={**clean, **settings, **environment}, timeout=PATIENCE)


def said(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    """One sentence and a hint, and no traceback."""
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    assert "Hint:" in result.stderr
    for part in parts:
        assert part in result.stderr
