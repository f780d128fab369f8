"""The rehearsal itself: stand-ins, the workflow on them, the probes, and the file and table of what was found."""

from __future__ import annotations

import fcntl
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cardproof.config import reading
from cardproof.config.settings import Config
from cardproof.errors import CardproofError
from cardproof.files import read_json, sha256_text, write_json, write_text
from cardproof.machine import gpus, plan, rates
from cardproof.machine.workload import assumptions
from cardproof.rehearsal import shapes, stand_ins, workflow
from cardproof.rehearsal.probes import PROBES, Stage
from cardproof.rehearsal.table import duration
from cardproof.rehearsal.workflow import Place

WORK = Path(".cardproof-rehearsal")
"""The folder of a rehearsal that is not told to keep one."""
MARK = "rehearsed.json"
PACKAGE = Path(__file__).parents[1]
PACKAGES = ("torch", "transformers", "bitsandbytes", "peft", "accelerate", "tokenizers", "safetensors", "numpy", "snakemake")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """What to rehearse, and with what."""

    files: tuple[Path, ...]
    """Configuration files: the published recipe, and overlays on it."""
    root: Path
    claims: Path
    layers: int | None = None
    items: int = shapes.ITEMS
    keep: Path | None = None
    only: tuple[str, ...] = ()
    """Probes to run; all if empty."""
    memory: float | None = None
    """GB of memory that the device is to be treated as having; None: all it has."""
    offline: str | None = None
    """HF_HUB_OFFLINE as the user set it: what the published run will be told."""


def rehearse(asked: Asked, say: Say) -> rates.Rehearsal:
    """Rehearse a configuration, and say how far it is on the way. A rehearsal that was killed goes on where it stopped.

    CardproofError if there is no checkout, no device for what is asked, or another rehearsal in the folder.
    """
    if not (asked.root / "Snakefile").is_file():
        raise CardproofError("a rehearsal runs the workflow, and there is no Snakefile.", "call it from a clone of the repository.")
    begin = time.monotonic()
    config = reading.load(*asked.files)
    if config.sampling.backend != "transformers":
        raise CardproofError(
            f"sampling.backend is {config.sampling.backend!r}, and a rehearsal can measure only the engine `transformers`.",
            "rehearse without that setting: everything but the sampling itself is the same.",
        )
    device, gpu = _device()
    sizes = shapes.of(config, gpu, asked.layers, asked.items)
    memory = int(asked.memory * plan.GB) if asked.memory else device.memory or _ram()
    work = (asked.keep or WORK).absolute()
    with _claimed(work, _identity(config, sizes), asked.keep is not None) as lock:
        lines, measured = _act(_Setting(asked, config, gpu, memory, sizes, Place(work, asked.root.absolute(), lock)), device, say)
    found = rates.Rehearsal(
        device=device,
        versions={"python": platform.python_version(), **{p: _version(p) for p in PACKAGES}},
        layers=sizes.model.num_hidden_layers,
        hidden=sizes.model.hidden_size,
        vocabulary=sizes.model.vocab_size,
        rows=config.sampling.rows,
        reduced=list(sizes.reduced),
        seconds=round(time.monotonic() - begin, 1),
        rates=rates.Measured(**measured),
        lines=lines,
    )
    if asked.keep is None and not any(line.fails for line in lines):
        shutil.rmtree(work)
    return found


@dataclass(frozen=True)
class _Setting:
    """What was asked, and where it happens."""

    asked: Asked
    config: Config
    gpu: bool
    memory: int
    sizes: shapes.Shapes
    place: Place


