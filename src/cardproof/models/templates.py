"""A chat template, rendered in a process of its own within a time, a memory and a length."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from cardproof.errors import CardproofError
from cardproof.models import template_process
from cardproof.records import Message

SECONDS, MEMORY, MOST = 2, 2**30, 16_000_000
"""CPU time and bytes of memory for one rendering, and the most characters it may write. Real ones take milliseconds."""
LONGEST = 500_000
"""The most characters of a template. Real ones have some thousands."""
HINT = "take the template of the model's own publisher, or a model whose template renders a plain conversation."


class Refused(Exception):
    """The template raised an error, as those do that know no system turn; the argument is what it said."""


class Template:
    """One chat template, with the variables of its tokenizer and the day it is told when it asks."""

    def __init__(self, text: str, variables: Mapping[str, Any], date: datetime.date, where: str) -> None:
        """`where` names the template in errors. CardproofError if it is longer than LONGEST."""
        if len(text) > LONGEST:
            raise CardproofError(f"{where}: the chat template has {len(text):,} characters.", HINT)
        self.text, self.where = text, where
        self._first = {
            "template": text,
            "variables": dict(variables),
            "date": date.isoformat(),
            "seconds": SECONDS,
            "memory": MEMORY,
            "most": MOST,
        }
        self._process: subprocess.Popen[str] | None = None

    def render(self, messages: Sequence[Message], reply: bool, thinking: bool) -> str:
        """A conversation as text; `reply`: up to where an assistant's reply begins.

        Refused if the template raises an error, CardproofError if it takes more time, memory or room than any real one.
        """
        turns = [{"role": m.role, "content": m.content} for m in messages]
        asked = {"messages": turns, "tools": None, "documents": None, "add_generation_prompt": reply, "enable_thinking": thinking}
        process = self._running()
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
        said = process.stdout.readline()
        if not said:
            self._process = None
            raise CardproofError(
                f"{self.where}: the chat template takes more than {SECONDS} s or {MEMORY >> 20:,} MB to render a conversation.", HINT
            )
        answer = json.loads(said)
        if "error" in answer:
            raise Refused(" ".join(str(answer["error"]).split())[:300])
        return str(answer["text"])

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            environment = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PATH": os.environ.get("PATH", ""), "TZ": "UTC"}
            environment |= {"PYTHONHASHSEED": "0", "PYTHONIOENCODING": "utf-8:surrogatepass"}
            self._process = subprocess.Popen(
                [sys.executable, "-m", template_process.__name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="utf-8",
                env=environment,
            )
            weakref.finalize(self, _end, self._process)
            assert self._process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(json.dumps(self._first) + "\n")
        return self._process


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
