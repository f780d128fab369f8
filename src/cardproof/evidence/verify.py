"""Check that every result of a run follows from its inputs, from the sources to the card.

The check finds a file that was changed, removed or added after its step; a result older than its inputs; a result made with settings that
differ from the run's; and a changed record. It cannot find a forger who rewrites every later result and record: a signature can, or the
digest that `cardproof verify` prints, compared with a published one.

The run may be anyone's: nothing outside its folder is read, and no link in it is followed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

from cardproof import outside, runs
from cardproof.config.reading import load
from cardproof.config.settings import Config
from cardproof.errors import CardproofError
from cardproof.evidence import sealed_lines
from cardproof.evidence.sidecars import (
    NOT_CONTENT,
    OF_PROJECT,
    PROJECT,
    Record,
    code_of,
    config_digest,
    digest_of,
    hashes,
    read,
    record_path,
    settings_of,
)
from cardproof.files import read_json, sha256_file, sha256_text

NOT_RESULTS = ("logs", "cost", "store", "work", "shards", runs.RECORDS)
"""Folders whose files have no record. Logs and costs have a list of their own, the store has a hash in each line, the others are
temporary."""
UNRECORDED = (runs.CONFIG, runs.LOGS, runs.LEFT_OUT, runs.SIGNATURE)
"""Files that have no record because they are no step's result."""
LINKED = ("models/", "adapters/")
"""Folders of models, which are links where the model is a local one."""
WEIGHTS = (*LINKED, "training/")
"""Where an archive may leave out folders: those of weights."""
SOURCES = ("prompts", "published", "report", "config")
"""What results are made from in the checkout: a record that names anything else there is not looked up."""
PRODUCTS = (runs.CLAIMS, "card/", "evaluation/", "figures/", "report")
"""What a reader looks at. A result that none of these depends on may be left from an earlier configuration."""
PRODUCED = (runs.CLAIMS, "figures/", "card/", "report")
"""The products that are made from verdicts."""
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

    def withholds(self, comparable: bool) -> bool:
        """True if nobody can say that the results were computed from these inputs, so no verdict may rest on them.

        A run that compares with the published card needs records; that is its point.
        """
        return self.state == "broken" or (self.state == "unrecorded" and comparable)


class Files:
    """What is in a run's folder, listed once. No link is followed, except with `links` in the folders of models."""

    def __init__(self, run: Path, links: bool = False) -> None:
        self.run, self.links = run, links
        plain, self.other = outside.tree(run)
        self.plain = dict.fromkeys(plain)

    @cached_property
    def folders(self) -> set[str]:
        """Every folder that has a file or a link in it."""
        return {parent.as_posix() for name in (*self.plain, *self.other) for parent in Path(name).parents}

    def has(self, name: str) -> bool:
        """True if there is a plain file or a folder of that name."""
        return name in self.plain or name in self.folders

    def below(self, folder: str) -> list[str]:
        """The plain files below a folder."""
        return [name for name in self.plain if name.startswith(f"{folder}/")]

    def hashes(self, name: str) -> dict[str, str]:
        """As `sidecars.hashes`, of plain files alone."""
        if self.links and name.startswith(LINKED):
            return hashes(self.run / name)
        if name in self.plain:
            return {"": sha256_file(self.run / name)}
        found = [part for part in self.below(name) if Path(part).name not in NOT_CONTENT]
        return {part.removeprefix(f"{name}/"): sha256_file(self.run / part) for part in found}

    def unread(self, name: str) -> set[str]:
        """The links in a folder of models that are not followed, by their paths in it."""
        if self.links or not name.startswith(LINKED):
            return set()
        return {other.removeprefix(f"{name}/") for other, kind in self.other.items() if kind == "a link" and other.startswith(f"{name}/")}


def check(run: Path, skip: tuple[str, ...] = (), links: bool = False, of: tuple[str, ...] = PRODUCTS) -> Chain:
    """Follow a run's chain. `skip` names results (paths below the run) that are about to be remade; they are not checked.

    `links`: the run is one's own, and links to local models are followed. `of`: what is looked at, with all that it is made from.
    CardproofError if the folder is not a run.
    """
    run = Path(run)
    if not (run / runs.CONFIG).exists():
        raise CardproofError(f"{run / runs.CONFIG} does not exist.", "give the folder of a run: results/NAME.")
    files = Files(run, links)
    problems, notes = _links(files)
    records = _records(files, skip, problems)
    used = _used(records, of)
    config = _config(files, problems)
    ordered = _ordered(records, problems)
    left_out = _left_out(files, problems)
    notes += [f"not in this archive, so not looked at: {', '.join(sorted(left_out))}."] if left_out else []
    problems += _sources(files, {name: records[name] for name in ordered if name in used})
    for name in ordered:
        if name not in used:
            if not _is_temporary(name):
                notes.append(f"{name}: no result of this run rests on it; left from an earlier configuration.")
            continue
        problems += [p for p in _follows(files, records[name], records, config) if not (p.file in left_out and not files.has(p.file))]
    # Where no file has a record, that is the one thing to say.
    problems += [] if skip or not records else _stray(files, records)
    problems += [] if skip else [*_store(files), *_logs(files)]
    notes += _other_code(records[name] for name in ordered if name in used)
    digest = sha256_text(
        "\n".join(f"{name} {records[name].digest}" for name in sorted(used) if not name.endswith("cost.json") and name != "report")
    )
    return Chain(len(records), _once(problems), notes, digest)


