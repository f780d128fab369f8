"""What Snakemake needs before it reads the workflow: configuration files, a working folder and a cache that can be written.

Snakemake itself ends in a traceback without one of them. `cardproof run` looks first, and then hands every option to Snakemake. For whoever
calls Snakemake itself, the Snakefile looks at the working folder.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cardproof import outside
from cardproof.config import reading
from cardproof.errors import CardproofError, nearest

OPTION = "--configfile"
"""Of Snakemake; it may be written with a plural, and takes several files."""
SNAKEFILES = ("Snakefile", "snakefile", "workflow/Snakefile", "workflow/snakefile")
"""Where Snakemake looks for a workflow by itself."""


def command(arguments: Sequence[str], root: Path, environment: Mapping[str, str] = os.environ) -> list[str]:
    """The call of Snakemake for `cardproof run ARGUMENTS`, once nothing that it needs is missing.

    In a folder without a workflow of its own it runs the one in `root`. CardproofError names the first file or folder that is at fault.
    """
    for file in configuration_files(arguments):
        check_configuration(Path(file))
    place = Path(_value(arguments, "--directory", "-d") or ".")
    if not place.is_dir() and place.exists():
        raise CardproofError(f"{place} is not a folder.", "give --directory a folder to work in.")
    check_writable(place, "work in a folder of your own: cd FOLDER, or --directory FOLDER.")
    cache = Path(environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME") or Path.home(), ".cache"))
    check_writable(cache, "Snakemake keeps a cache there: set XDG_CACHE_HOME to a folder that can be written.")
    beside = Path(sys.executable).parent / "snakemake"
    own = _value(arguments, "--snakefile", "-s") or any(Path(name).is_file() for name in SNAKEFILES)
    return [str(beside) if beside.is_file() else "snakemake", *([] if own else ["--snakefile", str(root / "Snakefile")]), *arguments]


def check_writable(folder: Path, hint: str) -> None:
    """Raise CardproofError if neither the folder nor what it would be made in can be written."""
    above = folder.absolute()
    while not above.exists():
        above = above.parent
    # What Snakemake left there may be another user's.
    for place in (above, *(above / name for name in (".snakemake", "results") if above == folder.absolute())):
        if place.exists() and not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
            raise CardproofError(f"{place} cannot be written.", hint)


def check_configuration(file: Path) -> None:
    """Raise CardproofError if a configuration file is missing, or not a mapping in YAML; settings are checked by the workflow."""
    if not file.is_file():
        beside = sorted(str(path) for path in file.parent.glob("*.y*ml")) if file.parent.is_dir() else []
        near = nearest(str(file), beside)
        kind = "is a folder" if file.is_dir() else "does not exist"
        raise CardproofError(
            f"{file} {kind}.", f"did you mean {near}?" if near else f"give {OPTION} a configuration file, such as config/demo.yaml."
        )
    reading.parse(outside.read_bytes(file, outside.MOST_YAML), str(file))


def configuration_files(arguments: Sequence[str]) -> list[str]:
    """The values of `--configfile`, which takes all arguments up to the next option."""
    found: list[str] = []
    taking = False
    for argument in arguments:
        if argument.startswith("-"):
            name, equals, value = argument.partition("=")
            taking = name in (OPTION, f"{OPTION}s") and not equals
            found += [value] if equals and name in (OPTION, f"{OPTION}s") else []
        elif taking:
            found.append(argument)
    return found


def _value(arguments: Sequence[str], *names: str) -> str | None:
    """The value of an option that takes one."""
    for at, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in names:
            return value if equals else next(iter(arguments[at + 1 :]), None)
    return None
