"""How a rehearsal judges what it measured, and how the plan uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cardproof.config.settings import Config
from cardproof.errors import CardproofError
from cardproof.machine import plan, rates
from cardproof.machine.workload import assumptions
from cardproof.models.sizes import architecture, shapes_of
from cardproof.rehearsal import probes, rehearse, table, workflow
from cardproof.rehearsal.workflow import Place
from helpers.places import CLAIMS, PROMPTS

GB = plan.GB
SIZES = shapes_of(architecture("Qwen/Qwen3-14B"), "published")


def stage(tmp_path: Path, **values: Any) -> probes.Stage:
    figures = [
        plan.Figure("memory: sampling", "peak", 20.0 * GB, "bytes", "estimated", ""),
        plan.Figure("memory: sampling", "device context", 1.0 * GB, "bytes", "assumed", ""),
    ]
    known: dict[str, Any] = {
        "config": Config(),
        "place": Place(tmp_path, tmp_path, 0),
        "env": {},
        "gpu": True,
        "memory": 24 * GB,
        "planned": figures,
        "needed": None,
        "reduced": False,
        "device": assumptions()["gpus"]["RTX 4090"],
    }
    return probes.Stage(**{**known, **values})


def measured(tmp_path: Path, verb: str, **values: Any) -> None:
    folder = tmp_path / "measurements"
    folder.mkdir(exist_ok=True)
    read = {"rows": 0, "tokens": 0, "seconds": 0}
    row = {"verb": verb, "ok": True, "load_seconds": None, "gpu_reserved": None, "read": read, **values}
    (folder / f"{len(list(folder.iterdir()))}.json").write_text(json.dumps(row))


@pytest.mark.parametrize(
    ("allocated", "memory", "verdict", "fails"),
    [(18, 24, "ok", False), (20, 24, "differs", False), (23.5, 24, "falls short", True), (18, 16, "falls short", True)],
)
def test_a_peak_is_judged_by_the_plan_and_by_the_memory_there_is(
    tmp_path: Path, allocated: float, memory: float, verdict: str, fails: bool
) -> None:
    """19 GB are planned, beside a context of 1 GB: 23.5 GB and it are more than 24. What torch keeps on a larger device does not count."""
    found = [{"gpu_allocated": allocated * GB, "gpu_reserved": 117.8 * GB, "rss": 0}]
    line = probes._peak(stage(tmp_path, memory=memory * GB), "memory: sampling", "peak", found, "lower sampling.rows.")
    assert (line.verdict, line.fails) == (verdict, fails)
    assert line.planned == "19.0 GB" and line.measured.startswith(f"{allocated:.1f} GB (torch kept 117.8 GB)")
    assert bool(line.do) == (verdict != "ok")


def test_the_published_run_must_fit_the_device(tmp_path: Path) -> None:
    assert probes.published(stage(tmp_path, needed=None)) == []
    assert [line.verdict for line in probes.published(stage(tmp_path, needed=20.0 * GB))] == ["ok"]
    (line,) = probes.published(stage(tmp_path, needed=25.0 * GB))
    assert line.fails and line.measured == "24.0 GB there are" and line.planned == "25.0 GB"


def test_a_rate_far_below_the_plan_falls_short_without_failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan assumes 59 s of loading: 29.5 GB at 0.5 GB a second."""
    monkeypatch.setattr(probes.Stage, "sizes", lambda self: SIZES)
    for seconds, verdict in ((70.0, "ok"), (200.0, "falls short")):
        folder = tmp_path / verdict
        folder.mkdir()
        measured(folder, "sample", load_seconds=seconds)
        found = stage(folder)
        (line,) = probes.load(found)
        assert (line.verdict, line.fails, line.planned) == (verdict, False, "59.1 s")
        assert found.rates == {"load": seconds}
    (line,) = probes.load(stage(tmp_path))
    assert line.fails and line.measured == "nothing was measured"


def test_pairs_are_counted_over_all_jobs(tmp_path: Path) -> None:
    for rows, seconds in ((100, 2.0), (20, 1.0)):
        measured(tmp_path, "support", read={"rows": rows, "tokens": 1, "seconds": seconds})
    measured(tmp_path, "support", ok=False, read={"rows": 9, "tokens": 1, "seconds": 1.0})
    found = stage(tmp_path, reduced=True)
    (line,) = probes.verifying(found)
    assert found.rates == {"pairs": 40.0} and line.planned == "no figure"


