"""All relations that an audit looks for in a card."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cardproof.cards.document import Document
from cardproof.cards.finding import Finding
from cardproof.cards.relations import schedule
from cardproof.cards.relations.average import average
from cardproof.cards.relations.batch import batch
from cardproof.cards.relations.costs import costs
from cardproof.cards.relations.counts import counts
from cardproof.cards.relations.differences import differences
from cardproof.cards.relations.errors_of_means import standard_errors
from cardproof.cards.relations.f1 import f1
from cardproof.cards.relations.formulas import formulas
from cardproof.cards.relations.front import front
from cardproof.cards.relations.parameters import parameters
from cardproof.cards.relations.ranges import ranges
from cardproof.cards.relations.recipe import recipe
from cardproof.cards.relations.repeats import repeats
from cardproof.cards.relations.report import report
from cardproof.cards.relations.summary import summary
from cardproof.cards.relations.sums import sums

Relation = Callable[[Document], Iterator[Finding]]

RELATIONS: tuple[Relation, ...] = (
    batch,
    schedule.steps,
    schedule.end,
    schedule.data,
    schedule.totals,
    recipe,
    summary,
    front,
    f1,
    report,
    average,
    differences,
    counts,
    parameters,
    standard_errors,
    formulas,
    sums,
    repeats,
    costs,
    ranges,
)
