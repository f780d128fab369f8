"""A team's run: an adapter of its own that nothing trains, judged by a card of its own or by none; no word of the project's own subject."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from cardproof.claims.audit import run_audit, to_json
from cardproof.claims.claims import judge, render_text
from cardproof.claims.comparable import against
from cardproof.config import reading, texts
from cardproof.config.settings import Config
from cardproof.errors import CardproofError
from cardproof.files import read_json, write_json, write_text
from cardproof.pages import figures, report
from cardproof.runs import AUDIT, CLAIMS, Run
from helpers.places import ROOT
from helpers.rendered_card import REPORT, rendered
from helpers.synthetic_run import ARMS, VERIFIER, record_all, write_run

FOREIGN = re.compile(r"coordinator|hybrid|qwen|clanker|cs-552|isaacus|legal.rag.bench|\b14B\b|qlora", re.IGNORECASE)
"""Words of the card that the project is about."""
OVERLAY = {
    "benchmark": {"path": "garden"},
    "model": {"source": "embedded", "id": "smollm2-135m"},
    "arms": {"mine": {"adapter": "folder", "id": "adapters/garden"}},
}
HASH = "d" * 64


def own_config(**more: Any) -> Config:
    """What a team's overlay on config/own-cpu.yaml makes of the defaults, as the Snakefile merges them."""
    files = (ROOT / "config.yaml", ROOT / "config" / "own-cpu.yaml")
    return reading.load(*files, overrides=reading.merge(OVERLAY, more))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_run(tmp_path_factory.mktemp("own") / "run", arms={"base": ARMS["base"], "mine": ARMS["grounded"]}, items=20, n=4)
    for part in ("training", "distill"):
        shutil.rmtree(folder / part)
    (folder / "evaluation" / "reconcile.json").unlink()
    write_json(folder / "verifier" / "metrics.json", VERIFIER)
    for path in (folder / "samples" / "mine").glob("*.jsonl"):
        write_text(path, path.read_text().replace('"adapter_hash":null', f'"adapter_hash":"{HASH}"'))
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run"


def value(run: Path, pointer: str) -> float:
    return float(Run(run).at("evaluation/axes.json", pointer)["value"])


def own_claims(path: Path, run: Path) -> Path:
    """A card of three numbers: two that the run has, one wrong on purpose."""
    right, other = value(run, "/arms/mine/strict"), value(run, "/arms/base/strict")
    numbers = {
        "strict.mine": f"{right:.3f}",
        "strict.base": f"{other:.3f}",
        "content.mine": f"{value(run, '/arms/mine/content') - 0.6:.3f}",
    }
    write_text(
        path,
        yaml.safe_dump(
            {
                "card": "garden-helper",
                "arms": ["base", "mine"],
                "measured_with": {
                    "model": {"id": "smollm2-135m"},
                    "data": {"files": {"qa.jsonl": "1" * 64, "corpus.jsonl": "2" * 64}},
                    "adapters": {"mine": {"sha256": HASH}},
                },
                "claims": [
                    {
                        "id": name,
                        "kind": "mean",
                        "text": f"quotes of {name.split('.')[1]}",
                        "value": number,
                        "unit": "share",
                        "n": 20,
                        "arm": name.split(".")[1],
                        "where": {"section": "results", "place": "table"},
                        "result": f"evaluation/axes.json#/arms/{name.split('.')[1]}/{name.split('.')[0]}",
                    }
                    for name, number in numbers.items()
                ],
                "tolerances": [{"tolerance": "0.5", "claims": list(numbers), "assumed": "half of the range"}],
            }
        ),
    )
    return path


PINS = {"benchmark": {"sha256": {"qa.jsonl": "1" * 64, "corpus.jsonl": "2" * 64}}}


def whole(run: Path, config: Config, claims: Path | None) -> str:
    """Claims, audit, figures, card and pages of a run; everything it then has as text."""
    write_text(run / "config.yaml", texts.to_yaml(config))
    if claims is not None:
        write_json(run / AUDIT, to_json(run_audit(claims, count_parameters=False)))
    write_json(run / CLAIMS, judge(run, claims))
    figures.draw(run, run / "figures")
    record_all(run)
    rendered(run)
    report.write(run, run / "report", REPORT)
    return "\n".join(
        p.read_text(encoding="utf-8") for p in sorted(run.rglob("*")) if p.suffix in (".md", ".html", ".json", ".yaml", ".svg")
    )


