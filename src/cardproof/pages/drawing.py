"""How a figure's data is drawn: colours, marks, panels. `figures` decides what is plotted."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from cardproof.config import settings
from cardproof.evaluation.printed import DASH, number

Data = dict[str, Any]


WIDTH = 7.0
"""Inches: 504 SVG points, so the smallest print (8 points) is 11 pixels high on a page that shows the figure 700 pixels wide."""


DPI = 300


SMALL, NORMAL, LARGE = 8.0, 9.0, 11.0


INK, MUTED, GRID = "#000000", "#595959", "#d9d9d9"


COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


LETTERS = dict(zip(COLOURS, ("#0072B2", "#B04E00", "#007A59", "#A0467A", "#8A5F00", "#1A6E9C"), strict=True))
"""Colour of a mark -> the same hue for words beside it, at least 4.5 to 1 against white."""


ON_BAR = "#111111"
"""Words on the bars, which are light on a dark page as well."""


MARKERS = ("s", "^", "D", "v", "P", "X")


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


SCALES = {
    "published": "published scale",
    "benchmark": "the card's benchmark, another model: not a reproduction of the published card",
    "embedded": "embedded scale: not a reproduction of the published card",
}


def palette(names: Sequence[str], arms: Sequence[str] = ()) -> dict[str, tuple[str, str]]:
    """Name -> (colour, marker): the reference arm black and round, the others by the alphabet, so that an arm always looks the same.

    With `arms`, other names come after these.
    """
    others = sorted({*names, *arms} - {settings.REFERENCE}, key=lambda name: (bool(arms) and name not in arms, name))
    looks = {name: (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(others)}
    return {name: looks.get(name, (INK, "o")) for name in names}


def _letters(colour: str) -> str:
    return LETTERS.get(colour, colour)


def draw_training_loss(fig: Any, data: Data) -> None:
    """Losses by step, the printed loss as a line across."""
    ax = fig.add_axes((0.09, 0.17, 0.74, 0.70))
    looks = palette(list(data["variants"]), data["arms"])
    ends = {name: losses[-1] for name, losses in data["variants"].items() if losses}
    for name, losses in data["variants"].items():
        colour, marker = looks[name]
        ax.plot(range(1, len(losses) + 1), losses, color=colour, marker=marker, markersize=4, linewidth=1.6)
    ax.set_xlabel("optimizer step")
    ax.set_ylabel("loss (nats per token)")
    ax.grid(axis="y")
    ax.set_axisbelow(True)
    ax.xaxis.get_major_locator().set_params(integer=True)
    if not ends:
        ax.text(0.5, 0.5, "no adapter was trained in this run", transform=ax.transAxes, ha="center", color=MUTED)
        return
    low, high = ax.get_ylim()
    ax.set_ylim(min(low, 0.0), high)
    longest = max(map(len, data["variants"].values()))
    labels = {name: f"{name} {number(value)}" for name, value in ends.items()}
    placed = _label_ends(ax, longest, ends, labels, {name: looks[name][0] for name in ends})
    for name, y in placed.items():
        last = len(data["variants"][name])
        if last < longest:
            # A line that ends early is led to its label.
            ax.plot([last, longest], [ends[name], y], color=looks[name][0], linestyle=(0, (1, 3)), linewidth=1.1)


def draw_forest(fig: Any, data: Data) -> None:
    """Rows of dots with intervals, grouped; each row has its words at the right, so no legend is needed."""
    groups = data["groups"]
    gap, rows = 0.7, sum(len(group["rows"]) for group in groups)
    extent = rows + gap * len(groups)
    height = 0.19 * extent + 1.0
    fig.set_size_inches(WIDTH, height)
    ax = fig.add_axes((0.185, 0.66 / height, 0.50, 1 - 1.06 / height))
    looks = palette([row["arm"] for group in groups for row in group["rows"]])
    y = 0.0
    for i, group in enumerate(groups):
        middle = y + (len(group["rows"]) - 1) / 2
        ax.text(-0.03, middle, group["name"], transform=ax.get_yaxis_transform(), ha="right", va="center", fontsize=NORMAL)
        for row in group["rows"]:
            colour, _ = looks[row["arm"]]
            _dot(ax, y, row, looks[row["arm"]], fill="white" if row.get("hollow") else colour)
            for x, text, align in ((1.04, row["label"], "left"), (1.57, f"{number(row['value'])}   n {row['n']}", "right")):
                ax.text(x, y, text, transform=ax.get_yaxis_transform(), ha=align, va="center", fontsize=SMALL, color=_letters(colour))
            y += 1
        if i + 1 < len(groups):
            ax.axhline(y - 0.5 + gap / 2, color=GRID, linewidth=0.7)
        y += gap
    ax.set_ylim(y - gap - 0.2, -0.8)
    _share_axis(ax)
    ax.set_xlabel(f"share or score; bars: {groups[0]['rows'][0]['level']:.0%} intervals over items")


PANEL_TITLES = {"picked": "candidates that best-of-N picks", "candidates": "all candidates"}


def draw_near_miss(fig: Any, data: Data) -> None:
    """Kinds of quotes by arm and condition, and the ladder steps that repair the near misses."""
    rows = len(data["panels"]["picked"])
    conditions = list(dict.fromkeys(row["condition"] for row in data["panels"]["picked"]))
    steps = list(data["panels"]["candidates"][0]["steps"])
    arms = list(dict.fromkeys(row["arm"] for row in data["panels"]["candidates"]))
    upper = 0.26 * (rows + 0.6 * (len(conditions) - 1)) + 0.1
    lower = 0.145 * (len(arms) + 0.9) * len(steps) + 0.1
    height = 0.95 + upper + 0.95 + lower + 0.75
    fig.set_size_inches(WIDTH, height)
    _kind_key(fig, 1 - 0.52 / height)
    for left, (name, parts) in zip((0.155, 0.595), data["panels"].items(), strict=True):
        ax = fig.add_axes((left, (height - 0.95 - upper) / height, 0.32, upper / height))
        _draw_kinds(ax, parts, PANEL_TITLES[name], named=name == "picked")
    width = 0.76 / len(conditions) - 0.04
    for i, condition in enumerate(conditions):
        ax = fig.add_axes((0.155 + i * (0.80 / len(conditions)), 0.75 / height, width, lower / height))
        _draw_ladder(ax, [row for row in data["panels"]["candidates"] if row["condition"] == condition], condition, named=i == 0)


def _kind_key(fig: Any, y: float) -> None:
    x = 0.155
    for kind, colour in KINDS.items():
        text = kind.replace("_", "-")
        fig.text(x, y, "■", color=colour, fontsize=LARGE, va="center")
        fig.text(x + 0.025, y, text, fontsize=SMALL, va="center")
        x += 0.06 + 0.0125 * len(text)


def _draw_kinds(ax: Any, parts: Sequence[Data], title: str, named: bool) -> None:
    y, ticks, before = 0.0, [], None
    for part in parts:
        y += 0.6 if before not in (None, part["condition"]) else 0
        before = part["condition"]
        left = 0.0
        for kind, colour in KINDS.items():
            share = part["kinds"][kind]["share"] or 0.0
            ax.barh(y, share, left=left, height=0.78, color=colour, edgecolor="white", linewidth=0.6)
            if share >= 0.13:
                ink = "white" if kind == "fabricated" else ON_BAR
                ax.text(left + share / 2, y, f"{share:.2f}", ha="center", va="center", fontsize=SMALL, color=ink)
            left += share
        if not part["quotes"]:
            ax.text(0.02, y, "no quotes", va="center", fontsize=SMALL, color=MUTED)
        ax.text(1.02, y, str(part["quotes"]), va="center", fontsize=SMALL, color=MUTED)
        ticks.append((y, f"{part['arm']}, {part['condition']}"))
        y += 1
    ax.set_ylim(y - 0.5, -0.55)
    ax.set_xlim(0, 1)
    ax.set_yticks([t for t, _ in ticks], [label if named else "" for _, label in ticks], fontsize=SMALL)
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", labelsize=SMALL)
    ax.spines["left"].set_visible(False)
    ax.set_title(title, pad=4)
    ax.set_xlabel("share of quotes (at the right: how many)", fontsize=SMALL)


def _draw_ladder(ax: Any, parts: Sequence[Data], condition: str, named: bool) -> None:
    steps = list(parts[0]["steps"])
    looks = palette([part["arm"] for part in parts])
    pitch = len(parts) + 0.9
    most = max((part["steps"][step] for part in parts for step in steps), default=0)
    for i, step in enumerate(steps):
        for j, part in enumerate(parts):
            count = part["steps"][step]
            y = i * pitch + j
            ax.barh(y, count, height=0.8, color=looks[part["arm"]][0])
            colour, x = _letters(looks[part["arm"]][0]), count + 0.015 * max(most, 1)
            ax.text(x, y, f"{count} {part['arm']}", va="center", fontsize=SMALL, color=colour)
    ax.set_ylim(len(steps) * pitch - 0.6, -0.9)
    ax.set_xlim(0, max(most, 1) * 1.32)
    ax.set_yticks([i * pitch + (len(parts) - 1) / 2 for i in range(len(steps))], steps if named else [""] * len(steps))
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", labelsize=SMALL)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_title(f"near misses a step helps repair, {condition}", pad=4, fontsize=SMALL)
    ax.set_xlabel("near misses, all candidates", fontsize=SMALL)


def draw_compute_curve(fig: Any, data: Data) -> None:
    """The metric at every N with its interval, and where the reference meets each arm's single draw."""
    ax = fig.add_axes((0.09, 0.16, 0.74, 0.72))
    looks, ns = palette(list(data["arms"])), data["n"]
    for arm, points in data["arms"].items():
        colour, marker = looks[arm]
        known = [(n, p) for n, p in zip(ns, points, strict=True) if p["value"] is not None]
        band = [(n, p["low"], p["high"]) for n, p in known if p["low"] is not None]
        ax.fill_between([b[0] for b in band], [b[1] for b in band], [b[2] for b in band], color=colour, alpha=0.13, linewidth=0)
        ax.plot([n for n, _ in known], [p["value"] for _, p in known], color=colour, marker=marker, markersize=4.5, linewidth=1.6)
    _mark_equivalence(ax, data, looks)
    ax.set_xscale("log", base=2)
    ticks = [2**i for i in range(int(math.log2(ns[-1])) + 1)]
    ax.set_xticks(ticks, [str(n) for n in ticks])
    ax.minorticks_off()
    ax.set_xlim(0.93, ns[-1] * 1.06)
    ax.set_xlabel("N, candidates per item (log scale)")
    ax.set_ylabel("composite, mean over items")
    ax.grid(axis="y")
    ax.set_axisbelow(True)
    ends = {arm: points[-1]["value"] for arm, points in data["arms"].items() if points and points[-1]["value"] is not None}
    _label_ends(ax, ns[-1], ends, {arm: f"{arm} {number(value)}" for arm, value in ends.items()}, {arm: looks[arm][0] for arm in ends})


