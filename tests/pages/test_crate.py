"""RO-Crates of a run: valid by the field's validator, the same bytes each time; no weights, places, secrets or texts not to be sent."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from cardproof.errors import CardproofError
from cardproof.evidence import replay
from cardproof.evidence.sidecars import hashes
from cardproof.evidence.verify import check
from cardproof.files import read_json, write_json
from cardproof.pages import crate as crates
from helpers.command import SECRET
from helpers.crates import issues
from helpers.places import ROOT
from helpers.workflow import PATIENCE, RUN

pytestmark = pytest.mark.slow  # it needs a finished run
DAY = date(2026, 1, 31)
UNSAID = {
    "RECOMMENDED process-run-crate-0.5_8.4 Action endTime",
    "RECOMMENDED process-run-crate-0.5_8.6 Action agent",
    "RECOMMENDED process-run-crate-0.5_3.2 Application url",
    "RECOMMENDED process-run-crate-0.5_5.1 SoftwareApplication id",
    "RECOMMENDED ro-crate-1.1_31.2 Organization: RECOMMENDED url property",
}
"""What the profiles recommend and the records do not have: times, people, and an address of this project."""


@pytest.fixture(scope="module")
def packed(ci_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("crate") / "ci.zip"
    crates.crate(ci_run / RUN, out, DAY, {})
    return out


@pytest.fixture(scope="module")
def crate(packed: Path) -> Path:
    with zipfile.ZipFile(packed) as file:
        file.extractall(packed.with_suffix(""))
    return packed.with_suffix("")


@pytest.fixture(scope="module")
def graph(crate: Path) -> dict[str, dict[str, Any]]:
    """Identifier -> entity."""
    return {entity["@id"]: entity for entity in json.loads((crate / "ro-crate-metadata.json").read_text())["@graph"]}


def ids(value: Any) -> set[str]:
    return {entry["@id"] for entry in (value if isinstance(value, list) else [value])}


def test_it_is_valid_and_of_what_is_recommended_lacks_only_what_no_record_says(packed: Path, tmp_path: Path) -> None:
    """By Provenance Run Crate, and by the four profiles that it rests on."""
    assert set(issues(packed, tmp_path / "cache", "RECOMMENDED")) == UNSAID


def test_the_validator_finds_what_is_missing(crate: Path, tmp_path: Path) -> None:
    """So that no silent validator passes all: a tool without its action, and a file that is not there."""
    shutil.copytree(crate, tmp_path / "changed")
    path = tmp_path / "changed" / "ro-crate-metadata.json"
    content = json.loads(path.read_text())
    for entity in content["@graph"]:
        if entity["@id"] == "#call/claims.json":
            del entity["instrument"]
    path.write_text(json.dumps(content))
    (tmp_path / "changed/run/claims.json").unlink()
    found = issues(tmp_path / "changed", tmp_path / "cache")
    assert {name.split(" ", 2)[2] for name in found} >= {"Action instrument", "Data Entity: REQUIRED resource availability"}


def test_the_run_in_it_is_whole_and_each_file_is_described_by_its_hash(crate: Path, graph: dict[str, dict[str, Any]], ci_run: Path) -> None:
    chain = check(crate / "run")
    assert (chain.state, chain.digest) == ("whole", check(ci_run / RUN).digest)
    for name, digest in hashes(crate).items():
        if name != "ro-crate-metadata.json":
            assert graph[name]["sha256"] == digest, name
    assert not [name for name in hashes(crate) if name.endswith(".safetensors") or name.startswith(("run/logs", "run/store", "run/models"))]


def test_every_call_has_its_inputs_results_settings_and_packages(graph: dict[str, dict[str, Any]]) -> None:
    """One call by hand; and each result of the run is one call's."""
    call = graph["#call/scores/base/clean.parquet"]
    run = {f"run/{name}" for name in ("prompts/clean.jsonl", "samples/base/clean.jsonl", "support/base/clean.jsonl")}
    assert ids(call["object"]) >= run
    assert ids(call["result"]) == {"run/scores/base/clean.parquet"}
    settings = [graph[entry] for entry in ids(call["object"]) - run]
    assert {entry["name"] for entry in settings} == {"scoring", "contract.refusal_phrases"}
    tool = graph[call["instrument"]["@id"]]
    assert tool["name"] == "cardproof score"
    assert {"python", "rapidfuzz"} <= {graph[package]["name"] for package in ids(tool["softwareRequirements"])}
    calls = [entity for name, entity in graph.items() if name.startswith("#call/")]
    results = [result for entity in calls for result in ids(entity["result"])]
    assert len(results) == len(set(results))
    assert {"run/claims.json", "run/card/README.md", "run/report/"} <= set(results)
    weights = next(name for name in results if name.startswith("#not-here/training/grounded/adapter"))
    assert "hashes" in graph[weights]["identifier"]
    assert ids(graph["#run"]["object"]) >= {"run/config.yaml", "workflow/published/claims.yaml"}


