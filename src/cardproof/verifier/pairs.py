"""Sentences of legal text, and labelled (premise, claim) pairs made from them in the manner of FactCC.

Kryscinski et al. (2020), "Evaluating the Factual Consistency of Abstractive Text Summarization": claims are true sentences, lightly
rephrased, or the same sentences with one planted error. Labels are right by construction, as far as the rules go: a swap that happens to
keep the meaning is not noticed.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from cardproof.records import Passage

Templates = Literal["train", "held_out"]

# --- sentences --------------------------------------------------------------------------------------------------------

_CLOSERS = "\"'\u201d\u2019\u00bb)\\]*_"
_BREAK = re.compile(rf"[.!?][{_CLOSERS}]{{0,4}}(?:\[\^\w{{1,6}}\]){{0,3}}(?=\s)|;(?:\s{{1,3}}(?:and|or|and/or|then|but))?,?(?=\s)")
_OPENS = re.compile(r"[\"'\u201c\u2018\u00ab(\[*_#]{0,4}[A-Z0-9\u00c0-\u00de]")
_PARAGRAPH = re.compile(
    r"\n[ \t]*\n\s*|\n(?=[ \t]*(?:[-*\u2022][ \t]|\(?(?:\d{1,2}|[a-z]|[ivx]{1,4})[.)][ \t]|\d{1,2}\.\d{1,2}[ \t]|#{1,6} ))"
)
_MARKER = re.compile(
    r"(?:[-*\u2022#]{1,6}|\(?(?:\d{1,3}|[a-zA-Z]|[ivx]{1,4})[.)]|\d{1,3}(?:\.\d{1,3}){1,3}\.?|(?:[Ss]ection|Art(?:icle)?) \d{1,3}\.)\s+"
)
_ABBREVIATIONS = frozenset(
    [
        "e.g",
        "i.e",
        "cf",
        "vs",
        "v",
        "viz",
        "al",
        "etc",
        "inc",
        "ltd",
        "corp",
        "co",
        "no",
        "nos",
        "art",
        "arts",
        "sec",
        "secs",
        "s",
        "ss",
        "para",
        "paras",
        "cl",
        "reg",
        "regs",
        "ch",
        "pt",
        "vol",
        "ed",
        "eds",
        "p",
        "pp",
        "fig",
        "approx",
        "mr",
        "mrs",
        "ms",
        "dr",
        "prof",
        "hon",
        "st",
        "jr",
        "sr",
        "u.s",
        "u.k",
        "jan",
        "feb",
        "mar",
        "apr",
        "jun",
        "jul",
        "aug",
        "sept",
        "sep",
        "oct",
        "nov",
        "dec",
    ]
)
MIN_WORDS = 4
"""A semicolon ends a sentence only between stretches of at least this many words; shorter ones are lists inside one."""
REACH = 500
"""Characters looked at on either side of a possible end: whatever a model writes, reading stays linear."""


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, whitespace runs made one space; joined by a space they hold the words of the text, in order.

    Blank lines and list items end a sentence, and so does a semicolon between long stretches. Abbreviations, initials and section numbers
    do not.
    """
    return [s for part in _PARAGRAPH.split(text) for s in _paragraph(" ".join(part.split()))]


def _paragraph(text: str) -> list[str]:
    found, start = [], 0
    for m in _BREAK.finditer(text):
        piece = text[max(start, m.end() - REACH) : m.end()].strip()
        rest = text[m.end() : m.end() + REACH].lstrip()
        if m[0][0] == ";":
            ends = min(len(piece.split()), len(rest.split(";", 1)[0].split())) >= MIN_WORDS
        else:
            ends = _OPENS.match(rest) is not None and not _abbreviated(piece, rest)
        if ends:
            found.append(text[start : m.end()].strip())
            start = m.end()
    last = text[start:].strip()
    return [*found, last] if last else found


