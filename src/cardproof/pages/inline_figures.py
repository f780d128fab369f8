"""The report's figures: a run's SVG files made part of a page, light and dark, and the numbers under each as a table."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from cardproof import outside
from cardproof.errors import CardproofError
from cardproof.evaluation.printed import DASH, measured, number
from cardproof.pages.drawing import COLOURS, GRID, INK, LETTERS, MUTED, said_of_equivalence
from cardproof.pages.figures import narrow
from cardproof.runs import Run, figure, figures_of

PAPER = "#ffffff"
VARIABLES = {
    **{PAPER: "var(--paper)", INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--grid)"},
    **{colour.lower(): f"var(--mark-{i})" for i, colour in enumerate(COLOURS[:3])},
    **{LETTERS[colour].lower(): f"var(--letters-{i})" for i, colour in enumerate(COLOURS) if LETTERS[colour] != colour},
}
"""What changes between light and dark; the other colours can be seen on both. Blue is the same for marks and words."""


class Table(NamedTuple):
    """A figure's numbers."""

    head: list[str]
    rows: list[list[str]]


def figures(run: Run) -> list[dict[str, Any]]:
    """Every figure of a run: name, title, SVG as part of a page, the same for a narrow screen, and its numbers."""
    entries = []
    for i, name in enumerate(figures_of(run.config)):
        data = run.json(figure(name, "json"))
        entry = {"name": name, "title": data["title"], "source": data["source"], "table": TABLES[name](data)}
        entry["svg"] = inline(outside.read_text(run.path(figure(name, "svg"))), name, f"f{i}")
        entry["narrow"] = inline(narrow(data), name, f"n{i}")
        entries.append(entry)
    return entries


def inline(svg: str, name: str, prefix: str) -> str:
    """An SVG file as an element of a page: no prolog, no metadata, ids of its own, colours by the page's variables, its size the page's.

    Its ids begin with `prefix`, which is short, as every letter names one. Raises CardproofError if it is not a drawing, or has anything
    in it but shapes, text and their styles: the run may be anyone's.
    """
    start = svg.find("<svg")
    body = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg[max(start, 0) :], flags=re.DOTALL)
    if start < 0 or not _plain(body):
        raise CardproofError(f"{figure(name, 'svg')} is not a plain drawing.", "draw the figures again: `cardproof figures`.")
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", body).replace("DejaVuSans-", "").replace("xlink:href=", "href=")
    body = re.sub(r"(?<![\d.])([1-9]\d*\.\d\d)\d+", r"\1", body)  # a place, never a scale below one
    body = re.sub(r'(<svg\b[^>]*?) width="[^"]*" height="[^"]*"', r"\1", body, count=1)
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, variable)
    body = re.sub(r"\n\s*", "\n", body)
    return re.sub(r"<svg\b", f'<svg role="img" aria-labelledby="figure-{name}"', body, count=1)


ELEMENTS = {
    *("circle", "clipPath", "defs", "desc", "ellipse", "g", "line", "linearGradient", "path", "polygon", "polyline", "rect", "stop"),
    *("style", "svg", "symbol", "text", "title", "tspan", "use"),
}
"""What a drawing may be made of: nothing that runs, or brings anything from elsewhere."""


def _plain(svg: str) -> bool:
    """Whether a text is one SVG element of shapes alone, well-formed, so that a page reads in it what was checked here."""
    if "<!" in svg or "<?" in svg or len(svg) > outside.MOST_TEXT:
        return False
    try:
        elements = list(ElementTree.fromstring(svg).iter())
    except ElementTree.ParseError:
        return False
    return all(_plain_element(e) for e in elements)


def _plain_element(element: ElementTree.Element) -> bool:
    space, _, kind = str(element.tag).rpartition("}")
    if kind not in ELEMENTS or space not in ("", "{http://www.w3.org/2000/svg"):
        return False
    styles = [element.text or ""] if kind == "style" else []
    for name, value in element.attrib.items():
        name = name.rpartition("}")[2].lower()
        if name.startswith("on") or (name in ("href", "src") and not value.startswith("#")):
            return False
        styles.append(value)
    return not any(re.search(r"@import|url\((?!\s*['\"]?#)|javascript:|\\|<", style, re.IGNORECASE) for style in styles)


def _estimate(e: Mapping[str, Any]) -> str:
    return measured(e["value"], e["low"], e["high"])


def _groups(data: Mapping[str, Any]) -> Table:
    rows = [[group["name"], row["label"], _estimate(row), str(row["n"])] for group in data["groups"] for row in group["rows"]]
    return Table(["", "arm or condition", "value [interval]", "n"], rows)


def _losses(data: Mapping[str, Any]) -> Table:
    variants = data["variants"]
    steps = max(map(len, variants.values()), default=0)
    rows = [[str(i + 1), *(number(v[i]) if i < len(v) else "" for v in variants.values())] for i in range(steps)]
    return Table(["step", *variants], rows)


def _curves(data: Mapping[str, Any]) -> Table:
    rows = [[str(n), *(_estimate(a[i]) for a in data["arms"].values())] for i, n in enumerate(data["n"])]
    met = {arm: said_of_equivalence(entry, data["n"][-1]) for arm, entry in data["equivalence"].items()}
    equal = f"rollouts of {data['reference']} that equal a single one"
    return Table(["N", *data["arms"]], [*rows, [equal, *(met.get(arm, DASH) for arm in data["arms"])]])


def _quotes(data: Mapping[str, Any]) -> Table:
    rows = []
    for panel, bars in data["panels"].items():
        for bar in bars:
            kinds = [f"{kind['count']} ({kind['share']:.1%})" if bar["quotes"] else "0" for kind in bar["kinds"].values()]
            repairs = ", ".join(f"{step} {count}" for step, count in bar["steps"].items() if count) or DASH
            rows.append([panel, bar["condition"], bar["arm"], str(bar["quotes"]), *kinds, repairs])
    kinds = next(iter(next(iter(data["panels"].values()))))["kinds"] if rows else {}
    return Table(["candidates", "condition", "arm", "quotes", *(k.replace("_", " ") for k in kinds), "near misses repaired by"], rows)


def _published(data: Mapping[str, Any]) -> Table:
    more = ["verdict"] * data["comparable"]
    rows = [
        [row["label"], row["printed"] or DASH, _estimate(row), DASH if row["n"] is None else str(row["n"]), *(row[name] for name in more)]
        for row in data["rows"]
    ]
    return Table(["claim", "printed", "this run [interval]", "n", *more], rows)


TABLES: dict[str, Callable[[Mapping[str, Any]], Table]] = {
    "training_loss": _losses,
    "axes": _groups,
    "stress": _groups,
    "near_miss": _quotes,
    "compute_curve": _curves,
    "published": _published,
}
