"""How configuration files become one checked configuration."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from cardproof.config.settings import Config
from cardproof.config.texts import field_texts
from cardproof.errors import CardproofError, nearest


class _OnceEachKey(yaml.SafeLoader):
    """YAML's safe loader, but a key that stands twice is an error: plain YAML takes the last one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} stands twice", key.start_mark)
            seen.add(getattr(key, "value", None) if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)


def load(*files: Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Merge YAML files (later ones win, key by key) and overrides, and validate.

    Raises CardproofError with one sentence and a hint for the first thing wrong.
    """
    merged: dict[str, Any] = {}
    for file in files:
        try:
            content = Path(file).read_bytes()
        except FileNotFoundError:
            raise CardproofError(f"{file} does not exist.", "check the path given to --configfile.") from None
        merged = merge(merged, parse(content, str(file)))
    return validate(merge(merged, overrides or {}), ", ".join(str(f) for f in files) or "configuration")


def parse(content: bytes, where: str) -> dict[str, Any]:
    """The mapping in a YAML file of the configuration; CardproofError says `where` and on which line it is none."""
    try:
        part = yaml.load(content.decode("utf-8"), Loader=_OnceEachKey)
    except UnicodeDecodeError as e:
        raise CardproofError(f"{where}: byte {e.start + 1} is not valid UTF-8.", "save the file as UTF-8.") from None
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise CardproofError(f"{where}{line}: no valid YAML: {getattr(e, 'problem', e)}.", "check indentation and colons.") from None
    except RecursionError:
        raise CardproofError(f"{where}: no valid YAML: nested too deeply.", "write `key: value` lines.") from None
    if part is not None and not isinstance(part, dict):
        raise CardproofError(f"{where}: holds no mapping but {type(part).__name__}.", "write `key: value` lines.")
    return part or {}


def same(file: Path, config: Config) -> bool:
    """Whether a file holds these very settings."""
    try:
        return load(file) == config
    except CardproofError:
        return False


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Deep merge of two mappings; a value of `over` that is no mapping replaces the other whole."""
    merged = copy.deepcopy(dict(base))
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else copy.deepcopy(value)
    return merged


def validate(values: Mapping[str, Any], where: str = "configuration") -> Config:
    """A mapping as a Config; CardproofError names key and value of the first error and the nearest known key."""
    try:
        return Config.model_validate(values)
    except ValidationError as e:
        error = e.errors()[0]
        path = [str(p) for p in error["loc"]]
        name = ".".join(path)
        if error["type"] == "extra_forbidden":
            known = _known_keys(path[:-1])
            near = nearest(path[-1], known)
            place = f" in {'.'.join(path[:-1])!r}" if path[:-1] else ""
            raise CardproofError(
                f"{where}: unknown key {path[-1]!r}{place}.", f"did you mean {near!r}?" if near else f"known keys: {', '.join(known)}."
            ) from None
        message = error["msg"].removeprefix("Value error, ")
        if error["type"] == "value_error":
            raise CardproofError(
                f"{where}: {name + ': ' if name else ''}{message}.", "see `cardproof config --help` and docs/config.md."
            ) from None
        raise CardproofError(
            f"{where}: {name}: {message[0].lower()}{message[1:]}, found {error['input']!r:.80}.",
            _hint(path) or "see `cardproof config --explain`.",
        ) from None


def _walk(path: Sequence[str]) -> type[BaseModel] | None:
    kind: Any = Config
    for part in path:
        if not (inspect.isclass(kind) and issubclass(kind, BaseModel)):
            return None
        if part not in kind.model_fields:
            return None
        annotation = kind.model_fields[part].annotation
        if get_origin(annotation) is dict:
            entry = get_args(annotation)[1]
            return entry if inspect.isclass(entry) and issubclass(entry, BaseModel) else None
        kind = annotation
    return kind if inspect.isclass(kind) and issubclass(kind, BaseModel) else None


def _known_keys(path: Sequence[str]) -> list[str]:
    kind = _walk(path) or (_walk(path[:-1]) if path else None)
    return list(kind.model_fields) if kind else []


def _hint(path: Sequence[str]) -> str | None:
    kind = _walk(path[:-1]) or (_walk(path[:-2]) if len(path) > 1 else None)
    text = field_texts(kind).get(path[-1]) if kind else None
    return f"{path[-1]}: {text}" if text else None
