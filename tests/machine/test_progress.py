"""How far a run is, in one line: what is read from Snakemake, the time that is left, and what a terminal and a file get."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cardproof.machine import progress
from cardproof.machine.progress import Progress, about, messages
from cardproof.machine.workload import assumptions
from helpers.places import ROOT
from helpers.workflow import PATIENCE

PLANNED = [
    "Job stats:",
    "job       count",
    "------  -------",
    "sample        2",
    "card          1",
    "all           1",
    "total         4",
    "",
]
SECONDS = {"sample": 100.0, "card": 2.0}
RULES = {"Sampling .*": "sample", "Sampling the card": "card"}
FIRST = ["Job 1: Sampling one.", "Job 2: Sampling two."]
ENDED = ["Finished jobid: 1 (Rule: sample)", "1 of 4 steps (25%) done"]


def told(lines: list[str], of: Progress, now: float = 0.0) -> Progress:
    for line in lines:
        of.read(line, now)
    return of


def test_before_the_first_job_ends_the_time_left_is_what_is_expected_on_this_machine() -> None:
    assert told(PLANNED, Progress(SECONDS, RULES)).left(0) == pytest.approx(202)
    assert told(PLANNED, Progress(SECONDS, RULES, speed=4)).left(0) == pytest.approx(202 / 4)
    assert told(PLANNED, Progress(SECONDS, RULES, parallel=2)).left(0) == pytest.approx(101)


def test_jobs_at_work_count_as_far_as_they_are() -> None:
    of = told(PLANNED + FIRST, Progress(SECONDS, RULES, parallel=2))
    assert of.left(40) == pytest.approx((60 + 60 + 2) / 2)
    slow = (progress.TRUST + 100 + 100) / (progress.TRUST + 1000 + 1000)
    assert of.left(1000) == pytest.approx(2 / 2 / slow), "overdue jobs are about to end, and show how slow the machine is"


def test_a_chain_of_jobs_takes_as_long_as_the_one_at_work() -> None:
    of = told([*PLANNED, *FIRST, *ENDED], Progress(SECONDS, RULES, parallel=2), now=0)
    of.running["2"] = of.running["2"]._replace(since=100)
    of._expected = of._took = 1
    assert of.left(100) == pytest.approx(100), "the second job is alone at work, and two at once do not make it faster"


def test_the_time_left_follows_how_long_jobs_take() -> None:
    of = told(PLANNED + FIRST, Progress(SECONDS, RULES))
    told(ENDED, of, now=300)
    assert (of.done, of.total) == (1, 4)
    speed = (progress.TRUST + 100 + 100) / (progress.TRUST + 300 + 300)
    assert of.left(300) == pytest.approx(2 / speed), "the second has run for 300 s as well, and is overdue"
    assert of.line(300) == "[1 of 4 jobs, about 10 s left] Sampling two"


def test_the_message_of_a_rule_is_told_from_one_that_begins_like_it() -> None:
    of = told([*PLANNED, "Job 3: Sampling the card"], Progress(SECONDS, RULES))
    assert of.running["3"].rule == "card"


def test_every_rule_of_the_demo_that_takes_long_is_known_by_its_message() -> None:
    found = messages(ROOT / "rules")
    long = {rule for rule, seconds in assumptions()["demo"]["seconds"].items() if seconds >= progress.HEEDED}
    assert long <= set(found.values())
    of = Progress({}, found)
    for job, (message, rule) in enumerate(
        {
            "Training the embedded verifier.": "train_verifier",
            "Training hybrid.": "train",
            "Sampling arm base, shard 0: all conditions with one load of the model.": "sample",
            "Sampling training candidates, shard 0.": "sample_train",
            "Verifying the training candidates.": "support_train",
        }.items()
    ):
        of.read(f"Job {job}: {message}", 0)
        assert of.running[str(job)].rule == rule


@pytest.mark.parametrize(("seconds", "said"), [(0, "about 10 s"), (34, "about 30 s"), (50, "about 1 min"), (29.6 * 60, "about 30 min")])
def test_time_is_said_as_one_says_it(seconds: float, said: str) -> None:
    assert about(seconds) == said


def test_a_file_gets_a_line_for_each_job_and_the_log_every_byte(tmp_path: Path) -> None:
    lines = "\n".join([*PLANNED, *FIRST, "\udcff bar\r50%", *ENDED]).encode(errors="surrogateescape")
    read, write = os.pipe()
    os.write(write, lines)
    os.close(write)
    log, out = io.BytesIO(), io.StringIO()
    progress.follow(read, log, out, Progress(SECONDS, RULES), now=lambda: 0.0)
    os.close(read)
    assert log.getvalue() == lines
    assert out.getvalue().splitlines() == [
        "The run: 4 jobs, about 3 min if nothing else keeps this machine busy.",
        "[0 of 4 jobs, about 3 min left] Sampling one",
        "[0 of 4 jobs, about 3 min left] Sampling two",
    ]


def test_a_terminal_gets_one_line_that_is_rewritten(tmp_path: Path) -> None:
    """With the audit's sentence before it, within seconds."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "cardproof", "progress", "--log", str(tmp_path / "log")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "60"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=follower, stderr=subprocess.PIPE, env=environment) as process:
        os.close(follower)
        assert process.stdin
        process.stdin.write("\n".join([*PLANNED, *FIRST, *ENDED, ""]).encode())
        process.stdin.close()
        said = b""
        while True:
            try:
                said += os.read(leader, 4096)
            except OSError:  # a terminal that nobody writes to any more
                break
        assert process.wait(timeout=PATIENCE) == 0
    first, *shown = [line for line in re.split(r"\r\n|\r\x1b\[K", said.decode()) if line]
    assert first.startswith("By its own arithmetic the card contradicts itself once")
    planned = next(at for at, line in enumerate(shown) if line != "Planning")
    assert shown[planned].startswith("The run: 4 jobs, about ")
    rest = shown[planned + 1 :]
    assert len(rest) >= 3 and all(line.startswith("[") and len(line) < 60 for line in rest)
    assert re.fullmatch(r"\[1 of 4 jobs, about .* left\] Sampling two", rest[-1])
    assert said.endswith(b"\r\x1b[K"), "the line is gone when the run has ended"


def test_a_card_that_cannot_be_audited_does_not_stop_the_run(tmp_path: Path) -> None:
    (tmp_path / "claims.yaml").write_text("card: [")
    command = [sys.executable, "-m", "cardproof", "progress", "--log", str(tmp_path / "log"), "--claims", str(tmp_path / "claims.yaml")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    said = "\n".join([*PLANNED, *FIRST])
    done = subprocess.run(command, input=said, capture_output=True, text=True, env=environment, timeout=PATIENCE)
    assert done.returncode == 0 and (tmp_path / "log").read_text() == said
    assert done.stderr.startswith("cardproof: warning: ") and "claims.yaml" in done.stderr and len(done.stdout.splitlines()) == 3


MEASURED = """import sys
from cardproof.machine import progress
progress.products = lambda: print("numpy is loaded:", "numpy" in sys.modules) or 135.0
from cardproof.cli.main import cli
cli(["progress", "--log", sys.argv[1]], standalone_mode=False)
"""


def test_the_speed_is_measured_before_numpy_takes_its_threads(tmp_path: Path) -> None:
    """numpy reads the number of threads once; with two on a busy machine the speed came out five times too low."""
    command = [sys.executable, "-c", MEASURED, str(tmp_path / "log")]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert "numpy is loaded: False" in done.stdout
