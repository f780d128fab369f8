"""Numbers and names as the card prints them: the filters of its templates."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from cardproof.config import settings
from cardproof.evaluation.axes import ALPHA
from cardproof.records import Comparison, Estimate

TINY = 1e-12


DASH = "–"


def estimate(e: Mapping[str, Any]) -> str:
    """An Estimate with interval and n, e.g. `0.824 [0.760, 0.881], n = 45`; a dash and the reason where it is undefined."""
    found = Estimate.model_validate(e)
    if found.value is None:
        return f"{DASH} ({found.method})"
    span = interval(e)
    return f"{found.value:.3f}{' ' + span if span else ''}, n = {found.n}"


def value(e: Mapping[str, Any]) -> str:
    """An Estimate's value alone, for a sentence whose table holds the rest."""
    found = Estimate.model_validate(e)
    return DASH if found.value is None else f"{found.value:.3f}"


def interval(e: Mapping[str, Any]) -> str:
    """The interval of anything with `low` and `high`; empty where it has none."""
    return "" if e["low"] is None or e["high"] is None else f"[{e['low']:.3f}, {e['high']:.3f}]"


def change(c: Mapping[str, Any]) -> str:
    """A paired difference with interval, n and p, e.g. `+0.100 [+0.020, +0.180], n = 45, p = 0.012`; of anything with these fields."""
    if c["difference"] is None:
        return f"{DASH} ({c['method']})"
    span = "" if c["low"] is None or c["high"] is None else f" [{c['low']:+.3f}, {c['high']:+.3f}]"
    p = p_value(c)
    return f"{c['difference']:+.3f}{span}, n = {c['n']}{', ' + p if p else ''}"


def p_value(c: Mapping[str, Any]) -> str:
    """The p of a paired difference, corrected where it is; empty where it has none."""
    p, corrected = (c["p"], "") if c.get("p_holm") is None else (c["p_holm"], " (Holm)")
    if p is None:
        return ""
    return f"p < 0.001{corrected}" if p < 0.001 else f"p = {p:.3f}{corrected}"


def number(x: float | None) -> str:
    """A count with its thousands apart, or a real number with three decimals; a dash for None."""
    if x is None:
        return DASH
    if isinstance(x, jinja2.Undefined):
        return str(x)  # raises, naming what is missing
    return f"{x:,}" if isinstance(x, int) else f"{x:.3f}"


def short(x: float) -> str:
    """A real number with two decimals, for what is known no better."""
    return f"{x:.2f}"


def percent(share: float | None) -> str:
    """A share as a percentage with as many decimals as it needs, at most two."""
    return DASH if share is None else f"{100 * share:.2f}".rstrip("0").rstrip(".") + "%"


def bounds(e: Mapping[str, Any], max_n: int) -> str:
    """The interval of an equivalent N; a bound beyond the curve is said to be there, never cut to the curve's end."""
    tail = (1 - e["level"]) / 2 - TINY
    if e["low"] is None and e["high"] is None and not e["share_below"] and not e["share_above"]:
        return "no interval"
    below, above = "below N = 1", f"above N = {max_n}"
    low = f"{e['low']:.2f}" if e["low"] is not None else below if e["share_below"] >= tail else above
    high = f"{e['high']:.2f}" if e["high"] is not None else above if e["share_above"] >= tail else below
    return f"{e['level']:.0%} interval {low} to {high}"


def seed_spread(s: Mapping[str, Any]) -> str:
    """A number's spread between training seeds, e.g. `0.500 to 0.583, sd 0.059, 2 seeds`; a dash where no seed has a value."""
    if s["mean"] is None:
        return DASH
    sd = "" if s["sd"] is None else f", sd {s['sd']:.3f}"
    return f"{s['low']:.3f} to {s['high']:.3f}{sd}, {s['n']} seed{'' if s['n'] == 1 else 's'}"


def seed_name(seed: int) -> str:
    """A training seed as a column's head."""
    return f"seed {seed}"


def stance(c: Mapping[str, Any]) -> str:
    """What a Comparison shows: `higher`, `lower`, the same with `_uncertain` where chance explains it, `same`, or `undefined`.

    Judged at the evaluation's alpha, by p after Holm's correction where the comparison is one of a table.
    """
    found = Comparison.model_validate(c)
    if found.difference is None:
        return "undefined"
    if abs(found.difference) <= TINY:
        return "same"
    p = found.p if found.p_holm is None else found.p_holm
    direction = "higher" if found.difference > 0 else "lower"
    return direction if p is not None and p < ALPHA else f"{direction}_uncertain"


def within(c: Mapping[str, Any], margin: float) -> bool:
    """True where a Comparison's whole interval lies inside +-margin: only then is a difference shown to be none that matters."""
    found = Comparison.model_validate(c)
    return found.low is not None and found.high is not None and -margin < found.low and found.high < margin


def above_chance(auc: Mapping[str, Any]) -> bool:
    """True where the whole interval of an AUC lies above one half."""
    return auc["low"] is not None and auc["low"] > 0.5


def saves(e: Mapping[str, Any]) -> bool:
    """True where the whole interval of an equivalent N lies above a single rollout."""
    return e["low"] is not None and e["low"] > 1


def setting(x: Any) -> str:
    """A configured value as it stands in YAML or JSON."""
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


def words(name: str) -> str:
    """A name with underscores as words."""
    return name.replace("_", " ")


def pluck(name: str, table: Mapping[str, Any], *keys: str | int) -> Any:
    """`table[name][key]...`: for the cells of a table's row, one for each name."""
    found = table[name]
    for key in keys:
        found = found[key]
    return found


def called(section: settings.Model | settings.Verifier | settings.Benchmark) -> str:
    """What a model or data set is called: its id, or the name of the local folder it is from; a path says nothing to others."""
    where = getattr(section, "path", None) or section.id
    return Path(where).name if section.source == "folder" else section.id


def held_in(model: settings.Model) -> str:
    """How the base model's weights are held, as words after its name; empty where they are as they came."""
    return {"nf4": ", which is held in 4-bit NormalFloat (NF4)", "none": ""}[model.quantization]


UNITS = {"percent": "%", "million": "M"}


def published(row: Mapping[str, Any]) -> str:
    """What the card prints for a claim, with its unit; a dash where it prints nothing."""
    return DASH if row["published"] is None else f"{row['published']}{UNITS.get(row['unit'], '')}"


def regenerated(row: Mapping[str, Any]) -> str:
    """What the run has for a claim, in the card's unit and with its decimals, and the interval; a dash where it has nothing."""
    if row["regenerated_printed"] is None:
        return DASH
    span = "" if row["interval"] is None else f" [{row['interval'][0]:.3f}, {row['interval'][1]:.3f}]"
    return f"{row['regenerated_printed']}{UNITS.get(row['unit'], '')}{span}"


def remark(row: Mapping[str, Any]) -> str:
    """What a claim of words comes to in the run, without the sentence on scales that every such row would repeat."""
    return str(row["reason"]).rpartition(" Here: ")[2]


def place(row: Mapping[str, Any]) -> str:
    """File and JSON pointer a claim's row is from, or the ids of the claims it is computed from; a dash where nothing regenerates it."""
    chain = row["chain"]
    if chain["file"]:
        return code(f"{chain['file']}#{chain['pointer']}")
    return ", ".join(map(code, chain.get("over", []))) or DASH