def test_without_a_card_the_numbers_are_shown_and_nothing_is_compared(run: Path) -> None:
    everything = whole(run, own_config(), None)
    assert not FOREIGN.search(everything), FOREIGN.findall(everything)
    card = (run / "card" / "README.md").read_text()
    assert "# mine: mine\n" in card
    said = "This run has no published card to compare with."
    assert said in card
    assert not re.search("published|reproduc", card.split("---\n", 2)[2].replace(said, ""), re.IGNORECASE)
    assert f"adapter of mine, from the local folder garden (sha256 {HASH})" in card
    assert not list(run.glob("figures/published.*")) and not list(run.glob("figures/training_loss.*"))
    assert "not-a-reproduction" not in card and "Assumptions" not in card
    page = (run / "report" / "index.html").read_text()
    assert '<section id="verdicts" aria-labelledby="verdicts-title" hidden>' in page
    assert 'id="audit"' not in page and 'id="assumptions"' not in page


def test_a_title_of_its_own(run: Path) -> None:
    whole(run, own_config(header={"title": "Garden helper"}), None)
    card = (run / "card" / "README.md").read_text()
    assert "# Garden helper\n" in card and "name: Garden helper" in card


def test_an_own_card_is_judged_in_the_place_of_the_projects(run: Path, tmp_path: Path) -> None:
    claims = own_claims(tmp_path / "garden.yaml", run)
    everything = whole(run, own_config(published=str(claims), **PINS), claims)
    assert not FOREIGN.search(everything), FOREIGN.findall(everything)
    found = judge(run, claims)
    assert found.comparable and against(found.compared) == []
    verdicts = {row.id: row.verdict for row in found.claims}
    assert verdicts["content.mine"] == "differs" and verdicts["strict.mine"] != "differs" != verdicts["strict.base"]
    assert found.answer.lead == "This run contradicts the card: 1 of 3 measured numbers differs."
    assert "Claims of garden-helper against run mine" in render_text(found)
    card = (run / "card" / "README.md").read_text()
    assert "# garden-helper, regenerated\n" in card and "none differs: model, data, adapter of mine." in card
    assert "garden-helper" in (run / "report" / "index.html").read_text()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"benchmark": {"sha256": {"qa.jsonl": "3" * 64}}}, "data"),
        ({"model": {"id": "another"}}, "model"),
        ({"arms": {"mine": {"adapter": "hub", "id": "me/other"}}}, "adapter of mine"),
    ],
)
def test_an_own_card_is_refused_what_it_was_not_measured_with(run: Path, tmp_path: Path, change: dict[str, Any], what: str) -> None:
    claims = own_claims(tmp_path / "garden.yaml", run)
    if "arms" in change:  # what the rollouts say of the adapter's weights comes before its name
        for path in (run / "samples" / "mine").glob("*.jsonl"):
            write_text(path, path.read_text().replace(HASH, "e" * 64))
    config = own_config(**reading.merge({"published": str(claims), **PINS}, change))
    write_text(run / "config.yaml", texts.to_yaml(config))
    found = judge(run, claims)
    assert [check.what for check in against(found.compared)] == [what]
    assert what in found.answer.lead


def test_the_configuration_that_a_run_keeps_reads_back_and_says_nothing_of_another_card() -> None:
    config = own_config()
    text = texts.to_yaml(config)
    assert reading.validate(yaml.safe_load(text)) == config
    assert not FOREIGN.search(text), FOREIGN.findall(text)
    assert (list(config.arms), config.subject_arm, config.training_runs, config.trains) == (["base", "mine"], "mine", {}, False)


@pytest.mark.parametrize("subject", ["base", "nobody"])
def test_the_subject_is_an_arm_with_an_adapter(subject: str) -> None:
    with pytest.raises(CardproofError, match="not an arm with an adapter"):
        own_config(subject=subject)


def test_the_card_is_about_the_arm_that_is_named() -> None:
    more = {"arms": {"other": {"adapter": "hub", "id": "me/other"}}}
    assert own_config(**more).subject_arm == "mine"
    assert own_config(subject="other", **more).subject_arm == "other"
    assert own_config(subject=None, **more).subject_arm == "mine"


def test_an_adapter_of_the_hub_is_loaded_from_there(run: Path) -> None:
    whole(run, own_config(arms={"mine": {"adapter": "hub", "id": "me/garden", "revision": "abc"}}), None)
    card = (run / "card" / "README.md").read_text()
    assert 'PeftModel.from_pretrained(model, snapshot_download("me/garden", revision="abc"))' in card
    assert "me/garden at revision abc on the Hub" in card
    assert json.loads((run / CLAIMS).read_text())["card"] is None and read_json(run / CLAIMS)["counts"]["agrees"] == 0