@pytest.mark.parametrize(
    ("log", "sentence"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "it ran out of memory"),
        ("RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory: you tried", "it ran out of memory"),
        ("x\ncardproof: error: a has rank 16, but b says r = 32.\nHint: y", "a has rank 16, but b says r = 32."),
        (
            "Traceback\nRuntimeError: CUDA error: no kernel image is available for execution on the device\nCalledProcessError: z",
            "RuntimeError: CUDA error: no kernel image is available for execution on the device",
        ),
        ("nothing of use", ""),
    ],
)
def test_the_reason_of_a_failure_is_one_sentence(log: str, sentence: str) -> None:
    assert workflow.reason(log) == sentence


def test_a_stopped_workflow_is_a_line_that_fails(tmp_path: Path) -> None:
    (line,) = rehearse._of_workflow(Place(tmp_path, tmp_path, 0), 3, 40, 1.0, "it ran out of memory")
    assert line.fails and "3 of 40 jobs" in line.measured and "sampling.rows" in line.do


def rehearsal(**values: Any) -> rates.Rehearsal:
    known: dict[str, Any] = {
        "device": {"name": "NVIDIA H100 80GB HBM3", "memory": 80 * GB, "driver": "580.1"},
        "versions": dict.fromkeys(("torch", "transformers", "bitsandbytes", "peft"), "1.0"),
        "layers": 40,
        "hidden": 5120,
        "vocabulary": 151936,
        "rows": Config().sampling.rows,
        "reduced": [],
        "seconds": 581.0,
        "rates": {"prompt": 1000.0, "reply": 500.0, "training": 250.0, "pairs": 100.0, "load": 30.0},
        "lines": [{"probe": "x", "measured": "y", "verdict": "ok"}],
    }
    return rates.Rehearsal.model_validate({**known, **values})


def hours(found: rates.Rehearsal | None, tmp_path: Path) -> dict[str, plan.Figure]:
    figures = plan.plan(Config(), tmp_path, PROMPTS, CLAIMS, tmp_path / "no Snakefile", found)
    return {f.name: f for f in figures if f.section == "hours"} | {f"{f.section}/{f.name}": f for f in figures}


def test_the_plan_uses_measured_rates_for_their_device_alone(tmp_path: Path) -> None:
    before, after = hours(None, tmp_path), hours(rehearsal(), tmp_path)
    name = "NVIDIA H100 80GB HBM3"
    assert "H100 80 GB" in before and "H100 80 GB" not in after and after["L4"] == before["L4"]
    assert after[name].kind == "measured" and after[name].how.endswith(f"measured by rehearse on {name}")
    tokens = {key: after[f"tokens/{key}"].value for key in ("prompt", "new", "training")}
    loads = 3 + 1 + 3  # arms, candidates, training runs
    seconds = tokens["prompt"] / 1000 + tokens["new"] / 500 + tokens["training"] / 250 + after["rollouts/all"].value / 100 + loads * 30
    assert after[name].value == pytest.approx(seconds / 3600, abs=0.006)


@pytest.mark.parametrize(
    "other", [{"layers": 2}, {"vocabulary": 16384}, {"rows": 8}, {"device": {"name": "8 cores"}}, {"rates": {"prompt": 1.0}}]
)
def test_rates_of_another_size_or_of_fewer_rows_are_not_used(tmp_path: Path, other: dict[str, Any]) -> None:
    assert hours(rehearsal(**other), tmp_path) == hours(None, tmp_path)


def test_a_device_of_no_table_is_planned_for_as_well(tmp_path: Path) -> None:
    found = hours(rehearsal(device={"name": "NVIDIA Z9", "memory": 10 * GB}), tmp_path)
    assert found["NVIDIA Z9"].kind == "measured" and "too small" in found["NVIDIA Z9"].how and "H100 80 GB" in found


@pytest.mark.parametrize(
    ("text", "said"),
    [("[1]", "valid"), ("{", "not valid JSON"), ('{"layers": "many"}', "missing"), ('{"speed": 1}', "unknown field 'speed'")],
)
def test_a_file_that_is_no_rehearsals_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "rehearsal.json").write_text(text)
    with pytest.raises(CardproofError, match=said) as e:
        rates.read(tmp_path / "rehearsal.json")
    assert "rehearsal.json" in e.value.sentence


