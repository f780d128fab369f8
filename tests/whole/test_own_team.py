"""A team from nothing: its own adapter, data and card, from `cardproof init` to verdicts, as the README tells it.

The data are of a lending desk: ids are texts, and half of the questions need two passages. The card has three numbers. Two are right by
construction: a model of random weights never quotes, so no quote of the base model is verbatim, and it never refuses. One is wrong on
purpose.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from cardproof.acquire.model_hash import fingerprint
from cardproof.evidence.verify import check
from cardproof.files import read_json
from helpers import own_data
from helpers.adapters import write_adapter
from helpers.crates import issues
from helpers.workflow import PATIENCE, snakemake

pytestmark = pytest.mark.slow
NOUNS = ("abacus", "banjo", "cello", "drum", "easel", "flute", "gong", "harp", "kayak", "lute", "saw", "tent")
CARD = """# lending-desk

Base model and adapter on questions of our lending desk, reranked by a verifier.

| | base | lending-desk |
|---|---|---|
| strict verbatim grounding | 0.000 | 0.950 |

False refusals of lending-desk: 0.000.
"""
MEANT = {"base": ("base", "strict"), "lending_desk": ("mine", "strict"), "000": ("mine", "false_refusals")}
"""How the id of a drafted number ends -> the arm that it is of, and the axis."""
ITEMS = 6
SMALLEST = [
    'conditions={"max_items": 6, "clean": {"n": 2}, "stress": {"n": 1}}',
    'sampling={"max_new_tokens": 16}',
    'verifier={"max_tokens": 96, "embedded": {"pairs": 60, "epochs": 1}}',
]
OTHERS = re.compile(r"coordinator|qwen|legal.rag|hybrid|raftq|\bgrounded\b(?!-generation)", re.IGNORECASE)
"""Words of the project's own card; `grounded-generation` is a tag of the method."""


class Team(NamedTuple):
    """What the team has when all is done."""

    folder: Path
    said: dict[str, str]
    """Command -> its standard output."""

    @property
    def run(self) -> Path:
        return self.folder / "results/mine"


def write_inputs(folder: Path, model: Path) -> None:
    (folder / "data").mkdir()
    for name, rows in (("corpus.jsonl", own_data.passages(NOUNS)), ("qa.jsonl", own_data.questions(NOUNS, "desk"))):
        (folder / "data" / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "CARD.md").write_text(CARD)
    (folder / "model").symlink_to(model)
    write_adapter(folder / "adapter", model, {"r": 4, "target_modules": ["q_proj", "v_proj"]})


