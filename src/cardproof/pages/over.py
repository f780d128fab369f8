"""Which items a printed number is over: from the file and JSON pointer of a result to rows of the page's table, and their address."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from cardproof.evaluation.axes import SINGLE_DRAW, TITLES
from cardproof.evaluation.printed import PLACES, measured, number
from cardproof.pages.formats import signed
from cardproof.runs import EVALUATION, Run, evaluation

Counts = Literal["all", "answered", "oracle", "no_oracle"]
"""The items that count: every one, those that the arm answers, those that show the oracle passage, those that do not."""
Kind = Literal["mean", "sum", "other"]
"""What the number is of its column: the mean or the sum over the rows, or something else, as an equivalent N is."""
REFUSED = "refused"
"""The table's column for refusals."""
WORDS = {
    **TITLES,
    "false_refusals": "refusals",
    REFUSED: "refusals",
    "gap": "near-miss gap",
    "quotes": "quotes",
    "strict_quotes": "strict quotes",
    "near_miss": "near misses",
    "misattributed": "misattributed quotes",
    "fabricated": "fabricated quotes",
    "slips": "quotes found, but not in the document that they cite",
    "choice": "choice among candidates",
    "quoting": "replies that quote all the same",
}
"""Column of the table -> its words."""


class Over(NamedTuple):
    """The rows behind a number."""

    file: str
    """The result file, below the run."""
    pointer: str
    """JSON pointer of the number with its interval and n."""
    condition: str
    arms: tuple[str, ...]
    """The arm; of a difference both, the second minus the first; none if the number is about items alone."""
    column: str | None
    """The column of the table; None if the number counts rows."""
    draws: int | None
    """N of best-of-N; None for that of the condition."""
    counts: Counts
    kind: Kind

    @property
    def address(self) -> str:
        """The page's fragment that opens these rows."""
        return f"#rows={self.file}{self.pointer}"

    @property
    def title(self) -> str:
        """What the number is, in words."""
        what = WORDS[self.column] if self.column else "items"
        second_first = " minus ".join(reversed(self.arms))
        draws = "" if self.draws is None else "all candidates" if self.kind == "sum" else f"N = {self.draws}"
        return ", ".join(part for part in (what, second_first, self.condition, draws) if part)


class Rule(NamedTuple):
    """A kind of pointer, and the rows behind it."""

    file: str
    """File of `evaluation/`."""
    pointer: str
    """Pattern with the groups `arm`, `pair`, `column`, `condition` and `index`."""
    counts: Counts = "answered"
    kind: Kind = "mean"
    column: str | None = None
    """The column where the pointer does not name it."""
    condition: str = "clean"
    draws: int | None = None


_ARM, _PAIR = "(?P<arm>[^/]+)", "(?P<pair>[^/]+)"
_AXIS = f"(?P<column>{'|'.join(TITLES)})"


def _of_table(file: str, condition: str) -> tuple[Rule, ...]:
    """Rules for the two files that hold every axis of every arm."""
    return (
        Rule(file, f"/arms/{_ARM}/{_AXIS}", condition=condition),
        Rule(file, f"/arms/{_ARM}/(?P<column>{'|'.join(SINGLE_DRAW)})_n1", draws=1, condition=condition),
        Rule(file, f"/arms/{_ARM}/all_items/{_AXIS}", "all", condition=condition),
        Rule(file, f"/arms/{_ARM}/answered", kind="sum", condition=condition),
        Rule(file, f"/arms/{_ARM}/oracle_present", "oracle", "sum", condition=condition),
        Rule(file, f"/arms/{_ARM}/choices", "all", "other", "choice", condition=condition),
        Rule(file, f"/paired/{_PAIR}/{_AXIS}", condition=condition),
        Rule(file, f"/minimal_detectable/{_PAIR}/{_AXIS}", kind="other", condition=condition),
        Rule(file, "/items", "all", "sum", condition=condition),
        Rule(file, "/best_of", "all", "other", condition=condition),
    )


