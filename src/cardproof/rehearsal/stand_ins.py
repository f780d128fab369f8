"""Everything that the published run fetches, as stand-ins of the real sizes in a mirror, and the overlay that names them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cardproof.acquire import hub
from cardproof.benchmark.folder import Rows, write
from cardproof.config.settings import Config
from cardproof.files import sha256_file, write_json
from cardproof.rehearsal.adapter import write_adapter
from cardproof.rehearsal.documents import benchmark
from cardproof.rehearsal.judge import write_judge
from cardproof.rehearsal.reciter import Sizes, write_reciter
from cardproof.rehearsal.shapes import Shapes
from cardproof.rehearsal.sparse import SHARD
from cardproof.rehearsal.widen import small_eps, write_widened

OWNER = "stand-in"
REVISION = "0" * 39 + "1"
RUN = "rehearsal"
WIDTH = 128
"""Hidden size of the model that recites."""
TOKENS = 4000
"""Its vocabulary. Fewer tokens make longer prompts than the published tokenizer's; these have 3.5 to 4 characters each."""
Say = Callable[[str], None]


def names(config: Config) -> dict[str, str]:
    """Setting -> id of its stand-in, for everything that a run takes from outside."""
    tails = {"model": config.model.id, "verifier": config.verifier.id}
    found = {setting: f"{OWNER}/{re.sub(r'[^A-Za-z0-9._-]', '-', Path(value).name)}" for setting, value in tails.items()}
    adapters = {f"arms.{name}": f"{OWNER}/adapter-{name}" for name, arm in config.arms.items() if arm.adapter in {"hub", "folder"}}
    return {"benchmark": f"{OWNER}/benchmark", **found, **adapters}


def overlay(config: Config, shapes: Shapes, gpu: bool) -> dict[str, Any]:
    """What differs from the user's configuration: where things are, and how much of them."""
    ids = names(config)
    taken = {"source": "hub", "revision": REVISION}
    changed: dict[str, Any] = {
        "run": RUN,
        "scale": "embedded",
        "synthetic": True,
        "benchmark": {**taken, "id": ids["benchmark"], "sha256": {"qa.jsonl": None, "corpus.jsonl": None}, "max_questions": None},
        "model": {**taken, "id": ids["model"]},
        "verifier": {**taken, "id": ids["verifier"], "entailment_label": "auto"},
        "arms": {
            s.removeprefix("arms."): {"adapter": "hub", "id": i, "revision": REVISION} for s, i in ids.items() if s.startswith("arms.")
        },
        "conditions": {"max_items": None},
        "distill": {"max_items": None},
        "sampling": {"max_new_tokens": shapes.new_tokens},
        "evaluation": {"simulations": 100},
    }
    if not gpu:
        changed["runtime"] = {"gpus": 0, "threads": 1, "memory_gb": 3}
    return changed


def data(shapes: Shapes) -> Rows:
    """The benchmark of the rehearsal."""
    return benchmark(shapes.items, shapes.documents)


def write_mirror(config: Config, shapes: Shapes, templates: Path, work: Path, say: Say) -> Path:
    """Write every stand-in that `work` lacks into the mirror in `work`; returns the mirror."""
    mirror, rows = work / "mirror", data(shapes)
    ids = names(config)
    texts = [p.text for p in rows[0]]

    def questions(folder: Path) -> None:
        write(*rows, folder / "corpus.jsonl", folder / "qa.jsonl")

    def model(folder: Path) -> None:
        write_widened(reciter(shapes, rows, templates, work, say), shapes.model, folder, SHARD)

    def verifier(folder: Path) -> None:
        write_judge(folder, shapes.judge, texts, SHARD)

    def adapter(number: int) -> Callable[[Path], None]:
        training = config.training

        def make(folder: Path) -> None:
            write_adapter(folder, shapes.model, training.rank, training.alpha, ids["model"], number)

        return make

    made: dict[str, Callable[[Path], None]] = {"benchmark": questions, "model": model, "verifier": verifier}
    made |= {setting: adapter(number) for number, setting in enumerate(s for s in ids if s.startswith("arms."))}
    for setting, make in made.items():
        _place(mirror, ids[setting], "dataset" if setting == "benchmark" else "model", make, say)
    return mirror


def reciter(shapes: Shapes, rows: Rows, templates: Path, work: Path, say: Say) -> Path:
    """The small model that recites, fitted once and kept in `work`."""
    folder = work / "reciter"
    if not folder.is_dir():
        sizes = Sizes(
            hidden=WIDTH,
            head_dim=shapes.model.head_dim,
            tokens=TOKENS,
            eps=small_eps(shapes.model, WIDTH),
            zeros=shapes.model.vocab_size - TOKENS,
        )
        partial = folder.with_name(".reciter.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write_reciter(partial, rows, templates, sizes, said=say)
        partial.rename(folder)
    return folder


def _place(mirror: Path, name: str, kind: hub.Kind, make: Callable[[Path], None], say: Say) -> None:
    """Make one repository of the mirror, with the list of its files and their hashes, unless it is there."""
    folder = hub.place(mirror, name, kind)
    if folder.is_dir():
        return
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    make(partial)
    paths = sorted(p for p in partial.iterdir() if p.is_file())
    size, used = (sum(n) for n in zip(*((p.stat().st_size, p.stat().st_blocks * 512) for p in paths), strict=True))
    say(f"{name}: {size / 1e9:.2f} GB in {len(paths)} files, {used / 1e9:.2f} GB of disk; taking their hashes")
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        files = list(pool.map(_remote, paths))
    write_json(partial / hub.LISTING, hub.entry(hub.Repository(kind, name, REVISION, True, files)))
    partial.rename(folder)


def _remote(path: Path) -> hub.RemoteFile:
    """A file as the hub would list it: large ones by sha256, others by git's hash."""
    large = path.suffix == ".safetensors"
    return hub.RemoteFile(path.name, path.stat().st_size, sha256_file(path) if large else None, None if large else hub.git_blob(path))