@pytest.mark.parametrize(
    ("entry", "device", "same"),
    [
        ("H100 80 GB", "NVIDIA H100 80GB HBM3", True),
        ("A100 80 GB", "NVIDIA A100-SXM4-80GB", True),
        ("A100 80 GB", "NVIDIA A100-SXM4-40GB", False),
        ("L4", "NVIDIA L4", True),
        ("L4", "NVIDIA L40S", False),
        ("RTX 4090", "NVIDIA GeForce RTX 4090", True),
    ],
)
def test_devices_are_told_apart_by_name(entry: str, device: str, same: bool) -> None:
    assert rates.same_device(entry, device) == same


def test_the_table_has_every_line_and_what_to_do() -> None:
    fell = {"probe": "sampling's peak", "measured": "25.0 GB of 24.0 GB", "planned": "19.0 GB", "verdict": "falls short", "do": "lower it."}
    found = rehearsal(lines=[{"probe": "the workflow", "measured": "52 jobs", "verdict": "ok"}, {**fell, "fails": True}])
    text = table.as_text(found)
    assert "NVIDIA H100 80GB HBM3, driver 580.1, in 9 min 41 s" in text
    for part in ("the workflow", "25.0 GB of 24.0 GB", "19.0 GB", "falls short", "what to do: lower it."):
        assert part in text
    assert max(map(len, text.splitlines())) <= 120
    long = "stopped: /a/very-long/" + "path-" * 20 + "x is in files.json, but not there."
    below = table.as_text(rehearsal(lines=[{"probe": "the workflow", "measured": long, "verdict": "falls short"}]))
    assert "see below" in below and "path-" * 20 in below, "a path stays in one piece"
    assert text.endswith("The published run would not work here as it is: sampling's peak.")
    assert table.summary(rehearsal()) == "The published run works here."
    assert "says nothing of memory and speed" in table.summary(rehearsal(reduced=["2 of 40 layers"]))


def test_one_rehearsal_works_in_a_folder_and_no_file_of_others_is_removed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(CardproofError, match="none of a rehearsal"), rehearse._claimed(tmp_path / "mine", "a", False):
        pass
    with rehearse._claimed(tmp_path / "work", "a", False):
        (tmp_path / "work" / "half").touch()
        with pytest.raises(CardproofError, match="another rehearsal works"), rehearse._claimed(tmp_path / "work", "a", False):
            pass
    with rehearse._claimed(tmp_path / "work", "a", True):
        assert (tmp_path / "work" / "half").is_file(), "a killed one goes on"
    with pytest.raises(CardproofError, match="other sizes"), rehearse._claimed(tmp_path / "work", "b", True):
        pass
    with rehearse._claimed(tmp_path / "work", "b", False):
        assert not (tmp_path / "work" / "half").exists()


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        ([], "there is no GPU that torch can use", "--layers 2"),
        (["--layers", "1"], "--layers is 1, but Qwen/Qwen3-14B has 40 layers", "from 2 to 40"),
        (["--only", "gredy"], "there is no probe 'gredy'", "did you mean 'greedy'?"),
        (["--layers", "2", "--configfile", "vllm.yaml"], "sampling.backend is 'vllm'", "without that setting"),
        (["--layers", "2", "--configfile", "other.yaml"], "the sizes of the model 'Qwen/Qwen3-8B' are unknown", "Qwen/Qwen3-14B"),
    ],
)
def test_what_cannot_be_rehearsed_is_said_in_a_sentence(tmp_path: Path, arguments: list[str], said: str, hint: str) -> None:
    (tmp_path / "vllm.yaml").write_text("sampling: {backend: vllm}")
    (tmp_path / "other.yaml").write_text("model: {id: Qwen/Qwen3-8B}")
    command = [sys.executable, "-m", "cardproof", "rehearse", *arguments]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 2 and done.stderr.startswith("cardproof: error: ") and "Hint: " in done.stderr
    assert said in done.stderr and hint in done.stderr and "Traceback" not in done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"vllm.yaml", "other.yaml"}, "nothing is written"


def test_a_measured_verb_does_what_it_does_and_says_what_it_took(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cardproof.rehearsal.measured", "config", "--configfile", str(tmp_path / "none.yaml")]
    done = subprocess.run(
        command, capture_output=True, text=True, env=workflow.environment(Place(tmp_path, tmp_path, 0), None), check=False
    )
    assert done.returncode == 2 and "cardproof: error:" in done.stderr
    (found,) = workflow.read_measurements(tmp_path / "measurements")
    assert (found["verb"], found["ok"], found["load_seconds"]) == ("config", False, None) and found["rss"] > 10**6
