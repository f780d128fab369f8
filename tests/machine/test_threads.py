"""Threads that wait for one another give way, and no step runs more of them than there are processors without a word."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cardproof.machine import threads
from helpers.workflow import snakemake

LOADED = """import sys
from cardproof.cli.main import main
sys.argv = ["cardproof", "--version"]
try:
    main()
except SystemExit:
    pass
import torch
"""


@pytest.mark.parametrize(
    ("given", "spins"),
    [({}, str(threads.SPINS)), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "PASSIVE"}, "0")],
    ids=["nothing", "a count", "a policy"],
)
def test_openmp_reads_what_the_command_sets(given: dict[str, str], spins: str) -> None:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    environment = {**kept, **given, "OMP_DISPLAY_ENV": "VERBOSE"}
    said = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True, env=environment).stderr
    found = re.search(r"GOMP_SPINCOUNT = '(\d+)'", said)
    if found is None:
        pytest.skip("torch's OpenMP here is not GNU's, which alone reads GOMP_SPINCOUNT")
    assert found[1] == spins


def test_more_threads_than_processors_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "processors", lambda: 1)
    assert threads.too_many(1) is None
    found, better = threads.too_many(3) or ("", "")
    assert found == "each model step runs 3 threads (runtime.threads) on 1 processor" and better.startswith("runtime.threads: 1")


def test_the_workflow_tells_it_before_the_first_job(tmp_path: Path) -> None:
    wanted = threads.processors() + 1
    done = snakemake(tmp_path, "--config", f"runtime={{threads: {wanted}}}", "--", "results/ci/audit.json")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    assert f"cardproof: warning: each model step runs {wanted} threads (runtime.threads) on" in said
