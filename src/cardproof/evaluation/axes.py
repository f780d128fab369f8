"""The axes: what each is called, which column it is, and over which items it is taken."""

from __future__ import annotations

from typing import Literal, NamedTuple

ALPHA = 0.05


class Axis(NamedTuple):
    """One row of an axis table."""

    name: str
    column: str
    kind: Literal["mean", "proportion"]
    over: Literal["answered", "oracle_present"] = "answered"


AXES = (
    Axis("strict", "strict", "mean"),
    Axis("content", "content", "mean"),
    Axis("attribution", "attribution", "mean"),
    Axis("citation_validity", "citation_validity", "proportion"),
    Axis("gold_rouge", "gold_rouge", "proportion"),
    Axis("rouge_l", "rouge_l", "mean"),
    Axis("false_refusals", "refusal", "proportion", over="oracle_present"),
    Axis("support", "support", "mean"),
    Axis("composite", "composite", "mean"),
)


AXIS = {axis.name: axis for axis in AXES}


AXIS_NAMES = {
    "strict": "strict verbatim",
    "content": "content verbatim",
    "attribution": "attribution",
    "citation_validity": "citation validity",
    "gold_rouge": "gold ROUGE-L",
    "false_refusals": "false refusals",
    "support": "verifier support",
    "composite": "composite",
}
