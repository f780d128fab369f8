"""What a run's own primary tests show, in a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from cardproof.claims.own import WORDS, sentence
from cardproof.config.settings import PRIMARY
from cardproof.evaluation.results import Equivalence
from cardproof.records import Comparison


def comparison(difference: float | None, p: float | None, **over: Any) -> Comparison:
    values: dict[str, Any] = {"difference": difference, "n": 24, "low": None, "high": None, "level": 0.95, "p": p, "method": "by hand"}
    return Comparison(**{**values, **over})


def flat(equivalent: bool) -> Equivalence:
    return Equivalence(difference=0.01, n=24, margin=0.05, low=-0.02, high=0.04, level=0.9, p=0.01, equivalent=equivalent, method="by hand")


FIRST = "By this run's own primary tests on 24 items, corrected together: "
CASES = {
    "both ways": (
        {
            "strict_clean": comparison(0.5, 0.0001),
            "strict_stress": comparison(0.25, 0.04),
            "gap_clean": comparison(-0.125, 0.02),
            "gap_stress": comparison(0.1, 0.2),
            "support_equivalence": flat(True),
        },
        "compared with base, grounded is higher in strict grounding (+0.50, p < 0.001) and strict grounding under stress (+0.25, p ="
        " 0.040) and is lower in near-miss gap (-0.12, p = 0.020) and equals it within a margin in verifier support (+0.01 within 0.05,"
        " p = 0.010); not resolved: near-miss gap under stress.",
    ),
    "nothing": (
        {"strict_clean": comparison(0.5, 0.06), "compute": comparison(None, None), "support_equivalence": flat(False)},
        "no difference of grounded from base is resolved: strict grounding, composite of a single rollout and verifier support.",
    ),
    "corrected": (
        {"strict_clean": comparison(0.5, 0.01, p_holm=0.06), "strict_stress": comparison(0.5, 0.01, p_holm=0.04)},
        "compared with base, grounded is higher in strict grounding under stress (+0.50, p = 0.040); not resolved: strict grounding.",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_sentence_says_what_differs_what_is_equal_and_what_is_open(name: str) -> None:
    tests, expected = CASES[name]
    assert sentence("grounded", tests) == FIRST + expected


def test_one_test_is_no_family() -> None:
    found = sentence("grounded", {"strict_clean": comparison(0.5, 0.01)})
    assert (
        found
        == "By this run's own primary test on 24 items: compared with base, grounded is higher in strict grounding (+0.50, p = 0.010)."
    )


def test_every_hypothesis_has_words() -> None:
    assert set(WORDS) == set(PRIMARY)
