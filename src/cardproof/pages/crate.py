"""A finished run as an RO-Crate that other tools can read: files, steps and tools in the terms of Provenance Run Crate.

Everything in it comes from the run's records. They have no times, hosts or names of people, so it does not say when a step ended or who
ran it. The run's files are in the folder `run`, where `cardproof verify` checks them, and the workflow's in `workflow`. Weights are left
out, and so are texts of the data where its licence does not allow sending them; the hashes of both are there.

Profiles: https://www.researchobject.org/workflow-run-crate/profiles/provenance_run_crate, version 0.5, and what it rests on.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from cardproof import outside, runs
from cardproof.errors import CardproofError
from cardproof.evidence.archive import content_of, contents
from cardproof.evidence.provenance import STEPS, step_of
from cardproof.evidence.sidecars import OF_PROJECT, PROJECT, Record, digest_of, hashes
from cardproof.evidence.verify import SOURCES, behind
from cardproof.files import atomic, sha256_bytes, sha256_file
from cardproof.pages.publish import PUBLIC, refuse_made_up, refuse_tokens
from cardproof.pages.usage import texts_allowed
from cardproof.runs import Run

if TYPE_CHECKING:
    from rocrate.model.entity import Entity
    from rocrate.rocrate import ROCrate

RO_CRATE = "1.1"
"""The version of RO-Crate that the profiles below rest on."""
WORKFLOW_RO_CRATE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/provenance/0.5": ("Provenance Run Crate", "0.5"),
    WORKFLOW_RO_CRATE: ("Workflow RO-Crate", "1.0"),
}
TERMS = "https://w3id.org/ro/terms/workflow-run"
"""Vocabulary of the profiles; RO-Crate 1.1 itself has no term for a hash."""
COMPLETED = "http://schema.org/CompletedActionStatus"
APACHE = "https://spdx.org/licenses/Apache-2.0"
OWN_RUN, OWN_WORKFLOW = "run", "workflow"
"""Folders of the crate: the run's files, and those of the workflow."""
MAIN = f"{OWN_WORKFLOW}/Snakefile"
README = "README.md"
"""What a person reads first."""
CODE = ("Snakefile", "rules/*.smk", "config.yaml", "pyproject.toml", "LICENSE")
"""What of the checkout says how the steps follow from each other; `config.yaml` is what a Snakefile reads first."""
WITHOUT_TEXTS = ("card/", "cost/", f"{runs.RECORDS}/", runs.SIGNATURE)
"""What has no texts of the data in it, beside the results that a card may name."""
FORMATS = {
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".yaml": "application/yaml",
    ".md": "text/markdown",
    ".html": "text/html",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".parquet": "application/vnd.apache.parquet",
    ".tsv": "text/tab-separated-values",
}
"""Suffix -> media type; anything else is plain text."""
FIRST_DAY = (1980, 1, 1, 0, 0, 0)
"""The time of each file in a zip file, so that the same run gives the same bytes."""
_PLACE = re.compile(r"[^\w./-]+")


class Packed(NamedTuple):
    """A crate that was written."""

    files: int
    """Files in it, its own description included."""
    steps: int
    """Calls of steps that it describes."""
    texts: bool
    """True if texts of the data are in it: their licence allows it."""
    digest: str
    """The digest of the run's chain."""


