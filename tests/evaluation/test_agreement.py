"""Every p value and interval that stand on one line say the same, over random score tables."""

from __future__ import annotations

import random

import numpy as np
import pytest

from cardproof import files
from cardproof.evaluation import evaluate
from helpers.agreement import disagreements
from helpers.synthetic_run import Profile, frames


def tables(seed: int):
    """Score tables of two or three arms of random behaviour, with few items and candidates, so that ties and constant columns happen."""
    draw = random.Random(seed)
    arms = {}
    for i, arm in enumerate(("base", "grounded", "hybrid")[: draw.choice((2, 3))]):
        kinds = np.random.default_rng([seed, i]).dirichlet([1, 1, 0.5, 0.5]).tolist()
        arms[arm] = Profile(*kinds, refusal=draw.random() ** 3, valid=draw.random(), support=draw.random())
    items, n = draw.randint(2, 20), draw.choice((1, 2, 4))
    return [frames(condition, arms, seed, items, n, items // 3 * (condition == "stress")) for condition in ("clean", "stress", "freeform")]


def check(seed: int) -> None:
    found = evaluate.results(*tables(seed), support_margin=random.Random(seed).choice((0.05, 0.4)), simulations=0)
    for name, content in found._asdict().items():
        assert list(disagreements(files.plain(content), name)) == []


@pytest.mark.parametrize("seed", range(12))
def test_tests_and_intervals_agree(seed):
    check(seed)


@pytest.mark.slow
def test_tests_and_intervals_agree_over_200_tables():
    for seed in range(12, 212):
        check(seed)


def test_a_disagreement_is_found():
    wrong = {"difference": 0.2, "n": 9, "low": 0.1, "high": 0.3, "level": 0.95, "p": 0.2, "p_holm": 0.2, "low_holm": 0.1, "high_holm": 0.3}
    assert list(disagreements({"a": [wrong]})) == ["/a/0: p", "/a/0: p_holm"]
    flat = {"difference": 0.0, "margin": 0.1, "low": -0.2, "high": 0.2, "level": 0.9, "p": 0.01, "equivalent": True}
    assert list(disagreements(flat)) == [": equivalent"]
    claim = {"p": 0.5, "p_holm": 0.5, "difference_interval": [0.1, 0.2], "verdict": "not_resolved", "difference": 0.15}
    assert list(disagreements(claim)) == [": verdict"]
