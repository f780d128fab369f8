"""Further training seeds: which adapters and arms they add, and the spread of every axis between them."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardproof.config import reading
from cardproof.errors import CardproofError
from cardproof.evaluation import axes, between_seeds, evaluate
from cardproof.evaluation.results import Spread
from cardproof.evidence.provenance import settings_fingerprint
from cardproof.files import read_json
from cardproof.pages import formats
from helpers.rendered_card import CLAIMS, rendered, with_figures
from helpers.synthetic_run import ARMS, ITEMS, frames, write_run

TRAINED = {
    "training": {"variants": {"grounded": {}, "hybrid": {"contract_share": 0.5}}, "seeds": [0, 3, 5], "compare_readings": False},
    "arms": {"base": {}, "hybrid": {"adapter": "trained", "variant": "hybrid"}, "grounded": {"adapter": "trained", "variant": "grounded"}},
}


def test_each_further_seed_adds_a_training_run_and_an_arm():
    found = reading.validate(TRAINED)
    assert list(found.training_runs) == ["grounded", "hybrid", "hybrid.seed3", "hybrid.seed5", "grounded.seed3", "grounded.seed5"]
    assert {name: run.seed for name, run in found.training_runs.items() if name.startswith("grounded")} == {
        "grounded": 0,
        "grounded.seed3": 3,
        "grounded.seed5": 5,
    }
    assert found.training_runs["hybrid.seed5"].variant == found.training.variants["hybrid"]
    assert list(found.sampled_arms) == ["base", "hybrid", "grounded", "hybrid.seed3", "hybrid.seed5", "grounded.seed3", "grounded.seed5"]
    assert found.sampled_arms["hybrid.seed3"].variant == "hybrid.seed3"
    assert found.replicas["grounded"] == {0: "grounded", 3: "grounded.seed3", 5: "grounded.seed5"}


def test_a_single_seed_adds_nothing():
    found = reading.validate({**TRAINED, "training": {**TRAINED["training"], "seeds": []}, "seed": 7})
    assert found.training_seeds == [7]
    assert not found.replicas
    assert list(found.sampled_arms) == list(found.arms)


def test_a_further_seed_retrains_none_of_the_others():
    few, many = (reading.validate({**TRAINED, "training": {**TRAINED["training"], "seeds": s}}) for s in ([0, 3], [0, 3, 9]))
    for name in few.training_runs:
        assert settings_fingerprint(few, "train", variant=name) == settings_fingerprint(many, "train", variant=name)
    fingerprints = {settings_fingerprint(many, "train", variant=name) for name in many.training_runs}
    assert len(fingerprints) == len(many.training_runs)


def test_a_seed_named_twice_is_refused():
    with pytest.raises(CardproofError, match=r"training.seeds names a seed twice: \[1, 1\]"):
        reading.validate({"training": {"seeds": [1, 1]}})


@given(st.lists(st.floats(-1e3, 1e3) | st.none(), min_size=1, max_size=6))
def test_the_spread_agrees_with_numpy(values):
    found = between_seeds.spread(dict(enumerate(values)))
    known = np.array([v for v in values if v is not None], dtype=float)
    assert found.n == known.size
    assert list(found.values.values()) == values
    if known.size:
        assert math.isclose(found.mean, known.mean(), abs_tol=1e-9)
        assert (found.low, found.high) == (known.min(), known.max())
    if known.size > 1:
        assert math.isclose(found.sd, known.std(ddof=1), rel_tol=1e-9, abs_tol=1e-9)
    else:
        assert found.sd is None


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return with_figures(write_run(tmp_path_factory.mktemp("seeds") / "run", training_seeds=[0, 3]))


def test_every_axis_has_its_value_under_every_seed(run):
    for name, condition in (("axes", "clean"), ("stress", "stress")):
        found = read_json(run / "evaluation" / f"{name}.json")["seeds"]
        assert list(found) == ["hybrid", "grounded"]
        table = pl.read_parquet(run / "scores" / "grounded.seed3" / f"{condition}.parquet")
        expected = evaluate.axes({"base": table}, simulations=0).arms["base"]
        assert list(found["grounded"]) == [axis.name for axis in axes.AXES]
        for axis, spread in found["grounded"].items():
            assert spread["values"]["3"] == pytest.approx(getattr(expected, axis).value, abs=1e-12)
            assert spread["n"] == 2


def test_the_card_shows_the_spread_and_every_seeds_loss(run):
    text = rendered(run, CLAIMS)
    spread = read_json(run / "evaluation" / "axes.json")["seeds"]["grounded"]["strict"]
    assert formats.seed_spread(Spread.model_validate(spread)) in text
    assert text.count("Between training seeds") == 2
    loss = read_json(run / "training" / "grounded.seed3" / "metrics.json")["train_loss"]
    row = re.search(r"^\| grounded \| ([\d.]+) \| ([\d.]+) \|$", text, re.MULTILINE)
    assert row and row[2] == f"{loss:.3f}"
    assert "a single training seed" not in text
    assert "held-out items and 2 training seeds" in text


def test_a_replica_without_scores_is_named(run, tmp_path):
    replicas = {"grounded": {0: "grounded", 9: "grounded.seed9"}}
    with pytest.raises(CardproofError, match=r"grounded\.seed9/clean\.parquet does not exist"):
        between_seeds.add(run / "scores", run / "evaluation", replicas)


def test_replicas_over_other_items_are_refused(run):
    first, second = (frames("clean", {"grounded": ARMS["grounded"]}, 1, items, 2)["grounded"] for items in (ITEMS, ITEMS - 1))
    with pytest.raises(CardproofError, match="item"):
        between_seeds.axes_between_seeds({0: first, 1: second})
