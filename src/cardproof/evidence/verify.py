"""Check that every result of a run follows from its inputs, from the sources to the card.

The check finds a file that was changed, removed or added after its step; a result older than its inputs; a result made with settings that
differ from the run's; and a changed record. It cannot find a forger who rewrites every later result and record: compare the digest that
`cardproof verify` prints with a published one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

from cardproof import runs
from cardproof.config.reading import load
from cardproof.config.settings import Config
from cardproof.errors import CardproofError
from cardproof.evidence import sealed_lines
from cardproof.evidence.sidecars import NOT_CONTENT, PROJECT, Record, code_of, digest_of, hashes, names, read, record_path, settings_of
from cardproof.files import read_json, sha256_file, sha256_text

NOT_RESULTS = ("logs", "cost", "store", "work", "shards", runs.RECORDS)
"""Folders whose files have no record. Logs and costs have a list of their own, the store has a hash in each line, the others are
temporary."""
PRODUCTS = (runs.CLAIMS, "card/", "evaluation/", "figures/", "report")
"""What a reader looks at. A result that none of these depends on may be left from an earlier configuration."""
AGAIN = "delete the file and run the workflow again, which remakes it; or take the files from where they were made."


class Problem(NamedTuple):
    """One file that does not follow from its inputs."""

    file: str
    sentence: str


class Chain(NamedTuple):
    """The state of a run's results."""

    results: int
    """Results that have a record."""
    problems: list[Problem]
    """In the order of the data flow, so that the first one is where the chain breaks."""
    notes: list[str]
    """What a reader should know although it breaks nothing: changed code, leftovers."""
    digest: str
    """One digest over every result behind the products, except the report, which tells times. Two runs of one seed have the same."""

    @property
    def state(self) -> str:
        """`whole`, `broken`, or `unrecorded` if no result has a record."""
        return "broken" if self.problems else "whole" if self.results else "unrecorded"


def check(run: Path, skip: tuple[str, ...] = ()) -> Chain:
    """Follow a run's chain. `skip` names results (paths below the run) that are about to be remade; they are not checked.

    CardproofError if the folder is not a run.
    """
    run = Path(run)
    if not (run / runs.CONFIG).is_file():
        raise CardproofError(f"{run / runs.CONFIG} does not exist.", "give the folder of a run: results/NAME.")
    problems: list[Problem] = []
    records: dict[str, Record] = {}
    for name in names(run):
        if name.startswith(skip):
            continue
        try:
            record = read(record_path(run, name))
        except CardproofError as e:
            problems.append(Problem(f"{runs.RECORDS}/{name}.json", e.sentence))
            continue
        if record.file != name:
            problems.append(Problem(f"{runs.RECORDS}/{name}.json", f"{record_path(run, name)} is the record of {record.file}."))
        else:
            records[name] = record
    used = _used(records)
    config, notes = _config(run, problems), []
    ordered = _ordered(records, problems)
    left_out = set(read_json(run / runs.LEFT_OUT)) if (run / runs.LEFT_OUT).is_file() else set()
    notes += [f"not in this archive, so not looked at: {', '.join(sorted(left_out))}."] if left_out else []
    problems += _sources(run, {name: records[name] for name in ordered if name in used})
    for name in ordered:
        if name not in used:
            if not _is_temporary(name):
                notes.append(f"{name}: no result of this run rests on it; left from an earlier configuration.")
            continue
        problems += [p for p in _follows(run, records[name], records, config) if not (p.file in left_out and not (run / p.file).exists())]
    problems += [] if skip else _stray(run, records)
    problems += [] if skip else [*_store(run), *_logs(run)]
    notes += _other_code(records[name] for name in ordered if name in used)
    digest = sha256_text(
        "\n".join(f"{name} {records[name].digest}" for name in sorted(used) if not name.endswith("cost.json") and name != "report")
    )
    return Chain(len(records), _once(problems), notes, digest)


def _config(run: Path, problems: list[Problem]) -> Config | None:
    try:
        return load(run / runs.CONFIG)
    except CardproofError as e:
        problems.append(Problem(runs.CONFIG, e.sentence))
        return None


def _used(records: Mapping[str, Record]) -> set[str]:
    """The products and everything they are made from; every result if there is no product yet."""
    todo = [name for name in records if name.startswith(PRODUCTS)] or list(records)
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name not in seen and name in records:
            seen.add(name)
            todo += records[name].inputs
    # The other files of the same call: its times, its summary.
    calls = {(records[name].step, tuple(records[name].command)) for name in seen}
    return seen | {name for name, r in records.items() if (r.step, tuple(r.command)) in calls}


def _ordered(records: Mapping[str, Record], problems: list[Problem]) -> list[str]:
    graph = {name: sorted(i for i in records[name].inputs if i in records) for name in sorted(records)}
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as e:
        problems.append(Problem(str(e.args[1][0]), f"{e.args[1][0]} is recorded as made from itself."))
        return sorted(records)


def _sources(run: Path, records: Mapping[str, Record]) -> Iterator[Problem]:
    """Inputs in the run that no step made: the configuration."""
    for name, record in records.items():
        for source, expected in record.inputs.items():
            if ":" in source or source in records or not source.startswith(runs.CONFIG):
                continue
            if not (run / source).is_file() or sha256_file(run / source) != expected:
                yield Problem(source, f"{run / source} is not the file that {name} was made from.")


