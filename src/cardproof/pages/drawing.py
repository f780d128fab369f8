"""How a figure's data is drawn: colours, marks, panels. `figures` decides what is plotted.

Each figure has two sheets: a wide one for paper and screens, and a narrow one for a telephone, where names are above or left of what they
name. Places are in inches, letters in points, so that words keep their distance whatever the data.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from cardproof.config import settings
from cardproof.evaluation.printed import DASH, number

Data = dict[str, Any]


WIDTH, NARROW = 7.0, 3.5
"""Inches. The wide sheet is 504 SVG points, so the smallest print (8 points) is 11 pixels high on a page that is 700 wide; the narrow
one is 252 points, and as large on a screen of 350 pixels."""


DPI = 300


SMALL, NORMAL, LARGE = 8.0, 9.0, 11.0


INK, MUTED, GRID = "#000000", "#595959", "#d9d9d9"


COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


LETTERS = dict(zip(COLOURS, ("#0072B2", "#B04E00", "#007A59", "#A0467A", "#8A5F00", "#1A6E9C"), strict=True))
"""Colour of a mark -> the same hue for words beside it, at least 4.5 to 1 against white."""


ON_BAR = "#111111"
"""Words on the bars, which are light on a dark page as well."""


MARKERS = ("s", "^", "v", "P", "X", "p")
"""No diamond: that is the printed number's."""


KINDS = {"strict": "#56B4E9", "near_miss": "#E69F00", "misattributed": "#CC79A7", "fabricated": "#595959"}


STYLE: Any = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so every machine draws the same outlines
    "font.size": NORMAL,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "svg.fonttype": "path",  # the file reads the same without the font
    "svg.hashsalt": "cardproof",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.titlesize": NORMAL,
    "axes.titlelocation": "left",
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
}


LINE = 0.155
"""Inches from one line of small print to the next."""
LETTER = 0.068
"""Inches that a letter of small print takes at most, on average."""


class Sheet(NamedTuple):
    """What a figure is drawn on."""

    width: float
    """Inches."""
    title: list[str]
    """Lines above the drawing."""
    footer: list[str]
    """Lines below it."""

    @property
    def narrow(self) -> bool:
        """Whether it is for a telephone."""
        return self.width < WIDTH

    @property
    def top(self) -> float:
        """Inches that the title takes."""
        return 0.16 + 0.19 * len(self.title)

    @property
    def bottom(self) -> float:
        """Inches that the footer takes."""
        return 0.1 + LINE * len(self.footer)

    def open(self, fig: Any, height: float) -> None:
        """Make the figure high enough for a drawing of `height` inches between title and footer, and write these."""
        total = self.top + height + self.bottom
        fig.set_size_inches(self.width, total)
        left = 0.02 * WIDTH / self.width
        for i, line in enumerate(self.title):
            fig.text(left, 1 - (0.12 + 0.19 * i) / total, line, fontsize=LARGE, weight="bold", va="top")
        for i, line in enumerate(reversed(self.footer)):
            fig.text(0.98, (0.07 + LINE * i) / total, line, fontsize=SMALL, color=MUTED, ha="right", va="bottom")

    def axes(self, fig: Any, left: float, right: float, upper: float, lower: float) -> Any:
        """Axes by the inches of their edges: from the left, from the left, and from the title down."""
        total = fig.get_size_inches()[1]
        return fig.add_axes((left / self.width, 1 - (self.top + lower) / total, (right - left) / self.width, (lower - upper) / total))


def sheet(data: Data, narrow: bool = False) -> Sheet:
    """A sheet with the title, and below it the run and whether that reproduces the card: no picture of a demo travels without saying so."""
    width = NARROW if narrow else WIDTH
    title = textwrap.wrap(data["title"], 36) if narrow else [data["title"]]
    return Sheet(width, title, textwrap.wrap(f"run {data['run']}{standing(data)}", round(0.94 * width / LETTER)))


def standing(data: Data) -> str:
    """What a run is, in words that follow its name; nothing for a run without a published card."""
    if data.get("synthetic"):
        return ", synthetic: made-up results, no model ran"
    return {True: ", beside the published card", False: ", not a reproduction of the published card"}.get(data.get("reproduction", ...), "")