def _mark_equivalence(ax: Any, data: Data, looks: Mapping[str, tuple[str, str]]) -> None:
    """A dashed line from an arm's single draw to the reference curve, and the N where they meet below it."""
    known = [point for points in data["arms"].values() for point in points if point["value"] is not None]
    floor = min(point["value"] if point["low"] is None else point["low"] for point in known)
    top = max(point["value"] if point["high"] is None else point["high"] for point in known)
    room = max(top - floor, 0.1)
    top = floor + room
    met = {arm: entry for arm, entry in data["equivalence"].items() if entry["n_equivalent"] is not None}
    ax.set_ylim(floor - room * (0.06 + 0.08 * len(met)), top + room * 0.05)
    for i, (arm, entry) in enumerate(met.items()):
        colour, n = looks[arm][0], entry["n_equivalent"]
        foot = floor - room * (0.03 + 0.08 * i)
        ax.plot([1, n], [entry["target"]] * 2, color=colour, linestyle=(0, (4, 2)), linewidth=1.1)
        ax.plot([n, n], [entry["target"], foot], color=colour, linestyle=(0, (1, 2)), linewidth=1.1)
        ax.plot(n, entry["target"], marker="o", markersize=8, markerfacecolor="none", markeredgecolor=colour, markeredgewidth=1.5, zorder=4)
        text = f"{arm} at N = 1 equals {data['reference']} at N = {n:.2f}{_open_interval(entry, data['n'][-1])}"
        # Written towards the wider side, so that the words stay inside the axes.
        right = n > math.sqrt(data["n"][-1])
        x, align = (n / 1.02, "right") if right else (n * 1.02, "left")
        ax.text(x, foot, text, ha=align, va="center", fontsize=SMALL, color=_letters(colour))


