"""Folders may have any name: blanks, brackets, braces, quotes, stars and line breaks, in the workflow as by hand."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from helpers.received import PASSAGES, QUESTIONS, jsonl, safetensors, write_received
from helpers.workflow import snakemake

NAMES = [
    "a b",
    "a[1]",
    "{arm} {x}",
    'it\'s "x"',
    "*?~",
    "$(touch ran)`touch ran`;touch ran",
    "line\nbreak",
    "-n",
    "%s{{}}",
    "caf\u00e9 \u6cd5",
]


def write_data(folder: Path) -> None:
    folder.mkdir(parents=True)
    many = [{**PASSAGES[i % 3], "id": f"D{i}-c1-s1", "text": f"{PASSAGES[i % 3]['text']} This is rule {i}."} for i in range(12)]
    asked = [
        {**QUESTIONS[i % 2], "id": i, "question": f"What says rule {i} of section {i}?", "relevant_passage_id": f"D{i}-c1-s1"}
        for i in range(12)
    ]
    (folder / "corpus.jsonl").write_bytes(jsonl(many))
    (folder / "qa.jsonl").write_bytes(jsonl(asked))


def write_model(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (folder / "model.safetensors").write_bytes(safetensors({"w": [2, 2]}))


def workflow(folder: Path, data: Path, *targets: str) -> subprocess.CompletedProcess[str]:
    benchmark = {"source": "folder", "path": str(data), "sha256": {"qa.jsonl": None, "corpus.jsonl": None}}
    (folder / "mine.yaml").write_text(yaml.safe_dump({"run": "odd", "benchmark": benchmark}))
    return snakemake(folder, "mine.yaml", "--", *(f"results/odd/{name}" for name in targets))


@pytest.mark.slow
def test_the_workflow_takes_data_from_a_folder_of_any_name(tmp_path: Path) -> None:
    """All in one name, which is as long as a name may be."""
    data = tmp_path / "".join(NAMES)
    write_data(data)
    result = workflow(tmp_path, data, "benchmark/corpus.jsonl", "split/leakage.json")
    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / "results/odd/benchmark/corpus.jsonl").read_bytes()
    assert not list(tmp_path.rglob("ran"))
    record = json.loads((tmp_path / "results/odd/provenance/files/benchmark/corpus.jsonl.json").read_text())
    assert str(tmp_path) not in json.dumps(record)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a b[1]", "it's $(touch ran)"])
def test_the_workflow_runs_in_a_folder_of_any_name(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    write_data(folder / "my data")
    result = workflow(folder, Path("my data"), "split/leakage.json")
    assert result.returncode == 0, result.stdout + result.stderr
    assert (folder / "results/odd/split/leakage.json").is_file()
    assert not list(tmp_path.rglob("ran"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a b[1]*'z", "$(touch ran)"])
def test_a_replay_is_planned_from_an_archive_of_any_name(name: str, tmp_path: Path) -> None:
    write_received(tmp_path / name)
    result = snakemake(tmp_path, "-n", "--config", f"replay={tmp_path / name}", "--", "claims", configfile="config.yaml")
    assert result.returncode == 0, result.stdout + result.stderr
    assert not list(tmp_path.rglob("ran"))


@pytest.mark.slow
def test_braces_in_the_path_of_an_archive_are_refused(tmp_path: Path) -> None:
    """Snakemake has no way to say that they are no wildcards."""
    write_received(tmp_path / "{x}")
    result = snakemake(tmp_path, "-n", "--config", f"replay={tmp_path / '{x}'}", "--", "claims", configfile="config.yaml")
    assert result.returncode == 2
    assert "has braces in its path" in result.stderr and "Hint: rename" in result.stderr


@pytest.mark.parametrize("name", NAMES)
def test_by_hand(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cardproof.acquire.acquire_model import acquire_model
    from cardproof.benchmark.folder import load_folder
    from cardproof.evidence import archive, replay
    from cardproof.evidence.verify import check

    monkeypatch.chdir(tmp_path)
    write_data(tmp_path / name / "data")
    write_model(tmp_path / name / "model")
    passages, questions = load_folder(Path(name, "data"))
    assert (len(passages), len(questions)) == (12, 12)
    acquire_model("folder", f"{name}/model", None, Path(name, "out"))
    assert Path(name, "out", "model.safetensors").read_bytes() == Path(name, "model", "model.safetensors").read_bytes()
    run = write_received(tmp_path / name / "run")
    assert check(run).state == "whole"
    archive.archive(run, Path(name, "x.tar.zst"))
    assert replay.replay(Path(name, "x.tar.zst"), Path(name, "again"))
    shutil.rmtree(tmp_path / name)
    assert not list(tmp_path.rglob("ran"))
