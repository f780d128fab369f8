"""What a rehearsal looks at once the workflow has run: each probe measures one thing, sets it beside the plan's figure, and judges."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cardproof.config.settings import CONDITIONS, Config
from cardproof.config.texts import to_yaml
from cardproof.files import read_json, read_rows, write_json, write_rows
from cardproof.machine.plan import GB, Figure, assumed_rates
from cardproof.machine.rates import Line, Rates
from cardproof.models.shapes import shapes_of_folder
from cardproof.models.sizes import Shapes
from cardproof.records import Prompt, Rollout
from cardproof.rehearsal.widen import write_endless
from cardproof.rehearsal.workflow import Place, read_measurements, reason, verb

PROCESS = GB
"""Bytes that a process takes beside its model on a CPU: Python and its libraries."""
GREEDY_TOKENS = 64
SLOW = 0.5
"""Below this share of the plan's rate, a rate falls short."""
FEWER_ROWS = 8
GUESSES = 2
PATIENCE = 600
"""Seconds for a sampling job to finish its first item."""
KEPT = "keep the settings of sampling and the device the same within a run: what differs is rounding in the kernels."


@dataclass
class Stage:
    """What the probes know."""

    config: Config
    """Of the rehearsal."""
    place: Place
    env: Mapping[str, str]
    gpu: bool
    memory: int
    """Bytes of the device's memory, or as few as it is to be treated as having."""
    planned: Sequence[Figure]
    """The plan of the rehearsal."""
    needed: float | None
    """Bytes that the plan says the published run needs at its peak, where the rehearsal has all layers."""
    reduced: bool
    device: dict[str, Any] | None
    """The device's row in the plan's table, if it has one."""
    rates: dict[str, float] = field(default_factory=dict)
    """What was measured: see `cardproof.machine.rates.Measured`."""

    @property
    def base(self) -> Path:
        """The stand-in of the language model, as the run fetched it."""
        return self.place.run / "models" / "base"

    def sizes(self) -> Shapes:
        """The sizes of that model."""
        return shapes_of_folder(self.base)

    def figure(self, section: str, name: str) -> float | None:
        """A figure of the plan."""
        return next((f.value for f in self.planned if (f.section, f.name) == (section, name)), None)

    def of_verb(self, name: str) -> list[dict[str, Any]]:
        """What the workflow's jobs of one verb measured."""
        return [m for m in read_measurements(self.place.measurements) if m["verb"] == name and m["ok"]]


Probe = Callable[[Stage], list[Line]]


# --- how fast ---------------------------------------------------------------------------------------------------------


def _assumed(stage: Stage) -> Rates | None:
    """The plan's rates for this device: none for shapes that no plan is made for, or a device that is not in its table."""
    if stage.reduced or stage.device is None:
        return None
    return assumed_rates(stage.config, stage.sizes(), stage.device, stage.config.conditions.clean.n)


def _rate(stage: Stage, key: str, what: str, value: float | None, unit: str, do: str, lower: bool = False) -> Line:
    """A line of a measured rate; `lower`: less is better."""
    if not value:
        return Line(probe=what, measured="nothing was measured", verdict="falls short", do="see the logs of the rehearsal.", fails=True)
    stage.rates[key] = value
    rates = _assumed(stage)
    planned = getattr(rates, key) if rates else None
    shown = f"{value:,.1f} {unit}" if value < 100 else f"{value:,.0f} {unit}"
    if planned is None:
        return Line(probe=what, measured=shown, planned="no figure", verdict="ok")
    slow = value > planned / SLOW if lower else value < planned * SLOW
    planned_text = f"{planned:,.1f} {unit}" if planned < 100 else f"{planned:,.0f} {unit}"
    return Line(probe=what, measured=shown, planned=planned_text, verdict="falls short" if slow else "ok", do=do if slow else "")


def load(stage: Stage) -> list[Line]:
    """How long the model takes from the disk to its first computation, in the workflow's sampling jobs."""
    seconds = [m["load_seconds"] for m in stage.of_verb("sample") if m["load_seconds"]]
    mean = sum(seconds) / len(seconds) if seconds else None
    return [_rate(stage, "load", "loading the weights", mean, "s", "put results/ on a faster disk; fewer sampling.shards load less.", True)]


