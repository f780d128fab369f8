"""What a near miss may differ in, and what it may not: layout and dress, but no number, currency, sign or negation."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cardproof.contract.grounding import match
from cardproof.records import Grounding

SAID = "tenant court lessee Notice must not pay rent within days no breach never lease bond shall"
WORDS = SAID.split(" ")
NUMBERS = (
    *("5(1)", "3.5", "1-2", "$500", "£20", "-5", "+5", "10²", "7/6/93", "1,000", "12%", "47", "s 38(2)(a)", "€1.50", "10:30", "<18"),
    *("½", "-3.5"),
)
AROUND = ("wholly", "other", "matters", "beside", "them")
INVISIBLE = ("\u200b", "\u00ad", "\u200d", "\u2060", "\ufeff", "\ufe0f", "\u202a", "\x02", "\x7f", "\U000e0001", "\u034f")
RAN: Counter[str] = Counter()
LEAST = 20_000


def counted(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


def passage(rng: random.Random) -> list[str]:
    """Words and numbers; the first and the last are words or numbers alike."""
    return [rng.choice(NUMBERS) if rng.random() < 0.3 else rng.choice(WORDS) for _ in range(rng.randrange(6, 14))]


# --- layout and dress -------------------------------------------------------------------------------------------------


def rewrapped(text: str, rng: random.Random) -> str:
    return re.sub(" ", lambda m: rng.choice([" ", "\n", "  ", "\u00a0", "\r\n   ", "\t"]) if rng.random() < 0.4 else " ", text)


def broken(text: str, rng: random.Random) -> str:
    """A word broken at a line's end, as PDF extractors leave it."""
    places = [m.start() for m in re.finditer(r"(?<=[a-z]{2})(?=[a-z]{3})", text)]
    at = rng.choice(places) if places else 0
    return text if not at else text[:at] + rng.choice(["-\n", "-\r\n", "\u00ad\n", "\u2010\n    ", "- \n", " -\n"]) + text[at:]


def with_invisible(text: str, rng: random.Random) -> str:
    at = rng.randrange(1, len(text))
    return text[:at] + rng.choice(INVISIBLE) + text[at:]


def with_other_dashes(text: str, rng: random.Random) -> str:
    return re.sub("-(?=[0-9])", lambda m: rng.choice("-\u2013\u2212\u2011"), text)


