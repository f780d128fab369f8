"""The process that renders a chat template: a template comes from outside, and may ask for any amount of time and memory.

It reads one JSON object per line: first the template and what it may take, then a conversation per line. It answers each with `text`, or
with `error`, what the template or Jinja said.
"""

from __future__ import annotations

import datetime
import json
import random
import resource
import sys
from collections.abc import Callable
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox


class _Generation(jinja2.ext.Extension):
    """`{% generation %}`, with which templates mark what an assistant says; rendering leaves it as it is."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own type

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment(date: datetime.datetime) -> jinja2.sandbox.ImmutableSandboxedEnvironment:
    """What transformers gives a template, but for the day."""

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    def tojson(x: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False) -> str:
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = date.strftime
    return environment


def _answer(work: Callable[[], str], seconds: int, most: int) -> dict[str, str]:
    """What some work returns, or why it does not; the system ends a process that takes longer."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 1 + seconds, resource.RLIM_INFINITY))
    random.seed(0)  # Jinja has a filter that draws
    try:
        text = work()
    except MemoryError:
        return {"error": "it takes too much memory"}
    except RecursionError:
        return {"error": "it is nested too deeply"}
    except Exception as e:  # a template may raise whatever Python can
        return {"error": f"{e}" if type(e) is jinja2.TemplateError else f"{type(e).__name__}: {e}"}
    return {"text": text} if len(text) <= most else {"error": f"it writes {len(text):,} characters"}


def main() -> None:
    """Serve until the other side closes."""
    first = json.loads(sys.stdin.readline())
    resource.setrlimit(resource.RLIMIT_AS, (first["memory"], first["memory"]))
    environment = _environment(datetime.datetime.fromisoformat(first["date"]))
    compiled: list[jinja2.Template] = []

    def compile_it() -> str:
        compiled.append(environment.from_string(first["template"]))
        return ""

    answer = _answer(compile_it, first["seconds"], first["most"])
    for line in sys.stdin:
        values = json.loads(line)
        if compiled:
            answer = _answer(lambda values=values: compiled[0].render(**first["variables"], **values), first["seconds"], first["most"])  # type: ignore[misc]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
