"""Preflight: what a machine lacks is said in one message, in seconds, before anything is fetched; what it has is written down."""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cardproof.acquire import hub
from cardproof.acquire.sources import hub_sources
from cardproof.config import reading, settings
from cardproof.errors import CardproofError
from cardproof.files import write_json
from cardproof.machine import containers, preflight
from cardproof.machine.preflight import GB, Gpu, judge_gpus
from helpers.places import ROOT
from helpers.workflow import PATIENCE

SECRET = "hf_this_must_never_be_printed"
WITHOUT_GPU: dict[str, Any] = {"run": "nogpu", "runtime": {"gpus": 0}}
without_gpu = pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="this machine has an NVIDIA GPU: nothing to refuse")


ROOMY = """import shutil
real = shutil.disk_usage
shutil.disk_usage = lambda path: real(path)._replace(free=100 * 10**9)
"""


@pytest.fixture
def roomy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process of the test sees 100 GB free: what it asks must not depend on this machine's disk."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(ROOMY, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=os.pathsep)


def environment(**changes: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in {"HF_HUB_OFFLINE", *preflight.TOKENS}}
    return {**kept, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **changes}


def verb(folder: Path, values: dict[str, Any], *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    (folder / "overlay.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    command = [sys.executable, "-c", "from cardproof.cli.main import main; main()", "preflight", "--configfile", "overlay.yaml", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment(**changes), timeout=PATIENCE)


def refused(folder: Path, values: dict[str, Any], **changes: str) -> str:
    """What is said of a configuration that this machine cannot run."""
    result = verb(folder, values, **changes)
    assert result.returncode == 2, result.stdout + result.stderr
    return result.stderr


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder), "--cores", "2", "--nolock", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=PATIENCE)