def crate(folder: Path, out: Path, day: date | None = None, environment: Mapping[str, str] = os.environ) -> Packed:
    """Write a run as an RO-Crate: a folder that does not exist yet, or a file that ends in `.zip`.

    `day` is the date of publication; without it, the day on which the run's verdicts were written (UTC). The same run and day give the same
    bytes. CardproofError if the run's chain is broken or not recorded, if its results are made up, or if a file has a token in it.
    """
    run = Run(folder)
    refuse_made_up(run)
    if out.suffix != ".zip" and out.exists():
        raise CardproofError(f"{out} exists.", "name a folder that does not exist yet, or a file that ends in .zip.")
    if out.resolve().is_relative_to(run.folder.resolve()):
        raise CardproofError(f"{out} is in the run's own folder.", "write the crate elsewhere: files without a record break a run's chain.")
    kept = contents(run.folder)
    texts = texts_allowed(run.config)
    day = day or datetime.fromtimestamp(run.path(runs.CLAIMS).stat().st_mtime, UTC).date()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as temporary:
        place = Path(temporary, "crate")
        for name in kept.names:
            if texts or PUBLIC.fullmatch(name) or name.startswith(WITHOUT_TEXTS):
                _write(place / OWN_RUN / name, content_of(run.folder, name))
        if texts:
            _write(place / OWN_RUN / runs.LEFT_OUT, kept.left_out)
        records = behind(run.folder)
        _workflow(place / OWN_WORKFLOW, records)
        _write(place / README, _readme(run, texts, kept.chain.digest).encode())
        _Description(place, run, records, kept.chain.digest, day).write()
        names = sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())
        for name in names:
            refuse_tokens(name, place / name, environment)
        _zip(place, names, out) if out.suffix == ".zip" else shutil.move(place, out)
    return Packed(len(names), len(_calls(records)), texts, kept.chain.digest)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _zip(place: Path, names: Iterable[str], out: Path) -> None:
    """One file, without times, owners or modes of this machine. Folders have entries of their own, because the description names some."""
    folders = {f"{parent.as_posix()}/" for name in names for parent in Path(name).parents if parent.name}
    with atomic(out) as tmp, zipfile.ZipFile(tmp, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in sorted({*names, *folders}):
            info = zipfile.ZipInfo(name, FIRST_DAY)
            info.compress_type, info.create_system = zipfile.ZIP_DEFLATED, 3
            info.external_attr = (0o40755 if name in folders else 0o100644) << 16
            packed.writestr(info, b"" if name in folders else (place / name).read_bytes())


def _workflow(place: Path, records: Iterable[Record]) -> None:
    """Copy the Snakefile and its rules, and each file of the checkout that a result was made from if it is the same one still."""
    if not (PROJECT / "Snakefile").is_file():
        raise CardproofError("There is no Snakefile beside the package.", "run this from a checkout: a crate contains the workflow.")
    for path in (path for pattern in CODE for path in sorted(PROJECT.glob(pattern))):
        _write(place / path.relative_to(PROJECT), outside.read_bytes(path, outside.MOST_TEXT))
    named = {(name, digest) for record in records for name, digest in record.inputs.items() if name.startswith(OF_PROJECT)}
    inputs = {(name.removeprefix(OF_PROJECT), digest) for name, digest in named}
    for name, digest in sorted(inputs):
        source = PROJECT / name
        if not name.startswith(SOURCES) or outside.linked(PROJECT, name) or not source.exists() or _digest(source) != digest:
            continue  # the checkout has another version now, or none
        for part in hashes(source):
            _write(place / name / part, outside.read_bytes(source / part, outside.MOST_TEXT))


def _digest(path: Path) -> str:
    """The digest of a file or folder, as records have it."""
    found = hashes(path)
    return found.get("", digest_of(found))


def _readme(run: Run, texts: bool, digest: str) -> str:
    """What is in the crate, and how to check it."""
    check = "`cardproof verify run` checks that every result follows from its inputs, and prints this digest."
    without = "Prompts, replies and pages are left out, since the licence of the data does not allow sending them; their hashes are there."
    return f"""# Run {run.config.run} of cardproof

This folder is an RO-Crate (Provenance Run Crate 0.5): `ro-crate-metadata.json` describes its files, and every step that made them.

- `run/`: the run's files. Weights are left out; their hashes are in `run/provenance/files/`.
- `run/card/README.md`: the rendered model card. `run/claims.json`: every verdict.
- `workflow/`: the workflow's rules, and the files of the checkout that results were made from.

Digest of the chain: {digest}.

{check if texts else without}
"""


def _calls(records: Iterable[Record]) -> list[list[Record]]:
    """The records of each call of a step: those of one command."""
    calls: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        calls.setdefault((record.step, *record.command), []).append(record)
    return list(calls.values())


class _Description:
    """The crate's own description, `ro-crate-metadata.json`, built with the library `rocrate`."""

    def __init__(self, place: Path, run: Run, records: list[Record], digest: str, day: date) -> None:
        from rocrate.rocrate import ROCrate

        self.place, self.run, self.records, self.digest = place, run, records, digest
        self.made = {record.file: record for record in records}
        self.crate: ROCrate = ROCrate(version=RO_CRATE)
        self.crate.metadata.extra_terms["sha256"] = f"{TERMS}#sha256"
        self.crate.datePublished = day.isoformat()
        self.entities: dict[str, Entity] = {}
        self.examples: dict[str, list[Entity]] = {}
        """Step -> the tools that it called."""

    def write(self) -> None:
        """Describe everything and write the file."""
        self._root()
        for path in sorted(path for path in self.place.rglob("*") if path.is_file()):
            self._file(path.relative_to(self.place).as_posix())
        workflow = self._main()
        calls = [self._call(call) for call in _calls(self.records)]
        whole = self._whole(workflow)
        self.crate.root_dataset["mentions"] = [*[action for _, action, _ in calls], whole]
        workflow["step"] = _some(step for step, _, _ in calls)
        workflow["hasPart"] = _some(tool for _, _, tool in calls)
        if (self.run.folder / runs.LOGS).is_file():  # written by Snakefile where a run ends: Snakemake ran it
            self._engine(whole, calls)
        self.crate.metadata.write(self.place)

    # --- entities

    def _add(self, identifier: str, properties: Mapping[str, Any]) -> Entity:
        """A contextual entity, once."""
        from rocrate.model.contextentity import ContextEntity

        if identifier not in self.entities:
            self.entities[identifier] = self.crate.add(ContextEntity(self.crate, identifier, properties=dict(properties)))
        return self.entities[identifier]

    def _root(self) -> None:
        root, card = self.crate.root_dataset, self.run.config.published
        root["name"] = f"Run {self.run.config.run} of cardproof"
        root["description"] = (
            f"A finished run of the workflow cardproof: what was sampled, scored, evaluated and judged, and the record of each result. "
            f"{'Its numbers are held against those of a published model card' if card else 'It is held against no published model card'}; "
            f"run/claims.json has the verdicts, run/card/README.md the rendered card. Digest of the chain: {self.digest}."
        )
        root["conformsTo"] = [
            self._add(uri, {"@type": "CreativeWork", "name": name, "version": version}) for uri, (name, version) in PROFILES.items()
        ]
        root["license"] = self._add(
            "#licence",
            {
                "@type": "CreativeWork",
                "name": "Licences of the parts",
                "description": "The workflow is under Apache-2.0. Prompts, replies and pages hold texts of the data, and are under the "
                "licence of the data. The header of run/card/README.md says the licence of the model.",
            },
        )
        developers = {"@type": "Organization", "name": "cardproof developers"}
        root["publisher"] = root["author"] = self._add("#developers", developers)
        self.crate.metadata["conformsTo"] = [{"@id": self.crate.metadata.profile}, {"@id": WORKFLOW_RO_CRATE}]

    def _file(self, name: str) -> Entity:
        from rocrate.model.file import File

        if name not in self.entities:
            path = self.place / name
            properties: dict[str, Any] = {
                "name": name,
                "contentSize": str(path.stat().st_size),
                "sha256": sha256_file(path),
                "encodingFormat": FORMATS.get(path.suffix, "text/plain"),
            }
            if name == README:
                properties["about"] = self.crate.root_dataset
            if name == MAIN:
                properties["@type"] = ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]
            self.entities[name] = self.crate.add(File(self.crate, source=path, dest_path=quote(name), properties=properties))
        return self.entities[name]

    def _main(self) -> Entity:
        """The Snakefile, as the workflow."""
        from rocrate.model.computerlanguage import get_lang

        made = self.records[-1].environment if self.records else {}
        changed = {"yes": ", with uncommitted changes", "unknown": ", and nobody looked for uncommitted changes"}
        commit = f" at commit {made['commit']}{changed.get(made.get('uncommitted changes', ''), '')}" if "commit" in made else ""
        workflow = self.entities[MAIN]
        workflow["name"] = "cardproof"
        workflow["description"] = (
            f"Regenerates every number on a published model card, and judges each one. The last step of this run was made by version "
            f"{made.get('cardproof', 'unknown')}{commit}."
        )
        workflow["version"] = made.get("cardproof", "unknown")
        workflow["license"] = self._add(APACHE, {"@type": "CreativeWork", "name": "Apache License 2.0", "url": APACHE})
        workflow["conformsTo"] = {"@id": "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"}
        workflow["programmingLanguage"] = self.crate.add(get_lang(self.crate, "snakemake"))
        self.crate.root_dataset["mainEntity"] = workflow
        return workflow

    def _data(self, name: str, digest: str) -> Entity:
        """A file or folder by its name in a record: the crate's own one, or a note of what is not in the crate."""
        of_checkout = name.startswith(OF_PROJECT)
        packed = f"{OWN_WORKFLOW}/{name.removeprefix(OF_PROJECT)}" if of_checkout else f"{OWN_RUN}/{name}"
        here = self.place / packed
        # A result that has a record was checked, and the configuration's digest is that of the file as it is here, without places.
        if here.exists() and (name == runs.CONFIG or name in self.made or _digest(here) == digest):
            return self._folder(name, packed) if here.is_dir() else self.entities[packed]
        files = self.made[name].sha256 if name in self.made else {}
        whole = {"sha256": digest} if not files or "" in files else {"identifier": f"digest of its files' names and hashes: {digest}"}
        why = "A file of the checkout, which is not in this crate." if of_checkout else "Not in this crate."
        return self._add(f"#not-here/{_slug(name)}/{digest[:8]}", {"@type": "CreativeWork", "name": name, "description": why, **whole})

    def _folder(self, name: str, packed: str) -> Entity:
        from rocrate.model.dataset import Dataset

        if packed not in self.entities:
            parts = [entity for path, entity in self.entities.items() if path.startswith(f"{packed}/")]
            self.entities[packed] = self.crate.add(
                Dataset(self.crate, dest_path=quote(packed), properties={"name": name, "description": f"The files in {name}."})
            )
            self.entities[packed]["hasPart"] = _some(parts)
        return self.entities[packed]

    # --- actions

    def _call(self, call: list[Record]) -> tuple[Entity, Entity, Entity]:
        """One call of a step: the step, the action and the tool."""
        first = call[0]
        tool = self._tool(first)
        step = self._step(first.step, tool)
        settings = [self._setting(path, value) for path, value in first.config.items()]
        action = self._add(
            f"#call/{_slug(first.file)}",
            {
                "@type": "CreateAction",
                "name": f"{first.step}: {', '.join(record.file for record in call[:3])}{' ...' if len(call) > 3 else ''}",
                "description": f"Called as: {' '.join(first.command)}",
                "actionStatus": COMPLETED,
                "instrument": tool,
                "object": _some([*[self._data(name, digest) for name, digest in first.inputs.items()], *settings]),
                "result": _some(self._data(record.file, record.digest) for record in call),
            },
        )
        return step, action, tool

    def _step(self, name: str, tool: Entity) -> Entity:
        order = list(STEPS)
        position = order.index(step_of(name)) + 1 if step_of(name) in order else len(order) + 1
        step = self._add(f"#step/{_slug(name)}", {"@type": "HowToStep", "name": name, "position": str(position)})
        examples = self.examples.setdefault(name, [])
        examples.append(tool)
        step["workExample"] = _some(examples)
        return step

    def _tool(self, record: Record) -> Entity:
        """The verb that a step calls, with the fingerprint of its code and the packages that computed behind it."""
        found = dict(record.environment)
        version = found.pop("cardproof", "unknown")
        python, machine = found.pop("python", "unknown"), found.pop("machine", "unknown")
        for key in ("commit", "uncommitted changes"):
            found.pop(key, None)
        packages = [self._package(name, number) for name, number in {"python": python, **found}.items()]
        key = sha256_bytes(json.dumps([record.code, record.environment], sort_keys=True).encode())[:8]
        verb = record.command[1] if len(record.command) > 1 else record.step
        return self._add(
            f"#tool/{_slug(verb)}/{_slug(record.step)}/{key}",
            {
                "@type": "SoftwareApplication",
                "name": f"cardproof {verb}",
                "description": f"Fingerprint of the step's code: {record.code}. It ran on {machine}.",
                "softwareVersion": version,
                "softwareRequirements": _some(packages),
            },
        )

    def _package(self, name: str, version: str) -> Entity:
        """A package by its package URL (ECMA-427); Python itself, which has none, by the page of its release."""
        release, _, build = version.partition("+")
        if name == "python":
            address = f"https://www.python.org/downloads/release/python-{release.replace('.', '')}/"
        else:
            address = f"pkg:pypi/{_slug(name)}@{_slug(release)}"
        properties = {"@type": "SoftwareApplication", "name": name, "softwareVersion": version}
        if name == "python":
            properties["url"] = address
        return self._add(f"{address}#{_slug(build)}" if build else address, properties)

    def _setting(self, path: str, value: Any) -> Entity:
        told = json.dumps(value, ensure_ascii=False, sort_keys=True)
        key = sha256_bytes(told.encode())[:8]
        return self._add(f"#setting/{_slug(path)}/{key}", {"@type": "PropertyValue", "name": path, "value": told})

    def _whole(self, workflow: Entity) -> Entity:
        """The run as a whole: from what no step made to what a reader looks at."""
        inputs = {name: digest for record in self.records for name, digest in record.inputs.items() if name not in self.made}
        used = {name for record in self.records for name in record.inputs}
        results = [record for record in self.records if record.file not in used]
        return self._add(
            "#run",
            {
                "@type": "CreateAction",
                "name": f"Run {self.run.config.run}",
                "description": f"All steps of the run. Digest of its chain: {self.digest}.",
                "actionStatus": COMPLETED,
                "instrument": workflow,
                "object": _some(self._data(name, digest) for name, digest in sorted(inputs.items())),
                "result": _some(self._data(record.file, record.digest) for record in results),
            },
        )

    def _engine(self, whole: Entity, calls: list[tuple[Entity, Entity, Entity]]) -> None:
        """Snakemake, which called the steps. The records do not name its version."""
        engine = self._add(
            "https://snakemake.readthedocs.io/",
            {
                "@type": "SoftwareApplication",
                "name": "Snakemake",
                "url": "https://snakemake.readthedocs.io/",
                "softwareVersion": "9 or later",
            },
        )
        controls = [
            self._add(
                f"#control/{action.id.removeprefix('#call/')}",
                {"@type": "ControlAction", "name": f"Call of {action['name']}", "instrument": step, "object": action},
            )
            for step, action, _ in calls
        ]
        self._add(
            "#orchestration",
            {
                "@type": "OrganizeAction",
                "name": f"Snakemake ran {self.run.config.run}",
                "instrument": engine,
                "object": _some(controls),
                "result": whole,
            },
        )


def _some(entities: Iterable[Any]) -> Any:
    """Each once; of one alone itself: RO-Crate writes no list of one."""
    found = list(dict.fromkeys(entities))
    return found[0] if len(found) == 1 else found


def _slug(name: str) -> str:
    """A name as part of an identifier."""
    return quote(_PLACE.sub("-", name))
