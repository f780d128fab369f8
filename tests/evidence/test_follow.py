"""A verb that judges by a run's results checks first that they follow from their inputs: `claims` and `reconcile`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cardproof.claims.audit import run_audit, to_json
from cardproof.cli.main import cli
from cardproof.evidence.sidecars import Record, record_path
from cardproof.evidence.verify import Broken
from cardproof.files import sha256_file, write_json
from helpers.places import ROOT
from helpers.synthetic_run import record_all, write_run

SCORES = "scores/base/clean.parquet"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = write_run(tmp_path_factory.mktemp("judged") / "run", scale="published", items=8, n=2)
    write_json(run / "audit.json", to_json(run_audit(ROOT / "published/claims.yaml", count_parameters=False)))
    write_json(run / "provenance/steps.json", {})
    record_all(run)
    path = record_path(run, "evaluation/axes.json")
    record = Record.model_validate(json.loads(path.read_text()) | {"inputs": {SCORES: sha256_file(run / SCORES)}})
    write_json(path, record.model_copy(update={"seal": record.sealed()}))
    return run


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def claims(run: Path, *more: str) -> Result:
    return CliRunner().invoke(cli, ["claims", "--run", str(run), "--out", str(run / "claims.json"), *more])


def reconcile(run: Path) -> Result:
    return CliRunner().invoke(cli, ["reconcile", "--config", str(run / "config.yaml"), "--run", str(run)])


def changed(file: str) -> Callable[[Path], None]:
    return lambda run: (run / file).write_bytes((run / file).read_bytes() + b" ")


def without_record(file: str) -> Callable[[Path], None]:
    return lambda run: record_path(run, file).unlink()


def record_changed(run: Path) -> None:
    path = record_path(run, "evaluation/axes.json")
    path.write_text(path.read_text().replace('"step": "synthetic"', '"step": "another"'))


def test_a_whole_run_is_judged(run: Path) -> None:
    for result in (claims(run), reconcile(run)):
        assert result.exit_code == 0, result.output
        assert "note:" not in result.stderr


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (changed("evaluation/axes.json"), "evaluation/axes.json was changed"),
        (changed("evaluation/compute.json"), "evaluation/compute.json was changed"),
        (changed("audit.json"), "audit.json was changed"),
        (changed("training/grounded/metrics.json"), "training/grounded/metrics.json was changed"),
        (changed("distill/selection.json"), "distill/selection.json was changed"),
        (changed("provenance/steps.json"), "provenance/steps.json was changed"),
        (changed(SCORES), f"{SCORES} was changed"),
        (lambda run: (run / SCORES).unlink(), f"{SCORES} is missing"),
        (without_record("evaluation/axes.json"), "evaluation/axes.json has no record"),
        (without_record("audit.json"), "audit.json has no record"),
        (without_record(SCORES), f"{SCORES} has no record"),
        (record_changed, "evaluation/axes.json.json was changed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_verdict_rests_on_what_does_not_follow(run: Path, harm: Callable[[Path], None], named: str, form: str) -> None:
    harm(run)
    result = claims(run, "--format", form)
    assert isinstance(result.exception, Broken) and result.exception.exit_code == 4
    assert named in str(result.exception) and "Hint" in str(result.exception)
    assert not result.stdout and not (run / "claims.json").exists()


def test_no_reading_is_favoured_by_losses_that_do_not_follow(run: Path) -> None:
    changed("training/b7x1/metrics.json")(run)
    result = reconcile(run)
    assert isinstance(result.exception, Broken) and "training/b7x1/metrics.json was changed" in str(result.exception)


def test_what_no_verdict_rests_on_does_not_stop_it(run: Path) -> None:
    (run / "notes.txt").write_text("mine")
    changed("prompts/clean.jsonl")(run)
    assert claims(run).exit_code == 0


def test_a_run_without_records_says_that_nobody_checked_it(run: Path) -> None:
    shutil.rmtree(run / "provenance")
    changed("evaluation/axes.json")(run)
    for result in (claims(run), reconcile(run)):
        assert result.exit_code == 0
        assert "has no record of how its results were made, so nobody checked" in result.stderr