@without_gpu
def test_the_published_run_stops_in_seconds_with_one_message_at_the_end(tmp_path: Path) -> None:
    """Seconds of processor time: the clock would measure what else the machine does."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = snakemake(tmp_path, "--configfile", str(ROOT / "config.yaml"))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 30
    assert result.returncode != 0
    said = result.stdout + result.stderr
    message = said[said.rindex("cardproof: error:") :]
    assert message.startswith("cardproof: error: this machine cannot do the run 'published': there is no NVIDIA GPU")
    assert "Hint: it would need one NVIDIA GPU with " in message
    assert "GB of free memory" in message
    assert "`make demo`" in message
    assert len(message.splitlines()) < 9, "Snakemake's own account comes before it"
    assert "Traceback" not in said
    made = {str(p.relative_to(tmp_path / "results/published")) for p in (tmp_path / "results").rglob("*") if p.is_file()}
    assert made == {"config.yaml", "logs/preflight.log", "provenance/logs.json"}, "nothing else was begun"


@pytest.mark.usefixtures("roomy")
def test_the_rule_passes_once_and_is_not_run_again(tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(yaml.safe_dump(WITHOUT_GPU), encoding="utf-8")
    result = snakemake(tmp_path, "--configfile", str(overlay), "--", "results/nogpu/preflight.json")
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads((tmp_path / "results/nogpu/preflight.json").read_text())["passed"]
    overlay.write_text(yaml.safe_dump({**WITHOUT_GPU, "runtime": {"gpus": 0, "memory_gb": 3}}), encoding="utf-8")
    again = snakemake(tmp_path, "--configfile", str(overlay), "-n")
    assert again.returncode == 0
    jobs = (again.stdout + again.stderr).split("Job stats:")[1].split("\ntotal")[0]
    assert "acquire_model" in jobs
    assert "preflight" not in jobs


@pytest.mark.usefixtures("roomy")
def test_what_is_found_is_written_but_never_a_token(tmp_path: Path) -> None:
    result = verb(tmp_path, WITHOUT_GPU, "--format", "json", HF_TOKEN=SECRET)
    assert result.returncode == 0, result.stderr
    assert SECRET not in result.stdout + result.stderr
    checks = {c["name"]: c for c in json.loads(result.stdout)["checks"]}
    assert set(checks) == {"versions", "memory", "threads", "disk", "revisions", "cache", "token"}
    assert checks["token"]["found"] == "present"
    assert checks["revisions"]["status"] == "warning"
    assert checks["revisions"]["found"] == "not pinned: verifier.revision, arms.hybrid.revision"
    assert "benchmark, model, verifier, arms.hybrid (32 GB)" in checks["cache"]["found"]


def test_no_network_allowed_is_a_failure_while_something_is_missing(tmp_path: Path) -> None:
    said = refused(tmp_path, WITHOUT_GPU, HF_HUB_OFFLINE="1")
    assert "but HF_HUB_OFFLINE is set" in said
    assert "unset HF_HUB_OFFLINE" in said
    assert "make demo" not in said, "the demo is named where the GPU is what is missing"
    assert "Traceback" not in said


@pytest.mark.usefixtures("roomy")
def test_a_mirror_must_have_all_that_is_missing_and_then_no_network_is_needed(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    offline = {"HF_HUB_OFFLINE": "1", "CARDPROOF_MIRROR": str(mirror)}
    values = {**WITHOUT_GPU, "benchmark": {"source": "embedded"}}
    taken = hub_sources(reading.validate(values))
    assert len(taken) == 3
    for setting, (name, revision) in taken.items():
        said = refused(tmp_path, values, **offline)
        assert f"{setting}: The mirror {mirror} (CARDPROOF_MIRROR) does not have the model {name!r}" in said
        assert "cardproof acquire --mirror" in said
        files = [{"path": "weights.safetensors", "size": 7 * GB, "sha256": "0" * 64, "blob": None}]
        listed = {"kind": "model", "name": name, "revision": revision or "b" * 40, "pinned": revision is not None, "files": files}
        hub.place(mirror, name, "model").mkdir(parents=True)
        write_json(hub.place(mirror, name, "model") / hub.LISTING, listed)
    checks = {c["name"]: c for c in json.loads(verb(tmp_path, values, "--format", "json", **offline).stdout)["checks"]}
    assert checks["cache"]["status"] == "ok"
    assert checks["cache"]["found"] == f"the run copies from the mirror {mirror}: {', '.join(taken)} (21 GB)", "three of 7 GB each"


def test_a_missing_folder_is_named_with_its_setting(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    arms = {"hybrid": {"adapter": "folder", "id": "nowhere"}, "other": {"adapter": "folder", "id": "here"}}
    said = refused(tmp_path, {**WITHOUT_GPU, "arms": arms, "verifier": {"ragtruth": "no/ragtruth"}})
    assert "these folders do not exist: arms.hybrid.id nowhere, verifier.ragtruth no/ragtruth." in said


def test_worked_examples_that_are_not_there_are_named(tmp_path: Path) -> None:
    said = refused(tmp_path, {**WITHOUT_GPU, "contract": {"demonstration": "candidates", "demonstrations": "nowhere"}})
    assert "prompts/nowhere.yaml does not exist" in said
    assert "correct contract.demonstrations" in said


def test_vllm_must_be_there_for_the_interpreter_named(tmp_path: Path) -> None:
    asked = {**WITHOUT_GPU, "sampling": {"backend": "vllm", "python": "no/such/python"}}
    said = refused(tmp_path, asked)
    assert "the interpreter no/such/python does not exist" in said
    assert "make setup-vllm" in said
    if importlib.util.find_spec("vllm") is None:
        assert "lacks vLLM" in refused(tmp_path, {**asked, "sampling": {"backend": "vllm"}})


def test_a_container_asked_for_needs_apptainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = reading.validate(WITHOUT_GPU)

    def found() -> preflight.Check:
        checks = preflight.preflight(asked, tmp_path, ROOT / "prompts", ROOT / "published/claims.yaml")
        return next(c for c in checks if c.name == "container")

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(containers.ASKED, "1")
    assert found().status == "failed"
    monkeypatch.setenv("APPTAINER_CONTAINER", "/images/gpu.sif")
    assert (found().status, found().found) == ("ok", "running in gpu.sif")


def test_a_full_disk_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = reading.validate(WITHOUT_GPU)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=30 * GB))
    checks = preflight.preflight(published, tmp_path, ROOT / "prompts", ROOT / "published/claims.yaml")
    with pytest.raises(CardproofError, match="30 GB are free") as caught:
        preflight.raise_for(published, checks)
    assert "36 GB for weights, adapters and checkpoints" in caught.value.hint


@pytest.mark.parametrize(("backend", "free", "status"), [("vllm", 40, "failed"), ("vllm", 80, "ok"), ("transformers", 40, "ok")])
def test_vllm_needs_room_for_its_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, free: int, status: str) -> None:
    """The run asks for 36 GB (the test above), and its weights for vLLM for 30 more on the same disk."""
    published = reading.validate({**WITHOUT_GPU, "runtime": {"gpus": 1}, "sampling": {"backend": backend}})
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=free * GB))
    checks = {c.name: c for c in preflight.preflight(published, tmp_path / "run", ROOT / "prompts", ROOT / "published/claims.yaml")}
    assert checks["disk"].status == status


@pytest.mark.parametrize(
    ("free", "count", "status"),
    [([], 1, "failed"), ([23], 1, "ok"), ([12], 1, "failed"), ([12, 23], 1, "ok"), ([12, 23], 2, "failed"), ([23, 40], 2, "ok")],
)
def test_gpus_are_judged_by_their_free_memory(free: list[int], count: int, status: str) -> None:
    found = [Gpu("a card", 48 * GB, gb * GB) for gb in free]
    assert judge_gpus(found, count, 20 * GB, "a GPU with 20 GB", "12.8").status == status
    assert judge_gpus(found, count, None, "a GPU", "12.8").status == ("ok" if len(found) >= count else "failed")


def test_a_driver_without_torch_for_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    if torch.version.cuda is not None:
        pytest.skip("this torch is a CUDA build")
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    checks = preflight.preflight(settings.Config(), tmp_path, ROOT / "prompts", ROOT / "published/claims.yaml")
    assert checks[0].status == "failed"
    assert "is a build without CUDA" in checks[0].found


def test_an_embedded_run_has_no_preflight(tmp_path: Path) -> None:
    demo = reading.load(ROOT / "config.yaml", ROOT / "config/demo.yaml")
    assert not demo.needs_preflight
    assert settings.Config().needs_preflight
    result = snakemake(tmp_path, "-n", "--configfile", str(ROOT / "config/demo.yaml"))
    assert result.returncode == 0
    assert "preflight" not in result.stdout + result.stderr
