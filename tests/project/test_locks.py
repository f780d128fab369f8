"""Installing from the locks, and making them again: which build of torch is taken, what is said, and that nothing changes by itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.places import ROOT

REACHED = "torch: the build for CPUs."
NOT_REACHED = "PyTorch's own index of CPU builds cannot be reached; going on with pip's index."

PIP = """#!/bin/sh
# Stands for pip: notes what it is asked for, and has what FAILS does not name.
for word in "$@"; do case $word in */lock-*) lock=$word ;; esac; done
index=$([ "${PIP_INDEX_URL#*pytorch}" = "$PIP_INDEX_URL" ] && echo pip || echo pytorch)
echo "$index ${lock##*/} $*" >> "$NOTES"
case " $FAILS " in *" $index:${lock##*/} "*) echo "$SAYS" >&2; exit 1 ;; esac
"""


def install(
    folder: Path, *fails: str, says: str = "ERROR: No matching distribution found"
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """envs/install.sh with a stand-in for pip that fails for the given `index:lock`; and `index lock` of each of its calls."""
    pip, notes = folder / "pip", folder / "notes"
    pip.write_text(PIP)
    pip.chmod(0o755)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
    environment |= {"FAILS": " ".join(fails), "NOTES": str(notes), "SAYS": says}
    command = [ROOT / "envs/install.sh", "torch-cpu,project,data", pip, "install"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    calls = notes.read_text().splitlines()
    assert all(call.endswith(" --no-deps --require-hashes") for call in calls)
    return done, [" ".join(call.split()[:2]) for call in calls]


OTHERS = ["pip lock-project.txt", "pip lock-data.txt"]


def test_torch_comes_from_pytorchs_index_of_cpu_builds(tmp_path: Path) -> None:
    done, calls = install(tmp_path)
    assert (done.returncode, done.stdout.splitlines()) == (0, [REACHED])
    assert calls == ["pytorch lock-torch-cpu.txt", *OTHERS]


def test_where_that_is_not_reached_pips_index_is_asked_for_the_same_file(tmp_path: Path) -> None:
    done, calls = install(tmp_path, "pytorch:lock-torch-cpu.txt")
    assert (done.returncode, done.stdout.splitlines()) == (0, [NOT_REACHED, "torch: the build for CPUs, from pip's index."])
    assert calls == ["pytorch lock-torch-cpu.txt", "pip lock-torch-cpu.txt", *OTHERS]


def test_only_then_is_the_build_for_gpus_taken(tmp_path: Path) -> None:
    done, calls = install(tmp_path, "pytorch:lock-torch-cpu.txt", "pip:lock-torch-cpu.txt")
    assert done.returncode == 0 and "the one for GPUs, some gigabytes" in done.stdout.splitlines()[1]
    assert calls[-3:] == ["pip lock-torch-cuda.txt", *OTHERS]


def test_a_file_with_another_hash_ends_it(tmp_path: Path) -> None:
    done, calls = install(
        tmp_path, "pytorch:lock-torch-cpu.txt", says="ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE."
    )
    assert done.returncode == 1 and "DO NOT MATCH" in done.stderr
    assert calls == ["pytorch lock-torch-cpu.txt"]


def test_pip_refuses_a_package_whose_hash_is_not_in_the_lock(tmp_path: Path) -> None:
    """With pip itself, and a wheel made here."""
    envs, wheel = tmp_path / "envs", tmp_path / "small-1.0-py3-none-any.whl"
    envs.mkdir()
    shutil.copy(ROOT / "envs/install.sh", envs)
    wheel.write_bytes(b"not what was locked")
    (envs / "lock-small.txt").write_text(f"small==1.0 --hash=sha256:{'0' * 64}\n")
    command = [
        envs / "install.sh",
        "small",
        sys.executable,
        "-m",
        "pip",
        "install",
        "--target",
        tmp_path / "target",
        "--no-index",
        "--find-links",
        tmp_path,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0 and "DO NOT MATCH THE HASHES" in done.stderr
    assert not (tmp_path / "target/small").exists()


@pytest.mark.parametrize(("kind", "torch"), [("cpu", "torch-cpu"), ("gpu", "torch-cuda")])
def test_a_conda_environment_gets_the_locks_and_the_project(tmp_path: Path, kind: str, torch: str) -> None:
    pip = tmp_path / "pip"
    pip.write_text(PIP)
    pip.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "CARDPROOF_CHECKOUT": str(ROOT),
        "NOTES": str(tmp_path / "notes"),
    }
    environment |= {"FAILS": "", "SAYS": ""}
    subprocess.run(["bash", ROOT / f"envs/{kind}.post-deploy.sh"], env=environment, cwd=tmp_path, check=True, capture_output=True)
    calls = (tmp_path / "notes").read_text().splitlines()
    assert [call.split()[1] for call in calls[:3]] == [f"lock-{torch}.txt", "lock-project.txt", "lock-data.txt"]
    assert calls[3].endswith(f"install -q --no-deps -e {ROOT}")


def requirements(lock: Path) -> dict[str, set[str]]:
    """`name==version` -> its hashes."""
    lines = lock.read_text().replace("\\\n", "").splitlines()
    return {line.split()[0]: set(re.findall(r"sha256:(\w{64})", line)) for line in lines if line and not line.startswith("#")}


@pytest.mark.slow
def test_make_lock_changes_nothing_by_itself(tmp_path: Path) -> None:
    """The locks of this checkout are what the update command makes. Only hashes of files that were published since may be added."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "envs", tmp_path / "envs")
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    uv = Path(sys.executable).with_name("uv")
    done = subprocess.run([tmp_path / "tools/lock.sh"], env={**os.environ, "UV": str(uv)}, capture_output=True, text=True)
    if done.returncode and re.search("error sending request|dns error|Network unreachable|Failed to fetch", done.stderr):
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr
    for lock in sorted((ROOT / "envs").glob("lock-*.txt")):
        before, after = requirements(lock), requirements(tmp_path / "envs" / lock.name)
        assert before.keys() == after.keys(), lock.name
        assert all(before[name] <= after[name] for name in before), lock.name