def _follows(run: Path, record: Record, records: Mapping[str, Record], config: Config | None) -> Iterator[Problem]:
    path = run / record.file
    for name, digest in record.inputs.items():
        if name in records and records[name].digest != digest:
            yield Problem(record.file, f"{path} does not follow from {name}: that was made again, or is a different file.")
        elif ":" not in name and name not in records and name != runs.CONFIG:
            lacks = "has no record" if (run / name).exists() else "is missing"
            yield Problem(name, f"{run / name} {lacks}, and {record.file} was made from it.")
    if config is not None and (other := _other_settings(record, config)):
        yield Problem(record.file, f"{path} was made with a setting that {runs.CONFIG} no longer has: {other}.")
    if not path.exists():
        if not _is_temporary(record.file):
            yield Problem(record.file, f"{path} is missing.")
        return
    digests = hashes(path)
    if digest_of(digests) != digest_of(record.sha256):
        for part in sorted(digests.keys() | record.sha256.keys()):
            if digests.get(part) != record.sha256.get(part):
                name = f"{record.file}/{part}" if part else record.file
                how = "added" if part not in record.sha256 else "changed" if part in digests else "removed"
                yield Problem(name, f"{run / name} was {how} after the step {record.step} made it.")


def _other_settings(record: Record, config: Config) -> str:
    """The first setting that has changed since the result was made, or an empty string. Settings added later do not count."""
    try:
        values = settings_of(record.step, record.wildcards, config)
    except KeyError:
        return f"there is no {', '.join(record.wildcards.values())} now"
    for key, value in record.config.items():
        if not _holds(values.get(key), value):
            return f"{key} was {value!r}, and is {values.get(key)!r}"
    return ""


def _holds(now: object, then: object) -> bool:
    if isinstance(then, dict) and isinstance(now, dict):
        return all(key in now and _holds(now[key], value) for key, value in then.items())
    return now == then


def _is_temporary(name: str) -> bool:
    return name.startswith("shards/")


def _stray(run: Path, records: Mapping[str, Record]) -> Iterator[Problem]:
    """Files among the results that no step recorded."""
    known = (*(f"{folder}/" for folder in NOT_RESULTS), *(f"{name}/" for name in records if (run / name).is_dir()))
    for path in sorted(p for p in run.rglob("*") if p.is_file()):
        name = path.relative_to(run).as_posix()
        if not name.startswith(known) and name not in (*records, runs.CONFIG, runs.LOGS, runs.LEFT_OUT) and path.name not in NOT_CONTENT:
            yield Problem(name, f"{path} has no record: no step of this run is known to have made it.")


def _store(run: Path) -> Iterator[Problem]:
    """The first changed line of each rollout store. A torn last line does not count."""
    for path in sorted((run / "store").glob("*.jsonl")):
        lines = path.read_bytes().splitlines(keepends=True)
        for number, line in enumerate(lines, 1):
            torn = number == len(lines) and not line.endswith(b"\n")
            if not torn and sealed_lines.parse(line) is None:
                name = path.relative_to(run).as_posix()
                yield Problem(name, f"{path}, line {number}, was changed after it was written.")
                break


def _logs(run: Path) -> Iterator[Problem]:
    """Logs that have changed since the workflow last ended. A log written later is not listed, and not a problem."""
    if not (run / runs.LOGS).is_file():
        return
    try:
        listed = {str(name): str(digest) for name, digest in read_json(run / runs.LOGS).items()}
    except (CardproofError, AttributeError):
        yield Problem(runs.LOGS, f"{run / runs.LOGS} is not a list of logs.")
        return
    seal = listed.pop("seal", "")
    if seal != digest_of(listed):
        yield Problem(runs.LOGS, f"{run / runs.LOGS} was changed after it was written.")
    for name, digest in listed.items():
        if not (run / name).is_file() or sha256_file(run / name) != digest:
            yield Problem(name, f"{run / name} was changed or removed after the workflow ended.")


def logs(run: Path) -> dict[str, str]:
    """The content of `provenance/logs.json`: log or measured cost -> sha256, and a seal over them."""
    paths = sorted(p for folder in ("logs", "cost") for p in (run / folder).rglob("*") if p.is_file())
    digests = {p.relative_to(run).as_posix(): sha256_file(p) for p in paths}
    return {**digests, "seal": digest_of(digests)}


def _other_code(records: Iterator[Record]) -> list[str]:
    """Steps whose code has changed since the run was made, and files of the checkout that have."""
    steps: dict[str, None] = {}
    files: dict[str, None] = {}
    code = lru_cache(code_of)
    for record in records:
        engine = str(record.config.get("sampling.backend", "transformers"))
        if record.code is not None and code(record.step, engine) != record.code:
            steps[record.step] = None
        for name, digest in record.inputs.items():
            if name.startswith("project:"):
                path = PROJECT / name.removeprefix("project:")
                if not path.exists() or (digest not in (digests := hashes(path)).values() and digest != digest_of(digests)):
                    files[name.removeprefix("project:")] = None
    notes = [f"made by code that differs from this checkout's: {', '.join(steps)}."] if steps else []
    return notes + ([f"made from other versions of this checkout's files: {', '.join(files)}."] if files else [])


def _once(problems: list[Problem]) -> list[Problem]:
    """Each file once, with the first problem it has."""
    first: dict[str, Problem] = {}
    for problem in problems:
        first.setdefault(problem.file, problem)
    return list(first.values())
