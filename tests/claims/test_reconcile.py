"""The readings of the printed recipe: their steps by hand, and what their losses favour at the card's own scale and elsewhere."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cardproof.claims import claims, reconcile
from cardproof.cli.main import cli
from cardproof.config import reading, settings
from cardproof.config.settings import Variant
from cardproof.errors import CardproofError
from cardproof.files import plain, read_json, write_json
from helpers.rendered_card import CLAIMS, rendered, with_figures
from helpers.synthetic_run import write_run


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 5))
def test_steps_are_those_of_a_loop_over_batches(examples, batch, epochs):
    counted = sum(1 for _ in range(epochs) for _ in range(0, examples, batch))
    assert settings.optimizer_steps(examples, Variant(effective_batch=batch, epochs=epochs)) == counted


@pytest.fixture
def published(tmp_path):
    """A synthetic run at the card's scale whose losses are far from the printed one."""
    folder = write_run(tmp_path / "run", scale="published", items=4, n=2)
    for name in ("grounded", "b7x1", "b14x2"):
        lose(folder, name, 0.9, 0.8)
    return folder


def lose(folder, name, train_loss, last_loss):
    path = folder / "training" / name / "metrics.json"
    write_json(path, {**read_json(path), "train_loss": train_loss, "last_loss": last_loss})


def judge(folder):
    return plain(reconcile.reconcile(reading.load(folder / "config.yaml"), folder))


def test_the_readings_make_the_printed_steps_and_the_recipe_does_not(published):
    found = judge(published)
    assert found["published"] == {"examples": 98, "steps": 14, "loss": "0.362"}
    assert {name: row["steps_at_published_examples"] for name, row in found["readings"].items()} == {"b7x1": 14, "b14x2": 14, "b7x2": 28}
    assert [name for name, row in found["readings"].items() if row["steps_as_published"]] == ["b7x1", "b14x2"]


def test_a_reading_equal_to_a_variant_is_not_trained_again(published):
    resolved = reading.load(published / "config.yaml")
    assert list(resolved.training_runs) == ["grounded", "b7x1", "b14x2"]
    assert resolved.reading_runs == {"b7x1": "b7x1", "b14x2": "b14x2", "b7x2": "grounded"}


@pytest.mark.parametrize(
    ("name", "losses", "favoured", "says"),
    [
        ("b14x2", (0.3624, 0.2), "b14x2", "The evidence favours b14x2: it alone has a loss that prints as 0.362."),
        ("b7x1", (0.9, 0.3616), "b7x1", "The evidence favours b7x1"),
        ("grounded", (0.362, 0.3), "b7x2", "The evidence favours b7x2"),
        ("b7x1", (0.37, 0.2), None, "No single reading has a loss that prints as 0.362; b7x1 is nearest."),
    ],
)
def test_the_loss_that_prints_as_the_cards_decides(published, name, losses, favoured, says):
    lose(published, name, *losses)
    found = judge(published)
    assert found["favoured"] == favoured
    assert says in reconcile.conclusion(reconcile.Reconciliation.model_validate(found))


def test_two_readings_that_print_alike_decide_nothing(published):
    lose(published, "b7x1", 0.362, 0.2)
    lose(published, "b14x2", 0.9, 0.362)
    found = judge(published)
    assert found["favoured"] is None
    assert found["nearest"] == "b7x1"


def test_another_scale_favours_nothing_whatever_its_losses(tmp_path):
    folder = write_run(tmp_path / "run", items=4, n=2)
    lose(folder, "b7x1", 0.362, 0.362)
    found = judge(folder)
    assert (found["comparable"], found["nearest"], found["favoured"]) == (False, None, None)
    assert "favour no reading" in reconcile.conclusion(reconcile.Reconciliation.model_validate(found))


def test_the_verb_writes_and_prints_the_table(published, tmp_path):
    out = tmp_path / "reconcile.json"
    result = CliRunner().invoke(cli, ["reconcile", "--config", str(published / "config.yaml"), "--run", str(published), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert json.loads(out.read_text()) == judge(published)
    (row,) = [line for line in result.output.splitlines() if line.startswith("b14x2")]
    assert row.split() == ["b14x2", "14", "2", "8", "14", "0.900", "0.800", "steps", "as", "printed"]


def test_a_missing_training_record_is_named(published):
    (published / "training" / "b14x2" / "metrics.json").unlink()
    with pytest.raises(CardproofError, match=r"b14x2/metrics\.json does not exist"):
        judge(published)


def test_claims_without_a_loss_are_refused(published, tmp_path):
    text = CLAIMS.read_text(encoding="utf-8").replace("training.loss", "training.other_loss")
    (tmp_path / "claims.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(CardproofError, match=r"has no value for training\.loss"):
        reconcile.reconcile(reading.load(published / "config.yaml"), published, tmp_path / "claims.yaml")


def test_the_card_shows_every_reading(tmp_path):
    folder = with_figures(write_run(tmp_path / "run", items=4, n=2))
    text = rendered(folder, CLAIMS)
    rows = [line for line in text.splitlines() if line.startswith(("| b7x1 |", "| b14x2 |", "| b7x2 (grounded) |"))]
    assert [row.split(" | ")[5] for row in rows] == ["yes", "yes", "no"]


def test_the_loss_claim_lists_readings_and_replicas(tmp_path):
    folder = write_run(tmp_path / "run", items=4, n=2, training_seeds=[0, 4])
    (row,) = [row for row in claims.judge(folder).claims if row.id == "training.loss"]
    texts = {reading.text: reading.result for reading in row.readings}
    assert texts["the same recipe with seed 4"] == "training/grounded.seed4/metrics.json#/train_loss"
    assert {"the recipe variant b7x1", "the recipe variant b14x2"} <= texts.keys()
    assert not any("hybrid.seed4" in result for result in texts.values())