_KINDS = "near_miss|misattributed|fabricated"
_OF_GAP = f"/conditions/(?P<condition>[^/]+)/{_ARM}"
RULES = (
    *_of_table("axes", "clean"),
    *_of_table("stress", "stress"),
    Rule("axes", f"/primary/{_PAIR}/(?P<column>strict|gap)_(?P<condition>clean|stress)"),
    Rule("axes", f"/primary/{_PAIR}/support_equivalence", column="support"),
    Rule("axes", f"/primary/{_PAIR}/compute", "all", column="composite", draws=1),
    Rule("stress", "/settings/items", "all", "sum", condition="stress"),
    Rule("stress", "/settings/oracle_dropped", "no_oracle", "sum", condition="stress"),
    Rule("stress", f"/residual/{_ARM}/(?P<column>strict|attribution)", condition="stress"),
    Rule("stress", f"/residual/{_ARM}/(?P<column>quotes|slips)", kind="sum", condition="stress"),
    Rule("stress", f"/correct_refusals/{_ARM}", "no_oracle", column=REFUSED, condition="stress"),
    Rule("mechanism", f"{_OF_GAP}/gap", column="gap"),
    Rule("mechanism", f"{_OF_GAP}/answered", kind="sum"),
    Rule("mechanism", f"{_OF_GAP}/(?P<column>quotes)", kind="sum"),
    Rule("mechanism", f"{_OF_GAP}/kinds/(?P<column>{_KINDS})", kind="sum"),
    Rule("mechanism", f"{_OF_GAP}/kinds/strict", kind="sum", column="strict_quotes"),
    Rule("mechanism", f"{_OF_GAP}/ladder/near_misses", kind="sum", column="near_miss"),
    Rule("mechanism", f"{_OF_GAP}/candidates/gap", column="gap", draws=1),
    Rule("mechanism", f"{_OF_GAP}/candidates/(?P<column>quotes)", kind="sum", draws=1),
    Rule("mechanism", f"{_OF_GAP}/candidates/kinds/(?P<column>{_KINDS})", kind="sum", draws=1),
    Rule("mechanism", f"{_OF_GAP}/candidates/kinds/strict", kind="sum", column="strict_quotes", draws=1),
    Rule("mechanism", f"{_OF_GAP}/candidates/ladder/near_misses", kind="sum", column="near_miss", draws=1),
    Rule("mechanism", f"/paired/(?P<condition>[^/]+)/{_PAIR}", column="gap"),
    Rule("compute", rf"/arms/{_ARM}/(?P<column>composite)/(?P<index>\d+)", "all"),
    Rule("compute", f"/equivalence/{_ARM}", "all", "other", "composite", draws=1),
    Rule("compute", "/max_n", "all", "other"),
    Rule("format_lock", f"/arms/{_ARM}/(?P<column>support|rouge_l|gold_rouge)", condition="freeform"),
    Rule("format_lock", f"/arms/{_ARM}/strict_rate_contract", "all", column="quoting", condition="freeform"),
    Rule("format_lock", f"/arms/{_ARM}/answered", kind="sum", condition="freeform"),
    Rule("format_lock", f"/arms/{_ARM}/choices", "all", "other", "choice", condition="freeform"),
    Rule("format_lock", f"/paired/{_PAIR}/(?P<column>support)", condition="freeform"),
    Rule("format_lock", f"/equivalence/{_PAIR}", column="support", condition="freeform"),
    Rule("format_lock", f"/contract_paired/{_PAIR}/(?P<column>support)"),
    Rule("format_lock", "/items", "all", "sum", condition="freeform"),
    Rule("format_lock", "/best_of", "all", "other", condition="freeform"),
)
_PATTERNS = [(rule, evaluation(rule.file), re.compile(f"({rule.pointer})(/.*)?")) for rule in RULES]


def over(file: str | None, pointer: str | None, arms: Collection[str], reference: str) -> Over | None:
    """The rows behind a number of a result file; None if it is not over items of the evaluation.

    `pointer` leads to an estimate, or to one of its fields. `arms` are those of the table.
    """
    for rule, name, pattern in _PATTERNS:
        found = pattern.fullmatch(pointer or "") if name == file else None
        if found:
            groups = found.groupdict()
            named = _arms(groups, arms)
            if named is None:
                return None
            if rule.pointer.startswith("/equivalence") and rule.file == "compute":
                named = (reference, *named)
            column = rule.column or groups.get("column")
            counts = "oracle" if column == "false_refusals" else rule.counts
            draws = int(groups["index"]) + 1 if groups.get("index") else rule.draws
            column = REFUSED if column == "false_refusals" else column
            return Over(name, found[1], groups.get("condition") or rule.condition, named, column, draws, counts, rule.kind)
    return None


def _arms(groups: Mapping[str, str | None], arms: Collection[str]) -> tuple[str, ...] | None:
    """The arms that a pointer names; None if the table has no such arm."""
    if (arm := groups.get("arm")) is not None:
        return (arm,) if arm in arms else None
    if (pair := groups.get("pair")) is not None:
        return next(((first, second) for first in arms for second in arms if f"{second}-{first}" == pair), None)
    return ()


def numbers(run: Run, arms: Collection[str], reference: str) -> dict[str, tuple[Over, str]]:
    """Every number of the run's five result files that is over items, by its address: its rows, and how the page prints it."""
    found: dict[str, tuple[Over, str]] = {}
    for name in EVALUATION:
        file = evaluation(name)
        for pointer, content in _nodes(run.json(file), ""):
            rows = over(file, pointer, arms, reference)
            if rows is not None and rows.pointer == pointer:
                found[rows.address] = rows, said(content)
    return found


def _nodes(content: Any, pointer: str) -> Iterator[tuple[str, Any]]:
    """Every place in a JSON file below its root; what each item adds to a number is left out."""
    entries = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in entries:
        if key != "per_item":
            yield f"{pointer}/{key}", value
            yield from _nodes(value, f"{pointer}/{key}")


def said(content: Any) -> str:
    """A number of a result file as it is printed; empty if it is a table."""
    if isinstance(content, bool | None) or not isinstance(content, int | float | dict):
        return ""
    if not isinstance(content, dict):
        return number(content) if isinstance(content, float) else str(content)
    if content.get("difference") is not None:
        corrected = content.get("low_holm") is not None
        low, high = (content["low_holm"], content["high_holm"]) if corrected else (content["low"], content["high"])
        return f"{content['difference']:+.{PLACES}f}" + ("" if low is None or high is None else f" {signed(low, high)}")
    for key in ("value", "n_equivalent", "count", "some"):
        if key in content:
            value = content[key]
            return measured(value, content.get("low"), content.get("high")) if isinstance(value, float) else said(value)
    return ""