def _open_interval(entry: Data, most: int) -> str:
    """An interval of N, with a bound beyond the curve left open; empty if there is none."""
    if entry["low"] is None and entry["high"] is None:
        return ""
    low = "< 1" if entry["low"] is None else f"{entry['low']:.2f}"
    high = f"> {most}" if entry["high"] is None else f"{entry['high']:.2f}"
    return f" [{low}, {high}]"


def draw_published(fig: Any, data: Data) -> None:
    """A row per claim: a bar at the card's number, a dot with its interval at the run's, and both numbers at the right."""
    rows, pitch = data["rows"], 0.265
    height = pitch * len(rows) + 1.25
    fig.set_size_inches(WIDTH, height)
    # Verdicts need a column of their own, and the plot is narrower then.
    ax = fig.add_axes((0.385, 0.66 / height, 0.235 if data["comparable"] else 0.36, 1 - 1.25 / height))
    columns = {"printed": 1.25, "this run": 1.58, "verdict": 1.63} if data["comparable"] else {"printed": 1.19, "this run": 1.38}
    looks = palette([row["arm"] or "" for row in rows])
    sides = {"printed": "right", "this run": "right", "verdict": "left"}
    for name, x in columns.items():
        ax.text(x, -0.85, name, transform=ax.get_yaxis_transform(), ha=sides[name], va="center", fontsize=SMALL, color=MUTED)
    for y, row in enumerate(rows):
        colour, _ = looks[row["arm"] or ""]
        label = "\n".join(textwrap.wrap(row["label"], 40))
        ax.text(-0.04, y, label, transform=ax.get_yaxis_transform(), ha="right", va="center", fontsize=SMALL, linespacing=0.95)
        _dot(ax, y, row, looks[row["arm"] or ""], fill=colour)
        if row["printed"] is not None:
            ax.plot([float(row["printed"])] * 2, [y - 0.38, y + 0.38], color=INK, linewidth=2.2, clip_on=False, zorder=4)
        cells = {"printed": row["printed"] or DASH, "this run": number(row["value"]), "verdict": row["verdict"] or DASH}
        for name, x in columns.items():
            ink = _letters(colour) if name == "this run" else INK
            words = {"transform": ax.get_yaxis_transform(), "ha": sides[name], "va": "center", "fontsize": SMALL, "color": ink}
            ax.text(x, y, cells[name], **words)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    _share_axis(ax)
    level = next((row["level"] for row in rows if row["level"] is not None), None)
    ax.set_xlabel("black bars: printed; dots: this run" + (f", {level:.0%} intervals over items" if level else ""), fontsize=SMALL)


