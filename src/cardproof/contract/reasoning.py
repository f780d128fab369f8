"""Where reasoning ends and a reply begins."""

from __future__ import annotations

import re

_TAG = "think|thinking|thought|reasoning|scratchpad"
OPENS = rf"<(?:{_TAG})>|\[THINK\]"
"""What opens a reasoning block, as a pattern: tags that models and chat templates write."""
OPENED = "<think>\n"
"""Stands for the opening that a chat template wrote, where only the reply is at hand."""

_TAGS = re.compile(rf"^[ \t]{{0,40}}(?P<opens>{OPENS})|</(?:{_TAG})>|\[/THINK\]", re.MULTILINE)


def after_reasoning(text: str) -> tuple[int, bool]:
    """Where the reply proper begins, after all reasoning, and whether reasoning was cut off: then nothing is left of the reply.

    A block opens at the start of a line. One that the chat template opened has no opening in the text, or the one that sampling put there.
    """
    begin, cut = 0, False
    for tag in _TAGS.finditer(text):
        cut = tag["opens"] is not None
        begin = tag.end()
    return (len(text), True) if cut else (begin, False)
