"""Running the workflow for tests: in a folder of its own, as a user calls it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from helpers.places import ROOT

RUN = Path("results/ci")
PATIENCE = 3600
"""Seconds after which a command hangs for sure. Its time on a busy machine was measured to be 20 times its time on an idle one."""


def snakemake(
    folder: Path, *arguments: str, configfile: str = "config/ci.yaml", source: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the workflow in `folder`; `source` is put before the installed package, to run edited code."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"}
    if source:
        environment["PYTHONPATH"] = str(source)
    command = ["snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder), "--cores", "2", "--nolock"]
    command += ["--configfile", str(ROOT / configfile), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=PATIENCE)


def planned(result: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Job counts of a dry run; {} where nothing is to be done."""
    assert result.returncode == 0, result.stdout + result.stderr
    text = result.stdout + result.stderr
    if "Nothing to be done" in text:
        return {}
    table = text[text.index("Job stats:") :].split("total", 1)[0]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}


def finished(folder: Path) -> Path:
    result = snakemake(folder)
    assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]
    return folder


def contents(folder: Path, *parts: str) -> dict[str, bytes]:
    base = folder / RUN
    paths = [p for part in parts for p in ([base / part] if (base / part).is_file() else (base / part).rglob("*")) if p.is_file()]
    return {str(p.relative_to(base)): p.read_bytes() for p in sorted(paths)}