def _dot(ax: Any, y: float, row: Mapping[str, Any], look: tuple[str, str], fill: str) -> None:
    """An estimate in its row: a mark, filled or hollow, and its interval; nothing if it is undefined."""
    colour, marker = look
    if row["value"] is None:
        return
    if row["low"] is not None:
        ax.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=1.8, solid_capstyle="butt")
    ax.plot(row["value"], y, marker=marker, markersize=5.5, markerfacecolor=fill, markeredgecolor=colour, clip_on=False, zorder=3)


def _share_axis(ax: Any) -> None:
    """Shares from 0 to 1 along x; each row says in words what it is."""
    ax.set_xlim(0, 1)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.grid(axis="x")
    ax.set_axisbelow(True)


def _label_ends(ax: Any, x: float, ends: Mapping[str, float], labels: Mapping[str, str], colours: Mapping[str, str]) -> dict[str, float]:
    """Labels right of the ends of lines, pushed apart if they would overlap; returns the height of each."""
    low, high = ax.get_ylim()
    inches = ax.figure.get_size_inches()[1] * ax.get_position().height
    pitch = (high - low) * (NORMAL + 3) / 72 / inches
    placed = dict(zip(ends, spread(list(ends.values()), pitch), strict=True))
    for name, y in placed.items():
        colour = _letters(colours[name])
        ax.annotate(labels[name], (x, y), xytext=(9, 0), textcoords="offset points", va="center", color=colour, annotation_clip=False)
    return placed


def spread(values: Sequence[float], pitch: float) -> list[float]:
    """The values moved as little as a downward and an upward sweep need to lie at least `pitch` apart, order kept."""
    order = sorted(range(len(values)), key=lambda i: (values[i], i))
    moved = list(values)
    for before, i in pairwise(order):
        moved[i] = max(moved[i], moved[before] + pitch)
    # The sweep only pushed up: shift the whole back by half of what it cost.
    shift = sum(moved[i] - values[i] for i in order) / max(len(values), 1)
    return [y - shift for y in moved]


def frame(fig: Any, data: Data) -> None:
    """The title, and which run at which scale it shows."""
    height = fig.get_size_inches()[1]
    fig.text(0.02, 1 - 0.12 / height, data["title"], fontsize=LARGE, weight="bold", va="top")
    # No picture of a demo travels without saying so.
    fig.text(0.98, 0.09 / height, f"run {data['run']}, {SCALES[data['scale']]}", fontsize=SMALL, color=MUTED, ha="right", va="bottom")
