"""Inputs from outside, for tests: benchmark folders, mirrors, archives and runs that anyone may have made."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cardproof.config import reading, texts
from cardproof.evidence import sidecars
from cardproof.files import write_json
from helpers.places import ROOT

Prepare = Callable[[Path], list[str]]
Change = Callable[[Path], Any]
PASSAGES: list[dict[str, Any]] = [
    {"id": "D1-c1-s1", "title": "Loans", "text": "A loan of a book may be renewed twice before it must be returned.", "footnotes": None},
    {"id": "D2-c1-s1", "title": "Fines", "text": "A fine is due for each day that a returned book is late.", "footnotes": None},
    {"id": "D3-c1-s1", "title": "Rooms", "text": "Reading rooms close at nine in the evening on working days.", "footnotes": None},
]
QUESTIONS: list[dict[str, Any]] = [
    {"id": 1, "question": "How often may a loan be renewed?", "answer": "Twice.", "relevant_passage_id": "D1-c1-s1"},
    {"id": 2, "question": "When is a fine due?", "answer": "For each late day.", "relevant_passage_id": "D2-c1-s1"},
]
COMMIT = "a" * 40


def jsonl(rows: list[Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def changed(rows: list[dict[str, Any]], at: int, **fields: Any) -> list[dict[str, Any]]:
    """The rows with fields of one of them replaced; `...` takes a field away."""
    row = {key: value for key, value in {**rows[at], **fields}.items() if value is not ...}
    return [*rows[:at], row, *rows[at + 1 :]]


def settings(folder: Path, **over: Any) -> None:
    loaded = reading.load(ROOT / "config.yaml", ROOT / "config/ci.yaml", overrides=over)
    (folder / "config.yaml").write_text(texts.to_yaml(loaded))


def safetensors(shapes: dict[str, list[int]]) -> bytes:
    """A safetensors file of float32 zeros."""
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 4 * shape[0] * shape[1]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(at)


# --- D: data -----------------------------------------------------------------------------------------------------------


def data(corpus: bytes | None = None, questions: bytes | None = None, change: Change = lambda folder: None, name: str = "data") -> Prepare:
    """`cardproof acquire-benchmark` from a folder of two files; `change` is done to that folder afterwards."""

    def prepare(folder: Path) -> list[str]:
        (folder / name).mkdir(parents=True)
        (folder / name / "corpus.jsonl").write_bytes(jsonl(PASSAGES) if corpus is None else corpus)
        (folder / name / "qa.jsonl").write_bytes(jsonl(QUESTIONS) if questions is None else questions)
        pins: dict[str, str | None] = {"qa.jsonl": None, "corpus.jsonl": None}
        settings(folder, benchmark={"source": "folder", "path": name, "sha256": pins})
        change(folder / name)
        return ["acquire-benchmark", "--config", "config.yaml", "--corpus", "out/corpus.jsonl", "--questions", "out/questions.jsonl"]

    return prepare


def asked(**fields: Any) -> Prepare:
    """The same with fields of the first question replaced."""
    return data(questions=jsonl(changed(QUESTIONS, 0, **fields)))


def passage(doc_id: str, other: str | None = None) -> Prepare:
    """The same with another id of the first passage, which its question names, and of the second."""
    passages = changed(PASSAGES, 0, id=doc_id)
    passages = passages if other is None else changed(passages, 1, id=other)
    gold = [doc_id, PASSAGES[1]["id"] if other is None else other]
    return data(jsonl(passages), jsonl([{**q, "relevant_passage_id": g} for q, g in zip(QUESTIONS, gold, strict=True)]))


def in_place_of(file: str, make: Change) -> Change:
    """Put something else in the place of a file."""

    def change(folder: Path) -> None:
        (folder / file).unlink(missing_ok=True)
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        make(folder / file)

    return change


def sparse(size: int) -> Change:
    """A file of holes."""

    def make(path: Path) -> None:
        with open(path, "wb") as f:
            f.truncate(size)

    return make


def link(target: str) -> Change:
    return lambda path: path.symlink_to(target)


def socket(path: Path) -> None:
    import socket as sockets

    here = os.open(path.parent, os.O_RDONLY)  # the address of a socket has at most 107 bytes
    with sockets.socket(sockets.AF_UNIX) as bound:
        bound.bind(f"/proc/self/fd/{here}/{path.name}")
    os.close(here)


# --- E: configurations, models, mirrors ----------------------------------------------------------------------------------


def overlay(text: str | bytes | Change) -> Prepare:
    """`cardproof config` with an overlay over the embedded smallest configuration."""

    def prepare(folder: Path) -> list[str]:
        if callable(text):
            text(folder / "mine.yaml")
        else:
            (folder / "mine.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        over = ["--configfile", str(ROOT / "config.yaml"), "--configfile", str(ROOT / "config/ci.yaml")]
        return ["config", *over, "--configfile", "mine.yaml"]

    return prepare


BILLION = "".join(f"x{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9 if i else ['z'] * 9)}]\n" for i in range(9))
"""Nine lists, each nine times the one before."""
MERGED = "".join(f"x{i}: &a{i} {{{'<<: [' + ', '.join([f'*a{i - 1}'] * 9) + ']' if i else 'k: v'}}}\n" for i in range(9))
"""The same with merge keys."""


def claims(number: str) -> Prepare:
    """`cardproof audit` of the published claims with another number of training examples."""

    def prepare(folder: Path) -> list[str]:
        text = (ROOT / "published/claims.yaml").read_text()
        rows = text.split("- id: training.examples\n")
        assert len(rows) == 2
        rows[1] = re.sub(r'value: *["\'][^"\']*["\']', f'value: "{number}"', rows[1], count=1)
        (folder / "claims.yaml").write_text("- id: training.examples\n".join(rows))
        return ["audit", "--no-count", "--claims", "claims.yaml"]

    return prepare


def model(change: Change = lambda folder: None, **contents: str | bytes) -> Prepare:
    """`cardproof acquire-model` of a local folder; names of `contents` have `__` for the point."""

    def prepare(folder: Path) -> list[str]:
        files = {"config__json": '{"model_type": "llama"}', "model__safetensors": safetensors({"w": [2, 2]}), **contents}
        (folder / "model").mkdir()
        for name, content in files.items():
            (folder / "model" / name.replace("__", ".")).write_bytes(content if isinstance(content, bytes) else content.encode())
        change(folder / "model")
        return ["acquire-model", "--source", "folder", "--id", "model", "--out", "out/base"]

    return prepare


def listing(folder: Path, **fields: Any) -> dict[str, Any]:
    """What a mirror's list says of its folder, with fields replaced."""
    files = [
        {"path": p.name, "size": p.stat().st_size, "sha256": hashlib.sha256(p.read_bytes()).hexdigest(), "blob": None}
        for p in sorted(folder.iterdir())
    ]
    return {"kind": "model", "name": "team/tiny", "revision": COMMIT, "pinned": True, "files": files, **fields}


