"""Another workflow imports this one as a module, with and without a prefix, or runs it by the catalogue's path."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from helpers.places import ROOT
from helpers.workflow import PATIENCE, RUN, planned

IMPORTING = """
import yaml


module cardproof:
    snakefile:
        "{snakefile}"
    config:
        yaml.safe_load(open("settings.yaml"))
    {prefix}


use rule * from cardproof as cardproof_*


rule count:
    default_target: True
    input:
        audit=rules.cardproof_audit.output,
        prompts="{place}/prompts/clean.jsonl",
    output:
        "counted.txt",
    shell:
        "grep -c prompt {{input.prompts}} > {{output}}"


rule everything:
    input:
        rules.cardproof_all.input,
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "src")}
    command = ["snakemake", "--cores", "2", "--nolock", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE)


def importing(folder: Path, prefix: str = "", checkout: Path = ROOT) -> Path:
    """A folder with a workflow of two rules that imports the checkout's."""
    folder.mkdir()
    settings = yaml.safe_load((ROOT / "config/ci.yaml").read_text()) | {"run": "imported"}
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    place = f"{prefix}/results/imported" if prefix else "results/imported"
    text = IMPORTING.format(snakefile=checkout / "Snakefile", prefix=f'prefix: "{prefix}"' if prefix else "", place=place)
    (folder / "Snakefile").write_text(text)
    return folder / place


@pytest.mark.slow
def test_a_workflow_of_two_rules_imports_this_one(tmp_path: Path) -> None:
    """What needs no model runs; everything else is planned, as in a run of its own."""
    folder = tmp_path / "other"
    place = importing(folder, "grounding")
    jobs = planned(run(folder, "-n", "everything"))
    assert (jobs["cardproof_train"], jobs["cardproof_sample"], jobs["cardproof_card"]) == (2, 6, 1)
    assert not place.exists(), "a dry run writes nothing"
    done = run(folder)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert (folder / "counted.txt").read_text() == "4\n"
    assert yaml.safe_load((place / "config.yaml").read_text())["run"] == "imported"
    assert json.loads((place / "audit.json").read_text())
    assert planned(run(folder, "-n")) == {}
    assert {path.name for path in folder.iterdir()} == {"Snakefile", "settings.yaml", "counted.txt", ".snakemake", "grounding"}


def test_without_a_prefix_and_with_the_checkout_below(tmp_path: Path) -> None:
    """As a submodule is."""
    folder = tmp_path / "other"
    importing(folder, checkout=Path("modules/cardproof"))
    (folder / "modules").mkdir()
    (folder / "modules/cardproof").symlink_to(ROOT)
    assert planned(run(folder, "-n", "everything"))["cardproof_card"] == 1


def test_a_prefix_is_not_put_before_the_checkouts_own_files(tmp_path: Path) -> None:
    folder = tmp_path / "other"
    importing(folder, "grounding", checkout=Path("modules/cardproof"))
    (folder / "modules").mkdir()
    (folder / "modules/cardproof").symlink_to(ROOT)
    assert planned(run(folder, "-n", "cardproof_audit")) == {"cardproof_audit": 1}


def test_wrong_settings_of_a_module_are_a_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "other"
    importing(folder)
    (folder / "settings.yaml").write_text("sampling: {temprature: 1}\n")
    done = run(folder, "-n")
    assert done.returncode == 2
    assert "cardproof: error:" in done.stderr and "temprature" in done.stderr and "Traceback" not in done.stderr


def test_the_catalogue_finds_the_workflow(ci_run: Path) -> None:
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert usage["software-stack-deployment"]["report"] and (ROOT / "config/README.md").is_file()
    flags = usage["mandatory-flags"]["flags"].split()
    assert (ROOT / flags[1]).is_file()
    found = run(ci_run, "-n", "--snakefile", str(ROOT / "workflow/Snakefile"), "--configfile", str(ROOT / "config/ci.yaml"))
    assert set(planned(found)) <= {"everything"}, "the same rules: what one has done the other does not do again"


CONDA = """#!/bin/sh
case "$1 $2" in
    "info --json") echo '{"conda_version": "24.11.3", "platform": "linux-64", "conda_prefix": "/none", "root_prefix": "/none"}' ;;
    "config "*) echo '{"channel_priority": "strict", "get": {"channel_priority": "strict"}}' ;;
    *) echo "conda 24.11.3" ;;
esac
"""


def test_jobs_are_planned_in_conda_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for conda, which only says its version: Snakemake finds the environment of every rule."""
    (tmp_path / "conda").write_text(CONDA)
    (tmp_path / "conda").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    folder = tmp_path / "other"
    importing(folder)
    done = run(folder, "-n", "--sdm", "conda", "--", "everything")
    assert planned(done)["cardproof_card"] == 1
    said = done.stdout + done.stderr
    assert re.findall(r"^Conda environment (.*) will be created", said, re.MULTILINE) == [f"{ROOT}/rules/../envs/cpu.yaml"]


def test_snakemakes_own_report_has_everything(ci_run: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.zip"
    done = run(ci_run, "--snakefile", str(ROOT / "Snakefile"), "--configfile", str(ROOT / "config/ci.yaml"), "--report", str(page))
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    with zipfile.ZipFile(page) as archive:
        shown = {Path(name).name for name in archive.namelist()}
    figures = {path.name for path in (ci_run / RUN / "figures").glob("*.svg")}
    assert len(figures) >= 5
    assert {"report.html", "README.md", "index.html", "diff.html", *figures} <= shown
