"""The work of a run, before it starts: prompts, rollouts, tokens, downloads, memory, hours and jobs, and how each was derived."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from cardproof.acquire import hub
from cardproof.claims.claims_file import read_claims
from cardproof.claims.reconcile import EXAMPLES
from cardproof.config.settings import CONDITIONS, TRAIN, Config, optimizer_steps
from cardproof.config.texts import overlay
from cardproof.errors import CardproofError
from cardproof.files import write_text
from cardproof.machine import memory, rates
from cardproof.machine.workload import Workload, assumptions, model_folder, workload
from cardproof.models import sizes
from cardproof.models.architecture import check_length, load_config
from cardproof.models.cache import MARGIN, budget_of, places_of, temporaries, tokens_of_item
from cardproof.models.shapes import shapes

GPU_RULES = ("preflight", "dequantise", "sample", "sample_train", "train", "support", "support_train", "check_verifier")
"""Rules that ask the scheduler for the configured GPUs."""
Kind = Literal["counted", "as printed", "at most", "estimated", "assumed", "measured"]
GB = 10**9
COPY = "vLLM's copy"
NAME, WIDTH = 24, 120
"""Widths, in columns: of a figure's name, and of a line of the text form."""


@dataclass(frozen=True)
class Figure:
    """One number of the plan."""

    section: str
    name: str
    value: float
    unit: str
    kind: Kind
    """`counted` exactly; `as printed` on the card; `at most`; `estimated` by a formula; `assumed`: depends on an assumed rate;
    `measured`: on rates that `cardproof rehearse` measured."""
    how: str


def plan(
    config: Config, run_dir: Path, templates: Path, claims: Path, snakefile: Path, rehearsal: rates.Rehearsal | None = None
) -> list[Figure]:
    """Every figure of the plan. Without a Snakefile (outside a checkout) the jobs are left out.

    The rates of `rehearsal` are used for its device, if it was of a model of this size and this number of rows.

    Raises CardproofError if the benchmark or the base model is neither available nor of known size, and BeyondContext if a prompt and its
    reply do not fit the model.
    """
    sizes, work, decoder = _look(config, run_dir, templates, claims)
    return [
        *_counts(config, work),
        *_training(config, work, sizes),
        *_tokens(config, work),
        *_required(config, work, sizes, run_dir),
        *_hours(config, work, sizes, rehearsal),
        *_context(config, work, sizes, decoder),
        *jobs(config, snakefile),
    ]


def requirements(config: Config, run_dir: Path, templates: Path, claims: Path) -> list[Figure]:
    """Only downloads, disk and memory: what a machine must have. Raises CardproofError as `plan` does."""
    sizes, work, _ = _look(config, run_dir, templates, claims)
    return _required(config, work, sizes, run_dir)


def _required(config: Config, work: Workload, sizes: sizes.Shapes, run_dir: Path) -> list[Figure]:
    return [*downloads(config, sizes, run_dir), _kept(config, sizes), *_copy(config, sizes), *_memory(config, work, sizes)]


class BeyondContext(CardproofError):
    """A prompt and its reply are longer than the model's context."""


def _look(config: Config, run_dir: Path, templates: Path, claims: Path) -> tuple[sizes.Shapes, Workload, str]:
    """Sizes, work, and which decoder draws the replies, in words."""
    printed = int(read_claims(claims).values()[EXAMPLES].exact)
    with model_folder(config, run_dir) as folder:
        of_model = shapes(config, folder)
        work = workload(config, run_dir, folder, templates, printed)
        _check_context(config, of_model, work)
        return of_model, work, _decoder(config, folder)


def _check_context(config: Config, sizes: sizes.Shapes, work: Workload) -> None:
    for name, asked in work.asked.items():
        what = f"the longest prompt of {name}" if asked.longest_item is None else f"item {asked.longest_item} of {name}"
        hint = "lower sampling.max_new_tokens or the condition's distractors, or take a model with a longer context."
        try:
            check_length(what, asked.longest, config.sampling.max_new_tokens, sizes.context, hint)
        except CardproofError as e:
            raise BeyondContext(e.sentence, e.hint) from None