def palette(names: Sequence[str], arms: Sequence[str] = ()) -> dict[str, tuple[str, str]]:
    """Name -> (colour, marker): the reference arm black and round, the others by the alphabet, so that an arm always looks the same.

    With `arms`, other names come after these.
    """
    others = sorted({*names, *arms} - {settings.REFERENCE}, key=lambda name: (bool(arms) and name not in arms, name))
    looks = {name: (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(others)}
    return {name: looks.get(name, (INK, "o")) for name in names}


def _letters(colour: str) -> str:
    return LETTERS.get(colour, colour)


def draw_training_loss(fig: Any, data: Data, on: Sheet) -> None:
    """Losses by step; each line has its name and last loss at its end."""
    looks = palette(list(data["variants"]), data["arms"])
    ends = {name: losses[-1] for name, losses in data["variants"].items() if losses}
    labels = {name: f"{_short(name)} {number(value)}" for name, value in ends.items()}
    ax = _lines_with_labels(fig, on, labels.values(), 3.0)
    for name, losses in data["variants"].items():
        colour, marker = looks[name]
        ax.plot(range(1, len(losses) + 1), losses, color=colour, marker=marker, markersize=4, linewidth=1.6)
    ax.set_xlabel("optimizer step")
    ax.set_ylabel("loss (nats per token)")
    ax.xaxis.get_major_locator().set_params(integer=True)
    if not ends:
        ax.text(0.5, 0.5, "no adapter was trained in this run", transform=ax.transAxes, ha="center", color=MUTED, fontsize=SMALL)
        return
    low, high = ax.get_ylim()
    ax.set_ylim(min(low, 0.0), high)
    longest = max(map(len, data["variants"].values()))
    placed = _label_ends(ax, longest, ends, labels, {name: looks[name][0] for name in ends})
    for name, y in placed.items():
        last = len(data["variants"][name])
        if last < longest:
            # A line that ends early is led to its label.
            ax.plot([last, longest], [ends[name], y], color=looks[name][0], linestyle=(0, (1, 3)), linewidth=1.1)


def _lines_with_labels(fig: Any, on: Sheet, labels: Iterable[str], height: float, below: float = 0.0) -> Any:
    """Axes for lines, with room for their labels at the right, and `below` inches under them."""
    texts = list(labels)
    height = max(height, (len(texts) + 1) * PITCH / 72)
    on.open(fig, height + 0.55 + below)
    room = LETTER * NORMAL / SMALL * max(map(len, texts), default=0) + 0.2
    ax = on.axes(fig, 0.62, on.width - max(room, 0.3), 0.1, 0.1 + height)
    ax.grid(axis="y")
    ax.set_axisbelow(True)
    return ax


def draw_forest(fig: Any, data: Data, on: Sheet) -> None:
    """Rows of dots with intervals, grouped; each row has its words and numbers beside it, so no legend is needed."""
    groups = data["groups"]
    head = 1.0 if on.narrow else 0.0
    gap, rows = (0.4 if on.narrow else 0.7), sum(len(group["rows"]) + head for group in groups)
    height = 0.19 * (rows + gap * len(groups))
    on.open(fig, height + 0.55)
    left, right = (1.28, 2.42) if on.narrow else (1.45, 4.85)
    ax = on.axes(fig, left, right, 0.05, 0.05 + height)
    looks = palette([row["arm"] for group in groups for row in group["rows"]])
    y = 0.0
    for i, group in enumerate(groups):
        if on.narrow:
            _words(ax, 0.1 - left, y, _short(group["name"], 40), size=NORMAL)
        else:
            _words(ax, -0.15, y + (len(group["rows"]) - 1) / 2, _short(group["name"], 17), "right", size=NORMAL)
        y += head
        for row in group["rows"]:
            colour, _ = looks[row["arm"]]
            ink = _letters(colour)
            _dot(ax, y, row, looks[row["arm"]], fill="white" if row.get("hollow") else colour)
            name = row["label"]
            named, valued, counted = (0.18 - left, 1.6, 2.1) if on.narrow else (3.55, 5.0, 5.45)
            _words(ax, named, y, _short(name, 17 if on.narrow else 18), "left", ink)
            _words(ax, valued, y, number(row["value"]), "right", ink)
            _words(ax, counted, y, f"n {row['n']}", "right", ink)
            y += 1
        if i + 1 < len(groups):
            ax.axhline(y - 0.5 + gap / 2, color=GRID, linewidth=0.7)
        y += gap
    ax.set_ylim(y - gap - 0.2, -0.8)
    _share_axis(ax, on)
    level = groups[0]["rows"][0]["level"]
    ax.set_xlabel(f"{level:.0%} interval" if on.narrow else f"share or score; bars: {level:.0%} intervals over items", fontsize=SMALL)


PANEL_TITLES = {"picked": "candidates that best-of-N picks", "candidates": "all candidates"}


def draw_near_miss(fig: Any, data: Data, on: Sheet) -> None:
    """Kinds of quotes by arm and condition, and the ladder steps that repair the near misses."""
    panels = data["panels"]
    rows = panels["picked"]
    conditions = list(dict.fromkeys(row["condition"] for row in rows))
    steps, arms = list(panels["candidates"][0]["steps"]), list(dict.fromkeys(row["arm"] for row in rows))
    upper = 0.2 * (len(rows) + 0.6 * (len(conditions) - 1)) + 0.1
    lower = 0.145 * (len(arms) + 0.9) * len(steps) + 0.1
    key = 0.5 if on.narrow else 0.3
    between = 0.85
    uppers = [(key + 0.2 + i * (upper + between) * on.narrow) for i in range(len(panels))]
    start = uppers[-1] + upper + between
    lowers = [start + i * (lower + between) * on.narrow for i in range(len(conditions))]
    on.open(fig, lowers[-1] + lower + 0.5)
    _kind_key(fig, on)
    left = 1.28
    width = on.width - left - 0.45 if on.narrow else 2.25
    for i, (name, parts) in enumerate(panels.items()):
        x = left if on.narrow else left + i * (width + 0.75)
        _draw_kinds(on.axes(fig, x, x + width, uppers[i], uppers[i] + upper), parts, PANEL_TITLES[name], on.narrow or i == 0)
    # One scale for all panels, as the eye compares them; its longest bar leaves room for a label.
    texts = [f"{_count(part['steps'][step])} {_short(part['arm'], 14)}" for part in panels["candidates"] for step in steps]
    room = LETTER * max(map(len, texts)) + 0.08
    most = max((part["steps"][step] for part in panels["candidates"] for step in steps), default=0)
    width = on.width - left - 0.1 if on.narrow else (on.width - left - 0.1) / len(conditions) - 0.25
    for i, condition in enumerate(conditions):
        x = left if on.narrow else left + i * (width + 0.25)
        ax = on.axes(fig, x, x + width, lowers[i], lowers[i] + lower)
        parts = [row for row in panels["candidates"] if row["condition"] == condition]
        _draw_ladder(ax, parts, condition, most, on.narrow or i == 0)
        ax.set_xlim(0, max(most, 1) * width / max(width - room, 0.3))
        ax.xaxis.set_major_locator(_whole_numbers(width))


def _kind_key(fig: Any, on: Sheet) -> None:
    """What the colours of the bars are, in one line, or in two on a narrow sheet."""
    total = fig.get_size_inches()[1]
    x, y = 0.16, on.top + 0.1
    for i, (kind, colour) in enumerate(KINDS.items()):
        text = kind.replace("_", "-")
        if on.narrow and i == 2:
            x, y = 0.16, y + 0.2
        fig.text(x / on.width, 1 - y / total, "■", color=colour, fontsize=LARGE, va="center")
        fig.text((x + 0.17) / on.width, 1 - y / total, text, fontsize=SMALL, va="center")
        x += 1.4 if on.narrow else 0.35 + 0.09 * len(text)


def _draw_kinds(ax: Any, parts: Sequence[Data], title: str, named: bool) -> None:
    y, ticks, before = 0.0, [], None
    for part in parts:
        y += 0.6 if before not in (None, part["condition"]) else 0
        before = part["condition"]
        left = 0.0
        for kind, colour in KINDS.items():
            share = part["kinds"][kind]["share"] or 0.0
            ax.barh(y, share, left=left, height=0.78, color=colour, edgecolor="white", linewidth=0.6)
            if share >= 0.17:
                ink = "white" if kind == "fabricated" else ON_BAR
                ax.text(left + share / 2, y, f"{share:.2f}", ha="center", va="center", fontsize=SMALL, color=ink)
            left += share
        if not part["quotes"]:
            ax.text(0.02, y, "no quotes", va="center", fontsize=SMALL, color=MUTED)
        _words(ax, 0.05, y, f"n {_count(part['quotes'])}", color=MUTED, edge=1)
        ticks.append((y, f"{_short(part['arm'], 10)}, {part['condition']}"))
        y += 1
    ax.set_ylim(y - 0.5, -0.55)
    ax.set_xlim(0, 1)
    ax.set_xticks([0, 0.5, 1])
    ax.set_yticks([t for t, _ in ticks], [label if named else "" for _, label in ticks], fontsize=SMALL)
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", labelsize=SMALL)
    ax.spines["left"].set_visible(False)
    ax.set_title(title, pad=4, fontsize=SMALL)
    ax.set_xlabel("share of quotes", fontsize=SMALL)


def _draw_ladder(ax: Any, parts: Sequence[Data], condition: str, most: float, named: bool) -> None:
    steps = list(parts[0]["steps"])
    looks = palette([part["arm"] for part in parts])
    pitch = len(parts) + 0.9
    for i, step in enumerate(steps):
        for j, part in enumerate(parts):
            count = part["steps"][step]
            y = i * pitch + j
            ax.barh(y, count, height=0.8, color=looks[part["arm"]][0])
            if count:
                colour, x = _letters(looks[part["arm"]][0]), count + 0.02 * max(most, 1)
                ax.text(x, y, f"{_count(count)} {_short(part['arm'], 14)}", va="center", fontsize=SMALL, color=colour)
    if not any(part["steps"][step] for part in parts for step in steps):
        ax.text(0.02, 0.5, "no near misses", transform=ax.transAxes, va="center", fontsize=SMALL, color=MUTED)
    ax.set_ylim(len(steps) * pitch - 0.6, -0.9)
    ax.set_yticks([i * pitch + (len(parts) - 1) / 2 for i in range(len(steps))], steps if named else [""] * len(steps), fontsize=SMALL)
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", labelsize=SMALL)
    ax.set_title(f"{condition}: what repairs near misses", pad=4, fontsize=SMALL)
    ax.set_xlabel("near misses, all candidates", fontsize=SMALL)


def _whole_numbers(width: float) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=max(2, int(2 * width)), integer=True)


