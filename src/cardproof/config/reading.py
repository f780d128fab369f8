"""Reading configuration files into one checked configuration."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from cardproof import outside
from cardproof.config.settings import Config
from cardproof.config.texts import field_texts
from cardproof.errors import CardproofError, first_error, models_at, of_validation

if TYPE_CHECKING:
    from yaml import SafeLoader as _SafeLoader
else:  # the C parser is ten times as fast; PyYAML is not always built with it
    _SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class OnceEachKey(_SafeLoader):
    """YAML's safe loader, except that a repeated key is an error. Plain YAML silently takes the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node; ConstructorError names the key that is given twice, also if it is written in two ways (16, 0x10)."""
        seen: set[Any] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                name = key.value if key.tag.endswith(":merge") else self.construct_object(key)
                if {key.value, name} & seen:
                    raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} is given twice", key.start_mark)
                seen |= {key.value, name}
        return super().construct_mapping(node, deep)


HINT = "check indentation and colons, give each key once, and quote text that has ': ' in it."


def read_yaml(content: bytes, where: str) -> Any:
    """The content of a YAML file in UTF-8 without repeated keys; CardproofError names `where` and the line at fault.

    Nesting, and what aliases multiply to, have limits; see `outside`.
    """
    text = outside.text_of(content, where)
    try:
        _check_size(text, where)
        return yaml.load(text, Loader=OnceEachKey)
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(e, "problem", None) or str(e).splitlines()[0]
        raise CardproofError(f"{where}{line}: not valid YAML: {problem}.", HINT) from None
    except (ValueError, TypeError, AttributeError, OverflowError) as e:
        # A date, a number or a tag that promises a value which its text is not.
        raise CardproofError(f"{where}: not valid YAML: a value cannot be read ({e}).", "put quotes around text.") from None


def _check_size(text: str, where: str) -> None:
    """Refuse deep nesting, which would overflow the C parser's stack, aliases that multiply, and mappings that contain themselves.

    An alias counts as all that it stands for, because merging, copying and checking visit it each time. A list that contains itself is left
    to the check of the settings, which names the key.
    """
    sizes: dict[str | None, int] = {}
    unfinished: list[tuple[str | None, int]] = []
    mappings: set[str | None] = set()
    count = 0
    for event in yaml.parse(text, Loader=OnceEachKey):
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = unfinished.pop()
            if anchor is not None:
                sizes[anchor] = count - before
        elif isinstance(event, yaml.CollectionStartEvent):
            unfinished.append((event.anchor, count))
            mappings |= {event.anchor} if isinstance(event, yaml.MappingStartEvent) else set()
            count += 1
        elif isinstance(event, yaml.ScalarEvent):
            count += 1
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in mappings and any(anchor == event.anchor for anchor, _ in unfinished):
                raise CardproofError(f"{where}: not valid YAML: '&{event.anchor}' contains itself.", "write the value out.")
            count += sizes.get(event.anchor, 1)
        if len(unfinished) > outside.MOST_DEPTH:
            raise CardproofError(f"{where}: not valid YAML: nested too deeply.", "write `key: value` lines.")
        if count > outside.MOST_VALUES:
            hint = "write the values out: aliases of aliases multiply."
            raise CardproofError(f"{where}: not valid YAML: more than {outside.MOST_VALUES:,} values.", hint)


def load(*files: Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Merge YAML files (later ones win, key by key) and overrides, and validate.

    Raises CardproofError for the first fault.
    """
    merged: dict[str, Any] = {}
    for file in files:
        try:
            content = outside.read_bytes(Path(file), outside.MOST_YAML)
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
    outside.bounded_values(values, where)
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
