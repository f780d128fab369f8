"""Where reasoning ends and a reply begins."""

from __future__ import annotations

import re

_TAG = "think|thinking|thought|reasoning|scratchpad|seed:think"
OPENS = rf"<(?:{_TAG})>|\[THINK\]|<\|START_THINKING\|>|<\|begin_of_thought\|>|<\|think_start\|>|◁think▷|<\|channel\|>analysis<\|message\|>"
"""What opens a reasoning block, as a pattern: tags that models and chat templates write."""
_CLOSES = rf"</(?:{_TAG})>|\[/THINK\]|<\|END_THINKING\|>|<\|end_of_thought\|>|<\|think_end\|>|◁/think▷|<\|channel\|>final<\|message\|>"
OPENED = "<think>\n"
"""Stands for the opening that a chat template wrote, where only the reply is at hand."""

_TAGS = re.compile(rf"^[ \t]{{0,40}}(?P<opens>{OPENS})|{_CLOSES}", re.MULTILINE)
_MARK = re.compile(rf"{OPENS}|{_CLOSES}|<\|channel\|>|<\|message\|>")


def is_mark(token: str) -> bool:
    """Whether a token of a vocabulary opens or closes reasoning, or is a part of what does."""
    return _MARK.fullmatch(token) is not None


def after_reasoning(text: str) -> tuple[int, bool]:
    """Where the reply proper begins, after all reasoning, and whether reasoning was cut off: then nothing is left of the reply.

    A block opens at the start of a line. One that the chat template opened has no opening in the text, or the one that sampling put there.
    """
    begin, cut = 0, False
    for tag in _TAGS.finditer(text):
        cut = tag["opens"] is not None
        begin = tag.end()
    return (len(text), True) if cut else (begin, False)
