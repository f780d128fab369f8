"""The settings in which two resolved configurations differ, by dotted path, told without anybody's paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any, NamedTuple

from cardproof.config import reading
from cardproof.config.places import name_of, without_places
from cardproof.errors import CardproofError

MISSING = "(not set)"


class Setting(NamedTuple):
    """A setting that differs."""

    name: str
    """Its dotted path."""
    first: Any
    second: Any


def differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Setting]:
    """The settings that differ, in the order of the first. `MISSING` is that of a run whose version does not know the setting."""
    one, other = _told(first), _told(second)
    paths = dict.fromkeys([*one, *other])
    return [Setting(p, one.get(p, MISSING), other.get(p, MISSING)) for p in paths if one.get(p, MISSING) != other.get(p, MISSING)]


def _told(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted path -> value, of places the names alone. Only settings that are in the file: no default is filled in."""
    written = dict(_flat(_nameless(settings)))
    try:
        known = dict(_flat(without_places(reading.validate(dict(settings))).model_dump(mode="json")))
    except CardproofError:  # another version's
        known = {}
    return {path: known.get(path, value) for path, value in written.items()}


def _nameless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _nameless(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_nameless(inner) for inner in value]
    path = PurePath(value) if isinstance(value, str) else PurePath()
    return name_of(value) if path.is_absolute() or ".." in path.parts else value


def _flat(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping) or not value:
        yield at, value
        return
    for key, inner in value.items():
        yield from _flat(inner, f"{at}.{key}" if at else str(key))
