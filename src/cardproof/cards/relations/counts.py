"""Proportions and the counts they come from: `0.536 (60/112)`, `42 of 45 (93.3%)`, a column of accuracies beside its test cases, and
accuracies over a stated number of test cases (the GRIM test of Brown & Heathers 2017)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from math import ceil, floor

from cardproof.cards.document import Block, Document
from cardproof.cards.finding import Finding, finding
from cardproof.cards.intervals import rounded
from cardproof.cards.names import is_average, metric, words
from cardproof.cards.numbers import Printed, bare_text, numbers
from cardproof.cards.relations.report import SUPPORT
from cardproof.cards.relations.schedule import stated_sizes
from cardproof.cards.relations.summary import summaries
from cardproof.cards.tables import Cell, Table

WRITTEN = "count_and_share"
OF_N = "share_of_n"
LARGEST = 10**6
COUNT = r"\d{1,3}(?:,\d{3})+|\d{1,7}"
SHARE = r"\d{1,3}(?:\.\d+)?\s?%|0?\.\d+|1\.0+"
SHARE_FIRST = re.compile(rf"(?<![\w./])(?P<p>{SHARE})\s?\((?P<k>{COUNT})\s?(?:/|of|out of)\s?(?P<n>{COUNT})\)")
COUNT_FIRST = re.compile(
    rf"(?<![\w./-])(?P<k>{COUNT})\s?(?:/|\sof\s|\sout of\s)\s?(?P<n>{COUNT})(?:\s[a-z]+){{0,3}}"
    rf"\s?[(=:≈]+\s?(?P<p>{SHARE})(?!\s?(?:confidence|ci|of))",
    re.I,
)
PROPORTIONS = {"accuracy", "recall", "exactmatch"}


def fractions_of(share: Printed, n: int) -> list[int]:
    """The k for which k/n prints as the share, rounded or cut off."""
    s = share.as_share().loose
    return list(range(max(0, ceil(s.low * n)), min(n, floor(s.high * n)) + 1))


def counts(card: Document) -> Iterator[Finding]:
    """Check shares beside their counts, then shares of a stated number."""
    seen = set()
    texts = [(s.line, s.bare) for s in card.sentences]
    texts += [
        (line, bare_text(c)) for t in card.tables for row, line in zip(t.rows, t.lines, strict=True) for c in row if "/" in c or " of " in c
    ]
    texts += [(p.line, f"{p.label}: {p.text}") for b in card.blocks for p in b.pairs if "/" in p.text or " of " in p.text]
    for line, text in texts:
        for pattern in (SHARE_FIRST, COUNT_FIRST):
            for m in pattern.finditer(text):
                key = (line, m["k"], m["n"], m["p"].strip())
                if key not in seen:
                    seen.add(key)
                    yield from _written(line, m)
    for table in card.tables:
        if not table.is_results:
            yield from _beside_support(table)
            yield from _under_heading(card, table)
    yield from _per_class(card)
    yield from _stated(card)


def _written(line: int, m: re.Match[str]) -> Iterator[Finding]:
    k, n = (int(m[x].replace(",", "")) for x in ("k", "n"))
    share = next(iter(numbers(m["p"])), None)
    if share is None or n == 0 or k > n:
        return
    value = Fraction(k, n)
    printed = share.as_share()
    good = printed.loose.holds(value)
    near = printed.interval.holds(value)
    places = share.places
    text = rounded(value * 100, places) + "%" if share.percent else rounded(value, places)
    cell = Cell(line, m.group()[:44], share)
    yield finding(
        WRITTEN,
        "ok" if near else "note" if good else "error",
        f"{k} of {n} is {text}, printed {share.text}" + ("." if near else ", cut off." if good else "."),
        [cell],
        f"{k}/{n} = {text}",
        [] if near else ["cut off, not rounded"] if good else [f"the share is {text}", "the counts are of another run"],
    )


def _beside_support(table: Table) -> Iterator[Finding]:
    """Accuracy or recall of a class beside its number of cases: some k of them. Precision and F1 are not of this form."""
    n_at = table.column(*SUPPORT)
    if n_at is None:
        return
    plain = [metric(bare_text(re.sub(r"\(%\)", "", h))) for h in table.header]
    for c in [i for i, p in enumerate(plain) if p in PROPORTIONS]:
        in_percent = "%" in table.header[c]
        checked: list[Cell] = []
        bad = []
        for r, label in enumerate(table.labels):
            share, n = table.number(r, c), table.number(r, n_at)
            if (
                share is None
                or n is None
                or not n.whole
                or not 1 <= n.value <= LARGEST
                or is_average(label)
                or re.search(r"\bmap\b|auc|f1", words(label))
            ):
                continue
            if not share.percent and (in_percent or share.value > 1):
                share = Printed(share.text, share.value, share.step, "%", share.mark, share.digits)
            if share.value < 0 or share.as_share().value > 1:
                continue
            checked += [table.placed(r, c, share), table.placed(r, n_at, n)]
            if not fractions_of(share, int(n.value)):
                bad.append((table.placed(r, c, share), table.placed(r, n_at, n)))
        if not checked:
            continue
        rows = len(checked) // 2
        if bad and len(bad) * 3 > rows:
            # If more than a third fail, the scores are not means over single cases.
            continue
        for cell, n_cell in bad:
            yield _impossible([cell, n_cell], cell.number, int(n_cell.number.value), "its row states", "warning")
        if not bad:
            yield finding(OF_N, "ok", f"Each of {rows} shares is a whole number of its cases.", checked, f"{rows} rows")


def _impossible(cells: list[Cell], share: Printed, n: int, who: str, severity: str) -> Finding:
    value = share.as_share().value
    k = value * n
    near = sorted({floor(k), ceil(k)})
    nearby = ", ".join(f"{i}/{n} = {rounded(Fraction(100 * i, n), 1)}%" for i in near)
    other = next((m for m in [*range(n, max(1, n // 2), -1), *range(n + 1, 2 * n + 1)] if fractions_of(share, m)), None)
    return finding(
        OF_N,
        "error" if severity == "error" else "warning",
        f"{share.text} is not a whole number of the {n:,} cases that {who}.",
        cells,
        f"nearest: {nearby}; printed {share.text}",
        ([f"over {other} cases ({fractions_of(share, other)[0]}/{other})"] if other else [])
        + ["a mean over runs or classes", "another number of cases"],
    )


HEADED = re.compile(
    rf"\((?:n\s?=\s?)?(?P<n>{COUNT}) (?:[a-z]+ )?(?:test )?"
    r"(?:cases|examples|questions|samples|images|items|prompts|tasks|problems|observations)(?: per arm| each)?\)"
    rf"|\bn\s?=\s?(?P<m>{COUNT})\b",
    re.I,
)


def _under_heading(card: Document, table: Table) -> Iterator[Finding]:
    """Accuracies of a table whose heading states the number of test cases."""
    m = HEADED.search(table.heading)
    if m is None or table.column(*SUPPORT) is not None:
        return
    n = int((m["n"] or m["m"]).replace(",", ""))
    if not 2 <= n <= 2000:
        return
    heading = next(
        (s.line for s in card.sentences if s.is_heading and s.heading == table.heading and s.line < table.head_line), table.head_line
    )
    stated = Cell(heading, "heading", next(iter(numbers(str(n)))))
    cells = []
    for c in range(1, len(table.header)):
        label = words(table.header[c])
        if re.search(r"improv|gain|delta|diff|change|f1|precision|loss|time|latency|±|std|size|param", label):
            continue
        for r in range(len(table.rows)):
            share = table.number(r, c)
            if (
                share is not None
                and share.percent
                and 0 <= share.value <= 100
                and not share.mark
                and not re.search(r"f1|precision|rouge|bleu|auc", words(table.labels[r]))
            ):
                cells.append(table.placed(r, c, share))
    bad = [c for c in cells if not fractions_of(c.number, n)]
    if not cells or (len(bad) * 2 > len(cells) and len(cells) > 2):
        return
    seen: set[str] = set()
    for cell in bad:
        if cell.number.text not in seen:
            seen.add(cell.number.text)
            yield _impossible([cell, stated], cell.number, n, "the heading states", "warning")
    if not bad:
        yield finding(
            OF_N, "ok", f"Each of {len(cells)} shares is a whole number of the {n} cases.", [cells[0], stated], f"{len(cells)} shares"
        )


ON_N = re.compile(
    rf"(?P<p>\d{{1,3}}(?:\.\d+)?\s?%)(?: (?:top-1 )?(?:accuracy|exact match|of answers correct))? (?:on|over) (?:all |the |our |a )?"
    rf"(?:(?:held-out|test|validation|evaluation) )?(?:set of )?(?P<n>{COUNT}) "
    r"(?:held-out |test |validation |evaluation )?(?:cases|examples|questions|samples|images|items|prompts|sentences|problems)\b",
    re.IGNORECASE,
)
SIZE = re.compile(
    r"(?:number of |num )?(?:test|eval|evaluation|validation|held out)(?: set)? (?:examples|samples|items|questions|size|cases|images)"
)


def _stated(card: Document) -> Iterator[Finding]:
    """`93.4% on 200 test questions` in a sentence, and a list that prints an accuracy and the size of its test set."""
    for s in card.sentences:
        for m in ON_N.finditer(s.bare):
            share, n = next(iter(numbers(m["p"])), None), next(iter(numbers(m["n"])), None)
            if share and n and 1 <= n.value <= LARGEST and share.value <= 100:
                yield _judged([Cell(s.line, m.group()[:40], share)], share, int(n.value), "the sentence states")
    for block in card.blocks:
        yield from _of_intro(block)
        sizes = [p.cell() for p in block.pairs if p.number and p.number.whole and SIZE.fullmatch(words(p.label))]
        shares = [
            p.cell() for p in block.pairs if p.number and metric(p.label) in {"accuracy", "exactmatch"} and 0 <= p.number.value <= 100
        ]
        if len(sizes) == 1 and 1 <= sizes[0].number.value <= LARGEST:
            for cell in shares:
                share = cell.number if cell.number.percent or cell.number.value <= 1 else cell.number.times(Fraction(1, 100))
                judgement = _judged([cell, sizes[0]], share, int(sizes[0].number.value), "the list states")
                if judgement.severity == "warning" and (metric(cell.place) == "exactmatch" or "eval_samples" in sizes[0].place):
                    # A script may count parts of long texts, or answers that are partly right.
                    judgement.severity = "note"
                    judgement.readings.insert(0, "the samples are parts of texts, or an answer may be right in part")
                yield judgement


RATE = re.compile(r"\b(?:accuracy|pass rate|success rate|exact match|rate)$")


def _of_intro(block: Block) -> Iterator[Finding]:
    """A list of rates whose introduction states the number of cases: `(450 paired observations per arm)`."""
    m = HEADED.search(block.intro)
    n = next(iter(numbers(m["n"] or m["m"])), None) if m else None
    if n is None or not 2 <= n.value <= 2000:
        return
    shares = [p.cell() for p in block.pairs if p.number and p.number.percent and RATE.search(words(p.label)) and 0 <= p.number.value <= 100]
    for cell in shares:
        yield _judged([cell, Cell(cell.line, "introduction", n)], cell.number, int(n.value), "the introduction states")


def _judged(cells: list[Cell], share: Printed, n: int, who: str) -> Finding:
    counts = fractions_of(share, n)
    if not counts:
        return _impossible(cells, share, n, who, "warning")
    return finding(OF_N, "ok", f"{share.text} is a whole number of {n:,} cases.", cells, f"{counts[0]:,}/{n:,}")


def _per_class(card: Document) -> Iterator[Finding]:
    """Compare a final accuracy with a validation set of so many items per class."""
    sizes = sorted({n for _, n, _ in stated_sizes(card, "val")})
    if not sizes:
        return
    named = [(c, n) for cells, names, _ in summaries(card) for c, n in zip(cells, names, strict=True)]
    front = [(Cell(m.line, "front matter accuracy", m.value), metric(m.type)) for m in card.front.metrics]
    accuracies = [c for c, n in front + named if n == "accuracy" and 0 <= c.number.as_share().value <= 1]
    if not accuracies:
        return
    cell = max(accuracies, key=lambda c: c.number.digits)
    fitting = [n for n in sizes if n <= LARGEST and fractions_of(cell.number, n)]
    source = stated_sizes(card, "val")[0]
    if fitting:
        yield finding(OF_N, "ok", f"The accuracy fits {fitting[0]} validation items.", [cell, source[0]], f"k/{fitting[0]}")
        return
    exact = (
        next((f"{fractions_of(cell.number, m)[0]}/{m}" for m in range(1, max(sizes) + 1) if fractions_of(cell.number, m)), None)
        if cell.number.digits > 6
        else None
    )
    yield finding(
        OF_N,
        "warning",
        f"The accuracy {cell.number.text[:12]} is not a share of {' or '.join(map(str, sizes))} validation items.",
        [cell, source[0]],
        f"it is {exact}" if exact else f"no k/{sizes[0]} prints as {cell.number.text}",
        ["part of the items was not read", "another number of items in a class"],
    )