def _decoder(config: Config, folder: Path | None) -> str:
    if config.sampling.backend == "vllm":
        return "vLLM"
    if folder is None:
        return "a decoder that is named when the model is fetched"
    from cardproof.sampling.kinds import kind_of

    return kind_of(load_config(folder)).in_words()


def _context(config: Config, work: Workload, sizes: sizes.Shapes, decoder: str) -> list[Figure]:
    """How long prompts and replies get, against what the model takes, and which decoder draws the replies."""
    longest = max(asked.longest for asked in work.asked.values()) + config.sampling.max_new_tokens
    kind: Kind = "counted" if work.tokens_known else "estimated"
    how = f"the longest prompt and {config.sampling.max_new_tokens} new tokens (sampling.max_new_tokens); drawn by {decoder}"
    figures = [Figure("context", "prompt and reply", longest, "tokens", kind, how)]
    if sizes.context is not None:
        figures.append(Figure("context", "of the model", sizes.context, "tokens", "counted", sizes.how))
    return figures


def disk_need(figures: Sequence[Figure]) -> float:
    """Bytes of disk that a run needs: for its downloads, for what its training keeps, and for the weights as vLLM needs them."""
    return sum(f.value for f in figures if (f.section, f.name) in {("downloads", "all"), ("disk", "training"), ("disk", COPY)})


def _kept(config: Config, sizes: sizes.Shapes) -> Figure:
    runs, lora = len(config.training_runs), sizes.lora_parameters(config.training.rank) * memory.FLOAT
    each = 2 * lora + memory.optimizer_states(sizes, config.training.rank, config.training.optimizer)
    how = f"{runs} training runs x (adapter and checkpoint of {lora:,} bytes each, optimiser states)"
    return Figure("disk", "training", runs * each, "bytes", "estimated", how)


def _copy(config: Config, sizes: sizes.Shapes) -> list[Figure]:
    """vLLM has no NF4: it reads weights that went through NF4, which the run writes once (`dequantise`)."""
    if config.sampling.backend != "vllm" or config.model.sampling_quantization != "nf4":
        return []
    [(_, size, how)] = _weights(sizes, False, _width(config))
    return [Figure("disk", COPY, size, "bytes", "estimated", f"{how}: the weights that went through NF4, written once (dequantise)")]


def _counts(config: Config, work: Workload) -> list[Figure]:
    arms = len(config.sampled_arms)
    names = ", ".join(config.sampled_arms)
    known: Kind = "counted" if work.prompts_known else "estimated"
    figures = [Figure("prompts", "questions", work.questions, "questions", known, work.benchmark_how)]
    figures += [Figure("prompts", name, a.prompts, "prompts", known, "items of its side of the split") for name, a in work.asked.items()]
    figures.append(Figure("prompts", "all", sum(a.prompts for a in work.asked.values()), "prompts", known, "their sum"))
    if train := work.asked.get(TRAIN):
        how = f"{train.prompts} prompts x {train.n} candidates, base model"
        figures.append(Figure("rollouts", TRAIN, train.rollouts, "rollouts", known, how))
    for name in CONDITIONS:
        a = work.asked[name]
        how = f"{a.prompts} prompts x {a.n} rollouts x {arms} arms ({names})"
        figures.append(Figure("rollouts", name, a.rollouts * arms, "rollouts", known, how))
    figures.append(Figure("rollouts", "all", rollouts(config, work), "rollouts", known, "their sum; each is verified and scored once"))
    return figures


def rollouts(config: Config, work: Workload) -> int:
    """All rollouts of the run, training candidates included."""
    return sum(a.rollouts * _arms(config, name) for name, a in work.asked.items())


def _arms(config: Config, condition: str) -> int:
    return 1 if condition == TRAIN else len(config.sampled_arms)


