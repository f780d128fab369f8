"""The axes: what each is called, which column of the scores it is, and which items it is taken over."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Axis(NamedTuple):
    """One row of an axis table."""

    name: str
    """Its key in result files."""
    title: str
    """What the tables of a card call it."""
    label: str
    """What figures and the Hub call it."""
    column: str
    """The column of the scores that it is."""
    kind: Literal["mean", "proportion"]
    over: Literal["answered", "oracle_present"] = "answered"
    """The items it is taken over: those that the picked candidate answers, or those that show the oracle passage."""
    under_stress: bool = True
    """Whether the card's table under stress has it."""


AXES = (
    Axis("strict", "strict verbatim grounding", "strict verbatim", "strict", "mean"),
    Axis("content", "content verbatim", "content verbatim", "content", "mean"),
    Axis("attribution", "attribution", "attribution", "attribution", "mean"),
    Axis("citation_validity", "citation validity", "citation validity", "citation_validity", "proportion"),
    Axis("gold_rouge", "gold ROUGE-L", "gold ROUGE-L", "gold_rouge", "proportion", under_stress=False),
    Axis("rouge_l", "ROUGE-L", "ROUGE-L", "rouge_l", "mean", under_stress=False),
    Axis("false_refusals", "false refusals (oracle present)", "false refusals", "refusal", "proportion", over="oracle_present"),
    Axis("support", "verifier support", "verifier support", "support", "mean"),
    Axis("composite", "composite", "composite", "composite", "mean"),
)

AXIS = {axis.name: axis for axis in AXES}
TITLES = {axis.name: axis.title for axis in AXES}
STRESS_TITLES = {axis.name: axis.title for axis in AXES if axis.under_stress}
LABELS = {axis.name: axis.label for axis in AXES}
COLUMNS = tuple(axis.column for axis in AXES if axis.column != "refusal")
"""The columns of the scores that hold a number for each rollout."""
SINGLE_DRAW = ("strict", "composite")
"""Axes that are also given at N = 1, as `NAME_n1`: what a single rollout scores, before any candidate is picked."""
