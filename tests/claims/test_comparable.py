"""What a run must share with a card before its numbers compare: each of it changed alone, and named wherever the run is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from cardproof.claims.claims import judge, render_text
from cardproof.claims.comparable import against
from cardproof.claims.verdicts import Verdicts
from cardproof.config import reading, texts
from cardproof.files import plain, write_json, write_text
from cardproof.pages import diff, publish
from cardproof.runs import CLAIMS as CLAIMS_FILE
from helpers.places import ROOT
from helpers.rendered_card import CLAIMS, rendered, with_figures
from helpers.synthetic_run import write_run

CHANGED: dict[str, tuple[str, dict[str, Any]]] = {
    "another model": ("model", {"model": {"id": "Qwen/Qwen3-8B"}}),
    "another revision": ("model", {"model": {"revision": "0" * 40}}),
    "a model in a folder": ("model", {"model": {"source": "folder", "id": "models/mine", "revision": None}}),
    "an embedded model": ("model", {"model": {"source": "embedded", "id": "smollm2-135m", "revision": None}}),
    "other data": ("data", {"benchmark": {"id": "me/other", "revision": None, "sha256": {"qa.jsonl": None, "corpus.jsonl": None}}}),
    "a file of its own choice": ("data", {"benchmark": {"questions": "more.jsonl", "sha256": {"qa.jsonl": None, "corpus.jsonl": None}}}),
    "one file of other data": ("data", {"benchmark": {"sha256": {"qa.jsonl": "0" * 64}}}),
    "data in a folder, unpinned": (
        "data",
        {"benchmark": {"source": "folder", "path": "data/mine", "sha256": {"qa.jsonl": None, "corpus.jsonl": None}}},
    ),
    "embedded data": ("data", {"benchmark": {"source": "embedded"}}),
    "a share of the data": ("benchmark.max_questions", {"benchmark": {"max_questions": 100}}),
    "another verifier": ("verifier", {"verifier": {"id": "me/verifier"}}),
    "an embedded verifier": ("verifier", {"verifier": {"source": "embedded", "id": "minilm-l6"}}),
    "an adapter in a folder": ("adapter of grounded", {"arms": {"grounded": {"adapter": "folder", "id": "mine", "variant": None}}}),
    "another adapter of the hub": ("adapter of grounded", {"arms": {"grounded": {"adapter": "hub", "id": "me/mine", "variant": None}}}),
    "no adapter": ("adapter of hybrid", {"arms": {"hybrid": {"adapter": "none", "id": None}}}),
    "fewer items": ("conditions.max_items", {"conditions": {"max_items": 10}}),
    "N, clean": ("conditions.clean.n", {"conditions": {"clean": {"n": 9}}}),
    "N, stress": ("conditions.stress.n", {"conditions": {"stress": {"n": 4}}}),
    "N, freeform": ("conditions.freeform.n", {"conditions": {"freeform": {"n": 1}}}),
    "distractors, clean": ("conditions.clean.distractors", {"conditions": {"clean": {"distractors": 2}}}),
    "distractors, stress": ("distractor passages shown under stress", {"conditions": {"stress": {"distractors": 2}}}),
    "oracles dropped": ("items whose oracle passage is dropped under stress", {"conditions": {"stress": {"oracle_drop": 0.1}}}),
    "what counts as gold": ("ROUGE-L from which an answer counts as gold", {"scoring": {"rouge_threshold": 0.2}}),
}
"""What is changed in a published run -> what is named, and the settings."""
OWN = {"model": {"source": "folder", "id": "models/mine"}, "benchmark": {"source": "embedded"}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_figures(write_run(tmp_path_factory.mktemp("comparable") / "run", scale="published", items=50))


def changed(run: Path, settings: dict[str, Any]) -> Verdicts:
    """The verdicts of a run with some settings changed; the run's own configuration is put back by `restored`."""
    config = reading.merge(yaml.safe_load((run / "config.yaml").read_text()), settings)
    write_text(run / "config.yaml", texts.to_yaml(reading.validate(config)))
    return judge(run, CLAIMS)


@pytest.fixture
def restored(run: Path) -> Any:
    before = (run / "config.yaml").read_bytes()
    yield run
    (run / "config.yaml").write_bytes(before)
    (run / CLAIMS_FILE).unlink(missing_ok=True)


def test_the_published_recipe_compares(run: Path) -> None:
    found = judge(run, CLAIMS)
    assert found.comparable and against(found.compared) == []
    assert {check.what for check in found.compared} >= {"model", "data", "verifier", "adapter of grounded", "held-out items"}