def mirror(change: Change = lambda folder: None, listed: Callable[[dict[str, Any]], Any] = lambda found: found, **fields: Any) -> Prepare:
    """`cardproof acquire-model` from a mirror with one model, whose list `listed` rewrites; CARDPROOF_MIRROR is `mirror`."""

    def prepare(folder: Path) -> list[str]:
        place = folder / "mirror/models/team/tiny"
        place.mkdir(parents=True)
        (place / "config.json").write_text('{"model_type": "llama"}')
        (place / "model.safetensors").write_bytes(safetensors({"w": [2, 2]}))
        found = listed(listing(place, **fields))
        (place / "files.json").write_bytes(found if isinstance(found, bytes) else json.dumps(found).encode())
        (folder / "precious").write_text("not to be touched")
        change(place)
        return ["acquire-model", "--source", "hub", "--id", "team/tiny", "--revision", COMMIT, "--out", "out/base"]

    return prepare


def file(path: object, **fields: Any) -> dict[str, Any]:
    """A file in a mirror's list."""
    return {"path": path, "size": 1, "sha256": "0" * 64, "blob": None, **fields}


def listed_too(path: object, **fields: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda found: {**found, "files": [*found["files"], file(path, **fields)]}


# --- E: archives and runs ------------------------------------------------------------------------------------------------


def tar(*members: tuple[str, bytes] | tarfile.TarInfo, form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar file; of a member given as its header alone, the header is all there is."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as out:
        for member in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member[0])
            content = b"" if isinstance(member, tarfile.TarInfo) else member[1]
            info.size = len(content) or info.size
            out.addfile(info, io.BytesIO(content) if content else None)
    return packed.getvalue()


def header(name: str, kind: bytes, **fields: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def archived(content: bytes) -> Prepare:
    """`cardproof replay` of a tar file."""
    import zstandard

    def prepare(folder: Path) -> list[str]:
        (folder / "run.tar.zst").write_bytes(zstandard.compress(content))
        return ["replay", "--archive", "run.tar.zst", "--run", "out"]

    return prepare


RESULTS = {
    "claims.json": b"{}\n",
    "evaluation/axes.json": b'{"items": 1}\n',
    "prompts/clean.jsonl": b"{}\n",
    "samples/base/clean.jsonl": b"{}\n",
    "figures/axes.svg": b"<svg/>\n",
    "card/README.md": b"a card\n",
    "models/base/config.json": b"{}\n",
    "models/base/model.safetensors": b"weights",
}
COST = "s\th:m:s\tmax_rss\n1.5\t0:00:01\t120.25\n"


def write_received(folder: Path) -> Path:
    """A small run whose every file has its record: `cardproof verify` calls it whole, and `cardproof archive` packs it."""
    folder.mkdir(parents=True)
    settings(folder)
    for name, content in RESULTS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    for name in RESULTS:
        if not name.startswith("models/"):
            write_record(folder, name)
    write_record(folder, "models/base")
    (folder / "cost").mkdir()
    (folder / "cost/score.tsv").write_text(COST)
    return folder


def write_record(folder: Path, name: str, **fields: Any) -> None:
    """Record a file or folder of a run as if a step had just made it; a forger may give any fields, and the seal fits them."""
    inputs = (
        {"config.yaml": hashlib.sha256((folder / "config.yaml").read_bytes()).hexdigest()} if (folder / "config.yaml").is_file() else {}
    )
    values: dict[str, Any] = {"file": name, "step": "made", "wildcards": {}, "inputs": inputs, "code": None, "settings": None, "config": {}}
    values |= {"sha256": fields.pop("sha256", None) or sidecars.hashes(folder / name), "environment": {}, "command": ["cardproof", "made"]}
    found = sidecars.Record.model_validate(values | fields)
    write_json(sidecars.record_path(folder, name), found.model_copy(update={"seal": found.sealed()}))


def received(change: Change, *arguments: str) -> Prepare:
    """A command on a run that somebody else made, after a change to its folder; beside it is a file that nobody may read."""

    def prepare(folder: Path) -> list[str]:
        run = write_received(folder / "run")
        (folder / "secret").write_text("SECRET")
        change(run)
        return list(arguments)

    return prepare
