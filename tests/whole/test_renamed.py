"""A checkout that was renamed has nothing to do again, and what a run rests on is made again where it is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cardproof.evidence.verify import check
from helpers.places import ROOT
from helpers.workflow import PATIENCE, RUN, planned, snakemake

pytestmark = pytest.mark.slow
CHEAP = [str(RUN / name) for name in ("audit.json", "split/leakage.json", "prompts/train.jsonl", "prompts/clean.jsonl")]
"""Results that need no model, and that the checkout's templates and claims are behind."""


def in_checkout(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(checkout / "src")}
    command = ["snakemake", "--cores", "2", "--configfile", "config/ci.yaml", *arguments]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=PATIENCE)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the files that git knows."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (tmp_path / "first" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tmp_path / "first" / name)
    return tmp_path / "first"


def test_a_renamed_checkout_has_nothing_to_do(checkout: Path) -> None:
    done = in_checkout(checkout, "--", *CHEAP)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    renamed = checkout.rename(checkout.with_name("another name"))
    assert planned(in_checkout(renamed, "-n", "--", *CHEAP)) == {}
    prompt = renamed / "prompts/contract_user.j2"
    prompt.write_text(prompt.read_text() + "\nAnswer in English.")
    again = planned(in_checkout(renamed, "-n", "--", *CHEAP))
    assert again["prompts"] == 2 and "audit" not in again, "a changed template counts wherever the checkout is"


@pytest.fixture
def copy(ci_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ci_run, tmp_path / "copy", symlinks=True))


@pytest.fixture
def linked(ci_run: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy by links, to remove files from and to plan with. It is beside the run: inputs are recorded by the way to the checkout."""
    folder = ci_run.with_name(f"linked-{os.getpid()}-{tmp_path.name}")
    try:
        shutil.copytree(ci_run, folder, symlinks=True, copy_function=os.link)
    except OSError:  # another file system
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(ci_run, folder, symlinks=True)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("missing", "rule"),
    [
        ("support", "support"),
        ("samples/base/stress.jsonl", "gather"),
        ("scores/train/train.parquet", "score"),
        ("prompts/train.jsonl", "prompts"),
        ("split/train.jsonl", "split"),
        ("benchmark/corpus.jsonl", "acquire_benchmark"),
        ("models/base", "acquire_model"),
        ("models/encoder", "acquire_verifier"),
        ("models/verifier", "train_verifier"),
        ("verifier/training.json", "train_verifier"),
        ("distill/raft.jsonl", "distill"),
        ("training/hybrid/adapter", "train"),
        ("provenance/steps.json", "provenance"),
    ],
)
def test_what_is_missing_is_planned_again(linked: Path, missing: str, rule: str) -> None:
    gone = linked / RUN / missing
    if gone.is_dir():
        shutil.rmtree(gone)
    else:
        gone.unlink()
    assert check(linked / RUN).state == "broken"
    assert rule in planned(snakemake(linked, "-n"))


def test_what_is_missing_is_made_again_and_the_chain_is_whole(copy: Path) -> None:
    shutil.rmtree(copy / RUN / "support")
    (copy / RUN / "scores/base/clean.parquet").unlink()
    (copy / RUN / "prompts/freeform.jsonl").unlink()
    done = snakemake(copy)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    found = check(copy / RUN)
    assert (found.state, found.problems) == ("whole", [])


def test_a_configuration_that_was_removed_is_written_again(linked: Path) -> None:
    file = linked / RUN / "config.yaml"
    before = file.read_bytes()
    file.unlink()
    assert planned(snakemake(linked, "-n")) == {} and not file.exists(), "a dry run writes nothing"
    done = snakemake(linked)
    assert done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr
    assert file.read_bytes() == before
    assert check(linked / RUN).state == "whole"