def draw_compute_curve(fig: Any, data: Data, on: Sheet) -> None:
    """The metric at every N with its interval; below it, on the same scale, the N of the reference that equals each arm's single draw."""
    looks, ns = palette(list(data["arms"])), data["n"]
    ends = {arm: points[-1]["value"] for arm, points in data["arms"].items() if points and points[-1]["value"] is not None}
    labels = {arm: f"{_short(arm)} {number(value)}" for arm, value in ends.items()}
    strip = 0.36 * len(data["equivalence"])
    ax = _lines_with_labels(fig, on, labels.values(), 2.6, below=strip + 0.35)
    for arm, points in data["arms"].items():
        colour, marker = looks[arm]
        known = [(n, p) for n, p in zip(ns, points, strict=True) if p["value"] is not None]
        band = [(n, p["low"], p["high"]) for n, p in known if p["low"] is not None]
        ax.fill_between([b[0] for b in band], [b[1] for b in band], [b[2] for b in band], color=colour, alpha=0.13, linewidth=0)
        ax.plot([n for n, _ in known], [p["value"] for _, p in known], color=colour, marker=marker, markersize=4.5, linewidth=1.6)
    for arm, entry in data["equivalence"].items():
        if entry["n_equivalent"] is not None:
            n = entry["n_equivalent"]
            ax.plot([1, n], [entry["target"]] * 2, color=looks[arm][0], linestyle=(0, (4, 2)), linewidth=1.1)
            ring = {"markersize": 8, "markerfacecolor": "none", "markeredgecolor": looks[arm][0], "markeredgewidth": 1.5}
            ax.plot(n, entry["target"], marker="o", zorder=4, **ring)
    _log_axis(ax, ns[-1])
    count = next((p["n"] for points in data["arms"].values() for p in points), 0)
    ax.set_ylabel(f"composite, n = {count} items")
    ax.set_xticklabels([])
    if ends:
        _label_ends(ax, ns[-1], ends, labels, {arm: looks[arm][0] for arm in ends})
    left, bottom, width, _ = ax.get_position().bounds
    height = fig.get_size_inches()[1]
    lower = fig.add_axes((left, bottom - (strip + 0.32) / height, width, strip / height))
    _draw_equivalence(lower, data, looks)
    _log_axis(lower, ns[-1])
    lower.set_xlabel("N, candidates per item (log scale)", fontsize=SMALL if on.narrow else NORMAL)
    lower.set_title(f"{data['reference']} rollouts that equal a single one of:", pad=3, fontsize=SMALL)


