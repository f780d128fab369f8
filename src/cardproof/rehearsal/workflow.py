"""The published workflow on stand-ins: started as a user starts it, without a network, every job of it measured."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cardproof.acquire.hub import MIRROR
from cardproof.rehearsal.measured import FOLDER, LIMIT
from cardproof.rehearsal.stand_ins import RUN

NOWHERE = "http://127.0.0.1:9"
"""An address that nobody answers at: whatever asks the hub or a proxy fails at once."""
DONE = re.compile(r"^(\d+) of (\d+) steps \(")
ERROR = re.compile(r"cardproof: error: (.+)")


@dataclass(frozen=True)
class Place:
    """The folders of a rehearsal."""

    work: Path
    root: Path
    """The checkout with the Snakefile."""
    lock: int
    """File descriptor of the folder's lock. The workflow has it too, so a workflow that outlives its rehearsal keeps the folder."""

    @property
    def run(self) -> Path:
        """The folder of the run."""
        return self.work / "results" / RUN

    @property
    def measurements(self) -> Path:
        """Where the jobs' measurements are."""
        return self.work / "measurements"

    @property
    def probes(self) -> Path:
        """Where the probes work."""
        return self.work / "probes"


def environment(place: Place, limit: int | None) -> dict[str, str]:
    """The environment of every process of a rehearsal: the mirror and no network, and measured jobs. `limit`: bytes of the GPU, or None."""
    commands = place.work / "bin"
    commands.mkdir(parents=True, exist_ok=True)
    command = commands / "cardproof"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m cardproof.rehearsal.measured "$@"\n')
    command.chmod(0o755)
    made = {
        **os.environ,
        "PATH": os.pathsep.join((str(commands), str(Path(sys.executable).parent), os.environ.get("PATH", ""))),
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p and Path(p).is_dir()),
        MIRROR: str(place.work / "mirror"),
        "HF_HUB_OFFLINE": "1",
        "HF_ENDPOINT": NOWHERE,
        "HF_HOME": str(place.work / "cache"),
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"), NOWHERE),
        **dict.fromkeys(("no_proxy", "NO_PROXY"), "localhost,127.0.0.1"),
        FOLDER: str(place.measurements),
        "PYTHONUNBUFFERED": "1",
    }
    return made if limit is None else {**made, LIMIT: str(limit)}


def run(place: Place, files: Sequence[Path], gpu: bool, env: Mapping[str, str], say: Callable[[str], None]) -> tuple[int, int, float, str]:
    """Run the workflow; returns jobs done, jobs planned, seconds, and what went wrong in one sentence (empty if nothing did)."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(place.root / "Snakefile"), "--directory", str(place.work)]
    command += ["--nolock", "--rerun-incomplete", "--cores", "all" if gpu else "2", "--configfile", *map(str, files)]
    begin = time.monotonic()
    done, planned, doing = 0, 0, ""
    lines: deque[str] = deque(maxlen=400)
    log = place.work / "workflow.log"
    with (
        log.open("w") as out,
        _Ended(
            subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, pass_fds=(place.lock,))
        ) as job,
    ):
        assert job.stdout is not None
        for line in job.stdout:
            out.write(line)
            lines.append(line.rstrip())
            if line.startswith("Job ") and ": " in line:
                doing = line.split(": ", 1)[1].strip()
            elif match := DONE.match(line):
                done, planned = int(match[1]), int(match[2])
                left = (time.monotonic() - begin) / done * (planned - done)
                say(f"workflow: {done} of {planned} jobs, about {_time(left)} left; now: {doing}")
            elif "Nothing to be done" in line:
                done = planned = _jobs(place)
    seconds = time.monotonic() - begin
    wrong = "" if job.returncode == 0 else _wrong("\n".join(lines)) or f"it ended with exit code {job.returncode}"
    if not wrong:
        (place.work / "jobs.json").write_text(json.dumps(max(planned, _jobs(place))))
    return done, planned, seconds, wrong


def _wrong(text: str) -> str:
    """Why the workflow failed, with the rule that did."""
    said, rules = reason(text), re.findall(r"^Error in rule (\w+):", text, re.MULTILINE)
    return f"rule {rules[-1]}: {said}" if said and rules else said


def _jobs(place: Place) -> int:
    path = place.work / "jobs.json"
    return int(json.loads(path.read_text())) if path.is_file() else 0


class _Ended:
    """A process that ends with the block, and with everything that it started, whatever ends the block."""

    def __init__(self, job: subprocess.Popen[str]) -> None:
        self.job = job

    def __enter__(self) -> subprocess.Popen[str]:
        return self.job

    def __exit__(self, kind: Any, *rest: Any) -> None:
        if kind is not None:
            self.job.send_signal(signal.SIGTERM)
        self.job.wait()


def reason(text: str) -> str:
    """The sentence that says why a command failed: cardproof's own, what memory ran out, or the exception that ended it."""
    for name in ("CUDA out of memory", "can't allocate memory", "MemoryError", "Cannot allocate memory", "out of memory"):
        if name in text:
            return "it ran out of memory"
    own = ERROR.findall(text)
    if own:
        return str(own[-1]).strip()
    last = [line for line in text.splitlines() if re.match(r"\s*(?:[A-Za-z_]\w*\.)*\w*(?:Error|Exception)\b: ", line)]
    own_last = [line for line in last if "CalledProcessError" not in line]
    return own_last[-1].strip() if own_last else ""


def verb(place: Place, name: str, arguments: Sequence[str], env: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    """Run one measured verb; returns what was measured, and what went wrong in one sentence (empty if nothing did)."""
    folder = place.probes / "measured"
    shutil.rmtree(folder, ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-m", "cardproof.rehearsal.measured", name, *arguments],
        capture_output=True,
        text=True,
        env={**env, FOLDER: str(folder)},
        cwd=place.work,
        check=False,
    )
    (place.probes / f"{name}.log").write_text(done.stdout + done.stderr)
    found = next(iter(read_measurements(folder)), {})
    wrong = "" if done.returncode == 0 else reason(done.stdout + done.stderr) or f"it ended with exit code {done.returncode}"
    return found, wrong


def read_measurements(folder: Path) -> list[dict[str, Any]]:
    """Every measurement in a folder, by name of its file."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