def say_what_is_meant(path: Path) -> None:
    """What `init` asks for: each drafted number gets its arm, its result, and how many items it was over."""
    claims = yaml.safe_load(path.read_text())
    for claim in claims["claims"]:
        arm, axis = MEANT[claim["id"].rpartition("_")[2] if claim["id"].endswith(("base", "000")) else "lending_desk"]
        claim |= {"arm": arm, "result": f"evaluation/axes.json#/arms/{arm}/{axis}", "n": ITEMS}
    path.write_text(yaml.safe_dump(claims))


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory, tiny_lm: Path) -> Team:
    folder = tmp_path_factory.mktemp("team")
    write_inputs(folder, tiny_lm)
    said: dict[str, str] = {}

    def cardproof(*arguments: str) -> None:
        command = [sys.executable, "-m", "cardproof", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        said[arguments[0]] = done.stdout

    cardproof("init", "--model", "model", "--adapter", "adapter", "--data", "data", "--card", "CARD.md", "--out", "mine.yaml")
    say_what_is_meant(folder / "mine.claims.yaml")
    cardproof("audit", "--claims", "mine.claims.yaml")
    done = snakemake(folder, "--config", *SMALLEST, configfile=str(folder / "mine.yaml"))
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    said["snakemake"] = done.stdout + done.stderr
    for command in (["claims", "--run"], ["publish", "--to", "desk/lending", "--"], ["crate", "--out", "crate.zip", "--"]):
        cardproof(*(part for part in command if part != "--"), "results/mine")
    return Team(folder, said)


def test_its_inputs_are_checked_and_its_card_agrees_with_itself(team: Team) -> None:
    assert "12 questions on 24 passages, 6 of them with several gold passages" in team.said["init"]
    assert "3 numbers drafted" in team.said["init"]
    assert "Audit of lending-desk: 3 claims; 0 errors" in team.said["audit"]


def test_the_wrong_number_differs_and_no_other_does(team: Team) -> None:
    found = read_json(team.run / "claims.json")
    assert found["card"] == "lending-desk" and found["comparable"] is True
    verdicts = {claim["text"]: claim["verdict"] for claim in found["claims"]}
    assert sorted(verdicts.values()) == ["differs", "not_resolved", "not_resolved"], "six items resolve no small deviation"
    (wrong,) = [claim for claim in found["claims"] if claim["verdict"] == "differs"]
    assert (wrong["published"], wrong["arm"]) == ("0.950", "mine")
    assert found["answer"]["lead"] == "This run contradicts the card: 1 of 3 measured numbers differs."
    assert found["answer"]["sentence"] in " ".join(team.said["claims"].split())
    assert found["answer"]["lead"] in " ".join((team.run / "card/README.md").read_text().split())


def test_base_and_adapter_are_evaluated_and_nothing_is_trained(team: Team) -> None:
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", team.said["snakemake"].split("Job stats:")[1].split("total")[0], re.MULTILINE))
    assert not jobs.keys() & {"train", "distill", "sample_train", "support_train", "reconcile", "dequantise"}
    assert jobs["acquire_adapter"] == "1" and jobs["sample"] == "2"
    assert not (team.run / "training").exists() and not (team.run / "distill").exists()


def test_two_passages_are_shown_where_the_answer_needs_two(team: Team) -> None:
    rows = [json.loads(line) for line in (team.run / "prompts/clean.jsonl").read_text().splitlines()]
    shown = {tuple(document["id"] for document in row["documents"] if document["role"] == "oracle") for row in rows}
    assert len(rows) == ITEMS
    assert {len(oracles) for oracles in shown} == {1, 2}
    assert all(len({oracle.partition("#")[0] for oracle in oracles}) == 1 for oracles in shown)


def test_card_and_publishing_are_about_its_adapter(team: Team) -> None:
    digest = fingerprint(team.run / "adapters/mine")
    assert f"adapter of mine, from the local folder adapter (sha256 {digest})" in team.said["publish"]
    assert "adapter_model.safetensors" in team.said["publish"] and "Nothing was sent." in team.said["publish"]
    header = yaml.safe_load((team.run / "card/README.md").read_text().split("---")[1])
    assert header["model-index"][0]["name"] == "lending-desk"


def test_no_word_of_another_card_is_in_its_results(team: Team) -> None:
    checked = 0
    for path in sorted(path for path in team.run.rglob("*") if path.is_file() and "models" not in path.parts):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a table or a drawing
        name = path.relative_to(team.run).as_posix()
        lines = text.splitlines()
        if name == "config.yaml":  # its comments say what each setting means by default
            lines = [line for line in lines if not line.lstrip().startswith("#")]
        assert not [line.strip()[:200] for line in lines if OTHERS.search(line)], name
        checked += 1
    assert checked > 60


def test_its_crate_is_valid_and_keeps_its_texts_and_places_to_itself(team: Team, tmp_path: Path) -> None:
    assert "without texts of the data" in team.said["crate"]
    assert not issues(team.folder / "crate.zip", tmp_path / "cache")
    with zipfile.ZipFile(team.folder / "crate.zip") as packed:
        content = {name: packed.read(name) for name in packed.namelist()}
    places = [str(team.folder).encode(), str((team.folder / "model").resolve()).encode()]
    assert not [name for name, text in content.items() if any(place in text for place in places)]
    assert not [name for name, text in content.items() if b"kept in the hall" in text]
    graph: dict[str, dict[str, Any]] = {e["@id"]: e for e in json.loads(content["ro-crate-metadata.json"])["@graph"]}
    assert "train" not in {entity["name"] for entity in graph.values() if entity["@type"] == "HowToStep"}


def test_the_chain_is_whole(team: Team) -> None:
    assert check(team.run, links=True).state == "whole"
