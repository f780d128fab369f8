"""The results a claim may point to: which file of a run, which rule makes it, and which JSON pointers it holds."""

from __future__ import annotations

import re

from cardproof.errors import InvalidValue, did_you_mean
from cardproof.evaluation.axes import SINGLE_DRAW, TITLES
from cardproof.runs import CONFIG, SELECTION, evaluation, metrics

AXES = "|".join([*TITLES, *(f"{name}_n1" for name in SINGLE_DRAW)])
ARM = r"(?P<arm>[a-z][a-z0-9_-]*)"
VARIANT = "[a-z][a-z0-9_.-]*"
PAIR = r"[a-z][a-z0-9_]*-[a-z][a-z0-9_]*"
TRAINING = (
    "examples|epochs|effective_batch|steps|rank|train_loss|last_loss|trainable_parameters|total_parameters|base_parameters|"
    "trainable_share_of_total|trainable_share_of_base|quantization"
)
RESULTS: dict[str, tuple[str, tuple[str, ...]]] = {
    re.escape(evaluation("axes")): ("evaluate", (rf"/arms/{ARM}/({AXES})", "/best_of", "/items", rf"/paired/{PAIR}/({AXES})")),
    re.escape(evaluation("stress")): (
        "evaluate",
        (
            rf"/arms/{ARM}/({AXES})",
            "/best_of",
            "/items",
            rf"/paired/{PAIR}/({AXES})",
            rf"/residual/{ARM}/(strict|attribution)",
            r"/settings/[a-z_]+",
        ),
    ),
    re.escape(evaluation("mechanism")): ("evaluate", (rf"/conditions/(clean|stress)/{ARM}/gap",)),
    re.escape(evaluation("compute")): (
        "evaluate",
        (rf"/arms/{ARM}/composite/\d+", rf"/equivalence/{ARM}/(n_equivalent|low|high|doublings)"),
    ),
    re.escape(evaluation("format_lock")): ("evaluate", (rf"/arms/{ARM}/support", rf"/equivalence/{PAIR}", rf"/paired/{PAIR}/support")),
    re.escape(metrics("VARIANT")).replace("VARIANT", VARIANT): ("train", (rf"/({TRAINING})", r"/loss_per_step/\d+")),
    re.escape(SELECTION): ("distill", ("/kept", "/keep_top")),
    re.escape(CONFIG): ("config", (r"(/[A-Za-z0-9_-]+)+",)),
}
"""Every result a claim may point to: file (a pattern), the rule that makes it, and the JSON pointers it holds (patterns)."""


def split_pointer(result: str) -> tuple[str, str]:
    """File and JSON pointer of a result such as `evaluation/axes.json#/arms/base/strict`."""
    file, _, pointer = result.partition("#")
    return file, pointer


def rule_of(file: str) -> str | None:
    """The rule that makes a result file."""
    return next((rule for pattern, (rule, _) in RESULTS.items() if re.fullmatch(pattern, file)), None)


def checked(result: str) -> str:
    """A result, unchanged; InvalidValue if no run has such a file or pointer."""
    file, pointer = split_pointer(result)
    for pattern, (_, pointers) in RESULTS.items():
        if re.fullmatch(pattern, file):
            if file == CONFIG:
                return _checked_setting(result, pointer)
            if any(re.fullmatch(p, pointer) for p in pointers):
                return result
            examples = ", ".join(_example(p) for p in pointers)
            why = f"{file} has no {pointer!r}" if pointer else "it has no # and JSON pointer"
            raise InvalidValue(f"{result!r} points to nothing: {why}", f"{file} has {examples}.")
    known = [_example(p) for p in RESULTS]
    listed = f"results are {', '.join(known)}, each followed by # and a JSON pointer."
    raise InvalidValue(f"{result!r} points to nothing: no run has a file {file!r}", did_you_mean(file, known, listed))


def _checked_setting(result: str, pointer: str) -> str:
    """A pointer into the resolved configuration, which must lead to a setting that exists."""
    from cardproof.config.settings import Config

    found: object = Config().model_dump(mode="json")
    for part in pointer.removeprefix("/").split("/"):
        known = list(found) if isinstance(found, dict) else []
        if part not in known:
            hint = did_you_mean(part, known, f"known there: {', '.join(known) or 'nothing more'}.")
            raise InvalidValue(f"{result!r} points to nothing: the configuration has no {part!r} there", hint)
        found = found[part] if isinstance(found, dict) else None
    return result


def _example(pattern: str) -> str:
    """A pattern of RESULTS as a reader would write it."""
    for old, new in ((ARM, "ARM"), (PAIR, "ARM-ARM"), (AXES, "AXIS"), (TRAINING, "METRIC"), (VARIANT, "VARIANT")):
        pattern = pattern.replace(f"({old})", new).replace(old, new)
    return pattern.replace(r"\d+", "INDEX").replace("[a-z_]+", "SETTING").replace("(/[A-Za-z0-9_-]+)+", "/SECTION/KEY").replace("\\", "")


def arm_of(result: str) -> str | None:
    """The arm that a result is about; None if it is not about a single arm."""
    file, pointer = split_pointer(result)
    for pattern, (_, pointers) in RESULTS.items():
        if re.fullmatch(pattern, file):
            for p in pointers:
                if (m := re.fullmatch(p, pointer)) and "arm" in m.groupdict():
                    return str(m["arm"])
    return None
