"""Which code and which settings a step depends on: one fingerprint of each for every step."""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from cardproof.config.settings import CONDITIONS, Config, Training
from cardproof.evidence.skeleton import skeleton
from cardproof.files import sha256_text

PACKAGE = Path(__file__).parents[1]

STEPS: dict[str, tuple[str, ...]] = {
    "acquire_benchmark": ("benchmark/acquire_benchmark",),
    "acquire_model": ("acquire/acquire_model",),
    "acquire_adapter": ("acquire/acquire_model", "acquire/adapters"),
    "split": ("benchmark/split",),
    "prompts": ("benchmark/prompts",),
    "dequantise": ("sampling/dequantise",),
    "sample": ("sampling/sample",),
    "gather": ("sampling/gather",),
    "train_verifier": ("verifier/train_verifier",),
    "support": ("verifier/support",),
    "check_verifier": ("verifier/check_verifier",),
    "score": ("scoring/score",),
    "distill": ("training/distill",),
    "train": ("training/train",),
    "evaluate": ("evaluation/evaluate", "evaluation/between_seeds"),
    "reconcile": ("claims/reconcile",),
    "provenance": ("evidence/provenance",),
    "replay": ("evidence/replay",),
    "audit": ("claims/audit",),
    "claims": ("claims/claims",),
    "figures": ("pages/figures",),
    "card": ("pages/card",),
    "report": ("pages/report",),
}
"""Entry modules of each step. Everything they import from the package counts as well."""

ENGINES = {"transformers": "sampling/transformers_backend", "vllm": "sampling/vllm_backend"}
"""Setting `sampling.backend` -> the module of that engine. Only the configured one counts for the step that samples."""

_VERIFIER = ("contract.refusal_phrases", "verifier.entailment_label", "verifier.granularity", "verifier.max_tokens", "runtime.threads")
_ROLLOUT = (
    "sampling.backend",
    "sampling.temperature",
    "sampling.top_p",
    "sampling.max_new_tokens",
    "seed",
    "model.sampling_quantization",
    "model.thinking",
    "model.date",
    "runtime.threads",
)
_PROMPT = ("contract", "seed")

# Training settings that a single training run takes from its TrainingRun, or does not depend on.
NOT_OF_ONE_RUN = {"variants", "readings", "seeds", "compare_readings", "gradient_checkpointing"}

SETTINGS: dict[str, tuple[str, ...]] = {
    "acquire_benchmark": ("benchmark", "seed"),
    "acquire_model": ("model.source", "model.id", "model.revision"),
    "split": ("split", "seed"),
    "prompts_train": ("distill.max_items", *_PROMPT),
    "prompts": (
        *(f"conditions.{{condition}}.{key}" for key in ("contract", "distractors", "oracle_drop", "shuffle")),
        "conditions.max_items",
        "split.held_out_distractors",
        *_PROMPT,
    ),
    "dequantise": ("model.sampling_quantization",),
    "sample_train": (*_ROLLOUT, "distill.n", "distill.temperature"),
    "sample": (*_ROLLOUT, *(f"conditions.{condition}.n" for condition in CONDITIONS)),
    "train_verifier": ("verifier.embedded", "seed", "runtime.threads"),
    "support": _VERIFIER,
    "check_verifier": (*_VERIFIER, "verifier.ragtruth", "seed"),
    "score": ("scoring", "contract.refusal_phrases"),
    "distill": ("distill.keep_top", "distill.threshold", "distill.demonstration", "scoring.composite", "contract"),
    "train": (
        *(f"training.{key}" for key in Training.model_fields if key not in NOT_OF_ONE_RUN),
        "model.quantization",
        "model.thinking",
        "model.date",
        "model.id",
        "runtime.threads",
    ),
    "evaluate": ("evaluation", "seed", "arms", "training.seeds", "scoring.rouge_threshold", "scoring.rouge_words"),
    "reconcile": ("training.readings", "training.compare_readings", "training.variants", "scale"),
    "figures": ("run", "scale", "synthetic"),
}
"""The settings each step depends on, as dotted paths. Both the rules' parameters and the records come from this list."""

