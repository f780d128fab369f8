"""Metrics that follow from others: RMSE from MSE, perplexity from loss, balanced error from recall and specificity, micro averages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from math import exp, sqrt

from cardproof.cards.document import Document
from cardproof.cards.finding import Finding, finding
from cardproof.cards.intervals import ExactInterval, mean, span
from cardproof.cards.names import words
from cardproof.cards.numbers import Printed
from cardproof.cards.relations.summary import summaries
from cardproof.cards.tables import Cell, Table

ROOT = "rmse"
PERPLEXITY = "perplexity"
BALANCED = "balanced_error"
SINGLE = "single_label_averages"


def formulas(card: Document) -> Iterator[Finding]:
    """Check each formula wherever all of its numbers are printed together."""
    for cells, names, _ in summaries(card):
        by = {n: c for c, n in zip(cells, names, strict=True) if names.count(n) == 1}
        if "mse" in by and "rmse" in by:
            yield _derived(ROOT, by["mse"], by["rmse"], sqrt, "the square root of MSE")
        if "perplexity" in by:
            yield from _perplexity([c for n, c in by.items() if n.endswith("loss") and c.number.value < 50], by["perplexity"])
        yield from _single_label(by)
    for table in card.tables:
        if not table.is_results:
            yield from _balanced(table)


def _perplexity(losses: list[Cell], perplexity: Cell) -> Iterator[Finding]:
    """e to one of the printed losses; a loss that sums several tasks has no perplexity."""
    judgements = [_derived(PERPLEXITY, loss, perplexity, exp, "e to the loss") for loss in losses]
    good = next((f for f in judgements if f.severity == "ok"), None)
    if good:
        yield good
    elif len(judgements) == 1:
        yield judgements[0]


def _derived(kind: str, source: Cell, result: Cell, formula: Callable[[float], float], words_for: str) -> Finding:
    a = source.number.loose
    low, high = (Fraction(formula(float(max(x, Fraction(0))))) for x in (a.low, a.high))
    possible = ExactInterval(low, high).widened(abs(high) / 10**6)
    good = possible.meets(result.number.loose)
    return finding(
        kind,
        "ok" if good else "warning",
        f"{result.place} {result.number.text} {'is' if good else 'is not'} {words_for}.",
        [source, result],
        f"from {source.number.text}: {span(possible, 4)}, printed {result.number.text}",
        [] if good else ["the two are of different evaluations", "another base, or a mean taken before the formula"],
    )


def _single_label(by: dict[str, Cell]) -> Iterator[Finding]:
    """With one label per item, accuracy, micro precision, micro recall, micro F1 and weighted recall are one number."""
    names = ("accuracy", "microf1", "microprecision", "microrecall", "weightedrecall")
    own = [by[n] for n in names if n in by]
    if len(own) < 4 or "microprecision" not in by or "microrecall" not in by:
        return
    first = own[0].number
    same = [c for c in own if c.number.loose.meets(first.loose)]
    good = len(same) == len(own)
    micro = [by[n].number for n in ("microf1", "microprecision", "microrecall") if n in by]
    alike = all(n.loose.meets(micro[0].loose) for n in micro)
    if not alike and "accuracy" not in by:
        return
    yield finding(
        SINGLE,
        "ok" if good else "error",
        "Accuracy, micro averages and weighted recall are one number, as they must be with one label per item."
        if good
        else "Accuracy, micro averages and weighted recall differ, which is impossible with one label per item.",
        own,
        ", ".join(f"{c.place} {c.number.text[:9]}" for c in own),
        [] if good else ["a model with several labels per item", "one of them is of another evaluation"],
    )


def _balanced(table: Table) -> Iterator[Finding]:
    """Balanced error = 1 - (recall + specificity) / 2, balanced accuracy = (recall + specificity) / 2; metrics are rows."""
    plain = [words(x) for x in table.labels]
    rows = {k: [r for r, p in enumerate(plain) if test(p)] for k, test in _ROLES.items()}
    if len(rows["recall"]) != 1 or len(rows["specificity"]) != 1:
        return
    for kind in ("balanced error", "balanced accuracy"):
        if len(rows[kind]) != 1:
            continue
        for c in range(1, len(table.header)):
            r, s, b = (table.cell(rows[k][0], c) for k in ("recall", "specificity", kind))
            if r is None or s is None or b is None:
                continue
            share = mean([_share(r.number), _share(s.number)])
            one = ExactInterval(Fraction(1), Fraction(1))
            possible = one - share if kind == "balanced error" else share
            good = possible.meets(_share(b.number))
            yield finding(
                BALANCED,
                "ok" if good else "warning",
                f"The {kind} {b.number.text} {'follows' if good else 'does not follow'} from recall and specificity.",
                [r, s, b],
                f"recall {r.number.text}, specificity {s.number.text}: {span(possible, 4)}, printed {b.number.text}",
                [] if good else ["recall or specificity of another evaluation", "another definition"],
            )


_ROLES: dict[str, Callable[[str], bool]] = {
    "recall": lambda p: ("recall" in p or "sensitivity" in p) and "/" not in p and "acc" not in p,
    "specificity": lambda p: "specificity" in p,
    "balanced error": lambda p: "balanced error" in p,
    "balanced accuracy": lambda p: "balanced accuracy" in p,
}


def _share(n: Printed) -> ExactInterval:
    return n.as_share().loose