def training(stage: Stage) -> list[Line]:
    """Seconds of an optimiser step, tokens in a second and the peak of the workflow's training jobs."""
    folders = [p.parent for p in sorted(stage.place.run.glob("training/*/cost.json"))]
    # The time of a training that was killed is that since its last checkpoint.
    folders = [f for f in folders if not read_json(f / "cost.json")["resumed"]] or folders
    seconds = sum(read_json(f / "cost.json")["seconds"] for f in folders)
    metrics = [read_json(f / "metrics.json") for f in folders]
    steps, tokens = sum(m["steps"] for m in metrics), sum(m["tokens"] for m in metrics)
    slower = "the run takes longer; training.gradient_checkpointing: false is faster where memory allows."
    line = _rate(stage, "training", "training", tokens / seconds if seconds else None, "tokens/s", slower)
    if seconds:
        stage.rates["step"] = seconds / steps
        line = line.model_copy(update={"measured": f"{line.measured}, {seconds / steps:.1f} s a step"})
    lower = "lower training.max_tokens, or keep training.gradient_checkpointing on."
    return [line, _peak(stage, "memory: training", "training's peak", stage.of_verb("train"), lower)]


def verifying(stage: Stage) -> list[Line]:
    """Pairs that the verifier judges in a second, in the workflow's jobs."""
    read = [m["read"] for m in stage.of_verb("support")]
    seconds = sum(r["seconds"] for r in read)
    pairs = sum(r["rows"] for r in read) / seconds if seconds else None
    return [_rate(stage, "pairs", "verifying", pairs, "pairs/s", "the run takes longer; nothing is to be changed.")]


