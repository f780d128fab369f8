"""Whether an adapter fits its base model, found out before anything is computed: the base is built without weights, and PEFT fills it.

Every tensor of the adapter's file must land, every tensor that its settings call for must be there, and all values must be finite. PEFT
itself only warns: an adapter whose names are spelt otherwise would leave the base model as it is, to be measured in the adapter's name.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from cardproof.acquire.beside import beside
from cardproof.acquire.lora import (
    SETTINGS,
    WEIGHTS,
    Lora,
    check_patterns,
    peft_config,
    refuse_more_than_lora,
    settings,
    unknown,
)
from cardproof.acquire.weights import FLOATS, Entry, header
from cardproof.errors import CardproofError

NAME = "cardproof"
"""The adapter's name in the model without weights. All of its parameters have it in their names, and no others."""
PREFIX = "base_model.model."
"""What PEFT puts before the base's own names."""
LONGEST_NAME = 500
CHANGED_BASE = "name such modules in modules_to_save and save the adapter again, or give the changed base as a model."
OTHER_TOOL = "it was saved under another adapter's name, or by another tool: load it there and save it with PEFT's save_pretrained."
_LORA = re.compile(r"^(?P<module>.+)\.lora_(?:embedding_)?(?P<side>[AB])(?:\.|$)")


class Fit(NamedTuple):
    """How an adapter fits its base."""

    rows: int | None
    """Rows that the embeddings must have before the adapter is loaded; None: as many as the base has."""
    twice: frozenset[str]
    """Tensors that PEFT saves twice, of resized embeddings that are in modules_to_save; it loads them by their other names."""
    notes: list[str]
    """What a reader of the results should know: a sentence each."""


def check_adapter(adapter: Path, base: Path) -> Fit:
    """How an adapter folder fits a base model folder; CardproofError if it is not LoRA, not whole, not finite, or made for another base.

    Of the base only config.json, tokenizer and names are read. Takes seconds for any size: nothing is computed.
    """
    if find_spec("peft") is None:
        raise CardproofError("An adapter is checked by PEFT, which this environment does not have.", "install the locked versions again.")
    lora, file = settings(adapter), adapter / WEIGHTS
    refuse_more_than_lora(lora, adapter / SETTINGS)
    tensors = header(file)
    _check_types(tensors, file)
    model = without_weights(base)
    check_patterns(lora, [name for name, _ in model.named_modules()], adapter / SETTINGS)
    rows, own = _rows(model, tensors, file, lora), _embedding_rows(model)
    if rows is not None:
        model.resize_token_embeddings(rows, mean_resizing=False)
    twice = _check_landing(model, lora, adapter, base, tensors)
    notes = [*_check_values(file, tensors, twice), *beside(adapter, base, lora, rows or own, (rows or own) > own)]
    if ignored := list(unknown(lora)):
        notes.append(f"{SETTINGS} has settings that this PEFT does not know and ignores: {', '.join(ignored[:8])}.")
    return Fit(rows, frozenset(twice), notes)