def _act(here: _Setting, device: rates.Device, say: Say) -> tuple[list[rates.Line], dict[str, float]]:
    """Stand-ins, workflow and probes; returns the lines and the measured rates."""
    place, asked = here.place, here.asked
    templates = asked.root / "prompts"
    lines = _preflight(here, templates) if here.gpu else []
    say("stand-ins: writing what the published run fetches, as large and almost empty")
    stand_ins.write_mirror(here.config, here.sizes, templates, place.work, say)
    overlay = place.work / "overlay.yaml"
    _write_if_new(overlay, yaml.safe_dump(stand_ins.overlay(here.config, here.sizes, here.gpu)))
    files = [*(f.absolute() for f in asked.files), overlay]
    env = workflow.environment(place, here.memory if here.gpu and asked.memory else None)
    say("workflow: starting")
    done, planned, seconds, wrong = workflow.run(place, files, here.gpu, env, say)
    lines += _of_workflow(place, done, planned, seconds, wrong)
    if wrong:
        return lines, {}
    config = reading.load(*files)
    say("plan: counting what the rehearsal should have taken")
    figures = plan.plan(config, place.run, templates, asked.claims, place.work / "no Snakefile")
    known = assumptions()["gpus"]
    stage = Stage(
        config=config,
        place=place,
        env=env,
        gpu=here.gpu,
        memory=here.memory,
        planned=figures,
        needed=_needed(here, templates, figures),
        reduced=bool(here.sizes.reduced),
        device=next((d for n, d in known.items() if rates.same_device(n, device.name)), None) if here.gpu else None,
    )
    return lines + _probe(stage, asked.only or tuple(PROBES), say), stage.rates


def _probe(stage: Stage, wanted: Sequence[str], say: Say) -> list[rates.Line]:
    """Run the probes; those that a killed rehearsal of the same code finished are not run again."""
    path, code = stage.place.work / "lines.json", _code()
    known: dict[str, Any] = read_json(path) if path.is_file() else {}
    known = known if known.get("code") == [code, stage.memory] else {"code": [code, stage.memory], "probes": {}}
    lines: list[rates.Line] = []
    stage.place.probes.mkdir(parents=True, exist_ok=True)
    chosen = [name for name in PROBES if name in wanted]
    for number, name in enumerate(chosen, 1):
        if name not in known["probes"]:
            say(f"probe {number} of {len(chosen)}: {name}")
            before = dict(stage.rates)
            found = PROBES[name](stage)
            for line in found:  # now, since whoever has a GPU for half an hour may not see the table
                say(f"{line.probe}: {line.measured}{f' (plan: {line.planned})' if line.planned else ''}: {line.verdict}")
            new = {k: v for k, v in stage.rates.items() if before.get(k) != v}
            lines += found
            if not any(line.fails for line in found):
                known["probes"][name] = {"lines": [line.model_dump() for line in found], "rates": new}
                write_json(path, known)
        else:
            lines += [rates.Line.model_validate(line) for line in known["probes"][name]["lines"]]
            stage.rates |= known["probes"][name]["rates"]
    return lines


def _of_workflow(place: Place, done: int, planned: int, seconds: float, wrong: str) -> list[rates.Line]:
    if wrong:
        do = f"its log is {place.work / 'workflow.log'}; run the rehearsal again once that is mended."
        if "memory" in wrong:
            do = f"lower sampling.rows and training.max_tokens, or take a device with more memory; {do}"
        measured = f"stopped after {done} of {planned or 'all'} jobs: {wrong}"
        return [rates.Line(probe="the workflow", measured=measured, planned="all jobs", verdict="falls short", do=do, fails=True)]
    taken = len(list((place.work / "mirror").glob("*/*/*/files.json")))
    return [
        rates.Line(probe="the workflow", measured=f"{done} jobs, {duration(seconds)}", planned=f"{planned} jobs", verdict="ok"),
        rates.Line(probe="offline", measured=f"{taken} repositories from the mirror", planned="no network", verdict="ok"),
    ]


