"""`make demo`'s script killed at random points of every stage, and run to the end: as if nothing had happened, and no work done twice."""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from cardproof.evidence.verify import check
from helpers.places import ROOT
from helpers.workflow import PATIENCE, RUN, contents

pytestmark = pytest.mark.slow

SEED = 8
LONGEST_DELAY = 1.2
"""Seconds between the sign that a stage is at work and its kill, at most."""
STAGES: dict[str, tuple[str, ...]] = {
    "acquire": ("logs/acquire_*.log",),
    "split": ("logs/split.log", "logs/prompts_*.log"),
    "train_verifier": ("logs/train_verifier.log",),
    "sample_train": ("store/train.*.jsonl",),
    "support": ("logs/support_*.log",),
    "score": ("logs/score_*.log",),
    "distill": ("logs/distill.log",),
    "train": ("work/train_*/checkpoints/checkpoint-*/whole",),
    "sample": ("store/hybrid.*.jsonl", "store/grounded.*.jsonl"),
    "check_verifier": ("logs/check_verifier.log",),
    "evaluate": ("logs/evaluate.log",),
    "figures": ("logs/figures.log", "logs/provenance.log"),
    "card": ("logs/claims.log", "logs/card.log", "logs/report.log"),
}
"""Stage -> files that show it is at work: each stage is killed once, the first time one of its files appears."""
ALONE = "train_verifier"
"""The stage in which Snakemake is killed alone, and its jobs live on."""

RESUMED = "train"
"""The stage that is killed at once, on its first checkpoint: a fast machine would be done with it a second later."""


class Killed(NamedTuple):
    """One kill."""

    stage: str
    at_work: list[str]
    """Outputs of the jobs that were running."""
    finished: dict[Path, tuple[int, int]]
    """Inode and time of change of every file whose job had ended."""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which `config/demo.yaml` is the smallest scale."""
    folder = tmp_path_factory.mktemp("kill") / "checkout"
    not_cloned = shutil.ignore_patterns(".*", "results", "tests", "docs", "__pycache__", "*.egg-info", "*.sif")
    shutil.copytree(ROOT, folder, ignore=not_cloned)
    shutil.copyfile(ROOT / "config/ci.yaml", folder / "config/demo.yaml")
    return folder


def start(folder: Path, said: Path) -> subprocess.Popen[bytes]:
    """The demo in a session of its own, every process of it marked by the folder's path in its environment."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"}
    environment |= {"PYTHONPATH": str(folder / "src"), "KILL_TEST": str(folder)}
    with said.open("wb") as out:
        return subprocess.Popen(
            ["bash", "tools/demo.sh"], cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )


