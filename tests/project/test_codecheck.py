"""codecheck.yml: the form that the CODECHECK community asks for, and files that the demo really makes."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from helpers.places import ROOT
from helpers.workflow import RUN, snakemake

FILE = ROOT / "codecheck.yml"
DEMO = "results/demo/"
PRODUCTS = re.compile(
    r"(?:card/.*|claims\.json|audit\.json|evaluation/.*|figures/.*\.svg|report/.*\.(?:html|md)|training/.*/metrics\.json)"
)
"""What a reader looks at, by its path in a run: all of it must be in the manifest."""


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def manifest(content: dict[str, Any]) -> list[str]:
    return [entry["file"] for entry in content["manifest"]]


def test_it_has_the_form_that_is_asked_for(content: dict[str, Any], manifest: list[str]) -> None:
    """By the rules for configuration files, version 2.0, as far as a file can follow them before the check."""
    assert FILE.read_text(encoding="utf-8").startswith("---\n")
    assert re.fullmatch(r"https://codecheck\.org\.uk/spec/config/\d\.\d/", content["version"])
    assert content["paper"]["title"] == yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["title"]
    assert len(manifest) == len(set(manifest))
    assert all(not PurePosixPath(name).is_absolute() and ".." not in name for name in manifest)
    assert all(entry.keys() == {"file", "comment"} and entry["comment"] for entry in content["manifest"])
    # Nobody has checked it, and no names are invented.
    assert not content.keys() & {"codechecker", "report", "certificate", "summary"} and "authors" not in content["paper"]


def test_the_demo_makes_each_file_and_every_product_is_listed(manifest: list[str], tmp_path: Path) -> None:
    """By Snakemake's own list of what the demo's rules make."""
    done = snakemake(tmp_path, "--summary", configfile="config/demo.yaml")
    assert done.returncode == 0, done.stderr
    made = {line.split("\t")[0] for line in done.stdout.splitlines()} - {"output_file"}
    assert set(manifest) <= made
    assert {name for name in made if PRODUCTS.fullmatch(name.removeprefix(DEMO))} == {
        name for name in manifest if PRODUCTS.fullmatch(name.removeprefix(DEMO))
    }


@pytest.mark.slow
def test_a_finished_run_has_each_file(manifest: list[str], ci_run: Path) -> None:
    assert not [name for name in manifest if not (ci_run / RUN / name.removeprefix(DEMO)).is_file()]