def _training(config: Config, work: Workload, sizes: sizes.Shapes) -> list[Figure]:
    if not config.trains:
        return []
    kind: Kind = work.examples_kind
    figures = [Figure("training", "examples", work.examples, "examples", kind, work.examples_how)]
    total = 0
    for name, run in config.training_runs.items():
        steps = optimizer_steps(work.examples, run.variant)
        total += steps
        how = f"ceil({work.examples} / {run.variant.effective_batch}) x {run.variant.epochs} epochs, seed {run.seed}"
        figures.append(Figure("training", f"steps of {name}", steps, "optimizer steps", kind, how))
    figures.append(Figure("training", "steps", total, "optimizer steps", kind, f"of all {len(config.training_runs)} training runs"))
    how = f"rank {config.training.rank} x (inputs + outputs) of {len(sizes.linears)} linear layers; {sizes.how}"
    figures.append(Figure("training", "trainable", sizes.lora_parameters(config.training.rank), "parameters", "counted", how))
    return figures


def _tokens(config: Config, work: Workload) -> list[Figure]:
    def over(per: dict[str, float]) -> float:
        return sum(value * _arms(config, name) for name, value in per.items())

    asked = work.asked
    kind: Kind = "counted" if work.tokens_known else "estimated"
    spread = ", ".join(f"{name} {a.mean:.0f} (longest {a.longest})" for name, a in asked.items())
    read = over({name: a.prompts * a.mean for name, a in asked.items()})
    figures = [
        Figure("tokens", "prompt", round(read), "tokens", kind, f"{work.tokens_how}; each prompt is read once per arm; means: {spread}"),
        Figure("tokens", "new", round(new_tokens(config, work)), "tokens", "estimated", work.new_how),
        Figure(
            "tokens",
            "new, at most",
            rollouts(config, work) * config.sampling.max_new_tokens,
            "tokens",
            "at most",
            f"{rollouts(config, work)} rollouts x {config.sampling.max_new_tokens}",
        ),
    ]
    if not config.trains:
        return figures
    how = f"epochs x {work.examples} examples x {work.example_tokens:.0f} tokens, over {len(config.training_runs)} training runs"
    return [*figures, Figure("tokens", "training", round(_training_tokens(config, work)), "tokens", "estimated", how)]


def new_tokens(config: Config, work: Workload) -> float:
    """Expected tokens of all replies."""
    return sum(a.rollouts * a.new * _arms(config, name) for name, a in work.asked.items())


def _training_tokens(config: Config, work: Workload) -> float:
    return sum(run.variant.epochs * work.examples * work.example_tokens for run in config.training_runs.values())


def downloads(config: Config, sizes: sizes.Shapes, run_dir: Path) -> list[Figure]:
    """Bytes of weights to fetch from the hub or to copy from a mirror, by model; 0 if the run already has them."""
    known = assumptions()
    figures = []

    def add(name: str, source: str, revision: str | None, there: Path, size: int, how: str) -> None:
        mirror = hub.in_mirror(name, revision, "model") if source == "hub" and not there.is_dir() else None
        if mirror is not None:
            files = hub.from_mirror(mirror).files
            size = sum(f.size for f in files)
            figures.append(Figure("downloads", name, size, "bytes", "counted", f"{len(files)} files, copied from the mirror beside it"))
        elif source != "hub" or there.is_dir():
            where = "the run already has it" if there.is_dir() else f"source {source}: nothing to download"
            figures.append(Figure("downloads", name, 0, "bytes", "counted", where))
        else:
            figures.append(Figure("downloads", name, size, "bytes", "estimated", how))

    how = f"{sizes.parameters:,} parameters x {known['published_bytes']} bytes (bfloat16, assumed)"
    add(
        config.model.id,
        config.model.source,
        config.model.revision,
        run_dir / "models" / "base",
        sizes.parameters * known["published_bytes"],
        how,
    )
    lora = sizes.lora_parameters(config.training.rank)
    for arm, settings in config.arms.items():
        if settings.adapter in {"hub", "folder"}:
            how = f"{lora:,} parameters x {known['adapter_bytes']} bytes: assumed to have this run's rank {config.training.rank} and layers"
            add(settings.id or arm, settings.adapter, settings.revision, run_dir / "adapters" / arm, lora * known["adapter_bytes"], how)
    v = known["verifier"]
    how = f"its size is unknown before it is fetched; assumed: DeBERTa-v3-large, {v['parameters']:,} parameters x {v['bytes']} bytes"
    add(
        config.verifier.id,
        config.verifier.source,
        config.verifier.revision,
        run_dir / "models" / "verifier",
        v["parameters"] * v["bytes"],
        how,
    )
    total = sum(f.value for f in figures)
    return [*figures, Figure("downloads", "all", total, "bytes", "estimated" if total else "counted", "their sum, into the run's folder")]