class Broken(CardproofError):
    """Results that do not follow from their inputs, where a verdict was to rest on them."""

    exit_code = 4


def follow(run: Path, results: Iterable[str]) -> str | None:
    """Check that some results of a run (paths below it) follow from their inputs, as the card does before it gives a verdict.

    Returns a sentence if nothing was checked, since the run has no records. Broken names the first file that does not follow.
    """
    read = tuple(name for name in results if name != runs.CONFIG)
    if not read:
        return None
    chain = check(run, skip=PRODUCED, of=read)
    if chain.state == "unrecorded":
        return f"{run} has no record of how its results were made, so nobody checked that they follow from their inputs."
    unrecorded = next((name for name in read if not record_path(run, name).is_file()), None)
    problem = chain.problems[0].sentence if chain.problems else None
    if problem is None and unrecorded is not None:
        problem = f"{run / unrecorded} has no record: no step of this run is known to have made it."
    if problem is not None:
        raise Broken(problem, AGAIN)
    return None


def behind(run: Path) -> list[Record]:
    """The records of a run's products and of all that they are made from, in the order of the data flow; of a run that was checked."""
    problems: list[Problem] = []
    records = _records(Files(run), (), problems)
    used = _used(records, PRODUCTS)
    return [records[name] for name in _ordered(records, problems) if name in used]


def _links(files: Files) -> tuple[list[Problem], list[str]]:
    """Everything but plain files is a problem, except for links to local models, which are only not followed."""
    models = {name.rpartition("/")[0] for name, kind in files.other.items() if kind == "a link" and name.startswith(LINKED)}
    models = {folder for folder in models if folder.count("/") == 1}
    others = {name: kind for name, kind in files.other.items() if name.rpartition("/")[0] not in models or kind != "a link"}
    problems = [Problem(name, f"{files.run / name} is {kind}, not a plain file.") for name, kind in others.items()]
    unseen = [] if files.links else sorted(models)
    return problems, [f"links to files elsewhere, so not looked at: {', '.join(unseen)}."] if unseen else []


def _records(files: Files, skip: tuple[str, ...], problems: list[Problem]) -> dict[str, Record]:
    """Every record that can be read, by its result's path below the run; each other one is a problem."""
    records: dict[str, Record] = {}
    for file in files.below(runs.RECORDS):
        name = file.removeprefix(f"{runs.RECORDS}/").removesuffix(".json")
        if name.startswith(skip) or not file.endswith(".json"):
            continue
        try:
            record = read(record_path(files.run, name))
        except CardproofError as e:
            problems.append(Problem(file, e.sentence))
            continue
        bad = next((entry for entry in record.inputs if outside.unsafe(entry.removeprefix(OF_PROJECT))), None)
        if record.file != name:
            problems.append(Problem(file, f"{record_path(files.run, name)} is the record of {record.file}."))
        elif bad is not None:
            problems.append(
                Problem(file, f"{record_path(files.run, name)} names the input {bad!r:.200}, which is not a path below a folder.")
            )
        else:
            records[name] = record
    return records


def _config(files: Files, problems: list[Problem]) -> Config | None:
    if runs.CONFIG not in files.plain:
        return None  # said already: it is a link
    try:
        return load(files.run / runs.CONFIG)
    except CardproofError as e:
        problems.append(Problem(runs.CONFIG, e.sentence))
        return None


def _left_out(files: Files, problems: list[Problem]) -> set[str]:
    """The folders of weights that an archive says it left out."""
    if runs.LEFT_OUT not in files.plain:
        return set()
    listed = read_json(files.run / runs.LEFT_OUT)
    if not isinstance(listed, list) or not all(isinstance(name, str) and name.startswith(WEIGHTS) for name in listed):
        problems.append(Problem(runs.LEFT_OUT, f"{files.run / runs.LEFT_OUT} is not a list of folders of weights."))
        return set()
    return set(listed)


def _used(records: Mapping[str, Record], products: tuple[str, ...]) -> set[str]:
    """The products and everything they are made from; every result if there is no product yet."""
    todo = [name for name in records if name.startswith(products)] or list(records)
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


def _sources(files: Files, records: Mapping[str, Record]) -> Iterator[Problem]:
    """Inputs in the run that no step made: the configuration."""
    if runs.CONFIG not in files.plain:
        return
    path = files.run / runs.CONFIG
    now = {sha256_file(path), config_digest(path)}
    for name, record in records.items():
        if record.inputs.get(runs.CONFIG, config_digest(path)) not in now:
            yield Problem(runs.CONFIG, f"{path} is not the file that {name} was made from.")