def alive(folder: Path) -> dict[int, str]:
    """Process id -> command line of everything that a demo in `folder` started."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"KILL_TEST={folder}\0".encode() in (process / "environ").read_bytes() + b"\0":
                found[int(process.name)] = (process / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue
    return found


def gone(folder: Path, seconds: float = 60) -> bool:
    """Whether nothing of a demo is alive, soon."""
    until = time.monotonic() + seconds
    while left := alive(folder):
        if time.monotonic() > until:
            print(f"left alive: {left}", file=sys.stderr)
            return False
        time.sleep(0.05)
    return True


def appeared(run: Path, stage: str, since: int) -> bool:
    """Whether a file of the stage was begun since then; an empty store shows no work."""
    for pattern in STAGES[stage]:
        for path in run.glob(pattern):
            found = path.stat()
            if found.st_mtime_ns > since and (found.st_size or not path.is_relative_to(run / "store")):
                return True
    return False


def outputs(folder: Path, kind: str) -> Iterator[Path]:
    """Paths that Snakemake keeps a note of: `metadata` of what a job made, `incomplete` of what a job is making."""
    notes = folder / ".snakemake" / kind
    for note in notes.rglob("*") if notes.is_dir() else ():
        if note.is_file():
            name = note.relative_to(notes).as_posix().replace("/@", "").replace("/", "")
            yield Path(base64.urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode())


def made(folder: Path) -> dict[Path, tuple[int, int]]:
    """Every file of every job that ended."""
    unfinished = set(outputs(folder, "incomplete"))
    found = {}
    for output in set(outputs(folder, "metadata")) - unfinished:
        path = folder / output
        for file in path.rglob("*") if path.is_dir() else [path]:
            if file.is_file() and file.name != ".snakemake_timestamp" and "shards" not in file.parts:
                found[file] = (file.stat().st_ino, file.stat().st_mtime_ns)
    return found


def refused(folder: Path, said: Path) -> str:
    """What the demo says where it does not begin."""
    process = start(folder, said)
    assert process.wait(timeout=PATIENCE) == 2
    return said.read_text()


@pytest.fixture(scope="module")
def survived(checkout: Path) -> list[Killed]:
    """A demo killed once in every stage and continued after each kill, until it is done."""
    draw, left, kills = random.Random(SEED), dict(STAGES), []
    run, said = checkout / RUN, checkout.parent / "said.txt"
    while True:
        since = time.time_ns()
        process = start(checkout, said)
        stage = None
        while stage is None and process.poll() is None:
            stage = next((s for s in left if appeared(run, s, since)), None)
            time.sleep(0.02)
        if stage is not None:
            time.sleep(draw.uniform(0, 0 if stage == RESUMED else LONGEST_DELAY))
        if process.poll() is not None:
            break
        del left[str(stage)]
        if stage == ALONE:
            for pid, command in alive(checkout).items():
                if "demo.sh" in command or "bin/snakemake" in command:
                    os.kill(pid, signal.SIGKILL)
            process.wait(timeout=60)
            text = refused(checkout, checkout.parent / "refused.txt")
            assert "a run is going on in this folder" in text
            assert "Hint:" in text
            for pid in alive(checkout):
                os.kill(pid, signal.SIGKILL)
        else:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=60)
        assert gone(checkout), f"orphans of the kill in {stage}"
        kills.append(Killed(str(stage), sorted(map(str, outputs(checkout, "incomplete"))), made(checkout)))
    assert process.returncode == 0, said.read_text()[-6000:]
    assert gone(checkout), "orphans of the finished demo"
    print(f"kills survived: {len(kills)}, in {', '.join(k.stage for k in kills)}")
    return kills


def test_at_least_ten_kills_over_every_stage_were_survived(survived: list[Killed], record_property: Callable[[str, object], None]) -> None:
    record_property("kills survived", len(survived))
    record_property("kills survived that hit a job at work", sum(bool(kill.at_work) for kill in survived))
    assert len(survived) >= 10
    assert {"train_verifier", "sample_train", "support", "train", "sample"} <= {kill.stage for kill in survived}
    assert sum(bool(kill.at_work) for kill in survived) >= 8, "most kills hit a job at work"


def test_the_results_are_those_of_an_undisturbed_run(survived: list[Killed], checkout: Path, ci_run: Path) -> None:
    parts = ("benchmark", "split", "prompts", "samples", "support", "scores", "distill", "evaluation", "figures", "card")
    parts += ("audit.json", "claims.json", "verifier/metrics.json", *(f"training/{v}/metrics.json" for v in ("grounded", "hybrid")))
    undisturbed, killed = contents(ci_run, *parts), contents(checkout, *parts)
    assert undisturbed.keys() == killed.keys()
    assert [name for name in undisturbed if undisturbed[name] != killed[name]] == []
    assert check(checkout / RUN).state == "whole"


def test_no_finished_stage_ran_again(survived: list[Killed], checkout: Path) -> None:
    last = made(checkout)
    for kill in survived:
        again = {str(path.relative_to(checkout)) for path, when in kill.finished.items() if last.get(path) != when}
        assert again == set(), f"made again after the kill in {kill.stage}"


def test_no_finished_rollout_was_sampled_again_and_trainings_were_resumed(survived: list[Killed], checkout: Path) -> None:
    for path in (checkout / RUN / "store").glob("*.jsonl"):
        keys = [json.loads(line)["key"] for line in path.read_text().splitlines()]
        assert len(keys) == len(set(keys)) > 0
    costs = [json.loads(path.read_text()) for path in (checkout / RUN / "training").glob("*/cost.json")]
    assert any(cost["resumed"] for cost in costs)


def test_a_demo_that_is_done_leaves_no_lock_and_does_nothing_again(survived: list[Killed], checkout: Path) -> None:
    said = checkout.parent / "again.txt"
    assert start(checkout, said).wait(timeout=PATIENCE) == 0
    assert "Nothing to be done" in said.read_text()
    assert list((checkout / ".snakemake/locks").glob("*")) == []
