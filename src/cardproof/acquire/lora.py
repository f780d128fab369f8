"""The settings of an adapter, `adapter_config.json`: read with its types checked, and refused by name where they ask for more than LoRA.

Accepted is what PEFT computes as base weights plus scaled products of two matrices, with whole modules, tokens, biases and magnitudes
(DoRA) beside them. Refused are settings that change the base's weights, draw random numbers, or depend on the text.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cardproof.acquire.weights import AGAIN
from cardproof.errors import CardproofError, of_validation
from cardproof.files import read_json

SETTINGS = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
MOST_BYTES = 4_000_000
"""Largest `adapter_config.json`; PEFT's own have some kilobytes."""
MOST_PATTERNS = 512
"""Most patterns of one adapter: Python keeps that many compiled."""
MATCH_SECONDS = 2
"""How long all patterns may take on the names of all modules; real ones take milliseconds."""
CHANGE_THE_BASE = ("pissa", "corda", "olora", "loftq", "lora_ga")
"""Initialisations that take a part out of the base's weights. The adapter is right only beside the base that is left, which nobody has."""
NOT_SUPPORTED = {
    "use_qalora": "QALoRA",
    "megatron_config": "LoRA on Megatron's layers",
    "layer_replication": "repeated layers",
    "alora_invocation_tokens": "activated LoRA, which depends on the text",
    "arrow_config": "routing between adapters",
    "use_bdlora": "block-diagonal LoRA",
    "monteclora_config": "Monte Carlo LoRA, which draws random numbers",
    "kasa_config": "KaSA, which changes the base's weights",
    "target_parameters": "LoRA on single parameters",
}
"""Setting -> what it asks for."""
CONVERT = "save it again with PEFT's path_initial_model_for_weight_conversion, which makes it a plain LoRA adapter of the base as it was."
PLAIN = "take a LoRA adapter in PEFT's format, or merge this one into its base and give that as a model."


class Lora(BaseModel):
    """The settings that decide what a LoRA adapter computes, as PEFT writes them; others are kept."""

    model_config = ConfigDict(extra="allow", strict=True)

    r: int = Field(ge=1, le=1 << 20)
    peft_type: str
    task_type: str | None = None
    lora_alpha: float = Field(default=8, allow_inf_nan=False)
    base_model_name_or_path: str | None = None
    revision: str | None = None
    target_modules: str | list[str] | None = None
    exclude_modules: str | list[str] | None = None
    modules_to_save: list[str] | None = None
    layers_to_transform: int | list[int] | None = None
    layers_pattern: str | list[str] | None = None
    rank_pattern: dict[str, int] | None = None
    alpha_pattern: dict[str, float] | None = None
    trainable_token_indices: list[int] | dict[str, list[int]] | None = None
    init_lora_weights: bool | str | None = True
    bias: Literal["none", "all", "lora_only"] = "none"
    use_rslora: bool = False
    use_dora: bool = False
    fan_in_fan_out: bool = False
    lora_bias: bool = False
    ensure_weight_tying: bool = False


def settings(adapter: Path) -> Lora:
    """The settings of an adapter folder, which must have both of PEFT's files; CardproofError names the first field that is wrong."""
    file = adapter / SETTINGS
    if not file.is_file():
        raise CardproofError(f"{adapter} has no {SETTINGS}.", "give the folder of a LoRA adapter in PEFT's format.")
    if not (adapter / WEIGHTS).is_file():
        raise CardproofError(f"{adapter} has no {WEIGHTS}.", "pickled adapters (*.bin) are refused because loading them can run code.")
    if file.stat().st_size > MOST_BYTES:
        raise CardproofError(f"{file} has {file.stat().st_size:,} bytes; {MOST_BYTES:,} are allowed.", AGAIN)
    content = read_json(file, AGAIN, constants=True)
    if not isinstance(content, dict):
        raise CardproofError(f"{file} is not a JSON object.", AGAIN)
    try:
        return Lora.model_validate(content)
    except ValidationError as e:
        raise of_validation(e, str(file), Lora, noun="field", hint=AGAIN) from None


