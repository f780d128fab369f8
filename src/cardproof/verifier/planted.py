"""Plants errors in true sentences, with one set of templates for training and another held out from it."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Literal

from cardproof.verifier.sentences import folded

Templates = Literal["train", "held_out"]


Edit = Callable[[str, random.Random], str | None]
"""Changes a sentence; returns None if there is nothing to change."""


def table(*rows: tuple[str, str]) -> Edit:
    """An edit that replaces one occurrence of a row's left side with its right side; the longest matching left side wins.

    In a right side, `|` separates alternatives, and `{be}`, `{have}` and `{do}` agree with the word before them.
    """
    replacements = dict(rows)
    pattern = re.compile(r"\b(?:" + "|".join(sorted(map(re.escape, replacements), key=len, reverse=True)) + r")\b", re.IGNORECASE)

    def edit(sentence: str, rng: random.Random) -> str | None:
        hits = [m for m in pattern.finditer(sentence) if not _idiom(sentence, m)]
        if not hits:
            return None
        hit = rng.choice(hits)
        new = _agree(rng.choice(replacements[hit[0].casefold()].split("|")), sentence[: hit.start()])
        if hit[0][:1].isupper():
            new = new[:1].upper() + new[1:]
        return " ".join((sentence[: hit.start()] + new + sentence[hit.end() :]).split())

    return edit


def _idiom(sentence: str, m: re.Match[str]) -> bool:
    """Whether a match is part of `may or may not` or the like: changing one word there keeps the meaning or leaves none."""
    around = sentence[max(0, m.start() - 12) : m.end() + 12].casefold()
    return "or may not" in around or "whether or not" in around or "and/or" in around


def _agree(text: str, before: str) -> str:
    words = re.findall(r"[A-Za-z]+", before)
    subject = words[-1].casefold() if words else ""
    plural = subject in {"you", "they", "we", "and", "who", "all"} or (
        subject.endswith("s") and not subject.endswith(("ss", "us", "is", "this"))
    )
    for name, many, one in (("{be}", "are", "is"), ("{have}", "have", "has"), ("{do}", "do", "does")):
        text = text.replace(name, many if plural else one)
    return text


def _both(*couples: tuple[str, str]) -> list[tuple[str, str]]:
    return [row for a, b in couples for row in ((a, b), (b, a))]


_AUXILIARIES = (
    "may",
    "must",
    "shall",
    "will",
    "should",
    "can",
    "could",
    "would",
    "is",
    "are",
    "was",
    "does",
    "do",
    "has been",
    "have been",
)


_UNITS = [
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "fifteen",
    "twenty",
    "thirty",
    "forty",
    "fifty",
    "sixty",
    "ninety",
    "hundred",
]


def lower_first(text: str) -> str:
    """A sentence with a small first letter, to follow a prefix; an abbreviation keeps its capitals."""
    return text if len(text) < 2 or text[1].isupper() else text[0].lower() + text[1:]


def _number(sentence: str, rng: random.Random) -> str | None:
    """Replace a number with another one in the same style."""
    hits = list(re.finditer(r"(?<![\w.(\[-])(?:\d{1,4}|" + "|".join(_UNITS[1:]) + r")(?![\w)\]-]|\.\d)", sentence, re.IGNORECASE))
    if not hits:
        return None
    hit = rng.choice(hits)
    if hit[0].isdigit():
        value = int(hit[0])
        new = str(rng.choice([v for v in (value + 1, value + 2, value + 5, value * 2, value * 3, max(1, value - 1)) if v != value]))
    else:
        new = rng.choice([w for w in _UNITS[1:] if w != hit[0].casefold()])
    return sentence[: hit.start()] + new + sentence[hit.end() :]


def _number_otherwise(sentence: str, rng: random.Random) -> str | None:
    """Replace a number word with digits of another value, or a unit of time or an ordinal with another one."""
    words = {w: "|".join(v for v in ("14", "45", "120", "250") if v != w) for w in _UNITS[1:]}
    edits = [
        table(*words.items()),
        table(*_both(("days", "months"), ("years", "weeks"), ("day", "month"), ("year", "week"))),
        table(("first", "third"), ("second", "fourth"), ("once", "twice"), ("both", "neither of"), ("single", "double")),
    ]
    rng.shuffle(edits)
    return next((new for edit in edits if (new := edit(sentence, rng))), None)


def _denied(sentence: str, rng: random.Random) -> str | None:
    """Deny the whole sentence, or one verb, in words that the train templates do not use."""
    verbs = table(
        *((f"{a} not", f"{a} indeed") for a in _AUXILIARIES if a not in {"has been", "have been"}),
        ("may", "can never"),
        ("must", "never {have} to"),
        ("shall", "shall never"),
        ("will", "won't"),
        ("is", "isn't|is no longer"),
        ("are", "aren't|are in no case"),
        ("does", "doesn't"),
        ("can", "can't"),
        ("cannot", "can always"),
        ("should", "shouldn't"),
        ("no", "every"),
    )
    if rng.random() < 0.3 and not re.search(r"\b(?:not|no|cannot)\b", sentence):
        opening = rng.choice(["It is not true that", "It is wrong to say that", "Nothing in the text says that"])
        return f"{opening} {lower_first(sentence)}"
    return verbs(sentence, rng)


ERRORS: dict[Templates, dict[str, Edit]] = {
    "train": {
        "negation": table(
            *((f"{a} not", a) for a in _AUXILIARIES if a not in {"has been", "have been"}),
            *((a, f"{a} not") for a in _AUXILIARIES if a not in {"has been", "have been"}),
            ("has been", "has not been"),
            ("have been", "have not been"),
            ("cannot", "can"),
        ),
        "number": _number,
        "party": table(
            *_both(("licensor", "licensee"), ("contributor", "recipient"), ("contributors", "recipients"), ("licensors", "licensees")),
            ("you", "the licensor|the contributor"),
            ("your", "the licensor's|the recipient's"),
            ("recipient's", "contributor's"),
            ("the initial developer", "you"),
        ),
        "permission": table(
            *((f"{a} not", "may") for a in ("may", "must", "shall")),
            ("may", "must not|must"),
            ("must", "need not"),
            ("shall", "need not"),
            ("need not", "must"),
            ("can", "must not"),
            ("cannot", "may"),
            ("is required to", "need not"),
            ("are required to", "need not"),
        ),
        "antonym": table(
            *_both(("with", "without"), ("before", "after"), ("include", "exclude"), ("includes", "excludes"), ("at least", "at most")),
            *_both(
                ("modified", "unmodified"), ("source code", "object code"), ("any", "no"), ("all", "none of"), ("original", "derivative")
            ),
            *_both(("terminate", "continue"), ("terminates", "continues"), ("directly", "indirectly"), ("more", "less")),
        ),
    },
    "held_out": {
        "negation": _denied,
        "number": _number_otherwise,
        "party": table(
            *_both(("author", "user"), ("authors", "users"), ("copyright holder", "distributor"), ("third party", "public authority")),
            ("you", "the author|every user"),
            ("your", "the author's|the users'"),
            ("licensor", "customer"),
            ("licensee", "copyright holder"),
            ("contributor", "end user"),
            ("recipient", "author"),
            ("recipients", "authors"),
            ("holder", "buyer"),
            ("affirmer", "the public"),
        ),
        "permission": table(
            *((f"{a} not", "{be} free to|{be} entitled to") for a in ("may", "must", "shall", "can")),
            ("may", "{be} forbidden to|{be} obliged to|{have} no right to"),
            ("must", "may refuse to|{be} free not to"),
            ("shall", "may decline to|{be} under no duty to"),
            ("need not", "{be} obliged to"),
            *_both(
                ("permitted", "prohibited"), ("allowed", "forbidden"), ("permits", "prohibits"), ("permit", "forbid"), ("allow", "forbid")
            ),
            ("required", "optional"),
        ),
        "antonym": table(
            *_both(
                ("permanently", "temporarily"), ("valid", "invalid"), ("limited", "unlimited"), ("public", "secret"), ("accept", "reject")
            ),
            *_both(("prior to", "following"), ("irrevocable", "revocable"), ("perpetual", "short-term"), ("worldwide", "local")),
            *_both(("non-exclusive", "exclusive"), ("royalty-free", "royalty-bearing"), ("retain", "remove"), ("implied", "written")),
            ("grants", "withholds"),
            ("grant", "refusal"),
            ("each", "no"),
            ("only", "hardly ever"),
            ("except", "including"),
            ("same", "opposite"),
            ("available", "inaccessible"),
        ),
    },
}
"""The planted errors by set of templates and kind. The two sets have no replacement in common."""


FOREIGN = "foreign"


KINDS = (*ERRORS["train"], FOREIGN)
"""Kinds of negative pairs."""


def plant(sentence: str, kind: str, rng: random.Random, templates: Templates) -> str | None:
    """Plant one error of `kind` in a sentence; None if the sentence has nothing that such an error could change."""
    new = ERRORS[templates][kind](sentence, rng)
    return new if new is not None and folded(new) != folded(sentence) else None