def test_the_same_run_gives_the_same_bytes(ci_run: Path, packed: Path, tmp_path: Path) -> None:
    crates.crate(ci_run / RUN, tmp_path / "again.zip", DAY, {})
    assert packed.read_bytes() == (tmp_path / "again.zip").read_bytes()


def test_no_place_of_this_machine_is_in_it(crate: Path, ci_run: Path) -> None:
    places = [str(place).encode() for place in (ROOT, ci_run, Path.home()) if place != Path("/")]
    for name in hashes(crate):
        content = (crate / name).read_bytes()
        assert not [place for place in places if place + b"/" in content], name


def test_texts_that_must_not_be_sent_stay_here_and_their_hashes_do_not(
    ci_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crates, "texts_allowed", lambda config: False)
    assert not crates.crate(ci_run / RUN, tmp_path / "crate", DAY, {}).texts
    names = hashes(tmp_path / "crate")
    assert not [
        n for n in names if n.startswith(("run/report", "run/prompts/", "run/samples", "run/scores", "run/benchmark", "run/distill/raft"))
    ]
    assert {"run/claims.json", "run/evaluation/axes.json", "run/card/README.md"} <= names.keys()
    text = b"".join((tmp_path / "crate" / name).read_bytes() for name in names if name.startswith(("run/", "ro-crate")))
    passages = [json.loads(line)["text"] for line in (ci_run / RUN / "benchmark/corpus.jsonl").read_text().splitlines()]
    assert passages and not [passage for passage in passages if passage.encode() in text or json.dumps(passage)[1:-1].encode() in text]
    assert hashes(ci_run / RUN / "prompts/clean.jsonl")[""].encode() in (tmp_path / "crate/ro-crate-metadata.json").read_bytes()
    assert not issues(tmp_path / "crate", tmp_path / "cache")


def test_a_secret_is_refused_and_nothing_is_left(ci_run: Path, tmp_path: Path) -> None:
    token = read_json(ci_run / RUN / "claims.json")["answer"]["lead"]  # what is in a file for sure
    with pytest.raises(CardproofError, match="has the token itself in it"):
        crates.crate(ci_run / RUN, tmp_path / "out" / "crate.zip", DAY, {"HF_TOKEN": token})
    assert not list((tmp_path / "out").iterdir())
    crates.crate(ci_run / RUN, tmp_path / "out" / "crate.zip", DAY, {"HF_TOKEN": SECRET})


def test_a_broken_chain_and_a_folder_that_is_there_are_refused(ci_run: Path, crate: Path, tmp_path: Path) -> None:
    with pytest.raises(CardproofError, match="exists"):
        crates.crate(ci_run / RUN, crate, DAY, {})
    with pytest.raises(CardproofError, match="is in the run's own folder"):
        crates.crate(ci_run / RUN, ci_run / RUN / "crate.zip", DAY, {})
    run = tmp_path / "run"
    shutil.copytree(crate / "run", run)
    axes = read_json(run / "evaluation/axes.json")
    write_json(run / "evaluation/axes.json", {**axes, "items": axes["items"] + 1})
    with pytest.raises(CardproofError, match=r"evaluation/axes\.json was changed"):
        crates.crate(run, tmp_path / "crate.zip", DAY, {})


def test_the_run_in_it_can_be_replayed(crate: Path, ci_run: Path, tmp_path: Path) -> None:
    taken = replay.replay(crate / "run", tmp_path / "run")
    assert "samples/base/clean.jsonl" in taken
    assert (tmp_path / "run/samples/base/clean.jsonl").read_bytes() == (ci_run / RUN / "samples/base/clean.jsonl").read_bytes()


def test_the_verb_writes_a_file_in_the_working_folder_and_says_what_is_in_it(ci_run: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cardproof", "crate", str(ci_run / RUN), "--date", "2026-01-31"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["ci.crate.zip"] and done.stdout.startswith("ci.crate.zip: ")
    assert f"Digest of the chain: {check(ci_run / RUN).digest}" in done.stdout