def _log_axis(ax: Any, most: int) -> None:
    ax.set_xscale("log", base=2)
    ticks = [2**i for i in range(int(math.log2(most)) + 1)]
    ax.set_xticks(ticks, [str(n) for n in ticks])
    ax.minorticks_off()
    ax.set_xlim(0.93, max(most, 1) * 1.06)


def _draw_equivalence(ax: Any, data: Data, looks: Mapping[str, tuple[str, str]]) -> None:
    """A row for each arm: its N with the interval, open where that goes beyond the curve, and both in words below."""
    most = data["n"][-1]
    for y, (arm, entry) in enumerate(data["equivalence"].items()):
        colour, marker = looks[arm]
        n, low, high = entry["n_equivalent"], entry["low"], entry["high"]
        if n is not None or low is not None or high is not None:
            ends = [0.95 if low is None else low, most * 1.04 if high is None else high]
            ax.plot(ends, [y - 0.22] * 2, color=colour, linewidth=1.8, solid_capstyle="butt")
            for bound, end, arrow in ((low, ends[0], "<"), (high, ends[1], ">")):
                if bound is None:
                    ax.plot(end, y - 0.22, marker=arrow, markersize=4.5, color=colour, clip_on=False)
        if n is not None:
            ax.plot(n, y - 0.22, marker=marker, markersize=5.5, color=colour, zorder=3)
        _words(ax, 0.0, y + 0.2, f"{_short(arm)}: {said_of_equivalence(entry, most)}", color=_letters(colour))
    ax.set_ylim(len(data["equivalence"]) - 0.5, -0.5)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)


