"""The report's figures: a run's SVG files made part of a page, light and dark, and the numbers under each as a table."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from cardproof import outside
from cardproof.errors import CardproofError
from cardproof.evaluation.printed import DASH, measured, number
from cardproof.pages.drawing import COLOURS, GRID, INK, LETTERS, MUTED, said_of_equivalence
from cardproof.pages.figures import narrow
from cardproof.runs import Run, evaluation, figure, figures_of

PAPER = "#ffffff"
VARIABLES = {
    **{PAPER: "var(--paper)", INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--grid)"},
    **{colour.lower(): f"var(--mark-{i})" for i, colour in enumerate(COLOURS[:3])},
    **{LETTERS[colour].lower(): f"var(--letters-{i})" for i, colour in enumerate(COLOURS) if LETTERS[colour] != colour},
}
"""What changes between light and dark; the other colours can be seen on both. Blue is the same for marks and words."""


class Cell(NamedTuple):
    """A number with the result that it is from."""

    text: str
    file: str
    pointer: str


class Table(NamedTuple):
    """A figure's numbers."""

    head: list[str]
    rows: list[list[str | Cell]]


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
    # The same in fewer letters: groups whose names nobody uses, and places of letters.
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = re.sub(r'(<use href="[^"]*") transform="translate\(([\d.]+) 0\)"', r'\1 x="\2"', body)
    return re.sub(r"<svg\b", f'<svg role="img" aria-labelledby="figure-{name}"', body, count=1)


_LETTER = re.compile(r'<path id="([fn]\d+-\w+)" (d="[^"]*" transform="scale\(0\.015625\)"/>)\n?')


def letters(entries: Iterable[dict[str, Any]]) -> str:
    """Take the outlines of letters out of all drawings, and return each once: every drawing has the same few."""
    shared: dict[str, str] = {}
    for entry in entries:
        for form in ("svg", "narrow"):
            names = {name: shared.setdefault(shape, f"l{len(shared)}") for name, shape in _LETTER.findall(entry[form])}
            body = re.sub(r"<defs>\s*</defs>\n?", "", _LETTER.sub("", entry[form]))
            for name, letter in names.items():
                body = body.replace(f'href="#{name}"', f'href="#{letter}"')
            entry[form] = body
    return "".join(f'<path id="{name}" {shape}\n' for shape, name in shared.items())


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


def _from(text: str, result: str | None, below: str = "") -> str | Cell:
    """A cell that leads to `FILE#POINTER`, and from there `below`; the text alone where there is no result."""
    file, _, pointer = (result or "").partition("#")
    return Cell(text, file, pointer + below) if file else text


def _groups(data: Mapping[str, Any]) -> Table:
    rows: list[list[str | Cell]] = [
        [group["name"], row["label"], _from(_estimate(row), row.get("result")), _from(str(row["n"]), row.get("result"))]
        for group in data["groups"]
        for row in group["rows"]
    ]
    return Table(["", "arm or condition", "value [interval]", "n"], rows)


def _losses(data: Mapping[str, Any]) -> Table:
    variants = data["variants"]
    steps = max(map(len, variants.values()), default=0)
    rows: list[list[str | Cell]] = [[str(i + 1), *(number(v[i]) if i < len(v) else "" for v in variants.values())] for i in range(steps)]
    return Table(["step", *variants], rows)


def _curves(data: Mapping[str, Any]) -> Table:
    place = f"{evaluation('compute')}#/arms"
    rows: list[list[str | Cell]] = [
        [str(n), *(_from(_estimate(points[i]), f"{place}/{arm}/{data['metric']}/{i}") for arm, points in data["arms"].items())]
        for i, n in enumerate(data["n"])
    ]
    met = {arm: said_of_equivalence(entry, data["n"][-1]) for arm, entry in data["equivalence"].items()}
    equal = f"rollouts of {data['reference']} that equal a single one"
    of_curve = f"{evaluation('compute')}#/equivalence"
    return Table(
        ["N", *data["arms"]], [*rows, [equal, *(_from(met[arm], f"{of_curve}/{arm}") if arm in met else DASH for arm in data["arms"])]]
    )


def _quotes(data: Mapping[str, Any]) -> Table:
    rows: list[list[str | Cell]] = []
    for panel, bars in data["panels"].items():
        for bar in bars:
            result = bar.get("result")
            kinds = [
                _from(f"{kind['count']} ({kind['share']:.1%})" if bar["quotes"] else "0", result, f"/kinds/{name}")
                for name, kind in bar["kinds"].items()
            ]
            repairs = ", ".join(f"{step} {count}" for step, count in bar["steps"].items() if count) or DASH
            quotes = _from(str(bar["quotes"]), result, "/quotes")
            rows.append([panel, bar["condition"], bar["arm"], quotes, *kinds, _from(repairs, result, "/ladder/near_misses")])
    kinds_of = next(iter(next(iter(data["panels"].values()))))["kinds"] if rows else {}
    return Table(["candidates", "condition", "arm", "quotes", *(k.replace("_", " ") for k in kinds_of), "near misses repaired by"], rows)


def _published(data: Mapping[str, Any]) -> Table:
    more = ["verdict"] * data["comparable"]
    rows: list[list[str | Cell]] = [
        [
            row["label"],
            _from(row["printed"] or DASH, row.get("result")),
            _from(_estimate(row), row.get("result")),
            DASH if row["n"] is None else _from(str(row["n"]), row.get("result")),
            *(row[name] for name in more),
        ]
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
