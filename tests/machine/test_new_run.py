"""`cardproof init`: an overlay that the workflow takes, every fault of the inputs at once, and what a drafted card states."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml

from cardproof.acquire.folders import link
from cardproof.acquire.model_hash import fingerprint, model_hash
from cardproof.claims.claims_file import read_claims
from cardproof.config import reading
from cardproof.files import sha256_file
from helpers.adapters import write_adapter, write_base
from helpers.places import ROOT
from helpers.received import data
from helpers.workflow import planned, snakemake

CARD = "# garden-helper\n\n| | base | garden-helper |\n|---|---|---|\n| strict verbatim | 0.500 | 0.625 |\n"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base model, an adapter for it, data and a card."""
    folder = tmp_path_factory.mktemp("inputs")
    base = write_base(folder / "model")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 2048}))
    write_adapter(folder / "adapter", base, {"r": 4, "target_modules": ["q_proj", "v_proj"]})
    (folder / "adapter" / "trainer_state.json").write_text("{}")
    data()(folder)
    (folder / "CARD.md").write_text(CARD)
    return folder


def init(folder: Path, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cardproof", "init", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1"}
    given = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=600, check=False, **given)  # type: ignore[call-overload,no-any-return]


def options(inputs: Path, **changed: str) -> list[str]:
    given = {"model": str(inputs / "model"), "adapter": str(inputs / "adapter"), "data": str(inputs / "data")} | changed
    return [part for name, value in given.items() for part in (f"--{name}", value)]


def test_the_overlay_plans_a_run_that_trains_nothing(inputs: Path, tmp_path: Path) -> None:
    found = init(tmp_path, *options(inputs), "--out", "mine.yaml")
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.rstrip().endswith("Next: snakemake --cores all --configfile mine.yaml")
    config = reading.load(ROOT / "config.yaml", tmp_path / "mine.yaml")
    assert (config.published, config.scale, config.subject_arm, list(config.arms)) == (None, "own", "mine", ["base", "mine"])
    assert config.benchmark.sha256["qa.jsonl"] == sha256_file(inputs / "data" / "qa.jsonl")
    jobs = planned(snakemake(tmp_path, "-n", configfile=str(tmp_path / "mine.yaml")))
    assert not jobs.keys() & {"train", "distill", "sample_train", "support_train", "audit", "reconcile", "dequantise"}
    assert jobs["acquire_adapter"] == 1 and jobs["sample"] == 2 and jobs["prompts"] == 3


def test_a_card_is_drafted_with_what_it_was_measured_with(inputs: Path, tmp_path: Path) -> None:
    found = init(tmp_path, *options(inputs, card=str(inputs / "CARD.md")), "--out", "mine.yaml")
    assert found.returncode == 0, found.stdout + found.stderr
    file = read_claims(tmp_path / "mine.claims.yaml")
    assert (file.card, file.arms, len(file.claims)) == ("garden-helper", ["base", "mine"], 2)
    stated = file.measured_with
    assert stated is not None and stated.model is not None and stated.data is not None
    # The hashes are those that the rollouts of a run have, whatever else lies in the folders.
    link(inputs / "model", tmp_path / "linked-model")
    link(inputs / "adapter", tmp_path / "linked-adapter")
    assert stated.model.sha256 == model_hash(tmp_path / "linked-model")
    assert stated.adapters["mine"].sha256 == fingerprint(tmp_path / "linked-adapter")
    assert stated.data.files == {name: sha256_file(inputs / "data" / name) for name in ("qa.jsonl", "corpus.jsonl")}
    jobs = planned(snakemake(tmp_path, "-n", configfile=str(tmp_path / "mine.yaml")))
    assert jobs["audit"] == 1 and "train" not in jobs


def test_every_fault_is_told_at_once_and_nothing_is_written(inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = init(tmp_path, *options(inputs, model="nowhere", adapter=str(tmp_path / "empty"), data="no-data", card="no-card.md"))
    assert found.returncode == 1
    failed = [line.split()[1] for line in found.stdout.splitlines() if line.startswith("failed")]
    assert failed == ["model", "adapter", "data", "card"]
    assert "Nothing was written." in found.stdout and "Traceback" not in found.stderr
    assert not list(tmp_path.rglob("*.yaml"))


def test_an_adapter_for_another_base_is_refused(inputs: Path, tmp_path: Path) -> None:
    other = write_base(tmp_path / "other", "gpt2")
    found = init(tmp_path, *options(inputs, model=str(other)))
    assert found.returncode == 1 and "failed   adapter" in found.stdout


def test_a_model_that_is_too_small_for_the_data_is_told_before_the_run(inputs: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    shutil.copytree(inputs / "model", small)
    config = json.loads((small / "config.json").read_text())
    (small / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 256}))
    found = init(tmp_path, *options(inputs, model=str(small)))
    assert found.returncode == 1 and "failed   context" in found.stdout and "Nothing was written." in found.stdout


def test_what_is_missing_is_named_where_nobody_can_be_asked(tmp_path: Path) -> None:
    found = init(tmp_path, "--model", "smollm2-135m")
    assert found.returncode == 2
    assert "Missing: --adapter, --data." in found.stderr and "Hint:" in found.stderr


def test_a_file_that_is_there_is_kept(inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("run: precious\n")
    found = init(tmp_path, *options(inputs), "--out", "mine.yaml")
    assert found.returncode == 2 and "is there already" in found.stderr
    assert yaml.safe_load((tmp_path / "mine.yaml").read_text()) == {"run": "precious"}


def test_data_may_be_tables_or_a_commit_of_the_hub(inputs: Path, tmp_path: Path) -> None:
    data, tables = inputs / "data", tmp_path / "tables"
    (tables / "corpus").mkdir(parents=True)
    pl.read_ndjson(data / "corpus.jsonl").write_parquet(tables / "corpus" / "part-0.parquet")
    (tables / "qa.csv").write_text(pl.read_ndjson(data / "qa.jsonl").write_csv())
    found = init(tmp_path, *options(inputs, data=str(tables)), "--out", "tables.yaml")
    assert found.returncode == 0, found.stdout + found.stderr
    benchmark = reading.load(ROOT / "config.yaml", tmp_path / "tables.yaml").benchmark
    pins = {name: sha256_file(tables / name) for name in ("corpus/part-0.parquet", "qa.csv")}
    assert {name: pin for name, pin in benchmark.sha256.items() if pin} == pins
    told = next(line for line in found.stdout.splitlines() if line.split()[1] == "data")
    assert told.endswith(next(line for line in init(tmp_path, *options(inputs)).stdout.splitlines() if " data " in line).split(": ")[-1])

    for name, sentence in (("team/bench", "'team/bench' is at no commit"), ("team/bench@main", "'team/bench@main' is at no commit")):
        refused = init(tmp_path, *options(inputs, data=name), "--out", "hub.yaml")
        assert refused.returncode == 1 and sentence in refused.stdout
    found = init(tmp_path, *options(inputs, data=f"team/bench@{'c' * 40}", card=str(inputs / "CARD.md")), "--out", "hub.yaml")
    assert "team/bench" in found.stdout and "its columns are checked when the run has it" in found.stdout
    # Offline and without a mirror, preflight says what is lacking.
    assert found.returncode == 1 and "the run fetches from the hub: benchmark, but HF_HUB_OFFLINE is set" in found.stdout