@pytest.mark.parametrize("case", CHANGED)
def test_any_one_thing_changed_is_named_and_nothing_is_compared(restored: Path, case: str) -> None:
    what, settings = CHANGED[case]
    found = changed(restored, settings)
    assert (found.scale, found.comparable) == ("published", False)
    assert [check.what for check in against(found.compared)] == [what]
    assert what in found.answer.lead and "cannot say whether the card holds" in found.answer.lead
    assert {row.verdict for row in found.claims} <= {"not_comparable", "inconsistent_as_published", "absent", "not_run", "undefined"}
    assert all(row.difference is None for row in found.claims)
    assert f"  {what}: the card's" in render_text(found)
    assert what in diff.warning(found) and "not comparable" in diff.heading(found)


@pytest.mark.parametrize("case", ["another model", "other data", "N, stress"])
def test_card_and_page_and_publishing_name_it_and_say_no_reproduction(restored: Path, case: str) -> None:
    what, settings = CHANGED[case]
    write_json(restored / CLAIMS_FILE, plain(changed(restored, settings)))
    text = rendered(restored)
    assert "not a reproduction of the published card" in text and ", regenerated" not in text
    (row,) = [line for line in text.splitlines() if line.startswith(f"| {what} |")]
    assert row.count(" | ") == 2
    assert "none differs" not in text
    found = Verdicts.model_validate_json((restored / CLAIMS_FILE).read_text())
    upload = publish.Upload("me/mine", {}, "the adapter", True, found.comparable, against(found.compared), False)
    told = publish.render_text(upload)
    assert "not a reproduction" in told and f"  {what} differs: the card's" in told


def test_a_word_for_the_scale_does_not_make_data_and_model_the_cards(restored: Path) -> None:
    data, model = CHANGED["other data"][1], CHANGED["another model"][1]
    write_json(restored / CLAIMS_FILE, plain(found := changed(restored, {"scale": "benchmark", **data, **model})))
    assert {"data", "model"} <= {check.what for check in against(found.compared)}
    text = " ".join(rendered(restored).split())
    assert "it used another model and other data" in text
    assert "published card's benchmark" not in text and "those of the published card" not in text


def test_items_are_counted_in_the_results_not_in_the_settings(tmp_path: Path) -> None:
    found = judge(write_run(tmp_path / "run", scale="published", items=20), CLAIMS)
    assert [(check.what, check.card, check.run) for check in against(found.compared)] == [("held-out items", "50", "20")]
    found = judge(write_run(tmp_path / "fewer", scale="published", items=50, n=4), CLAIMS)
    assert [check.what for check in against(found.compared)] == ["candidates that the verifier reranks"]


def test_data_from_a_folder_compare_by_their_pinned_hashes(restored: Path) -> None:
    assert changed(restored, {"benchmark": {"source": "folder", "path": "anywhere"}}).comparable


def own_claims(path: Path, **measured_with: Any) -> Path:
    raw = yaml.safe_load((ROOT / "published" / "claims.yaml").read_text())
    raw |= {"card": "mine", "measured_with": measured_with or None}
    path.write_text(json.dumps(raw))
    return path


def test_a_card_that_does_not_say_what_it_measured_with_is_not_compared(run: Path, tmp_path: Path) -> None:
    found = judge(run, own_claims(tmp_path / "claims.yaml"))
    assert not found.comparable
    assert found.answer.lead == "This run cannot say whether the card holds: whether its model and data are the card's is not known."
    assert {check.card for check in against(found.compared)} == {"not stated in the claims file"}


def test_models_in_folders_compare_by_the_hash_of_the_rollouts(restored: Path, tmp_path: Path) -> None:
    data = {"id": "cardproof-licence-questions"}
    same = own_claims(tmp_path / "same.yaml", model={"sha256": "a" * 64}, data=data)
    other = own_claims(tmp_path / "other.yaml", model={"sha256": "b" * 64}, data=data)
    changed(restored, OWN)
    assert judge(restored, same).comparable
    assert [check.what for check in against(judge(restored, other).compared)] == ["model"]


def test_without_a_card_there_is_nothing_to_compare_with(run: Path) -> None:
    found = judge(run, None)
    assert (found.card, found.claims, found.comparable, found.compared) == (None, [], False, [])
    assert found.answer.lead == found.answer.sentence == "This run has no published card to compare with."
    first, _, rest = render_text(found).partition("\n")
    assert first == "This run has no published card to compare with."
    assert " ".join(rest.split()) == found.own
    assert found.own is not None and found.own.startswith("By this run's own primary tests on 50 items, corrected together: ")