def without_weights(base: Path) -> Any:
    """The model of a folder's config.json on the meta device, which stores no weights; CardproofError if there is none to build."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    if not (base / "config.json").is_file():
        raise CardproofError(f"{base} has no config.json.", "give the folder of a transformers model.")
    try:
        config = AutoConfig.from_pretrained(base, trust_remote_code=False)
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as e:
        raise CardproofError(
            f"{base}/config.json does not describe a model that generates text: {_first_line(e)}",
            "give the folder of a transformers model.",
        ) from None


def _check_types(tensors: Mapping[str, Entry], file: Path) -> None:
    if not tensors:
        raise CardproofError(f"{file} has no tensor.", "take the adapter that training wrote at its end.")
    for name, entry in tensors.items():
        if len(name) > LONGEST_NAME:
            raise CardproofError(f"{file}: the name of a tensor has {len(name):,} characters: {name[:60]}...", OTHER_TOOL)
        if entry.dtype not in FLOATS:
            raise CardproofError(
                f"{file}: {name} has the type {entry.dtype:.20}, but an adapter is trained in floating point of 16 bits or more.",
                "save it in float32, bfloat16 or float16.",
            )


# --- the embeddings ---------------------------------------------------------------------------------------------------


def _embedding_rows(model: Any) -> int:
    return int(model.get_input_embeddings().weight.shape[0])


def _names_of_embeddings(model: Any) -> list[str]:
    """Where the model keeps its embeddings and its output layer."""
    ends = [model.get_input_embeddings(), model.get_output_embeddings()]
    return [next(name for name, module in model.named_modules() if module is end) for end in ends if end is not None]


def _rows(model: Any, tensors: Mapping[str, Entry], file: Path, lora: Lora) -> int | None:
    """The number of embeddings that the adapter was trained with, if it is not the base's; CardproofError if it cannot be restored."""
    own = _embedding_rows(model)
    modules = _names_of_embeddings(model)
    sizes, whole = set(), set()
    for name, entry in tensors.items():
        module = next((m for m in modules if name.startswith(f"{PREFIX}{m}.")), None)
        if module is None or len(entry.shape) != 2:
            continue
        side = _LORA.match(name)
        if side is None and name.endswith(".weight"):
            sizes.add(entry.shape[0])
            whole.add(module)
        elif side is not None and ("lora_embedding_A" in name or (module != modules[0] and side["side"] == "B")):
            sizes.add(entry.shape[1] if "lora_embedding_A" in name else entry.shape[0])
    listed = lora.trainable_token_indices or []
    highest = max((i for ids in (listed.values() if isinstance(listed, dict) else [listed]) for i in ids), default=-1)
    if len(sizes) > 1:
        raise CardproofError(
            f"{file}: the embeddings have {' and '.join(map(str, sorted(sizes)))} rows.",
            "the tensors are of different adapters; save it again.",
        )
    rows = next(iter(sizes), own)
    needed = modules[:1] if getattr(model.config, "tie_word_embeddings", False) else modules
    if highest >= rows or (rows > own and not whole.issuperset(needed)):
        raise CardproofError(
            f"{file}: the adapter was trained with more tokens than the base has embeddings for ({own}), but does not hold all of them.",
            "save it again with save_embedding_layers=True.",
        )
    return None if rows == own else rows


# --- names and shapes -------------------------------------------------------------------------------------------------


