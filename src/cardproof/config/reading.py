"""Reading configuration files into one checked configuration."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from cardproof.config.settings import Config
from cardproof.config.texts import field_texts
from cardproof.errors import CardproofError, first_error, models_at, of_validation

if TYPE_CHECKING:
    from yaml import SafeLoader as _SafeLoader
else:  # the C parser is ten times as fast; PyYAML is not always built with it
    _SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


MAX_DEPTH = 100
"""Deepest nesting of mappings and lists in a YAML file."""


class OnceEachKey(_SafeLoader):
    """YAML's safe loader, except that a repeated key is an error. Plain YAML silently takes the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node; ConstructorError names the key that is given twice."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} is given twice", key.start_mark)
            seen.add(getattr(key, "value", None) if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)


def read_yaml(content: bytes, where: str) -> Any:
    """The content of a YAML file in UTF-8 without repeated keys; CardproofError names `where` and the line at fault."""
    try:
        text = content.decode("utf-8")
        _check_depth(text, where)
        return yaml.load(text, Loader=OnceEachKey)
    except UnicodeDecodeError as e:
        raise CardproofError(f"{where}: byte {e.start + 1} is not valid UTF-8.", "save the file as UTF-8.") from None
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(e, "problem", None) or str(e).splitlines()[0]
        hint = "check indentation and colons, give each key once, and quote text that has ': ' in it."
        raise CardproofError(f"{where}{line}: not valid YAML: {problem}.", hint) from None


def _check_depth(text: str, where: str) -> None:
    """Refuse deep nesting: it would overflow the C parser's stack and end the process."""
    depth = 0
    for event in yaml.parse(text, Loader=OnceEachKey):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise CardproofError(f"{where}: not valid YAML: nested too deeply.", "write `key: value` lines.")


def load(*files: Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Merge YAML files (later ones win, key by key) and overrides, and validate.

    Raises CardproofError for the first fault.
    """
    merged: dict[str, Any] = {}
    for file in files:
        try:
            content = Path(file).read_bytes()
        except FileNotFoundError:
            raise CardproofError(f"{file} does not exist.", "check the path after --configfile.") from None
        merged = merge(merged, parse(content, str(file)))
    return validate(merge(merged, overrides or {}), ", ".join(str(f) for f in files) or "configuration")


def parse(content: bytes, where: str) -> dict[str, Any]:
    """The mapping in a YAML configuration file; CardproofError names `where`, and the line at fault."""
    part = read_yaml(content, where)
    if part is not None and not isinstance(part, dict):
        raise CardproofError(f"{where} has a {type(part).__name__} where settings belong.", "write `key: value` lines.")
    return part or {}


def same(file: Path, config: Config) -> bool:
    """Whether a file has exactly these settings."""
    try:
        return load(file) == config
    except CardproofError:
        return False


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two mappings deeply. A value of `over` that is not a mapping replaces the other completely."""
    merged = copy.deepcopy(dict(base))
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else copy.deepcopy(value)
    return merged


def validate(values: Mapping[str, Any], where: str = "configuration") -> Config:
    """A mapping as a Config; CardproofError names the key and value of the first error, and the nearest known key."""
    try:
        return Config.model_validate(values)
    except ValidationError as e:
        raise of_validation(e, where, Config, hint=_hint(first_error(e)["loc"])) from None


def _hint(path: Sequence[int | str]) -> str:
    """What the setting at a path means, or where settings are described."""
    for model in models_at(Config, map(str, path[:-1])):
        if path and (text := field_texts(model).get(str(path[-1]))):
            return f"{path[-1]}: {text}"
    return "see `cardproof config --explain` and docs/config.md."
