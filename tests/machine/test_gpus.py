"""GPUs without one: a stand-in for nvidia-smi lists them, and real processes take their shares of them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cardproof.config import reading
from cardproof.config.settings import Config
from cardproof.errors import CardproofError
from cardproof.machine import gpus
from cardproof.machine.preflight import judge_driver
from helpers.workflow import PATIENCE

LISTED = """GPU-aaa, NVIDIA A100, 81920, 500, 580.65.06
GPU-bbb, NVIDIA A100, 81920, 80000, 580.65.06
"""
JOB = """
import os, sys
from cardproof.machine.gpus import reserve
reserve(int(sys.argv[1]), float(sys.argv[2]))
print(os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine with two GPUs, the first of them nearly full; what this process took of them is given back at the end."""
    driver = tmp_path / "nvidia-smi"
    driver.write_text(f"#!/bin/sh\ncat << END\n{LISTED}END\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv(gpus.VISIBLE, raising=False)
    yield tmp_path
    for lock in gpus._held:
        lock.close()
    gpus._held.clear()


def job(count: int, patience: float = 60) -> subprocess.Popen[str]:
    """A process that takes its GPUs, says which, and keeps them until its input ends."""
    command = [sys.executable, "-c", JOB, str(count), str(patience)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_two_jobs_get_two_gpus_the_emptier_first_and_a_third_waits(machine: Path) -> None:
    first, second = job(1), job(1)
    assert {said(first), said(second)} == {"GPU-aaa", "GPU-bbb"}
    third = job(1, patience=0)
    assert "Other jobs of cardproof use 2 of the 2 GPUs, and this one needs 1." in third.communicate(timeout=PATIENCE)[1]
    fourth = job(1)
    first.kill()  # a killed job frees its GPU as well
    assert said(fourth) in {"GPU-aaa", "GPU-bbb"}
    for process in (first, second, fourth):
        process.communicate(timeout=PATIENCE)
    alone = job(1)
    assert said(alone) == "GPU-bbb", "the first is nearly full"
    assert "this job has GPU GPU-bbb" in alone.communicate(timeout=PATIENCE)[1]


@pytest.mark.parametrize(("count", "visible", "expected"), [(2, None, "None"), (1, "1", "1"), (0, None, ""), (0, "1", "")])
def test_a_job_with_nothing_to_choose_keeps_what_it_was_given(
    machine: Path, monkeypatch: pytest.MonkeyPatch, count: int, visible: str | None, expected: str
) -> None:
    if visible is not None:
        monkeypatch.setenv(gpus.VISIBLE, visible)
    process = job(count)
    assert said(process) == expected
    process.communicate(timeout=PATIENCE)


@pytest.mark.parametrize(("visible", "names"), [("1,0", "ba"), ("GPU-b", "b"), ("1,7,0", "b"), ("", ""), ("GPU-", ""), ("0", "a")])
def test_visible_gpus_are_read_as_cuda_reads_them(machine: Path, monkeypatch: pytest.MonkeyPatch, visible: str, names: str) -> None:
    monkeypatch.setenv(gpus.VISIBLE, visible)
    assert [card.uuid[-1] for card in gpus.visible(gpus.cards())] == list(names)


def test_a_driver_that_is_too_old_is_named_with_what_is_needed(machine: Path) -> None:
    card = gpus.cards()[0]
    assert (card.name, card.memory, card.driver) == ("NVIDIA A100", 81920 * 2**20, "580.65.06")
    assert judge_driver([card], "13.0") is None
    old = judge_driver([card._replace(driver="550.54.15")], "13.0")
    assert old and old.status == "failed"
    assert old.found == "NVIDIA's driver is version 550.54.15, and torch's CUDA 13.0 needs R580 or newer"
    assert judge_driver([card._replace(driver="550.54.15")], "12.8") is None
    assert judge_driver([card], "99.0") is None, "nothing is claimed of a version that is not known"


@pytest.mark.parametrize("script", ["echo 'NVIDIA-SMI has failed' >&2; exit 9", "echo 'one, two'", "echo 'a, b, c, d, e'"])
def test_a_broken_driver_is_one_sentence(machine: Path, script: str) -> None:
    (machine / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    with pytest.raises(CardproofError, match=r"driver does not answer|form that is not understood") as error:
        gpus.cards()
    assert "\n" not in error.value.sentence


@pytest.mark.parametrize(
    ("verb", "error", "lower"),
    [
        ("sample", "CUDA out of memory. Tried to allocate 2.31 GiB. GPU 0 has a total capacity of 23.64 GiB", "sampling.rows (now 48)"),
        ("train", "CUDA out of memory. Tried to allocate 1.50 GiB.", "training.max_tokens (now 4096)"),
        ("support", "CUDA out of memory.", "verifier.max_tokens (now 512)"),
        ("sample", "No available memory for the cache blocks.", "sampling.rows (now 48)"),
    ],
)
def test_too_little_memory_is_one_sentence_and_is_not_tried_again_unchanged(machine: Path, verb: str, error: str, lower: str) -> None:
    config, tries = Config(), 0

    def work(changed: Config = config, says: str | None = error) -> None:
        nonlocal tries
        with gpus.granted(changed, machine, verb):
            tries += 1
            if says:
                raise RuntimeError(says)

    with pytest.raises(CardproofError, match=f"{verb}: the GPU ran out of memory") as first:
        work()
    assert lower in first.value.hint
    assert ("asked for" in first.value.sentence) == ("Tried" in error)
    with pytest.raises(CardproofError, match="ran out of a GPU's memory before") as second:
        work()
    assert lower in second.value.hint
    assert tries == 1, "the second try ended at once"
    smaller = reading.validate({"sampling": {"rows": 8}})
    work(smaller, says=None)
    work(says=None)
    assert tries == 3, "once it has worked, the same settings may be tried again"


def test_other_errors_stay_what_they_are(machine: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), gpus.granted(Config(), machine, "sample"):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    assert not (machine / "logs").exists()


def test_a_cpu_without_memory_says_so(machine: Path) -> None:
    with (
        pytest.raises(CardproofError, match="the machine ran out of memory"),
        gpus.granted(reading.validate({"runtime": {"gpus": 0}}), machine, "train"),
    ):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: out of memory")
