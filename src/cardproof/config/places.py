"""Settings that are places on somebody's machine: what is archived, published or recorded has their names alone, never the paths."""

from __future__ import annotations

from pathlib import PurePath
from typing import TypeVar

from cardproof.config import reading, texts
from cardproof.config.settings import Config, Section
from cardproof.errors import CardproofError

S = TypeVar("S", bound=Section)

_NAMELESS = "folder"
"""What a place without a name of its own is called, such as `.` or `/`."""


def name_of(place: str) -> str:
    """The last part of a path; the address of an image and the like as it is."""
    name = PurePath(place).name
    return place if "://" in place else name if name.strip(".") else _NAMELESS


def without_places(config: Config) -> Config:
    """A configuration with the name alone of every local folder, file and program. The same object if it names none."""

    def local(section: S, *fields: str) -> S:
        """A section with the names alone in fields that are places."""
        named = {field: getattr(section, field) for field in fields}
        return section.model_copy(update={field: name_of(place) for field, place in named.items() if place})

    clean = local(config, "replay", *([] if config.of_the_subject else ["published"])).model_copy(
        update={
            "benchmark": local(config.benchmark, "path"),
            "model": local(config.model, *(["id"] if config.model.source == "folder" else [])),
            "verifier": local(config.verifier, "ragtruth", *(["id"] if config.verifier.source == "folder" else [])),
            "sampling": local(config.sampling, "python"),
            "runtime": local(config.runtime, "image"),
            "arms": {name: local(arm, "id") if arm.adapter == "folder" else arm for name, arm in config.arms.items()},
        }
    )
    return config if clean == config else clean


def published(content: bytes, where: str) -> bytes:
    """A resolved configuration as it may leave the machine: the same bytes if it names no place.

    A configuration that cannot be read is returned as it is; other checks say what is wrong with it.
    """
    try:
        config = reading.validate(reading.parse(content, where), where)
    except CardproofError:
        return content
    clean = without_places(config)
    return content if clean is config else texts.to_yaml(clean).encode()


def command_without_places(arguments: list[str], known: dict[str, str]) -> list[str]:
    """A command line in which paths are told by name: `known` maps a folder to what replaces it; of any other path the name is kept.

    Relative paths stay, unless they lead upwards and so tell of folders outside.
    """

    def told(argument: str) -> str:
        for path, name in known.items():
            argument = argument.replace(path, name)
        option, equals, value = argument.rpartition("=") if argument.startswith("-") else ("", "", argument)
        path_of_value = PurePath(value)
        if path_of_value.is_absolute() or ".." in path_of_value.parts:
            return f"{option}{equals}{{outside}}/{name_of(value)}"
        return argument

    return [told(argument) for argument in arguments]