RESCORED = frozenset({"score", "evaluate", "reconcile", "figures"})
"""Steps that a replay does itself. The archived run did all others."""

# The vocabulary and the plumbing: a change there that matters shows in the rows themselves.
IGNORED = frozenset(
    {
        "errors",
        "files",
        "outside",
        "records",
        "runs",
        "config/settings",
        "config/reading",
        "config/places",
        "evidence/provenance",
        "evidence/skeleton",
    }
)


def modules_of(step: str, engine: str = "transformers") -> list[str]:
    """Modules whose code a step runs: paths below the package, without suffix, sorted. `engine` is the setting `sampling.backend`."""
    others = {module for name, module in ENGINES.items() if name != engine}
    seen: set[str] = set(STEPS[step])
    todo = list(seen)
    while todo:
        new = set(_module(todo.pop()).imports) - seen - IGNORED - others
        seen |= new
        todo += new
    return sorted(seen)


class _Module(NamedTuple):
    """What is read off a module's syntax tree."""

    imports: tuple[str, ...]
    """Modules of this package, as paths below it without suffix."""
    packages: tuple[str, ...]
    """Top-level names of the other packages it imports."""
    digest: str


@cache
def _module(module: str) -> _Module:
    """One module, parsed once: most steps share most of their modules, and parsing takes about ten milliseconds."""
    tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
    imports, packages = [], []
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        for name in names:
            top, *below = name.split(".")
            path = "/".join(below)
            if top != "cardproof":
                packages.append(top)
            elif path and (PACKAGE / f"{path}.py").exists():
                imports.append(path)
    return _Module(tuple(imports), tuple(dict.fromkeys(packages)), sha256_text(skeleton(tree)))


def code_fingerprint(step: str, engine: str = "transformers") -> str:
    """sha256 over the syntax trees of a step's modules. Comments, docstrings and layout do not count."""
    return sha256_text("\n".join(f"{module} {_module(module).digest}" for module in modules_of(step, engine)))


def packages_of(step: str, engine: str = "transformers") -> list[str]:
    """Top-level names of the packages outside this one, and outside the standard library, that a step's modules import, sorted."""
    names = {package for module in modules_of(step, engine) for package in _module(module).packages}
    return sorted(names - sys.stdlib_module_names)


def step_of(step: str) -> str:
    """The entry of STEPS behind a step that has settings of its own for the train items."""
    return step.removesuffix("_train")


def settings_fingerprint(config: Config, step: str, **wildcards: str) -> str:
    """sha256 over the part of the configuration a step depends on; `wildcards` name the condition or variant."""
    paths = [path.format(**wildcards) for path in SETTINGS[step]]
    if step != "train":
        return config.fingerprint(*paths)
    run = config.training_runs[wildcards["variant"]]
    return sha256_text(f"{config.fingerprint(*paths)} {run.variant.model_dump_json()} {run.seed}")


def steps(config: Config) -> dict[str, dict[str, Any]]:
    """Rule -> {code, config}: the fingerprints each step ran with, for `provenance/steps.json`.

    A step that runs once per condition or training run has one entry for each, named `step:wildcard`, beside the one over all of them.
    """
    wildcards = {"prompts": ("condition", list(CONDITIONS)), "train": ("variant", list(config.training_runs))}
    fingerprints: dict[str, dict[str, Any]] = {}
    for step in SETTINGS:
        code = code_fingerprint(step_of(step), config.sampling.backend)
        if step in wildcards:
            name, values = wildcards[step]
            each = {value: settings_fingerprint(config, step, **{name: value}) for value in values}
            fingerprints |= {f"{step}:{value}": {"code": code, "config": digest} for value, digest in each.items()}
            fingerprints[step] = {"code": code, "config": sha256_text("".join(each.values()))}
        else:
            fingerprints[step] = {"code": code, "config": settings_fingerprint(config, step)}
    if config.replay:
        for step in fingerprints.keys() - RESCORED:
            fingerprints[step]["replayed"] = True
    return fingerprints
