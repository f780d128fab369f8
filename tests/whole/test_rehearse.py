"""The rehearsal as a user calls it: killed and resumed, its table and file; and what each line catches, broken once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cardproof.acquire import hub
from cardproof.machine.rates import Rehearsal
from helpers.workflow import PATIENCE

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "cardproof", "rehearse", "--layers", "2"]
SAME = ("greedy replies equal `generate`", "samples with 8 rows", "samples beside others, reordered", "samples of a job killed and resumed")


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **more}


def rehearse(folder: Path, *arguments: str, **more: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Run it in `folder`; returns the process and what it wrote."""
    command = [*COMMAND, "--keep", "keep", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment(**more), timeout=PATIENCE)
    return done, json.loads((folder / "rehearsal.json").read_text()) if (folder / "rehearsal.json").is_file() else {}


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str], dict[str, Any]]:
    """A folder with a finished rehearsal, killed once with all its processes while the workflow ran."""
    folder = tmp_path_factory.mktemp("rehearsal")
    first = subprocess.Popen(
        [*COMMAND, "--keep", "keep"], stderr=subprocess.PIPE, text=True, cwd=folder, env=environment(), start_new_session=True
    )
    assert first.stderr is not None
    seen = []
    for line in first.stderr:
        seen.append(line)
        if line.startswith("cardproof: workflow: 9 of "):
            os.killpg(first.pid, signal.SIGKILL)
            break
    assert first.wait() == -signal.SIGKILL, "".join(seen)
    done, found = rehearse(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done, found


def test_every_line_is_there_and_ok(rehearsed: tuple[Path, subprocess.CompletedProcess[str], dict[str, Any]]) -> None:
    _, done, found = rehearsed
    print(done.stdout)
    lines = {line["probe"]: line for line in found["lines"]}
    assert not [line for line in lines.values() if line["fails"]]
    for name in SAME:
        (line,) = (line for probe, line in lines.items() if probe.startswith(name))
        assert line["verdict"] == "ok", line
    for probe in ("the workflow", "offline", "loading the weights", "training's peak", "sampling's peak", "verifying"):
        assert lines[probe]["verdict"] in {"ok", "differs"}, lines[probe]
    assert "(48 rows of 96)" in lines["writing replies"]["measured"], "in the worst case no reply ends before the limit"
    assert set(found["rates"]) == {"prompt", "reply", "training", "pairs", "load", "step"} and all(found["rates"].values())
    assert all(name in done.stdout for name in lines)
    assert "Smaller than the published run here: 2 of 40 layers; hidden size 1280 of 5120" in done.stdout
    assert found["versions"]["torch"] and found["device"]["name"]
    assert Rehearsal.model_validate(found).reduced


def test_a_killed_rehearsal_went_on(rehearsed: tuple[Path, subprocess.CompletedProcess[str], dict[str, Any]]) -> None:
    _, done, _ = rehearsed
    assert "fitting the model" not in done.stderr, "the stand-ins were made before"
    jobs = next(line for line in done.stderr.splitlines() if "workflow: 1 of " in line)
    assert int(jobs.split(" of ")[1].split()[0]) < 46


def test_the_rehearsed_run_is_no_reproduction(rehearsed: tuple[Path, subprocess.CompletedProcess[str], dict[str, Any]]) -> None:
    run = rehearsed[0] / "keep" / "results" / "rehearsal"
    selection = json.loads((run / "distill" / "selection.json").read_text())
    assert selection["kept"] >= 4, "the model recites, so candidates pass the selection"
    assert {row["verdict"] for row in json.loads((run / "claims.json").read_text())["claims"]}.isdisjoint({"agrees", "differs"})


# --- each line, broken once -------------------------------------------------------------------------------------------


def wrong_rank(keep: Path) -> None:
    """The adapter says another rank than it has."""
    folder = hub.place(keep / "mirror", "stand-in/adapter-hybrid", "model")
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "r": 16}))
    listed = json.loads((folder / hub.LISTING).read_text())
    for file in listed["files"]:
        if file["path"] == "adapter_config.json":
            file |= {"blob": hub.git_blob(folder / file["path"]), "size": (folder / file["path"]).stat().st_size}
    (folder / hub.LISTING).write_text(json.dumps(listed))


def missing_file(keep: Path) -> None:
    """The mirror lost the model's weights."""
    next(hub.place(keep / "mirror", "stand-in/Qwen3-14B", "model").glob("*.safetensors")).unlink()


def missing_kernel(keep: Path) -> None:
    """bitsandbytes has no kernel for this device: see the package that takes its place."""
    package = keep.parent / "broken" / "bitsandbytes"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('raise RuntimeError("CUDA error: no kernel image is available for execution on the device")\n')


@pytest.mark.parametrize(
    ("harm", "said"),
    [(missing_kernel, "no kernel image is available"), (wrong_rank, "rank"), (missing_file, "safetensors")],
)
def test_what_the_workflow_line_catches(
    rehearsed: tuple[Path, subprocess.CompletedProcess[str], dict[str, Any]], harm: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    # The run begins again, because a finished one does not look at what it fetched.
    shutil.copytree(rehearsed[0] / "keep", tmp_path / "keep", symlinks=True, ignore=shutil.ignore_patterns("results", ".snakemake"))
    harm(tmp_path / "keep")
    done, found = rehearse(tmp_path, "--only", "load", PYTHONPATH=f"{tmp_path / 'broken'}:{os.environ.get('PYTHONPATH', '')}")
    assert done.returncode == 1, done.stdout + done.stderr
    (line,) = found["lines"]
    print(done.stdout)
    assert line["probe"] == "the workflow" and line["fails"] and said in line["measured"] and "workflow.log" in line["do"]
    assert "The published run would not work here as it is: the workflow." in done.stdout


def test_what_the_memory_lines_catch(rehearsed: tuple[Path, subprocess.CompletedProcess[str], dict[str, Any]]) -> None:
    """A device of 0.2 GB holds neither training nor sampling: this needs no new workflow."""
    done, found = rehearse(rehearsed[0], "--only", "training", "--only", "full", "--memory", "0.2", "--out", "small.json")
    assert done.returncode == 1, done.stdout + done.stderr
    found = json.loads((rehearsed[0] / "small.json").read_text())
    print(done.stdout)
    fell = [line for line in found["lines"] if line["fails"]]
    assert [line["probe"] for line in fell] == ["training's peak", "sampling's peak"]
    assert all("of 0.2 GB" in line["measured"] and "lower" in line["do"] for line in fell)