def _check_landing(model: Any, lora: Lora, adapter: Path, base: Path, tensors: Mapping[str, Entry]) -> dict[str, str]:
    """Fill the model without weights with tensors of the file's shapes, as PEFT does; CardproofError names the first that does not land.

    Returns the names that need not land, each with the name that its tensor has as well.
    """
    import torch
    from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict

    file = adapter / WEIGHTS
    modules = {name for name, _ in model.named_modules()}
    embeddings = tuple(f"{PREFIX}{name}." for name in _names_of_embeddings(model))
    state = {name: torch.empty(entry.shape, device="meta") for name, entry in tensors.items()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            peft = PeftModel(model, peft_config(adapter), adapter_name=NAME, low_cpu_mem_usage=True)
            own = {name: list(value.shape) for name, value in peft.named_parameters()}  # one that two modules share comes once
            expected = wanted(own, get_peft_model_state_dict(peft, adapter_name=NAME, save_embedding_layers=False))
            result: Any = set_peft_model_state_dict(peft, state, NAME, ignore_mismatched_sizes=True, low_cpu_mem_usage=True)
    except Exception as e:  # PEFT raises errors of many kinds on settings that fit no module
        _refuse_foreign_layers(tensors, modules, file, base, lora)
        if isinstance(e, KeyError) and str(e.args[0]).startswith(PREFIX):
            raise _missing(str(e.args[0]), file) from None
        raise CardproofError(f"{adapter} cannot be put on the base model in {base}: {_first_line(e)}", _made_for(lora)) from None
    twins = {name: name.replace(".modules_to_save.", ".") for name in result.unexpected_keys}
    twice = {name: twin for name, twin in twins.items() if name != twin and tensors.get(twin) == tensors.get(name)}
    absent, extra = expected & set(result.missing_keys), [name for name in result.unexpected_keys if name not in twice]
    for name in sorted(absent):
        saved = name.replace(f".{NAME}", "")
        found = next((tensors[n] for n in (saved, saved.removesuffix(".weight")) if n in tensors), None)
        if found is not None:
            raise _misshapen(saved, found.shape, own[name], file, base, lora)
    if extra:
        _refuse_foreign_layers(tensors, modules, file, base, lora)
        name = str(extra[0]).replace(f".{NAME}", "")
        raise CardproofError(f"{file}: {len(extra)} of {len(tensors)} tensors have no place in the model, such as {name}.", OTHER_TOOL)
    if absent:
        raise _missing(min(absent).replace(f".{NAME}", ""), file, len(absent))
    whole = set(own) - set(result.missing_keys) - expected
    for name in sorted(n for n in whole if not n.startswith(embeddings)):
        raise CardproofError(f"{file}: {name} replaces a weight of the base, which LoRA does not do.", CHANGED_BASE)
    return twice


def wanted(own: Iterable[str], saved: Iterable[str]) -> set[str]:
    """Parameters that the adapter must bring: its own, and those of the base that PEFT saves with it (biases)."""
    names = set(own)
    return {name for name in names if NAME in name.split(".")} | (set(saved) & names)


def _refuse_foreign_layers(tensors: Iterable[str], modules: set[str], file: Path, base: Path, lora: Lora) -> None:
    for name in tensors:
        match = _LORA.match(name)
        if match and match["module"].startswith(PREFIX) and match["module"].removeprefix(PREFIX) not in modules:
            raise CardproofError(f"{file}: {name} belongs to a layer that the base model in {base} does not have.", _made_for(lora))


def _misshapen(name: str, found: list[int], expected: list[int], file: Path, base: Path, lora: Lora) -> CardproofError:
    match = _LORA.match(name)
    if match and len(found) == len(expected) == 2:
        at = 0 if match["side"] == "A" else 1
        if found[at] != expected[at]:
            return CardproofError(
                f"{file}: {name} has rank {found[at]}, but {SETTINGS} says r = {expected[at]}.", "the two files are of different adapters."
            )
    return CardproofError(
        f"{file}: {name} has shape {found}, but for that layer of the base model in {base} it must have shape {expected}.", _made_for(lora)
    )


def _missing(name: str, file: Path, count: int = 1) -> CardproofError:
    return CardproofError(
        f"{file} is half an adapter: {SETTINGS} calls for {name}{f' and {count - 1} more' if count > 1 else ''}, which it does not have.",
        "take the adapter that training wrote at its end, with both of its files.",
    )


def _made_for(lora: Lora) -> str:
    if not lora.base_model_name_or_path:
        return "take an adapter that was made for this base."
    return f"it was made for {lora.base_model_name_or_path!r:.100}; set model.id to that model, or take another adapter."


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


# --- values -----------------------------------------------------------------------------------------------------------


def _check_values(file: Path, tensors: Mapping[str, Entry], twice: Mapping[str, str]) -> list[str]:
    """Read every tensor once, one at a time; CardproofError if a value is not finite, or if the adapter changes nothing.

    Returns a note if some of the adapter's products are zero.
    """
    from safetensors import SafetensorError, safe_open

    pairs: dict[str, bool] = {}
    other = False
    try:
        with safe_open(file, framework="pt") as f:
            for name in tensors:
                tensor = f.get_tensor(name)
                low, high = (float(end) for end in tensor.aminmax())  # either is NaN if any value is
                if not (math.isfinite(low) and math.isfinite(high)):
                    raise CardproofError(
                        f"{file}: {name} has values that are not finite numbers.", "training broke down: take an earlier checkpoint."
                    )
                if name in twice and not tensor.equal(f.get_tensor(twice[name])):
                    raise CardproofError(f"{file}: {name} and {twice[name]} should be the same, but differ.", OTHER_TOOL)
                match = _LORA.match(name)
                if match and name.endswith(".bias"):
                    other = other or low != 0 or high != 0
                elif match:
                    pairs[match["module"]] = pairs.get(match["module"], True) and (low != 0 or high != 0)
                elif not name.endswith((".lora_magnitude_vector", ".bias")):
                    other = True
    except SafetensorError as e:
        raise CardproofError(f"{file} is not a safetensors file: {_first_line(e)}.", "copy or fetch it again.") from None
    zero = [module for module, changes in pairs.items() if not changes]
    if zero and len(zero) == len(pairs) and not other:
        raise CardproofError(
            f"{file}: all products of the adapter's matrices are zero, so it changes nothing and the base would be measured in its name.",
            "take the adapter that training wrote at its end.",
        )
    return (
        [f"In {len(zero)} of the adapter's {len(pairs)} layers one of its matrices is zero, so these layers are the base's."]
        if zero
        else []
    )
