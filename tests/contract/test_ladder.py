"""The ladder's rules for marks, white space and footnotes, by known answers, and spans through each step."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from cardproof.contract.grounding import match, near_miss_diff
from cardproof.contract.ladder import BREAK, normalise
from cardproof.records import Step


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("section 5(1)(a), and 5(a)", "section 5(1a and 5a"),
        ("3.5 or 3,5 or 1-2; 7/6/93; 10:30", "3.5 or 3,5 or 1-2 7/6/93 10:30"),
        ("$1,000 and 12,345,678 but 1,00", "$1000 and 12345678 but 1,00"),
        ("of (-5) and well-known F-16 - 5", "of -5 and wellknown F16 5"),
        ("a loss of -$5 or $(5) or $-5", "a loss of -$5 or$(5 or$-5"),
        ("£ 500 or 5 % or x < 18", "£500 or 5%or x<18"),
        (".5 and … 5 and ... 5.", ".5 and 5 and 5"),
        ("no, sale; “is” [valid]!", "no sale is valid"),
        ("a != b, a ≠ b, a = b", "a!=b a≠b a=b"),
        ("10^2 and m^2 and [^2]", "10^2 and m^2 and 2"),
        ("is - 5 or − 5", "is 5 or − 5"),
        ("5*1*", "5 1"),
    ],
)
def test_punctuation_keeps_the_marks_that_carry_value(text: str, expected: str) -> None:
    assert normalise(text, ("punctuation",)) == expected


@pytest.mark.parametrize(
    ("text", "alone", "without_markup"),
    [
        ("word² law.¹² of① end†", "word[^2] law.[^12] of[^1] end†", "word law. of end"),
        ("10² 10⁻³ m² 5 km² x²", "10^2 10^-3 m^2 5 km^2 x^2", "10^2 10^-3 m^2 5 km^2 x^2"),
        ("½ 5½ ① 1₂", "1⁄2 5 1⁄2 1 1 2", "1⁄2 5 1⁄2 1 1 2"),
        ("5*1* 5[^2]1 s<sup>2</sup>", "5*1* 5[^2]1 s<sup>2</sup>", "5 1 5 1 s"),
    ],
)
def test_digits_in_dress_join_no_others(text: str, alone: str, without_markup: str) -> None:
    assert normalise(text, ()) == alone
    assert normalise(text, ("markup",)) == without_markup


def test_white_space_takes_every_sign_that_is_not_seen() -> None:
    every = map(chr, range(sys.maxunicode + 1))
    unseen = [ch for ch in every if unicodedata.category(ch) in ("Cf", "Cc") and not ch.isspace()]
    selectors = [chr(code) for code in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0), *range(0x180B, 0x180E), 0x034F)]
    assert len(unseen) > 200
    assert [ch for ch in (*unseen, *selectors) if normalise(f"a{ch}b", ("whitespace",)) != "ab"] == []
    assert normalise("a\x1cb\x85c\u2028d", ("whitespace",)) == "a b c d"


@pytest.mark.parametrize("end", ["-\n", "-\r\n", "- \n   ", "\u00ad\n", "\u2010\f", "\u00ac\n", "\u00ad ", " -\n\n", "\u200b-\n"])
def test_a_word_broken_at_a_lines_end(end: str) -> None:
    assert normalise(f"deter{end}mined", ("whitespace",)) == f"deter{BREAK}mined"
    for quote in ("determined", "deter-mined", "deter- mined", "Determined", "DETER-MINED"):
        m = match(f"is {quote} by", "d", [("d", f"it is deter{end}mined by the valuer")])
        assert m.kind == "near_miss"
        assert set(m.steps) <= {"whitespace", "case", "typography"}, quote
    assert match("is deter--mined by", "d", [("d", f"it is deter{end}mined by the valuer")]).steps == ("whitespace", "punctuation")
    assert match("is determine d by", "d", [("d", f"it is deter{end}mined by the valuer")]).kind == "fabricated"


def test_several_broken_words_are_each_read_either_way() -> None:
    document = "a well-\nknown valuer deter-\nmines pre-\nand post-trial rent"
    for quote in ("a well-known valuer determines pre- and post-trial rent", "a wellknown valuer deter-mines pre- and post-trial"):
        assert match(quote, "d", [("d", document)]).steps == ("whitespace",)
    for quote in ("of 1-2 days", "of 1- 2 days"):
        assert match(quote, "d", [("d", "of 1-\n2 days")]).steps == ("whitespace",)
    assert match("12", "d", [("d", "of 1-\n2 days")]).kind == "fabricated"


@pytest.mark.parametrize(
    ("quote", "document", "span", "steps"),
    [
        ("the rent is determined", "the rent is de-\n  termined by", "the rent is de-\n  termined", ("whitespace",)),
        ("the rent is due", "the re\u200bnt is\u2028d\u00adue", "the re\u200bnt is\u2028d\u00adue", ("whitespace",)),
        ("the court held so", "the court\u00b2 held\u2460 so", "the court\u00b2 held\u2460 so", ("markup",)),
        ("a bond of $1000 now", "a bond of $1,000 now", "a bond of $1,000 now", ("punctuation",)),
        ("all 10^2 cases", "all 10\u00b2 cases", "all 10\u00b2 cases", ()),
        ("about 1/2 of it", "about \u00bd of it", "about \u00bd of it", ("typography",)),
        ("the Jury must", "the *jury* must", "the *jury* must", ("markup", "case")),
        ("of 5% a year", "of 5 % a year", "of 5 % a year", ("punctuation",)),
    ],
)
def test_a_near_miss_is_marked_in_its_document_and_compared_letter_by_letter(
    quote: str, document: str, span: str, steps: tuple[Step, ...]
) -> None:
    m = match(quote, "d", [("d", f"x {document} y")])
    assert (m.kind, m.steps) == ("near_miss", steps)
    assert f"x {document} y"[m.start : m.end] == span
    diff = near_miss_diff(quote, span)
    assert "".join(ours for _, ours, _ in diff) == quote
    assert "".join(theirs for _, _, theirs in diff) == span


@pytest.mark.parametrize(
    ("quote", "document"),
    [
        ("5  per cent", "of 35 per cent"),
        ("5  per cent", "of 3.5 per cent"),
        ("interest at  3", "interest at 3.5 per cent"),
        ("within  1", "within 1-2 months"),
        ("5  degrees", "at -5 degrees"),
        ("500  a week", "of $500 a week"),
        ("a fine of  5", "a fine of 5%"),
    ],
)
def test_a_near_miss_does_not_begin_or_end_inside_a_number(quote: str, document: str) -> None:
    assert match(quote, "d", [("d", document)]).kind == "fabricated"
    assert match(" ".join(quote.split()), "d", [("d", document)]).kind == "strict", "strict is a plain substring"
    hidden = document.replace("-5", "-\u20605").replace("$500", "$*500*")
    assert match(quote.upper(), "d", [("d", hidden)]).kind == "fabricated"


def test_a_noncharacter_is_no_minus_sign() -> None:
    """A private mark of the ladder must not be writable from outside."""
    assert normalise("\ufdd1 5") == "\ufdd1 5"
    assert normalise("\u2212 5") == "\u2212 5"