def _memory(config: Config, work: Workload, sizes: sizes.Shapes) -> list[Figure]:
    limit, rows = config.sampling.max_new_tokens, config.sampling.rows
    largest = max(work.asked.values(), key=lambda a: max(1, rows // a.n) * (a.longest + a.n * limit))
    tokens = min(config.training.max_tokens, work.longest_example)
    training = training_memory(config, sizes, tokens) if config.trains else []
    return [*training, *sampling_memory(config, sizes, largest.longest, largest.n)]


def training_memory(config: Config, sizes: sizes.Shapes, tokens: int) -> list[Figure]:
    """Peak memory of one training step on an example of `tokens` tokens, by part."""
    settings, gpu = config.training, config.runtime.gpus > 0
    nf4 = config.model.quantization == "nf4"
    width = _width(config)
    # peft prepares k-bit training by casting everything unpacked to float32. Embeddings and head are cast back; the residual stream stays.
    plain = memory.FLOAT if nf4 else width
    lora = sizes.lora_parameters(settings.rank)
    reply = min(config.sampling.max_new_tokens, tokens)
    mask = None if not settings.dropout else 1 if gpu else memory.FLOAT
    block = memory.block_activations(sizes, tokens, settings.rank, width, plain, mask)
    checkpointed = settings.gradient_checkpointing
    parts = [
        *_weights(sizes, nf4, width),
        ("LoRA weights", lora * memory.FLOAT, f"{lora:,} parameters x 4 bytes (float32)"),
        ("LoRA gradients", lora * memory.FLOAT, "the same"),
        (
            "optimiser states",
            memory.optimizer_states(sizes, settings.rank, settings.optimizer),
            f"{settings.optimizer}: two moments per parameter",
        ),
        (
            "block inputs",
            memory.checkpoints(sizes, tokens, plain) if checkpointed else 0,
            f"{sizes.layers} layers x {tokens} tokens x {sizes.hidden} x {plain} bytes (gradient checkpointing)"
            if checkpointed
            else "none without gradient checkpointing",
        ),
        (
            "activations",
            block * (1 if checkpointed else sizes.layers),
            f"{'one block' if checkpointed else f'{sizes.layers} blocks'} x {block / tokens:,.0f} bytes per token x {tokens} tokens",
        ),
        (
            "logits",
            reply * sizes.vocabulary * 2 * (width + memory.FLOAT),
            f"{reply} reply tokens x {sizes.vocabulary} x 2 x ({width} + 4): logits and their log-softmax, with gradients",
        ),
        *_overhead(sizes, nf4, gpu, width),
    ]
    return _parts("memory: training", parts, f"one example of {tokens} tokens (training.max_tokens {settings.max_tokens})")


def sampling_memory(config: Config, sizes: sizes.Shapes, prompt: int, n: int) -> list[Figure]:
    """Peak memory while sampling N replies to each prompt of `prompt` tokens, by part."""
    gpu = config.runtime.gpus > 0
    nf4 = _packed(config)
    width = _width(config)
    limit, rows = config.sampling.max_new_tokens, config.sampling.rows
    items = max(1, rows // n)
    adapted = any(arm.adapter != "none" for arm in config.arms.values()) and gpu
    lora = sizes.lora_parameters(config.training.rank) if adapted else 0
    per_token = memory.kv_bytes_per_token(sizes, width)
    held = budget_of([(prompt, n)], rows, limit)
    one = tokens_of_item(prompt, n, limit) * per_token
    widest = max(max(pair) for pair in sizes.linears)
    rest = "; vLLM also takes all other memory of the card" if config.sampling.backend == "vllm" else ""
    parts = [
        *_weights(sizes, nf4, width),
        ("LoRA weights", lora * memory.FLOAT, f"{lora:,} parameters x 4 bytes" if lora else "none, or merged into the weights (CPU)"),
        (
            "KV cache",
            held * per_token,
            f"{items} items at once (rows {rows} / N {n}) x ({prompt} prompt + {n} x {limit} new tokens) x {per_token:,} bytes per token;"
            f" the decoder admits no more than fit{rest}",
        ),
        (
            "moments",
            temporaries(prompt, widest, sizes.hidden, sizes.vocabulary, places_of(rows, config.sampling.prompt_lookup), width),
            "one layer's activations while the longest prompt is read, or the logits of a step",
        ),
        *_overhead(sizes, nf4, gpu, width),
    ]
    figures = _parts("memory: sampling", parts, f"prompts of {prompt} tokens, the longest")
    how = f"2 x {sizes.layers} layers x {sizes.kv_heads} key/value heads x {sizes.head_dim} x {width} bytes"
    return [
        *figures,
        Figure("memory: sampling", "KV cache per token", per_token, "bytes", "counted", how),
        Figure(
            "memory: sampling",
            f"KV cache of one item at N={n}",
            one,
            "bytes",
            "estimated",
            f"({prompt} + {n} x {limit}) x {per_token:,}: the prompt's once, not {n} times",
        ),
    ]


def _width(config: Config) -> int:
    """Bytes of a number in the device's compute type."""
    return memory.HALF if config.runtime.gpus else memory.FLOAT


def _packed(config: Config) -> bool:
    """Whether sampling uses weights in 4 bits. On a CPU, and for vLLM, which has no NF4, they are unpacked once."""
    return config.model.sampling_quantization == "nf4" and config.runtime.gpus > 0 and config.sampling.backend != "vllm"


def _weights(sizes: sizes.Shapes, nf4: bool, width: int) -> list[tuple[str, int, str]]:
    rest = sizes.parameters - sizes.quantised
    if not nf4:
        return [("weights", sizes.parameters * width, f"{sizes.parameters:,} parameters x {width} bytes")]
    return [
        ("NF4 weights", memory.nf4_weights(sizes.linears), f"{sizes.quantised:,} parameters of {len(sizes.linears)} linear layers / 2"),
        (
            "NF4 constants",
            memory.nf4_constants(sizes.linears),
            "1 byte per 64 weights, 4 per 256 of those (double quantisation), code books",
        ),
        ("other weights", rest * width, f"embeddings, head and norms: {rest:,} parameters x {width} bytes"),
    ]


def _overhead(sizes: sizes.Shapes, nf4: bool, gpu: bool, width: int) -> list[tuple[str, int, str]]:
    parts = (
        [("unpacked layer", memory.largest_linear(sizes, width), f"the largest linear layer x {width} bytes, while it is used")]
        if nf4
        else []
    )
    return [*parts, ("device context", int(assumptions()["device_context"]), "assumed")] if gpu else parts


def _parts(section: str, parts: Sequence[tuple[str, int, str]], what: str) -> list[Figure]:
    figures = [Figure(section, name, value, "bytes", "assumed" if how == "assumed" else "estimated", how) for name, value, how in parts]
    return [*figures, Figure(section, "peak", sum(f.value for f in figures), "bytes", "estimated", f"their sum: {what}")]


def with_margin(need: float) -> float:
    """Bytes of free memory to ask a GPU for: the estimate, and a share for fragmentation and the libraries."""
    return need / (1 - MARGIN)


def peak(figures: Sequence[Figure]) -> float:
    """The larger of the memory peaks of training and sampling, in bytes."""
    return max(f.value for f in figures if f.section.startswith("memory") and f.name == "peak")


def _hours(config: Config, work: Workload, sizes: sizes.Shapes, rehearsal: rates.Rehearsal | None) -> list[Figure]:
    """Hours on each device of the table, at assumed rates; and on the one where a rehearsal measured them, if it was of this model."""
    known = assumptions()
    gpu = config.runtime.gpus > 0
    devices = known["gpus"] if gpu else {"2 CPU cores": known["cpu"]}
    if rehearsal is not None and not rehearsal.fits(sizes, config.sampling.rows, gpu):
        rehearsal = None
    figures = []
    need, drawn = with_margin(peak(_memory(config, work, sizes))), {a.n for a in work.asked.values()}
    for name, device in devices.items():
        if rehearsal is not None and rates.same_device(name, rehearsal.device.name):
            continue
        parts = _seconds(config, work, {n: assumed_rates(config, sizes, device, n) for n in drawn})
        short = f"; too small: {need / GB:.0f} GB are needed" if "memory" in device and device["memory"] * GB < need else ""
        figures.append(_hour(name, parts, "GPU hours" if gpu else "hours", "assumed", short))
    if rehearsal is not None:
        name = rehearsal.device.name
        device = next((d for n, d in devices.items() if rates.same_device(n, name)), next(iter(devices.values())))
        each = {n: rates.with_measured(assumed_rates(config, sizes, device, n), rehearsal) for n in drawn}
        memory_of = rehearsal.device.memory
        short = f"; too small: {need / GB:.0f} GB are needed" if memory_of and memory_of < need else ""
        parts = _seconds(config, work, each)
        figures.append(_hour(name, parts, "GPU hours" if gpu else "hours", "measured", f"{short}; measured by rehearse on {name}"))
    return figures


def _hour(name: str, parts: dict[str, float], unit: str, kind: Kind, more: str) -> Figure:
    how = "; ".join(f"{part} {seconds / 3600:.2f}" for part, seconds in parts.items())
    return Figure("hours", name, round(sum(parts.values()) / 3600, 2), unit, kind, how + more)


def assumed_rates(config: Config, sizes: sizes.Shapes, device: dict[str, Any], n: int) -> rates.Rates:
    """The rates of a device of the table, while N replies are drawn for each item."""
    weights = sum(size for _, size, _ in _weights(sizes, _packed(config), _width(config)))
    # Per parameter and token, with the base frozen: 2 forward, 2 backward to the activations, and 2 more if activations are recomputed.
    passes = 3 if config.training.gradient_checkpointing else 2
    known, items, gpu = assumptions(), max(1, config.sampling.rows // n), config.runtime.gpus > 0
    issued = known["operations"]
    least = sizes.layers * (issued["layer"] + items * issued["item_and_layer"]) * issued["seconds"] if gpu else 0.0
    return rates.assumed(sizes, rates.Shares(items * n, weights, passes, config.verifier.max_tokens, least), device, known, gpu)


def _seconds(config: Config, work: Workload, rates_of: dict[int, rates.Rates]) -> dict[str, float]:
    """Seconds of each part of the run; `rates_of`: by number of rollouts per item."""
    asked = [(a, _arms(config, name), rates_of[a.n]) for name, a in work.asked.items()]
    any_rates = asked[0][2]
    seconds = {
        "reading prompts": sum(arms * a.prompts * a.mean / of.prompt for a, arms, of in asked),
        "writing replies": sum(arms * a.rollouts * a.new / of.reply for a, arms, of in asked),
        "training": _training_tokens(config, work) / any_rates.training,
    }
    if any_rates.pairs is not None:
        seconds["verifying"] = rollouts(config, work) / any_rates.pairs
    if any_rates.load is not None:
        loads = len(config.sampled_arms) * config.sampling.shards + config.sampling.shards + len(config.training_runs)
        seconds["loading weights"] = loads * any_rates.load
    return seconds


def jobs(config: Config, snakefile: Path) -> list[Figure]:
    """Jobs of the whole run by rule, as Snakemake plans them in an empty folder. On a cluster each is one submission."""
    if not snakefile.is_file():
        return []
    with tempfile.TemporaryDirectory(prefix="cardproof-plan-") as folder:
        write_text(Path(folder, "config.yaml"), overlay(config))
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--directory", folder, "--nolock"]
        command += ["--cores", "1", "--dry-run", "--configfile", str(Path(folder, "config.yaml"))]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if result.returncode:
        raise CardproofError(
            "Snakemake cannot plan this run.", f"run `snakemake -n` to see why; its output ends: {result.stderr.strip()[-300:]}"
        )
    text = result.stdout + result.stderr
    table = text[text.index("Job stats:") :].split("\ntotal", 1)[0]
    counts = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}
    counts.pop("all", None)
    shards, arms = config.sampling.shards, len(config.sampled_arms)
    reasons = {
        "sample": f"{arms} arms x {shards} shards",
        "sample_train": f"{shards} shards",
        "train": f"training runs: {', '.join(config.training_runs)}",
        "support": f"{arms} arms",
        "gather": f"{arms} arms x {len(CONDITIONS)} conditions, and train",
        "score": f"{arms} arms x {len(CONDITIONS)} conditions, and train",
        "prompts": f"{len(CONDITIONS)} conditions, and train",
    }
    figures = [Figure("jobs", name, n, "jobs", "counted", reasons.get(name, "one per run")) for name, n in counts.items()]
    how = "planned by Snakemake in an empty folder; on SLURM one job each"
    figures.append(Figure("jobs", "all", sum(counts.values()), "jobs", "counted", how))
    gpu = sum(counts.get(rule, 0) for rule in GPU_RULES) if config.runtime.gpus else 0
    asking = f"those of {', '.join(GPU_RULES)}; runtime.gpus {config.runtime.gpus} each"
    return [*figures, Figure("jobs", "asking for GPUs", gpu, "jobs", "counted", asking)]


def as_json(config: Config, figures: Sequence[Figure]) -> dict[str, Any]:
    """The plan as JSON values."""
    return {"run": config.run, "scale": config.scale, "figures": [asdict(f) for f in figures]}


def as_text(config: Config, figures: Sequence[Figure]) -> str:
    """The plan for a terminal: a table for each section, with how each figure was derived on the right."""
    lines = [f"Plan of the run {config.run!r} ({config.scale} scale). Nothing has been computed or fetched."]
    section = ""
    for f in figures:
        if f.section != section:
            section = f.section
            lines += ["", section]
        name = f"  {f.name}"
        if len(name) > NAME:
            lines.append(name)
            name = ""
        lines += textwrap.wrap(
            f"{name:<{NAME}} {_number(f):>13} {f.kind:<10} {f.how}",
            WIDTH,
            subsequent_indent=" " * (NAME + 26),
            drop_whitespace=True,
            break_on_hyphens=False,
        )
    return "\n".join(lines)


def _number(f: Figure) -> str:
    if f.unit == "bytes":
        scale, unit = (GB, "GB") if f.value >= GB / 10 else (10**6, "MB") if f.value >= 10**5 else (1, "bytes")
        return f"{f.value / scale:,.2f} {unit}" if scale > 1 else f"{f.value:,.0f} bytes"
    return f"{f.value:,.1f} h" if f.unit.endswith("hours") else f"{f.value:,.0f}"
