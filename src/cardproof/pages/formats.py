"""Numbers and names as the card prints them: the filters of its templates."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from cardproof.claims.claims_file import with_unit
from cardproof.claims.verdicts import Judgement
from cardproof.config import settings
from cardproof.evaluation import printed
from cardproof.evaluation.printed import DASH, TINY, p_text, stance
from cardproof.evaluation.results import Choices, Equivalence, EquivalentN, Spread
from cardproof.evidence.verify import Chain
from cardproof.records import Comparison, Estimate

REJECTIONS = {
    "refusal": "refused",
    "strict is zero": "with no verbatim quote",
    "support is zero": "with no verifier support",
    "citation_validity is zero": "with no valid citation",
}
"""Reason in `selection.json` -> words after a number. Other reasons are already such words."""


Difference = Comparison | Equivalence


def estimate(e: Estimate) -> str:
    """An estimate with interval and n, e.g. `0.824 [0.760, 0.881], n = 45`; a dash and the reason if it is undefined."""
    return f"{DASH} ({e.method})" if e.value is None else f"{printed.measured(e.value, e.low, e.high)}, n = {e.n}"


def ranged(e: Estimate, against: Difference | None = None) -> str:
    """An estimate for a table's cell, with its interval in small print below, bold if its difference `against` another arm is shown.

    A dash and the reason if it is undefined. Its n is said once in the table.
    """
    if e.value is None:
        return f"{DASH} ({cell(e.method)})"
    text = printed.number(e.value)
    shown = isinstance(against, Comparison) and stance(against) in ("higher", "lower")
    span = printed.interval(e.low, e.high)
    small = f"<br><sub>{span.replace(' ', '&nbsp;')}</sub>" if span else ""
    return f"**{text}**{small}" if shown else f"{text}{small}"


def value(e: Estimate) -> str:
    """An estimate's value alone, for a sentence whose table has the rest."""
    return printed.number(e.value)


def interval(e: Estimate) -> str:
    """The interval of an estimate; empty if it has none."""
    return printed.interval(e.low, e.high)


def change(c: Difference) -> str:
    """A paired difference with interval, n and p, e.g. `+0.100 [+0.020, +0.180], n = 45, p = 0.012`; a dash and the reason for none.

    If p is corrected for a family, so is the interval: it leaves 0 out exactly if that p is significant.
    """
    if c.difference is None:
        return moved(c)
    p = p_value(c)
    return f"{moved(c)}, n = {c.n}{', ' + p if p else ''}"


def moved(c: Difference) -> str:
    """A paired difference with its interval alone, for a table that has n and p in columns of their own."""
    if c.difference is None:
        return f"{DASH} ({c.method})"
    low, high = c.low, c.high
    if isinstance(c, Comparison) and c.low_holm is not None and c.high_holm is not None:
        low, high = c.low_holm, c.high_holm
    span = "" if low is None or high is None else f" {signed(low, high)}"
    return f"{c.difference:+.3f}{span}"


def signed(low: float, high: float) -> str:
    """An interval of a difference, e.g. `[-0.020, +0.180]`."""
    return f"[{low:+.{printed.PLACES}f}, {high:+.{printed.PLACES}f}]"


def p_value(c: Difference) -> str:
    """The p of a paired difference, after Holm's correction if it is one of a table; empty if it has none."""
    corrected = getattr(c, "p_holm", None)
    p, how = (c.p, "") if corrected is None else (corrected, " (Holm)")
    return "" if p is None else f"{p_text(p)}{how}"


def number(x: float | None) -> str:
    """A count with its thousands apart, or a real number; a dash for None."""
    if isinstance(x, jinja2.Undefined):
        return str(x)  # raises, naming what is missing
    return f"{x:,}" if isinstance(x, int) else printed.number(x)


def short(x: float) -> str:
    """A real number with two decimals, for what is not known more exactly."""
    return f"{x:.2f}"


def percent(share: float | None) -> str:
    """A share as a percentage with as many decimals as it needs, at most two."""
    return DASH if share is None else f"{100 * share:.2f}".rstrip("0").rstrip(".") + "%"


def bounds(e: EquivalentN, max_n: int) -> str:
    """The interval of an equivalent N; a bound beyond the curve is said to be there, never cut to the curve's end."""
    tail = (1 - e.level) / 2 - TINY
    if e.low is None and e.high is None and not e.share_below and not e.share_above:
        return "no interval"
    below, above = "below N = 1", f"above N = {max_n}"
    low = f"{e.low:.2f}" if e.low is not None else below if e.share_below >= tail else above
    high = f"{e.high:.2f}" if e.high is not None else above if e.share_above >= tail else below
    return f"{e.level:.0%} interval {low} to {high}"


def seed_spread(s: Spread) -> str:
    """A number's spread between training seeds, e.g. `0.500 to 0.583, sd 0.059, 2 seeds`; a dash if no seed has a value."""
    if s.mean is None:
        return DASH
    sd = "" if s.sd is None else f", sd {printed.number(s.sd)}"
    return f"{printed.number(s.low)} to {printed.number(s.high)}{sd}, {s.n} seed{'' if s.n == 1 else 's'}"