def _preflight(here: _Setting, templates: Path) -> list[rates.Line]:
    """What preflight says of the published run itself on this machine."""
    what = "preflight of the published run"
    command = [sys.executable, "-m", "cardproof", "preflight", "--format", "json", "--claims", str(here.asked.claims)]
    command += ["--templates", str(templates), *(word for f in here.asked.files for word in ("--configfile", str(f)))]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "HF_HUB_OFFLINE": here.asked.offline or "0"}
    # In a process of its own: asking for a GPU's memory takes some of it.
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    try:
        checks = json.loads(done.stdout)["checks"]
    except (ValueError, KeyError):
        said = workflow.reason(done.stderr) or f"it ended with exit code {done.returncode}"
        return [rates.Line(probe=what, measured=said, planned="all pass", verdict="falls short", do="run it by hand.", fails=True)]
    failed = [c for c in checks if c["status"] == "failed"]
    if not failed:
        return [rates.Line(probe=what, measured=f"{len(checks)} checks", planned="all pass", verdict="ok")]
    found, needed = "; ".join(c["found"] for c in failed), "; and ".join(c["needed"] for c in failed)
    return [rates.Line(probe=what, measured=found, planned="all pass", verdict="falls short", do=f"it needs {needed}.", fails=True)]


def _needed(here: _Setting, templates: Path, figures: Sequence[plan.Figure]) -> float | None:
    """The plan's peak for the published run, where all its layers were rehearsed and its sizes are known."""
    if here.sizes.reduced:
        return None
    try:
        return plan.peak(plan.requirements(here.config, Path("results") / here.config.run, templates, here.asked.claims))
    except CardproofError:
        return plan.peak(figures)


def _device() -> tuple[rates.Device, bool]:
    """The device that torch computes on, and whether it is a GPU."""
    import torch

    cards = gpus.visible(gpus.cards())
    if cards and torch.cuda.is_available():
        return rates.Device(name=cards[0].name, memory=cards[0].memory, driver=cards[0].driver), True
    models = [line.split(":", 1)[1].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")]
    return rates.Device(name=f"{len(os.sched_getaffinity(0))} cores of {models[0] if models else platform.machine()}"), False


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def _ram() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _write_if_new(path: Path, text: str) -> None:
    """A file that Snakemake depends on keeps its time where nothing changed."""
    if not path.is_file() or path.read_text() != text:
        write_text(path, text)


def _code() -> str:
    """A hash of the package's code."""
    return sha256_text("\n".join(p.read_text(encoding="utf-8") for p in sorted(PACKAGE.rglob("*.py"))))


def _identity(config: Config, sizes: shapes.Shapes) -> str:
    """What stand-ins depend on."""
    return sha256_text(json.dumps([stand_ins.names(config), config.training.rank, config.training.alpha, sizes.as_json()], sort_keys=True))


@contextmanager
def _claimed(work: Path, identity: str, kept: bool) -> Iterator[int]:
    """Have the folder of a rehearsal to oneself, by a lock on a file whose descriptor it gives.

    One of other sizes is removed, unless the user named the folder.

    CardproofError if another rehearsal works in it, if it has other files, or if it is of other sizes and `kept`.
    """
    mark = work / MARK
    if work.is_dir() and any(work.iterdir()) and not mark.is_file():
        raise CardproofError(f"{work} has files, but none of a rehearsal.", "name an empty folder, or one that does not exist: --keep DIR.")
    work.mkdir(parents=True, exist_ok=True)
    with (work.parent / f"{work.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CardproofError(f"another rehearsal works in {work}.", "wait until it ends, or name another folder: --keep DIR.") from None
        if mark.is_file() and read_json(mark).get("identity") != identity:
            if kept:
                hint = "name another folder, or remove this one; it goes on only with the same configuration, --layers and --items."
                raise CardproofError(f"{work} is of a rehearsal of other sizes.", hint)
            shutil.rmtree(work)
            work.mkdir()
        write_json(mark, {"identity": identity})
        try:
            yield lock.fileno()
        finally:
            Path(lock.name).unlink(missing_ok=True)
