"""How a card is read: numbers, tables, lists, front matter; whatever it holds, reading it never raises."""

from __future__ import annotations

import string
import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardproof.cards.audit_card import audit_text, render
from cardproof.cards.document import read_card
from cardproof.cards.numbers import numbers, one_number


@pytest.mark.parametrize(
    ("text", "value", "unit", "places"),
    [
        ("1,078", Fraction(1078), "", 0),
        ("**93.7%**", Fraction(937, 10), "%", 1),
        ("25.95M", Fraction(25_950_000), "M", 0),
        (r"$1 \times 10^{-4}$", Fraction(1, 10_000), "", 4),
        ("3e-4", Fraction(3, 10_000), "", 4),
        ("-0.5", Fraction(-1, 2), "", 1),
        ("+48.2 pts", Fraction(241, 5), "points", 1),
        ("0,85", Fraction(17, 20), "", 2),
        ("0.4735 ± 0.0146", Fraction(947, 2000), "", 4),
        ("283.12 +/- 15.49", Fraction(7078, 25), "", 2),
        ("$0.003", Fraction(3, 1000), "$", 3),
        ("[0.91](https://example.org)", Fraction(91, 100), "", 2),
        ("500+", Fraction(500), "", 0),
    ],
)
def test_a_number_as_people_print_it(text: str, value: Fraction, unit: str, places: int) -> None:
    number = one_number(text)
    assert number is not None
    assert (number.value, number.unit, number.places) == (value, unit, places)


@pytest.mark.parametrize("text", ["2.0.1", "4x4", "12/112", "v2", "bert-base", "", "1.2.3.4", "0x1f", "2021-05-04", "–"])
def test_what_is_no_number(text: str) -> None:
    assert one_number(text) is None


@given(st.integers(-(10**7), 10**7), st.integers(0, 5))
def test_a_rounding_interval_holds_all_that_prints_so(scaled: int, places: int) -> None:
    printed = f"{scaled / 10**places:.{places}f}"
    number = one_number(printed)
    assert number is not None and number.value == Fraction(printed)
    half = Fraction(1, 2 * 10**places)
    if places:
        assert number.interval.holds(number.value + half) and number.interval.holds(number.value - half)
        assert not number.loose.holds(number.value + 2 * half), "the next printed number, cut off, is the next one"
    else:
        assert number.interval.low == number.interval.high


def test_tables_of_markdown_and_in_fences_keep_their_lines() -> None:
    text = "# a\n\n| A | B |\n|---|:-:|\n| x | 1.5 |\n| y | `2` |\n\n```| C |D|\n|--|--:|\n|z|3|\nAverage: 3\n```\n"
    card = read_card(text)
    assert [(t.header, t.lines) for t in card.tables] == [(["A", "B"], [5, 6]), (["C", "D"], [10])]
    assert [card.tables[0].number(r, 1).value for r in (0, 1)] == [Fraction(3, 2), 2]  # type: ignore[union-attr]
    assert (11, "Average: 3") in card.fences


def test_the_front_matter_keeps_its_lines_and_says_what_is_no_number() -> None:
    metrics = "    - type: acc\n      value: 0.5\n    - type: f1\n      value: high\n"
    text = f"---\ntags: [a, B]\nmodel-index:\n- name: x\n  results:\n  - metrics:\n{metrics}---\n"
    card = read_card(text)
    assert [(m.type, m.value.text, m.line) for m in card.front.metrics] == [("acc", "0.5", 8)]
    assert card.front.tags == {"a", "b"}
    assert card.unread == [(10, "the model-index value 'high' is not a number")]


@pytest.mark.parametrize(
    "head",
    ["a: &x [1]\nb: *x", "a: " + "[" * 60 + "]" * 60, "\t- a", "a: {b", "? [a]\n: 1", "!!python/object:os.system x", "a: " + "x" * 300_000],
)
def test_hostile_front_matter_is_listed_and_the_rest_is_read(head: str) -> None:
    card = read_card(f"---\n{head}\n---\n\n- train_batch_size: 4\n- gradient_accumulation_steps: 2\n- total_train_batch_size: 9\n")
    assert [b.is_hyperparameters for b in card.blocks] == [True]
    assert card.unread or not card.front.metrics


MARKUP = st.lists(
    st.one_of(
        st.sampled_from(
            ["|", "---", "\n", "# ", "- ", ": ", "```", "| A | F1 |\n|--|--|\n", "%", "±", "1e5", "0.5", "(3/4)", "<!--", "-->", "Loss"]
        ),
        st.text(string.printable, max_size=12),
        st.floats(allow_nan=True).map(str),
        st.sampled_from(
            [
                "| Epoch | Step | Validation Loss |\n|-|-|-|\n",
                "| 1.0 | 10 | 0.5 |\n",
                "precision recall f1-score support\n",
                "model-index:\n",
            ]
        ),
    ),
    max_size=40,
).map("".join)


@settings(max_examples=400, deadline=2000)
@given(MARKUP)
def test_nothing_in_a_card_raises(text: str) -> None:
    audit = audit_text(text, "card")
    assert render(audit, 80).startswith("Audit of card")
    list(numbers(text))


@pytest.mark.parametrize(
    "text",
    [
        "1" * 200_000,
        "1," * 100_000,
        "|" * 50_000,
        "- a: " + "1 " * 50_000,
        "| a |\n|---|\n" + "| 1 |\n" * 20_000,
        "(" * 50_000,
        "**" * 60_000,
    ],
)
def test_a_long_card_is_read_in_time(text: str) -> None:
    start = time.perf_counter()
    audit_text(f"# a\n\n{text}\n", "card")
    assert time.perf_counter() - start < 5
