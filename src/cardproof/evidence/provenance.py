"""What code a result came from: a fingerprint per step over the modules that step runs."""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from cardproof.config.settings import CONDITIONS, Config, Training
from cardproof.files import sha256_text

PACKAGE = Path(__file__).parents[1]

STEPS: dict[str, tuple[str, ...]] = {
    "acquire_benchmark": ("benchmark/folder", "benchmark/licences", "acquire/hub"),
    "acquire_model": ("acquire/folders", "acquire/hub"),
    "split": ("benchmark/split",),
    "prompts": ("benchmark/prompts",),
    "sample": ("sampling/sampler", "sampling/packed", "sampling/shared_prefix", "sampling/transformers_backend", "models/loading"),
    "gather": ("sampling/sample",),
    "train_verifier": ("verifier/train_verifier", "verifier/pairs"),
    "verify": ("verifier/model",),
    "check_verifier": ("verifier/model",),
    "score": ("scoring/score",),
    "distill": ("training/distill",),
    "train": ("training/train",),
    "evaluate": ("evaluation/evaluate", "evaluation/between_seeds"),
    "reconcile": ("claims/reconcile",),
    "provenance": ("benchmark/subset",),
    "replay": ("evidence/archive",),
    "audit": ("claims/audit",),
    "claims": ("claims/claims",),
    "figures": ("pages/figures",),
    "card": ("pages/card",),
    "report": ("pages/report",),
}
"""Entry modules of each step; everything they import from the package counts, too."""

_VERIFIER = ("contract.refusal_phrases", "verifier.entailment_label", "verifier.granularity", "verifier.max_tokens", "runtime.threads")
_ROLLOUT = (
    "sampling.backend",
    "sampling.temperature",
    "sampling.top_p",
    "sampling.max_new_tokens",
    "seed",
    "model.sampling_quantization",
    "model.thinking",
    "runtime.threads",
)
_PROMPT = ("contract", "seed")

# Of the training settings, what a single training run takes from its TrainingRun, or does not depend on.
NOT_OF_ONE_RUN = {"variants", "readings", "seeds", "compare_readings", "gradient_checkpointing"}

SETTINGS: dict[str, tuple[str, ...]] = {
    "acquire_benchmark": ("benchmark", "seed"),
    "acquire_model": ("model.source", "model.id", "model.revision"),
    "split": ("split", "seed"),
    "prompts_train": ("distill.max_items", *_PROMPT),
    "prompts": (
        *(f"conditions.{{condition}}.{key}" for key in ("contract", "distractors", "oracle_drop", "shuffle")),
        "conditions.max_items",
        *_PROMPT,
    ),
    "sample_train": (*_ROLLOUT, "distill.n"),
    "sample": (*_ROLLOUT, *(f"conditions.{condition}.n" for condition in CONDITIONS)),
    "train_verifier": ("verifier.embedded", "seed", "runtime.threads"),
    "verify": _VERIFIER,
    "check_verifier": (*_VERIFIER, "verifier.ragtruth", "seed"),
    "score": ("scoring", "contract.refusal_phrases"),
    "distill": ("distill.keep_top", "distill.threshold", "distill.demonstration", "scoring.composite", "contract"),
    "train": (
        *(f"training.{key}" for key in Training.model_fields if key not in NOT_OF_ONE_RUN),
        "model.quantization",
        "model.thinking",
        "model.id",
        "runtime.threads",
    ),
    "evaluate": ("evaluation", "seed", "arms", "training.seeds"),
    "reconcile": ("training.readings", "training.compare_readings", "training.variants", "scale"),
    "figures": ("run", "scale"),
}
"""What of the configuration each step depends on, as dotted paths: the one list behind the rules' parameters and the recorded chain."""

RESCORED = frozenset({"score", "evaluate", "reconcile", "figures"})
"""Steps that a replay does itself; all others were done by the archived run."""

# The vocabulary and the plumbing: a change there that matters shows in the rows themselves.
IGNORED = frozenset({"__init__", "errors", "files", "records", "config/settings", "config/reading", "evidence/provenance"})


def modules_of(step: str) -> list[str]:
    """Modules (paths below the package, without suffix) whose code a step runs, sorted."""
    seen: set[str] = set()
    todo = list(STEPS[step])
    while todo:
        module = todo.pop()
        if module in seen or module in IGNORED:
            continue
        seen.add(module)
        todo += _module(module).imports
    return sorted(seen)


class _Module(NamedTuple):
    """What is read off a module's syntax tree."""

    imports: tuple[str, ...]
    digest: str


@lru_cache
def _module(module: str) -> _Module:
    """One module, read once: most steps share most of theirs, and a syntax tree takes some ten milliseconds."""
    tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
    found = []
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("cardproof"):
            names = [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names if a.name.startswith("cardproof")]
        for name in names:
            path = "/".join(name.split(".")[1:])
            if path and (PACKAGE / f"{path}.py").exists():
                found.append(path)
            elif path and (PACKAGE / path / "__init__.py").exists():
                found.append(f"{path}/__init__")
    return _Module(tuple(found), sha256_text(ast.dump(tree)))


def code_fingerprint(step: str) -> str:
    """sha256 over the syntax trees of a step's modules: comments and layout do not count, docstrings and code do."""
    return sha256_text("\n".join(f"{module} {_module(module).digest}" for module in modules_of(step)))


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
    found: dict[str, dict[str, Any]] = {}
    for step in SETTINGS:
        code = code_fingerprint("prompts" if step == "prompts_train" else "sample" if step == "sample_train" else step)
        if step in wildcards:
            name, values = wildcards[step]
            each = {value: settings_fingerprint(config, step, **{name: value}) for value in values}
            found |= {f"{step}:{value}": {"code": code, "config": digest} for value, digest in each.items()}
            found[step] = {"code": code, "config": sha256_text("".join(each.values()))}
        else:
            found[step] = {"code": code, "config": settings_fingerprint(config, step)}
    if config.replay:
        for step in found.keys() - RESCORED:
            found[step]["replayed"] = True
    return found