def seed_name(seed: int) -> str:
    """A training seed as a column's head."""
    return f"seed {seed}"


def above_chance(auc: Estimate) -> bool:
    """True if the whole interval of an AUC lies above one half."""
    return auc.low is not None and auc.low > 0.5


def saves(e: EquivalentN) -> bool:
    """True if the whole interval of an equivalent N lies above a single rollout."""
    return e.low is not None and e.low > 1


def setting(x: Any) -> str:
    """A configured value as YAML or JSON has it."""
    return json.dumps(x, ensure_ascii=False) if not (isinstance(x, float) and math.isnan(x)) else DASH


def code(text: Any) -> str:
    """Text as a Markdown code span that stays one, whatever is in it, also inside a table."""
    flat = " ".join(str(text).split()).replace("|", "\\|")
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", flat)), default=0))
    pad = " " if flat.startswith("`") or flat.endswith("`") else ""
    return f"{ticks}{pad}{flat}{pad}{ticks}"


def cell(text: Any) -> str:
    """Text for a table cell or a sentence: one line, with what Markdown or HTML would read as markup escaped."""
    return re.sub(r"([\\|`*\[\]<>])", r"\\\1", " ".join(str(text).split()))


def fenced(text: str) -> str:
    """Text as a Markdown code block that stays one, whatever is in it; what cannot be seen is shown by its number."""
    ticks = "`" * max(3, *(1 + len(run) for run in re.findall("`+", text)), 0)
    shown = "".join(ch if ch == "\n" or ch.isprintable() else f"U+{ord(ch):04X}" for ch in text)
    return f"{ticks}text\n{shown}\n{ticks}"


def first_problem(chain: Chain, folder: Path) -> str | None:
    """Where a run's chain breaks, in a sentence that says nothing of the machine's folders; None if it does not."""
    return chain.problems[0].sentence.replace(f"{folder}/", "") if chain.problems else None


def words(name: str) -> str:
    """A name with underscores as words."""
    return name.replace("_", " ")


def counted(count: int, severity: str) -> str:
    """Findings of one severity in words, e.g. `2 warnings`."""
    name = "check that holds" if severity == "ok" and count == 1 else "checks that hold" if severity == "ok" else severity
    return f"{count} {name}{'s' if severity != 'ok' and count != 1 else ''}"


def rejection(reason: str) -> str:
    """Why candidates were rejected, as words after their number; `distill` names the reasons."""
    return REJECTIONS.get(reason, words(reason))


def pluck(name: str, table: Mapping[str, Any], *keys: str | int) -> Any:
    """`table[name]`, and from there on a key, an index or a field each: for the cells of a table's row, one for each name."""
    content: Any = table[name]
    for key in keys:
        content = content[key] if hasattr(content, "__getitem__") else getattr(content, str(key))
    return content


def pluck_axis(table: Any, axis: str) -> Estimate:
    """An axis of an arm's table."""
    found: Estimate = getattr(table, axis)
    return found


def called(section: settings.Model | settings.Verifier | settings.Benchmark) -> str:
    """What a model or data set is called: its id, or the name of the local folder it is from; a path says nothing to others."""
    where = getattr(section, "path", None) or section.id
    return Path(where).name if section.source == "folder" else section.id


def held_in(model: settings.Model) -> str:
    """How the base model's weights are held, as words after its name; empty if they are unchanged."""
    return {"nf4": ", which is held in 4-bit NormalFloat (NF4)", "none": ""}[model.quantization]


def published(row: Judgement) -> str:
    """What the card prints for a claim, with its unit; a dash if it prints nothing."""
    return with_unit(row.published, row.unit)


def regenerated(row: Judgement) -> str:
    """What the run has for a claim, in the card's unit and with its decimals, and the interval; a dash if it has nothing."""
    span = "" if row.interval is None or row.regenerated_printed is None else f" {printed.interval(*row.interval)}"
    return f"{with_unit(row.regenerated_printed, row.unit)}{span}"


def apart(row: Judgement) -> str:
    """How far a run's number is from the printed one, with the interval and p after correction; a dash if they are not compared."""
    if row.difference is None:
        return DASH
    span = "" if row.difference_interval is None else f" {signed(*row.difference_interval)}"
    return f"{row.difference:+.3f}{span}{'' if row.p_holm is None else f', {p_text(row.p_holm)}'}"


def noticed(row: Judgement) -> str:
    """The smallest deviation that a comparison would have noticed; a dash if there is none."""
    return printed.number(row.noticed)


def chosen(choices: Choices) -> str:
    """The number of items on which the composite chose among candidates, e.g. `10 of 12 (8 with a single best)`."""
    return f"{choices.some} of {choices.items} ({choices.unique} with a single best)"


def remark(row: Judgement) -> str:
    """What the run says about a claim in words, without the sentence on scales that every such row would repeat."""
    return row.computation if row.computation is not None and row.verdict == "not_comparable" else row.reason


def place(row: Judgement) -> str:
    """File and JSON pointer a claim's row is from, or the ids of the claims it is computed from; a dash if nothing regenerates it."""
    if row.chain.file:
        return code(f"{row.chain.file}#{row.chain.pointer}")
    return ", ".join(map(code, row.chain.over or ())) or DASH