def refuse_more_than_lora(lora: Lora, file: Path) -> None:
    """CardproofError names the first setting that asks for another computation than LoRA's."""
    if lora.peft_type.upper() != "LORA":
        raise CardproofError(f"{file}: field 'peft_type': adapters of the kind {lora.peft_type!r:.60} are not supported.", PLAIN)
    if lora.task_type not in (None, "CAUSAL_LM"):
        raise CardproofError(
            f"{file}: field 'task_type': found {lora.task_type!r:.60}, but an arm continues text (CAUSAL_LM).",
            "take an adapter that was trained to generate.",
        )
    for field, what in NOT_SUPPORTED.items():
        if (lora.model_extra or {}).get(field):
            raise CardproofError(f"{file}: field {field!r} asks for {what}, which is not supported.", PLAIN)
    start = str(lora.init_lora_weights).lower()
    if start.startswith(CHANGE_THE_BASE):
        raise CardproofError(
            f"{file}: field 'init_lora_weights': {start!r:.60} changed the base's weights, and this run has the base as it was.",
            CONVERT,
        )
    if lora.lora_alpha == 0:
        raise CardproofError(f"{file}: field 'lora_alpha' is 0, so the adapter changes nothing.", "take the adapter that training wrote.")


# --- patterns ---------------------------------------------------------------------------------------------------------


def patterns(lora: Lora) -> list[str]:
    """Every regular expression in the settings, as PEFT matches it against the whole name of a module."""
    found = [f"(?:{p})" for p in (lora.target_modules, lora.exclude_modules) if isinstance(p, str)]
    found += [rf"(^|.*\.){name}($|\..*)" for name in lora.modules_to_save or ()]
    layers = [lora.layers_pattern] if isinstance(lora.layers_pattern, str) else lora.layers_pattern or []
    found += [rf"(?:^|.*?\.){pattern}\.(?P<idx>\d+)\..*" for pattern in layers]
    return found + [rf"(.*\.)?({key})" for key in {**(lora.rank_pattern or {}), **(lora.alpha_pattern or {})}]


_MATCH = """
import json, re, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
patterns, names = json.load(sys.stdin)
for number, pattern in enumerate(patterns):
    print(number, flush=True)
    try:
        for name in names:
            re.fullmatch(pattern, name)
    except (re.error, OverflowError, RecursionError) as e:
        sys.exit(str(e))
"""


def check_patterns(lora: Lora, names: Iterable[str], file: Path) -> None:
    """CardproofError if a pattern is not a regular expression, or takes too long on the names of the base's modules.

    They are matched in a process of their own, which ends after MATCH_SECONDS: a few characters can ask for years.
    """
    all_patterns = patterns(lora)
    if len(all_patterns) > MOST_PATTERNS:
        raise CardproofError(
            f"{file} has {len(all_patterns)} patterns; {MOST_PATTERNS} are allowed.", "name fewer modules by rank_pattern."
        )
    if not all_patterns:
        return
    command = [sys.executable, "-I", "-S", "-c", _MATCH]
    given = json.dumps([all_patterns, list(names)]).encode()
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=MATCH_SECONDS, check=False)
        output, problem = done.stdout, done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        if done.returncode == 0:
            return
    except subprocess.TimeoutExpired as e:
        output, problem = e.stdout or b"", ""
    last = all_patterns[int(output.split()[-1])] if output.split() else all_patterns[0]
    said = f"is not a regular expression: {problem:.80}" if problem else f"takes more than {MATCH_SECONDS} s to match"
    raise CardproofError(f"{file}: the pattern {last!r:.100} {said}.", "name the modules in a list, as PEFT's own target_modules does.")


# --- PEFT's own object ------------------------------------------------------------------------------------------------


def peft_config(adapter: Path) -> Any:
    """PEFT's object for the settings of an adapter folder; PEFT ignores what it does not know (see `unknown`)."""
    import warnings

    from peft import LoraConfig

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = LoraConfig.from_pretrained(str(adapter))
    config.inference_mode = True
    return config


def unknown(lora: Lora) -> Iterator[str]:
    """Settings with a value that this PEFT does not know and ignores: the adapter may have been saved by a newer one."""
    from peft import LoraConfig

    known = {*LoraConfig.__dataclass_fields__, "runtime_config"}
    yield from sorted(name for name, value in (lora.model_extra or {}).items() if value and name not in known)