def _follows(files: Files, record: Record, records: Mapping[str, Record], config: Config | None) -> Iterator[Problem]:
    run, path = files.run, files.run / record.file
    for name, digest in record.inputs.items():
        if name in records and records[name].digest != digest:
            yield Problem(record.file, f"{path} does not follow from {name}: that was made again, or is a different file.")
        elif ":" not in name and name not in records and name != runs.CONFIG:
            lacks = "has no record" if files.has(name) else "is missing"
            yield Problem(name, f"{run / name} {lacks}, and {record.file} was made from it.")
    if config is not None and (other := _other_settings(record, config)):
        yield Problem(record.file, f"{path} was made with a setting that {runs.CONFIG} no longer has: {other}.")
    if not files.has(record.file):
        if not _is_temporary(record.file):
            yield Problem(record.file, f"{path} is missing.")
        return
    unread = files.unread(record.file)
    digests = files.hashes(record.file)
    expected = {part: digest for part, digest in record.sha256.items() if part not in unread}
    if digest_of(digests) != digest_of(expected):
        for part in sorted(digests.keys() | expected.keys()):
            if digests.get(part) != expected.get(part):
                name = f"{record.file}/{part}" if part else record.file
                how = "added" if part not in expected else "changed" if part in digests else "removed"
                yield Problem(name, f"{run / name} was {how} after the step {record.step} made it.")
    for part in sorted(unread - record.sha256.keys()):
        yield Problem(f"{record.file}/{part}", f"{path / part} was added after the step {record.step} made it.")


def _other_settings(record: Record, config: Config) -> str:
    """The first setting that has changed since the result was made, or an empty string. Settings added later do not count."""
    try:
        values = settings_of(record.step, record.wildcards, config)
    except (KeyError, TypeError):
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


def _stray(files: Files, records: Mapping[str, Record]) -> Iterator[Problem]:
    """Files among the results that no step recorded."""
    known = (*(f"{folder}/" for folder in NOT_RESULTS), *(f"{name}/" for name in records if name in files.folders))
    for name in files.plain:
        if not name.startswith(known) and name not in records and name not in UNRECORDED and Path(name).name not in NOT_CONTENT:
            yield Problem(name, f"{files.run / name} has no record: no step of this run is known to have made it.")


def _store(files: Files) -> Iterator[Problem]:
    """The first changed line of each rollout store. A torn last line does not count."""
    for name in files.below("store"):
        if name.count("/") > 1 or not name.endswith(".jsonl"):
            continue
        path = files.run / name
        with outside.opened(path, outside.MOST_ROWS_BYTES) as f:
            for number, line in enumerate(outside.lines(f, path), 1):
                # Only the last line has no line end.
                if line.endswith(b"\n") and sealed_lines.parse(line) is None:
                    yield Problem(name, f"{path}, line {number}, was changed after it was written.")
                    break


def _logs(files: Files) -> Iterator[Problem]:
    """Logs that have changed since the workflow last ended. A log written later is not listed, and not a problem."""
    run = files.run
    if runs.LOGS not in files.plain:
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
        if name not in files.plain or sha256_file(run / name) != digest:
            yield Problem(name, f"{run / name} was changed or removed after the workflow ended.")


def logs(run: Path) -> dict[str, str]:
    """The content of `provenance/logs.json`: log or measured cost -> sha256, and a seal over them."""
    paths = sorted(p for folder in ("logs", "cost") for p in (run / folder).rglob("*") if p.is_file())
    digests = {p.relative_to(run).as_posix(): sha256_file(p) for p in paths}
    return {**digests, "seal": digest_of(digests)}


def _other_code(records: Iterable[Record]) -> list[str]:
    """Steps whose code has changed since the run was made, and files of the checkout that have."""
    steps: dict[str, None] = {}
    files: dict[str, None] = {}
    code, ours = lru_cache(code_of), lru_cache(_of_checkout)
    for record in records:
        engine = str(record.config.get("sampling.backend", "transformers"))
        if record.code is not None and code(record.step, engine) != record.code:
            steps[record.step] = None
        for name, digest in record.inputs.items():
            source = name.removeprefix(OF_PROJECT)
            if source != name and source.startswith(SOURCES) and digest not in ours(source):
                files[source] = None
    notes = [f"made by code that differs from this checkout's: {', '.join(steps)}."] if steps else []
    return notes + ([f"made from other versions of this checkout's files: {', '.join(files)}."] if files else [])


def _of_checkout(name: str) -> frozenset[str]:
    """The digests of a file or folder of the checkout; none if there is no such plain file."""
    if outside.linked(PROJECT, name) or not (PROJECT / name).exists():
        return frozenset()
    digests = hashes(PROJECT / name)
    return frozenset({*digests.values(), digest_of(digests)})


def _once(problems: list[Problem]) -> list[Problem]:
    """Each file once, with the first problem it has."""
    first: dict[str, Problem] = {}
    for problem in problems:
        first.setdefault(problem.file, problem)
    return list(first.values())
