"""What a rehearsal found, for a terminal."""

from __future__ import annotations

import textwrap

from cardproof.machine.rates import Rehearsal

HEADS = ("probe", "measured", "plan", "verdict")
WIDTHS = (36, 38, 22, 11)
LONG = 76
"""A cell with more characters goes below its row."""


def as_text(found: Rehearsal) -> str:
    """One table: a line for each thing looked at, and below it what to do where it is not ok."""
    device = found.device
    where = device.name + (f", driver {device.driver}" if device.driver else "")
    versions = ", ".join(f"{name} {found.versions[name]}" for name in ("torch", "transformers", "bitsandbytes", "peft"))
    lines = textwrap.wrap(f"Rehearsal on {where}, in {duration(found.seconds)}; {versions}.", sum(WIDTHS) + 3)
    if found.reduced:
        lines += textwrap.wrap(f"Smaller than the published run here: {'; '.join(found.reduced)}.", sum(WIDTHS) + 3)
    lines += ["", _row(HEADS), _row(tuple("-" * w for w in WIDTHS))]
    for line in found.lines:
        long = len(line.measured) > LONG
        lines.append(_row((line.probe, "see below" if long else line.measured, line.planned, line.verdict)))
        lines += _below(f"measured: {line.measured}") if long else []
        lines += _below(f"what to do: {line.do}") if line.do else []
    return "\n".join([*lines, "", summary(found)])


def _below(text: str) -> list[str]:
    """Lines below a row, indented; paths stay in one piece."""
    wrapper = textwrap.TextWrapper(
        sum(WIDTHS), initial_indent="    ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )
    return wrapper.wrap(text)


def summary(found: Rehearsal) -> str:
    """The outcome in a sentence or two."""
    failed = [line.probe for line in found.lines if line.fails]
    if failed:
        return f"The published run would not work here as it is: {', '.join(failed)}."
    beyond = sum(line.verdict != "ok" for line in found.lines)
    more = f" {beyond} of {len(found.lines)} lines are not as planned; see what to do." if beyond else ""
    if found.reduced:
        return f"The workflow works here at these sizes; that says nothing of memory and speed at the published ones.{more}"
    return f"The published run works here.{more}"


def duration(seconds: float) -> str:
    """Seconds as a reader likes them: `48 s`, `9 min 41 s`."""
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"


def _row(cells: tuple[str, ...]) -> str:
    """A row of the table; a long cell goes on in the lines below."""
    wrapped = [textwrap.wrap(cell, width) or [""] for cell, width in zip(cells, WIDTHS, strict=True)]
    height = max(map(len, wrapped))
    rows = [[part[i] if i < len(part) else "" for part in wrapped] for i in range(height)]
    return "\n".join(" ".join(f"{text:<{width}}" for text, width in zip(row, WIDTHS, strict=True)).rstrip() for row in rows)
