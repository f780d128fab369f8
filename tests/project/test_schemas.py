"""Schemas of the claims file and of results: in sync with the models, every field described, and what a run writes follows them."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from cardproof.claims.audit import run_audit
from cardproof.claims.claims import judge
from cardproof.files import read_json, write_json
from helpers.places import CLAIMS, ROOT
from helpers.synthetic_run import write_run

TOOL = runpy.run_path(str(ROOT / "tools" / "schemas.py"))
RESULTS = {name: model for name, model in TOOL["FILES"].items() if name.startswith("results/")}
WRITTEN = {
    "axes": "evaluation/axes.json",
    "stress": "evaluation/stress.json",
    "mechanism": "evaluation/mechanism.json",
    "compute": "evaluation/compute.json",
    "format_lock": "evaluation/format_lock.json",
    "reconcile": "evaluation/reconcile.json",
    "claims": "claims.json",
    "audit": "audit.json",
    "training": "training/grounded/metrics.json",
    "verifier": "verifier/metrics.json",
}


def test_schemas_are_in_sync() -> None:
    for path, text in TOOL["contents"]().items():
        assert path.read_text(encoding="utf-8") == text, f"{path} and its model differ; `make generated` writes it again"


def properties(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for part in (schema, *schema.get("$defs", {}).values()):
        for name, found in part.get("properties", {}).items():
            yield f"{part.get('title')}.{name}", found


@pytest.mark.parametrize("name", RESULTS)
def test_every_field_of_a_result_is_described(name: str) -> None:
    schema = json.loads((ROOT / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))
    assert [place for place, found in properties(schema) if not found.get("description")] == []


@pytest.fixture(scope="module", params=[(), (0, 3)], ids=["one seed", "two seeds"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_run(tmp_path_factory.mktemp("schemas") / "run", items=4, n=2, training_seeds=request.param)
    write_json(folder / "audit.json", run_audit(CLAIMS, count_parameters=False))
    write_json(folder / "claims.json", judge(folder, CLAIMS))
    return folder


@pytest.mark.parametrize("name", WRITTEN)
def test_what_a_run_writes_follows_its_schema_and_is_read_back_unchanged(run: Path, tmp_path: Path, name: str) -> None:
    file = run / WRITTEN[name]
    schema = json.loads((ROOT / "schemas" / "results" / f"{name}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(read_json(file))
    write_json(tmp_path / "again.json", RESULTS[f"results/{name}"].model_validate(read_json(file)))
    assert (tmp_path / "again.json").read_bytes() == file.read_bytes()


def test_every_result_has_a_schema() -> None:
    assert {f"results/{name}" for name in WRITTEN} == set(RESULTS)