def emphasised(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    at = rng.randrange(len(words))
    mark = rng.choice(["*", "**", "_", "`"])
    words[at] = f"{mark}{words[at]}{mark}"
    return " ".join(words)


def with_footnote(text: str, rng: random.Random) -> str:
    places = [m.end() for m in re.finditer(r"[a-z]{4}(?= )", text)]
    at = rng.choice(places) if places else 0
    return text if not at else text[:at] + rng.choice(["[^3]", "\u00b2", "\u00b9\u2074", "\u2460", "\u2020", "<sup>4</sup>"]) + text[at:]


def in_other_case(text: str, rng: random.Random) -> str:
    return rng.choice([text.upper(), text.lower(), text.swapcase()])


LAYOUT = (rewrapped, broken, with_invisible, with_other_dashes, emphasised, with_footnote, in_other_case)


def relaid(text: str, rng: random.Random) -> str:
    """Any composition of changes of layout, dress and case; lines are wrapped before words are broken at their ends."""
    for change in sorted(rng.choices(LAYOUT, k=rng.randrange(0, 5)), key=lambda change: change is not rewrapped):
        text = change(text, rng)
    return text


def framed(text: str, rng: random.Random) -> str:
    before, after = (" ".join(rng.choices(AROUND, k=3)) for _ in range(2))
    return f"{before} {text} {after}"


def found(quote: str, document: str) -> Grounding:
    m = match(quote, "d", [("d", document)])
    return Grounding.model_validate({**m._asdict(), "steps": list(m.steps)})


def no_word(text: str) -> bool:
    """Whether nothing of a text is read: white space, marks, invisible signs, a footnote's number."""
    return not re.search(r"[^\W_]", re.sub(r"\[\^\d\]|(?i:<sup>4</sup>)|[\u00b2\u00b9\u2074\u2460]", "", text))


@counted(6000)
@given(st.integers(0, 2**64))
def test_a_passage_laid_out_anew_is_found_where_it_is(seed: int) -> None:
    RAN["relaid document"] += 1
    rng = random.Random(seed)
    quote = " ".join(passage(rng))
    shown = relaid(quote, rng)
    document = framed(shown, rng)
    m = found(quote, document)
    assert m.kind in ("strict", "near_miss"), (quote, document)
    assert m.start is not None and m.end is not None
    begin = document.index(shown)
    assert begin <= m.start and m.end <= begin + len(shown), (quote, document[m.start : m.end])
    assert no_word(document[begin : m.start]) and no_word(document[m.end : begin + len(shown)]), (shown, document[m.start : m.end])


@counted(6000)
@given(st.integers(0, 2**64))
def test_a_quote_laid_out_anew_is_found_where_it_is_from(seed: int) -> None:
    RAN["relaid quote"] += 1
    rng = random.Random(seed)
    original = " ".join(passage(rng))
    document = framed(original, rng)
    quote = relaid(original, rng)
    m = found(quote, document)
    assert m.kind in ("strict", "near_miss"), (quote, document)
    assert m.start is not None and m.end is not None
    begin = document.index(original)
    assert begin <= m.start and m.end <= begin + len(original)
    assert no_word(document[begin : m.start]) and no_word(document[m.end : begin + len(original)]), "at most marks at its ends are left out"


# --- values -----------------------------------------------------------------------------------------------------------


def other_digit(number: str, rng: random.Random) -> str:
    at = rng.choice([i for i, ch in enumerate(number) if ch.isdecimal()] or [-1])
    return number + "7" if at < 0 else number[:at] + str((int(number[at]) + rng.randrange(1, 10)) % 10) + number[at + 1 :]


def other_length(number: str, rng: random.Random) -> str:
    return number + rng.choice("0123456789") if number[-1].isdecimal() else f"{rng.choice('123456789')} {number}"


def other_currency(number: str, rng: random.Random) -> str:
    signs = [ch for ch in "$£€¥" if ch not in number]
    changed = re.sub("[$£€]", lambda m: rng.choice(signs), number)
    return changed if changed != number else f"$ {number}"


def other_sign(number: str, rng: random.Random) -> str:
    if number[0] in "+-<":
        return rng.choice([sign for sign in ("-", "+", ">", "") if sign != number[0]]) + number[1:]
    return f"-{number}" if number[0].isdecimal() else f"{number} -1"


def joined(number: str, rng: random.Random) -> str:
    """The mark between two digits dropped: 51 of 5(1), 35 of 3.5, 12 of 1-2."""
    changed = re.sub(r"(?<=\d)[(.:/-](?=\d)", "", number, count=1)
    return changed if changed != number else other_digit(number, rng)


def plainer(number: str, rng: random.Random) -> str:
    """Digits in dress as plain ones beside others."""
    return number.replace("10²", "102") if "²" in number else number.replace("½", "12") if "½" in number else joined(number, rng)


VALUES = (other_digit, other_length, other_currency, other_sign, joined, plainer)
NEGATIONS = ("not", "no", "never")


def revalued(words: list[str], rng: random.Random) -> list[str]:
    """The passage with one number, currency or sign changed."""
    numbers = [i for i, word in enumerate(words) if word in NUMBERS]
    at = rng.choice(numbers)
    return [*words[:at], rng.choice(VALUES)(words[at], rng), *words[at + 1 :]]


@counted(6000)
@given(st.integers(0, 2**64))
def test_another_number_currency_or_sign_is_no_near_miss(seed: int) -> None:
    RAN["value"] += 1
    rng = random.Random(seed)
    words = [*passage(rng), rng.choice(NUMBERS), rng.choice(WORDS)]
    rng.shuffle(words)
    altered = " ".join(revalued(words, rng))
    document = framed(relaid(" ".join(words), rng), rng)
    quote = relaid(altered, rng)
    assert found(quote, document).kind != "near_miss", (quote, document)


@counted(4000)
@given(st.integers(0, 2**64))
def test_a_negation_dropped_or_added_is_no_near_miss(seed: int) -> None:
    RAN["negation"] += 1
    rng = random.Random(seed)
    words = ["court", *passage(rng), "lease"]
    at = rng.randrange(1, len(words))
    altered = [*words[:at], rng.choice(NEGATIONS), *words[at:]]
    one, other = (relaid(" ".join(w), rng) for w in rng.sample([words, altered], 2))
    assert found(one, framed(other, rng)).kind != "near_miss", (one, other)


def test_enough_examples_ran(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """Test files are handed to workers whole, so all of them ran in this process, unless only some were asked for."""
    asked = {item.originalname for item in request.session.items if item.path == request.path}
    if asked < {name for name in globals() if name.startswith("test_")}:
        pytest.skip("counts the examples of this whole file")
    record_property("examples of near misses", sum(RAN.values()))
    assert sum(RAN.values()) >= LEAST
