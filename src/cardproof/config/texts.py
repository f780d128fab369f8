"""The configuration told: each setting with its meaning and origin, as YAML, as a JSON schema."""

from __future__ import annotations

import ast
import functools
import inspect
import json
import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from cardproof.config.settings import Config

PUBLISHED_HEADER = """# The published recipe: the defaults of the configuration model, written out. Overlays in config/ change scale and
# source only.
# Made by `cardproof config --defaults > config.yaml`; a test keeps it in sync.
"""


@functools.cache
def field_texts(kind: type[BaseModel]) -> dict[str, str]:
    """The docstring under each field of a section, read from the source."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    texts: dict[str, str] = {}
    for field, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(after, ast.Expr):
            value = after.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                texts[field.target.id] = " ".join(value.value.split())
    return texts


def described(config: Config) -> Iterator[tuple[str, Any, str]]:
    """(dotted path, value, text) of every leaf of a configuration."""

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
    """Every value the card does not state: path, value, reason."""
    return [{"key": path, "value": value, "why": text} for path, value, text in described(config) if "Assumed" in text]


def to_yaml(config: Config, comments: bool = True) -> str:
    """A configuration as YAML with each field's text as a comment above it: the form written into each run."""

    def walk(section: BaseModel, indent: int) -> Iterator[str]:
        texts, pad = field_texts(type(section)), "  " * indent
        for name in type(section).model_fields:
            value = getattr(section, name)
            if comments and texts.get(name):
                yield from (f"{pad}# {line}" for line in textwrap.wrap(texts[name], 110))
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


def schema() -> dict[str, Any]:
    """JSON schema of the configuration (`schemas/config.schema.json`)."""
    return Config.model_json_schema()