def full(stage: Stage) -> list[Line]:
    """The worst case of sampling: all rows in flight, the longest prompts, and replies that never end before the limit."""
    config = stage.config
    n = config.conditions.stress.n
    prompts = read_rows(stage.place.run / "prompts" / "stress.jsonl", Prompt)
    longest = max(prompts, key=lambda p: sum(len(m.content) for m in p.messages))
    filled = [longest.model_copy(update={"item": 1_000_000 + i}) for i in range(max(1, config.sampling.rows // n))]
    found, wrong, rows = _sample(stage, "full", config, filled, model=_endless(stage))
    lower = "lower sampling.rows; if that is 8 already, lower sampling.max_new_tokens."
    if wrong:
        return [Line(probe="sampling's peak", measured=wrong, planned=_bytes(_peak_of(stage, "memory: sampling")), **_fell(lower))]
    new = sum(r.completion_tokens for r in rows)
    read = found["read"]
    seconds = (found["work_seconds"] or 0) - read["seconds"]
    lines = [
        _rate(stage, "prompt", "reading prompts", _over(read["tokens"], read["seconds"]), "tokens/s", "the run takes longer."),
        _rate(stage, "reply", "writing replies", _over(new, seconds), "tokens/s", "raise sampling.rows where memory allows."),
    ]
    mean = new / len(rows)
    lines[1] = lines[1].model_copy(update={"measured": f"{lines[1].measured} ({len(rows)} rows of {mean:.0f})"})
    return [*lines, _peak(stage, "memory: sampling", "sampling's peak", [found], lower)]


def _over(count: float, seconds: float) -> float | None:
    return count / seconds if seconds > 0 else None


# --- how much memory --------------------------------------------------------------------------------------------------


def _peak_of(stage: Stage, section: str) -> float | None:
    """The plan's peak: without the device's context, which no process can measure of itself; on a CPU with the process."""
    peak = stage.figure(section, "peak")
    if peak is None:
        return None
    return peak - (stage.figure(section, "device context") or 0) if stage.gpu else peak + PROCESS


def _peak(stage: Stage, section: str, what: str, found: Sequence[Mapping[str, Any]], lower: str) -> Line:
    """A line of a measured peak: beside the plan's, and beside the memory there is.

    On a GPU it is the memory of tensors. What torch keeps beyond it is told and does not count: it gives that back where memory is short.
    """
    planned, context = _peak_of(stage, section), stage.figure(section, "device context") or 0
    key = "gpu_allocated" if stage.gpu else "rss"
    peaks = [m[key] for m in found if m.get(key)]
    if not peaks:
        return Line(probe=what, measured="nothing was measured", planned=_bytes(planned), **_fell("see the logs of the rehearsal."))
    peak = max(peaks)
    kept = max((m["gpu_reserved"] for m in found if m.get("gpu_reserved")), default=None) if stage.gpu else None
    shown = _bytes(peak) + (f" (torch kept {_bytes(kept)})" if kept else "")
    if peak + context > stage.memory:
        return Line(probe=what, measured=f"{shown} of {_bytes(stage.memory)}", planned=_bytes(planned), **_fell(lower))
    if planned is not None and peak > planned:
        do = "the plan is too low: leave that much more room."
        return Line(probe=what, measured=shown, planned=_bytes(planned), verdict="differs", do=do)
    return Line(probe=what, measured=shown, planned=_bytes(planned), verdict="ok")


def published(stage: Stage) -> list[Line]:
    """Whether the device holds the published run: the plan's peak, and more if the rehearsal's peak was above its own plan."""
    if stage.needed is None:
        return []
    most = stage.memory
    room = "take a device with more memory, or lower sampling.rows and training.max_tokens."
    line = {"probe": "the published run's peak", "measured": f"{_bytes(most)} there are", "planned": _bytes(stage.needed)}
    return [Line(**line, **_fell(room)) if stage.needed > most else Line(**line, verdict="ok")]


def _bytes(value: float | None) -> str:
    return "no figure" if value is None else f"{value / GB:.1f} GB"


def _fell(do: str) -> dict[str, Any]:
    return {"verdict": "falls short", "do": do, "fails": True}


# --- the same samples -------------------------------------------------------------------------------------------------


def greedy(stage: Stage) -> list[Line]:
    """Greedy replies against those of transformers' own `generate`, in another process."""
    config = _with(stage.config, "sampling", temperature=0.0, max_new_tokens=min(GREEDY_TOKENS, stage.config.sampling.max_new_tokens))
    one = {name: getattr(config.conditions, name).model_copy(update={"n": 1}) for name in CONDITIONS}
    config = _with(config, "conditions", **one)
    of = {name: read_rows(stage.place.run / "prompts" / f"{name}.jsonl", Prompt) for name in ("clean", "stress")}
    prompts = [*of["clean"], *(p.model_copy(update={"item": 1_000_000 + p.item, "condition": "clean"}) for p in of["stress"][:1])]
    what = "greedy replies equal `generate`"
    _, wrong, rows = _sample(stage, "greedy", config, prompts)
    path = stage.place.probes / "greedy" / "reference.json"
    arguments = [str(stage.base), str(stage.place.probes / "greedy" / "prompts.jsonl"), str(config.sampling.max_new_tokens)]
    if not wrong:
        command = [sys.executable, "-m", "cardproof.rehearsal.reference", *arguments, config.model.sampling_quantization, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, env=stage.env, cwd=stage.place.work, check=False)
        (stage.place.probes / "greedy" / "reference.log").write_text(done.stdout + done.stderr)
        wrong = "" if done.returncode == 0 else reason(done.stderr) or f"`generate` ended with exit code {done.returncode}"
    if wrong:
        return [Line(probe=what, measured=wrong, **_fell("see probes/greedy in the rehearsal's folder."))]
    expected = read_json(path)
    same = sum(r.text == expected[str(r.item)] for r in rows)
    measured = f"{same} of {len(rows)} replies"
    if same == len(rows):
        return [Line(probe=what, measured=measured, planned="all", verdict="ok")]
    do = "the decoder or a kernel computes something else on this device: report it with rehearsal.json."
    return [Line(probe=what, measured=measured, planned="all", verdict="differs", do=do, fails=True)]


def rows(stage: Stage) -> list[Line]:
    """The samples of the workflow again, with fewer rows decoded together."""
    config = _with(stage.config, "sampling", rows=FEWER_ROWS)
    what = f"samples with {FEWER_ROWS} rows, not {stage.config.sampling.rows}"
    return _again(stage, what, config, not stage.gpu)


def neighbours(stage: Stage) -> list[Line]:
    """The samples of some items again, without the others and in the other order."""
    return _again(stage, "samples beside others, reordered", stage.config, True, lambda prompts: prompts[::-2])


def guesses(stage: Stage) -> list[Line]:
    """The samples of the workflow again, with another number of tokens guessed from the prompt."""
    most = 0 if stage.config.sampling.prompt_lookup else GUESSES
    config = _with(stage.config, "sampling", prompt_lookup=most)
    return _again(stage, f"samples with {most} tokens guessed", config, False)


def _again(stage: Stage, what: str, config: Config, promised: bool, choose: Callable[[list[Prompt]], list[Prompt]] = list) -> list[Line]:
    prompts = choose(read_rows(stage.place.run / "prompts" / "clean.jsonl", Prompt))
    _, wrong, drawn = _sample(stage, what.split(",")[0].replace(" ", "-"), config, prompts)
    if wrong:
        return [Line(probe=what, measured=wrong, **_fell("see the logs of the rehearsal."))]
    return [_compared(stage, what, drawn, promised)]


def _compared(stage: Stage, what: str, drawn: Sequence[Rollout], promised: bool) -> Line:
    """Samples against those of the workflow."""
    before = {(r.condition, r.item, r.k): r.text for name in CONDITIONS for r in _workflows(stage, name)}
    same = sum(before[r.condition, r.item, r.k] == r.text for r in drawn)
    measured = f"{same} of {len(drawn)} equal"
    if same == len(drawn):
        return Line(probe=what, measured=measured, planned="all", verdict="ok")
    return Line(probe=what, measured=measured, planned="all", verdict="differs", do=KEPT, fails=promised)


def _workflows(stage: Stage, condition: str) -> list[Rollout]:
    return read_rows(stage.place.run / "samples" / "base" / f"{condition}.jsonl", Rollout)


def resume(stage: Stage) -> list[Line]:
    """A sampling job, killed once its first item is on the disk, and started again.

    It must repeat no finished item and draw the same samples.
    """
    what = "samples of a job killed and resumed"
    folder = _fresh(stage, "resume")
    prompts = {name: stage.place.run / "prompts" / f"{name}.jsonl" for name in CONDITIONS}
    work = {name: (path, folder / f"{name}.jsonl") for name, path in prompts.items()}
    arguments = _arguments(stage, folder, stage.config, stage.base, list(work.values()))
    store = folder / "store.jsonl"
    stored = _killed(stage, arguments, store, folder / "killed.log")
    lines = store.read_bytes().splitlines() if store.is_file() else []
    _, wrong = verb(stage.place, "sample", arguments, stage.env)
    if wrong:
        return [Line(probe=what, measured=wrong, **_fell("see the logs of the rehearsal."))]
    drawn = [r for _, out in work.values() for r in read_rows(out, Rollout)]
    line = _compared(stage, what, drawn, True)
    kept = store.read_bytes().splitlines()[: len(lines)] == lines
    items = len({(r.condition, r.item) for r in drawn})
    repeated = len(store.read_bytes().splitlines()) - items
    text = f"{line.measured}, {stored} of {items} items kept" + ("" if kept and not repeated else f", {max(1, repeated)} repeated")
    if not kept or repeated:
        return [Line(probe=what, measured=text, planned="none repeated", **_fell("report it with rehearsal.json."))]
    return [line.model_copy(update={"measured": text})]


def _killed(stage: Stage, arguments: Sequence[str], store: Path, log: Path) -> int:
    """Start a sampling job, and kill it when its first item is stored; returns how many are."""
    command = [sys.executable, "-m", "cardproof", "sample", *arguments]
    with log.open("w") as out:
        job = subprocess.Popen(command, stdout=out, stderr=out, env=stage.env, cwd=stage.place.work, start_new_session=True)
        try:
            end = time.monotonic() + PATIENCE
            while job.poll() is None and time.monotonic() < end and not (store.is_file() and b"\n" in store.read_bytes()):
                time.sleep(0.02)
        finally:
            if job.poll() is None:
                os.killpg(job.pid, signal.SIGKILL)
            job.wait()
    return store.read_bytes().count(b"\n") if store.is_file() else 0


# --- running a verb ---------------------------------------------------------------------------------------------------


def _with(config: Config, section: str, **values: Any) -> Config:
    return config.model_copy(update={section: getattr(config, section).model_copy(update=values)})


def _fresh(stage: Stage, name: str) -> Path:
    folder = stage.place.probes / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _arguments(stage: Stage, folder: Path, config: Config, model: Path, work: Sequence[tuple[Path, Path]]) -> list[str]:
    """Options of `cardproof sample` for the base arm; the configuration is written into `folder`."""
    (folder / "config.yaml").write_text(to_yaml(config, comments=False), encoding="utf-8")
    options = ["--config", str(folder / "config.yaml"), "--arm", "base", "--model", str(model), "--store", str(folder / "store.jsonl")]
    return [*options, *(word for source, out in work for word in ("--work", str(source), str(out)))]


def _sample(
    stage: Stage, name: str, config: Config, prompts: Sequence[Prompt], model: Path | None = None
) -> tuple[dict[str, Any], str, list[Rollout]]:
    """Sample prompts in a folder of their own; returns what was measured, what went wrong, and the rollouts."""
    folder = _fresh(stage, name)
    write_rows(folder / "prompts.jsonl", prompts)
    arguments = _arguments(stage, folder, config, model or stage.base, [(folder / "prompts.jsonl", folder / "samples.jsonl")])
    found, wrong = verb(stage.place, "sample", arguments, stage.env)
    return found, wrong, [] if wrong else read_rows(folder / "samples.jsonl", Rollout)


def _endless(stage: Stage) -> Path:
    """The run's model, but its replies never end before the limit."""
    folder = write_endless(stage.base, _fresh(stage, "endless"))
    known = read_json(folder / "source.json")
    (folder / "source.json").unlink()
    write_json(folder / "source.json", {**known, "model_hash": "0" * 64})
    return folder


PROBES: dict[str, Probe] = {
    "load": load,
    "training": training,
    "verifying": verifying,
    "full": full,
    "published": published,
    "greedy": greedy,
    "rows": rows,
    "neighbours": neighbours,
    "guesses": guesses,
    "resume": resume,
}
"""In the order in which they run and are shown."""