def said_of_equivalence(entry: Data, most: int) -> str:
    """An arm's N with its interval in words, e.g. `N = 1.83 [1.20, > 8]`."""
    n = entry["n_equivalent"]
    return (f"N = {n:.2f}" if n is not None else str(entry["reason"]).replace("=", " = ")) + _open_interval(entry, most)


def _open_interval(entry: Data, most: int) -> str:
    """An interval of N, with a bound beyond the curve left open; empty if there is none."""
    if entry["low"] is None and entry["high"] is None:
        return ""
    low = "< 1" if entry["low"] is None else f"{entry['low']:.2f}"
    high = f"> {most}" if entry["high"] is None else f"{entry['high']:.2f}"
    return f" [{low}, {high}]"


def draw_published(fig: Any, data: Data, on: Sheet) -> None:
    """A row per claim: a hollow diamond at the card's number, a dot with its interval at the run's, and both numbers at the right."""
    rows = data["rows"]
    labels = [textwrap.wrap(row["label"], 50 if on.narrow else 40) for row in rows]
    # On a narrow sheet the words are above their row.
    pitch = 0.2 + LINE * max(map(len, labels), default=1) if on.narrow else 0.29
    height = pitch * len(rows)
    on.open(fig, height + 0.75)
    compares = data["comparable"]
    left, right = (0.1, 1.25 if compares else 1.9) if on.narrow else (2.75, 4.35 if compares else 5.1)
    ax = on.axes(fig, left, right, 0.25, 0.25 + height)
    start = right - left
    columns = {"printed": 0.55, "this run": 1.02, "n": 1.3} if on.narrow else {"printed": 0.6, "this run": 1.15, "n": 1.5}
    sides = {"printed": "right", "this run": "right", "n": "right", "verdict": "left"}
    places = {name: start + x for name, x in columns.items()} | ({"verdict": start + columns["n"] + 0.1} if compares else {})
    looks = palette([row["arm"] or "" for row in rows])
    for name, x in places.items():
        _words(ax, x, -0.5 - 0.1 / pitch, name, sides[name], MUTED)
    for y, (row, label) in enumerate(zip(rows, labels, strict=True)):
        colour, _ = looks[row["arm"] or ""]
        text = "\n".join(label)
        if on.narrow:
            _words(ax, 0.0, y - 0.1 / pitch, text)
        else:
            _words(ax, -0.15, y, text, "right")
        at = y + (pitch / 2 - 0.11) / pitch if on.narrow else y
        _dot(ax, at, row, looks[row["arm"] or ""], fill=colour)
        if row["printed"] is not None:
            hollow = {"markersize": 7, "markerfacecolor": "none", "markeredgecolor": INK, "markeredgewidth": 1.3}
            ax.plot(float(row["printed"]), at, marker="D", clip_on=False, zorder=4, **hollow)
        verdict = "\n".join(textwrap.wrap(row["verdict"] or DASH, 13)) if on.narrow else row["verdict"] or DASH
        cells = {"printed": row["printed"] or DASH, "this run": number(row["value"]), "n": _count(row["n"]), "verdict": verdict}
        for name, x in places.items():
            _words(ax, x, at, cells[name], sides[name], _letters(colour) if name == "this run" else INK)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    _share_axis(ax, on)
    level = next((row["level"] for row in rows if row["level"] is not None), None)
    spans = f", {level:.0%} intervals over items" if level else ""
    ax.set_xlabel("◇ printed, dots: this run" if on.narrow else f"hollow diamonds: printed; dots: this run{spans}", fontsize=SMALL)
    if on.narrow:
        ax.xaxis.label.set(ha="left", x=0.0)