def _abbreviated(piece: str, rest: str) -> bool:
    """Whether the dot that ends `piece` belongs to an abbreviation, an initial or a section number."""
    if piece.rstrip(_CLOSERS)[-1:] in "!?":
        return False
    words = piece.split()
    word = words[-1].lstrip("\"'\u201c\u2018(*_[").rstrip(_CLOSERS + ".").casefold()
    if len(words) == 1 and _MARKER.fullmatch(piece + " "):
        return True  # `6. Trademarks.`: a number belongs to what it numbers
    if word in {"no", "art", "s", "p", "v", "mar", "may", "st"} and len(words) == 1:
        return False  # the answer `No.`
    if word in {"etc", "al", "inc", "ltd", "corp", "co"}:
        return False  # what follows begins with a capital: a new sentence
    if word in {
        "no",
        "nos",
        "art",
        "arts",
        "sec",
        "secs",
        "s",
        "ss",
        "para",
        "paras",
        "cl",
        "reg",
        "regs",
        "ch",
        "pt",
        "vol",
        "p",
        "pp",
        "fig",
    }:
        return bool(re.match(r"[(\[]?\d", rest))
    return word in _ABBREVIATIONS or (len(word) == 1 and word.isalpha() and words[-1][:1].isupper() and word != "i")


def without_marker(sentence: str) -> str:
    """A sentence without the number, letter or bullet of its list item."""
    return sentence[m.end() :] if (m := _MARKER.match(sentence)) and sentence[m.end() :].strip() else sentence


# --- planted errors ---------------------------------------------------------------------------------------------------

Edit = Callable[[str, random.Random], str | None]
"""A sentence changed, or None where there is nothing to change."""


