"""The configuration in words: each setting with its meaning and origin, as YAML and as a JSON schema."""

from __future__ import annotations

import functools
import json
import operator
import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from cardproof.config.settings import Config

STATED, ASSUMED, OF_THE_RUN = "Stated on the card", "Assumed, because", "Of the run, not of the card"
MARKS = (STATED, ASSUMED, OF_THE_RUN)
"""Where a default comes from; every field's text has exactly one of these marks. The card states it; or the card leaves it open, and the
text says why this value was taken; or it belongs to the machine or the run, so no card could state it."""

PUBLISHED_HEADER = """# The published recipe: the defaults of the configuration model, written out. Overlays in config/ change only
# scale and sources. `cardproof config --defaults > config.yaml` writes this file; a test keeps it in sync.
#
# Every setting has one of three marks. "Stated on the card". "Assumed, because ...": the card leaves it open.
# "Of the run, not of the card": a name, a local path, or something about the machine.
"""


def field_texts(kind: type[BaseModel]) -> dict[str, str]:
    """The docstring under each field of a section, on one line; empty for a field without one."""
    return {name: " ".join((field.description or "").split()) for name, field in kind.model_fields.items()}


def mark(text: str) -> str | None:
    """The mark in a field's text, or None if it has none of the three or more than one."""
    marks = [m for m in MARKS if m in text]
    return marks[0] if len(marks) == 1 else None


def of_card(text: str, config: Config) -> str:
    """A field's text; without its mark, which is about the project's own subject, where a run has another card or none."""
    if config.of_the_subject:
        return text
    return text[: min((at for m in MARKS if (at := text.find(m)) >= 0), default=len(text))].strip()


def described(config: Config) -> Iterator[tuple[str, Any, str]]:
    """(dotted path, value, text) of every setting of a configuration."""

    def walk(section: BaseModel, prefix: str) -> Iterator[tuple[str, Any, str]]:
        texts = field_texts(type(section))
        for name in type(section).model_fields:
            value = getattr(section, name)
            path = f"{prefix}{name}"
            if isinstance(value, BaseModel):
                yield from walk(value, f"{path}.")
            elif isinstance(value, dict) and value and all(isinstance(v, BaseModel) for v in value.values()):
                for key, entry in value.items():
                    yield from walk(entry, f"{path}.{key}.")
            else:
                yield path, value, texts.get(name, "")

    yield from walk(config, "")


def assumptions(config: Config) -> list[dict[str, Any]]:
    """Every value that the card leaves open: path, value, reason. Settings of the run are not assumptions about the card."""
    return [{"key": path, "value": value, "why": text} for path, value, text in described(config) if mark(text) == ASSUMED]


def to_yaml(config: Config, comments: bool = True) -> str:
    """A configuration as YAML, with each field's text as a comment above it. Each run has its configuration in this form."""

    def walk(section: BaseModel, indent: int) -> Iterator[str]:
        texts, pad = field_texts(type(section)), "  " * indent
        for name in type(section).model_fields:
            value = getattr(section, name)
            if comments and (text := of_card(texts.get(name, ""), config)):
                yield from (f"{pad}# {line}" for line in textwrap.wrap(text, 110))
            if isinstance(value, BaseModel):
                yield f"{pad}{name}:"
                yield from walk(value, indent + 1)
            elif isinstance(value, dict) and value and all(isinstance(v, BaseModel) for v in value.values()):
                yield f"{pad}{name}:"
                for key, entry in value.items():
                    yield f"{pad}  {key}:"
                    yield from walk(entry, indent + 2)
            else:
                yield f"{pad}{name}: {json.dumps(value, ensure_ascii=False)}"

    return "\n".join(walk(config, 0)) + "\n"


def overlay(config: Config) -> str:
    """A configuration as an overlay that gives itself on top of the defaults: what it leaves out of them is null."""
    given, default = (c.model_dump(mode="json") for c in (config, Config()))
    for path in (("arms",), ("training", "variants"), ("training", "readings")):
        of, by_default = (functools.reduce(operator.getitem, path, whole) for whole in (given, default))
        of |= dict.fromkeys(by_default.keys() - of.keys())
    return json.dumps(given)


def schema() -> dict[str, Any]:
    """JSON schema of the configuration (`schemas/config.schema.json`), with a description for every field."""
    whole: dict[str, Any] = _on_one_line(Config.model_json_schema())
    for section in (whole, *whole["$defs"].values()):
        for field in section["properties"].values():
            if "$ref" in field:  # a section within a section: described where it is defined
                field.setdefault("description", whole["$defs"][field["$ref"].rsplit("/", 1)[1]]["description"])
    return whole


def _on_one_line(node: Any) -> Any:
    """A schema with each of its descriptions on one line."""
    if isinstance(node, list):
        return [_on_one_line(value) for value in node]
    if isinstance(node, dict):
        return {k: " ".join(v.split()) if k == "description" and isinstance(v, str) else _on_one_line(v) for k, v in node.items()}
    return node