def _dot(ax: Any, y: float, row: Mapping[str, Any], look: tuple[str, str], fill: str) -> None:
    """An estimate in its row: a mark, filled or hollow, and its interval; nothing if it is undefined."""
    colour, marker = look
    if row["value"] is None:
        return
    if row["low"] is not None:
        ax.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=1.8, solid_capstyle="butt")
    ax.plot(row["value"], y, marker=marker, markersize=5.5, markerfacecolor=fill, markeredgecolor=colour, clip_on=False, zorder=3)


def _words(ax: Any, x: float, y: float, text: str, align: str = "left", color: str = INK, size: float = SMALL, edge: float = 0) -> None:
    """Words in a row of the data, `x` inches right of the axes' left edge (of their right one with `edge` 1)."""
    inches = ax.get_position().width * ax.figure.get_size_inches()[0]
    place = {"transform": ax.get_yaxis_transform(), "ha": align, "va": "center", "linespacing": 0.98}
    ax.text(edge + x / inches, y, text, fontsize=size, color=color, **place)


def _short(name: str, most: int = 18) -> str:
    """A name that fits its column."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _count(count: float | None) -> str:
    """A number of things; an expected number with one decimal."""
    return DASH if count is None else f"{count:.1f}".removesuffix(".0")


def _share_axis(ax: Any, on: Sheet) -> None:
    """Shares from 0 to 1 along x; each row says in words what it is."""
    ax.set_xlim(0, 1)
    ax.set_xticks([0, 0.5, 1] if on.narrow else [0, 0.2, 0.4, 0.6, 0.8, 1])
    ax.tick_params(axis="x", labelsize=SMALL)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.grid(axis="x")
    ax.set_axisbelow(True)


PITCH = NORMAL + 3
"""Points from one label of a line to the next."""


def _label_ends(ax: Any, x: float, ends: Mapping[str, float], labels: Mapping[str, str], colours: Mapping[str, str]) -> dict[str, float]:
    """Labels right of the ends of lines, pushed apart if they would overlap; returns the height of each."""
    low, high = ax.get_ylim()
    inches = ax.figure.get_size_inches()[1] * ax.get_position().height
    pitch = (high - low) * PITCH / 72 / inches
    placed = dict(zip(ends, spread(list(ends.values()), pitch, low + pitch / 2, high), strict=True))
    for name, y in placed.items():
        colour = _letters(colours[name])
        ax.annotate(labels[name], (x, y), xytext=(9, 0), textcoords="offset points", va="center", color=colour, annotation_clip=False)
    return placed


def spread(values: Sequence[float], pitch: float, low: float = -math.inf, high: float = math.inf) -> list[float]:
    """The values moved as little as a few sweeps need to lie at least `pitch` apart, order kept.

    They stay between `low` and `high` if there is room; else they go beyond `high`.
    """
    order = sorted(range(len(values)), key=lambda i: (values[i], i))
    moved = list(values)
    for before, i in pairwise(order):
        moved[i] = max(moved[i], moved[before] + pitch)
    # The sweep only pushed up: shift the whole back by half of what it cost.
    shift = sum(moved[i] - values[i] for i in order) / max(len(values), 1)
    moved = [y - shift for y in moved]
    for rank, i in enumerate(reversed(order)):
        moved[i] = min(moved[i], moved[order[-rank]] - pitch if rank else high)
    for rank, i in enumerate(order):
        moved[i] = max(moved[i], moved[order[rank - 1]] + pitch if rank else low)
    return moved