def _table(*rows: tuple[str, str]) -> Edit:
    """An edit that replaces one occurrence of one left side by the right side of its row; longer left sides win.

    In a right side `{be}`, `{have}`, `{do}` agree with the word before; alternatives are separated by `|`.
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
    """`may or may not`, and the like, where a change of one word keeps the meaning or makes none."""
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


def _number(sentence: str, rng: random.Random) -> str | None:
    """Another number in the same style."""
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
    """A number word as digits of another value, another unit of time, or another ordinal."""
    words = {w: "|".join(v for v in ("14", "45", "120", "250") if v != w) for w in _UNITS[1:]}
    edits = [
        _table(*words.items()),
        _table(*_both(("days", "months"), ("years", "weeks"), ("day", "month"), ("year", "week"))),
        _table(("first", "third"), ("second", "fourth"), ("once", "twice"), ("both", "neither of"), ("single", "double")),
    ]
    rng.shuffle(edits)
    return next((new for edit in edits if (new := edit(sentence, rng))), None)


def _denied(sentence: str, rng: random.Random) -> str | None:
    """The whole sentence denied, or one verb, in words the train templates do not use."""
    table = _table(
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
        return f"{opening} {_lower_first(sentence)}"
    return table(sentence, rng)


ERRORS: dict[Templates, dict[str, Edit]] = {
    "train": {
        "negation": _table(
            *((f"{a} not", a) for a in _AUXILIARIES if a not in {"has been", "have been"}),
            *((a, f"{a} not") for a in _AUXILIARIES if a not in {"has been", "have been"}),
            ("has been", "has not been"),
            ("have been", "have not been"),
            ("cannot", "can"),
        ),
        "number": _number,
        "party": _table(
            *_both(("licensor", "licensee"), ("contributor", "recipient"), ("contributors", "recipients"), ("licensors", "licensees")),
            ("you", "the licensor|the contributor"),
            ("your", "the licensor's|the recipient's"),
            ("recipient's", "contributor's"),
            ("the initial developer", "you"),
        ),
        "permission": _table(
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
        "antonym": _table(
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
        "party": _table(
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
        "permission": _table(
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
        "antonym": _table(
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
"""By templates and kind: the planted errors. The two sets of templates share no replacement."""

FOREIGN = "foreign"
KINDS = (*ERRORS["train"], FOREIGN)
"""Kinds of negative pairs."""

# --- true claims ------------------------------------------------------------------------------------------------------

_PREFIXES: dict[Templates, tuple[str, ...]] = {
    "train": (
        "The licence says that",
        "Yes.",
        "No.",
        "According to the licence,",
        "The document states that",
        "Yes, because",
        "Under the licence,",
    ),
    "held_out": ("As the text puts it,", "In other words,", "The rule is that", "That is so:", "The wording is clear:", "We read that"),
}
_REWORD: dict[Templates, Edit] = {
    "train": _table(
        *((f"{a} not", "{be} not allowed to") for a in ("may", "must", "shall")),
        ("may", "{be} allowed to|can"),
        ("must", "{have} to|{be} required to"),
        ("shall", "will|must"),
        ("need not", "{do} not have to"),
        ("cannot", "can not"),
        ("this license", "the licence"),
        ("this licence", "the license"),
        ("prior to", "before"),
    ),
    "held_out": _table(
        *((f"{a} not", "{be} forbidden to") for a in ("may", "must", "shall")),
        ("may", "{be} free to|{be} entitled to"),
        ("must", "{be} obliged to"),
        ("shall", "{have} a duty to"),
        ("need not", "{be} under no duty to"),
        ("this license", "the present licence"),
        ("in order to", "to"),
        ("provided that", "as long as"),
        ("all", "every one of the"),
    ),
}
# A clause may go from the end unless it limits what stands before it, or what stands before is no sentence by itself.
_LIMITS = ("unless", "except", "provided", "if", "but", "only", "other than", "subject to", "to the extent", "where", "when", "so long")
_CONDITION = re.compile(r"(?:if|unless|where|when|except|although|in the event|to the extent|provided)\b", re.IGNORECASE)
_LEAD = re.compile(
    r"(?:however|in addition|moreover|for the avoidance of doubt|for example|accordingly|therefore|furthermore|otherwise), ", re.IGNORECASE
)


def _lower_first(text: str) -> str:
    return text if len(text) < 2 or text[1].isupper() else text[0].lower() + text[1:]


def _truncated(sentence: str, rng: random.Random) -> str | None:
    """The sentence up to a clause boundary."""
    if _CONDITION.match(sentence):
        return None
    cuts = [
        m.start()
        for m in re.finditer(r"[,;:] | (?=(?:and|or|which|who|provided|so that|because)\s)", sentence)
        if m.start() >= 0.4 * len(sentence)
        and len(sentence[: m.start()].split()) >= 5
        and not sentence[m.end() :].casefold().lstrip().startswith(_LIMITS)
    ]
    return sentence[: rng.choice(cuts)].rstrip(" ,;:") + "." if cuts else None


def _clause_dropped(sentence: str, rng: random.Random) -> str | None:
    """The sentence without its opening adverbial or one bracketed remark."""
    new = _LEAD.sub("", sentence, count=1)
    if new == sentence:
        new = re.sub(r"\s*\((?:[^()]{2,80})\)", "", sentence, count=1)
    return new[:1].upper() + new[1:] if new != sentence else None


def _wrapped(sentence: str, prefix: str, quoted: bool) -> str:
    if quoted:
        return f"{prefix} \u201c{sentence}\u201d" if '"' in sentence else f'{prefix} "{sentence}"'
    return f"{prefix} {sentence if prefix.endswith(('.', ':')) else _lower_first(sentence)}"


class Pair(NamedTuple):
    """One training or test pair for an entailment model."""

    premise: str
    """A sentence of a passage."""
    claim: str
    label: int
    """1: the premise entails the claim; 0: it contradicts or does not support it."""
    kind: str
    """What was done: a kind of error (see `KINDS`), or `identical`, `prefix`, `quoted`, `truncated`, `clause_dropped`, `reworded`."""


def plant(sentence: str, kind: str, rng: random.Random, templates: Templates) -> str | None:
    """A sentence with one error of `kind` planted; None where it has nothing such an error could change."""
    new = ERRORS[templates][kind](sentence, rng)
    return new if new is not None and _folded(new) != _folded(sentence) else None


def _folded(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _overlap(a: str, b: str) -> float:
    x, y = (set(re.findall(r"\w{3,}", t.casefold())) for t in (a, b))
    return len(x & y) / max(1, min(len(x), len(y)))


def usable_sentences(passages: Sequence[Passage], min_words: int = 6, max_words: int = 26) -> list[tuple[str, str]]:
    """(passage id, sentence) of every sentence long enough to say something, in order, each text once.

    A sentence of more than `max_words` words is cut at its last comma, semicolon or colon before them, and left out where it has none:
    short pairs are what a small encoder learns from, and cheaper.
    """
    seen: dict[str, tuple[str, str]] = {}
    for p in passages:
        for s in split_sentences(p.text):
            words = s.split()
            if len(words) > max_words:
                ends = [i for i, w in enumerate(words[:max_words], 1) if w[-1] in ",;:"]
                words = words[: ends[-1]] if ends else []
                s = " ".join(words).rstrip(",;:")
            if len(without_marker(s).split()) >= min_words:
                seen.setdefault(_folded(s), (p.id, s))
    return list(seen.values())


def build_pairs(passages: Sequence[Passage], count: int, seed: int, templates: Templates = "train") -> list[Pair]:
    """At most `count` distinct pairs from the sentences of `passages`, half of them true, in an order the seed fixes.

    Every error is planted in a sentence that also serves as a true claim, and both get the same kind of wrapping, so that the claim alone
    does not give the label away. Kinds of error take turns; one that no sentence admits any more is left out, and fewer pairs than `count`
    come back where the passages are too few. `held_out` uses phrasings and word lists that `train` does not.
    """
    rng = random.Random(f"{seed}/{templates}")
    pool = usable_sentences(passages)
    pairs: dict[tuple[str, str], Pair] = {}
    turns = [*ERRORS[templates], FOREIGN, FOREIGN]
    misses = dict.fromkeys(turns, 0)
    queue: list[tuple[str, str]] = []
    turn = 0
    while pool and len(pairs) < count and turns:
        kind = turns[turn % len(turns)]
        turn += 1
        if not queue:
            queue = rng.sample(pool, len(pool))
        found = _next_error(queue, kind, pool, rng, templates)
        if found is None or (found[1], found[2]) in pairs:
            misses[kind] += 1
            if misses[kind] > 20:  # this kind is used up
                turns = [k for k in turns if k != kind]
            if found is None:
                queue = rng.sample(pool, len(pool))
            continue
        sentence, premise, wrong = found
        pairs[premise, wrong] = Pair(premise, wrong, 0, kind)
        for _ in range(10):  # the same true claim may have come up before: say it otherwise
            right = _true(sentence, premise, rng, templates)
            if (premise, right.claim) not in pairs:
                pairs[premise, right.claim] = right
                break
    chosen = list(pairs.values())[:count]
    rng.shuffle(chosen)
    return chosen


def _next_error(
    queue: list[tuple[str, str]], kind: str, pool: list[tuple[str, str]], rng: random.Random, templates: Templates
) -> tuple[str, str, str] | None:
    """(sentence, premise, wrong claim) from the first sentence of the queue that admits the error; takes it off the queue."""
    for i, (passage_id, premise) in enumerate(queue):
        sentence = without_marker(premise)
        wrong = _foreign(passage_id, sentence, pool, rng, templates) if kind == FOREIGN else plant(sentence, kind, rng, templates)
        if wrong is not None:
            del queue[i]
            return sentence, premise, _styled(wrong, rng, templates)
    return None


def _foreign(passage_id: str, sentence: str, pool: list[tuple[str, str]], rng: random.Random, templates: Templates) -> str | None:
    """A sentence of another passage that does not repeat this one: any in training, the most alike of 20 when held out."""
    others = [without_marker(s) for i, s in rng.sample(pool, min(20, len(pool))) if i != passage_id]
    others = [s for s in others if _overlap(s, sentence) < 0.6]
    if not others:
        return None
    # Half of the training ones are alike, too: sharing words must not be what a model learns.
    alike = templates == "held_out" or rng.random() < 0.5
    return max(others, key=lambda s: _overlap(s, sentence)) if alike else others[0]


def _styled(claim: str, rng: random.Random, templates: Templates) -> str:
    """A claim as an answer might put it: plain, shortened, behind a prefix, or quoted."""
    draw = rng.random()
    if draw < 0.25:
        return _wrapped(claim, rng.choice(_PREFIXES[templates]), quoted=False)
    if draw < 0.40:
        return _wrapped(claim, rng.choice(_PREFIXES[templates]), quoted=True)
    return claim


def _true(sentence: str, premise: str, rng: random.Random, templates: Templates) -> Pair:
    edits: list[tuple[str, Edit | None]] = [
        ("identical", None),
        ("truncated", _truncated),
        ("clause_dropped", _clause_dropped),
        ("reworded", _REWORD[templates]),
        ("reworded", _REWORD[templates]),
    ]
    kind, edit = rng.choice(edits)
    claim = edit(sentence, rng) if edit else sentence
    if claim is None:
        kind, claim = "identical", sentence
    styled = _styled(claim, rng, templates)
    if kind == "identical" and styled != claim:
        kind = "quoted" if styled[-1] in '"\u201d' and not claim.endswith(styled[-1]) else "prefix"
    return Pair(premise, styled, 1, kind)
