"""Which language models are worked with, read off their files before any weight is loaded; and how long a conversation they take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cardproof.acquire.weights import FLOATS, header
from cardproof.errors import CardproofError, brief
from cardproof.files import read_json

LAYERS, SIZE = 2_000, 100_000_000
"""More layers, or a larger size of anything, is not a model but a fault of its file: building it would take all time and memory."""
CORE = frozenset({"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"})
"""Sizes that every architecture has, under these names or its own."""
STRETCHED = frozenset({"linear", "dynamic", "yarn"})
"""Rotary positions made for sequences `factor` times as long as those trained with."""


def load_config(folder: Path) -> Any:
    """transformers' configuration of a causal language model.

    CardproofError if `config.json` is missing or broken, is of another kind of model or of absurd size, or names weights that are
    already quantised.
    """
    file = folder / "config.json"
    if not file.is_file():
        raise CardproofError(f"{folder} has no config.json.", "give the folder of a transformers model.")
    values = read_json(file)
    if not isinstance(values, dict):
        raise CardproofError(f"{file} is not a JSON object.", "give the folder of a transformers model.")
    _check_kind(file, values)
    _check_quantised(file, values)
    _check_sizes(file, values)
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as e:  # each architecture checks its values in its own way
        raise CardproofError(f"{file} is not a configuration that transformers takes ({brief(e)}).", "copy or fetch it again.") from None


def _check_kind(file: Path, values: Mapping[str, Any]) -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind = values.get("model_type")
    hint = "give a decoder-only language model with an architecture that transformers generates text with."
    if not isinstance(kind, str):
        raise CardproofError(f"{file}: field 'model_type' is missing.", hint)
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise CardproofError(f"{file}: field 'model_type': {kind!r} is not a causal language model of transformers.", hint)
    if values.get("is_encoder_decoder"):
        raise CardproofError(f"{file}: {kind!r} is a model of encoder and decoder, which cardproof does not sample.", hint)


def _check_quantised(file: Path, values: Mapping[str, Any]) -> None:
    """cardproof packs weights itself, the same ones for training and sampling; what others packed it would unpack in another way."""
    texts = values.get("text_config")
    quantised = values.get("quantization_config") or (texts.get("quantization_config") if isinstance(texts, dict) else None)
    if quantised:
        named = quantised.get("quant_method") if isinstance(quantised, dict) else None
        method = named or (
            "bitsandbytes" if isinstance(quantised, dict) and any("bnb" in key for key in quantised) else "an unnamed method"
        )
        raise _quantised(file, f"field 'quantization_config': the weights are already quantised ({method})")


def check_weights(folder: Path) -> None:
    """CardproofError if weights of a model folder are of a quantised number type. Only the headers are read."""
    for file in sorted(folder.glob("*.safetensors")):
        for name, entry in header(file).items():
            if entry.dtype.startswith("F8") or (name.endswith(".weight") and entry.dtype not in FLOATS):
                raise _quantised(file, f"{name} has the type {entry.dtype}: the weights are already quantised")


def _quantised(file: Path, found: str) -> CardproofError:
    return CardproofError(
        f"{file}: {found}, which cardproof does not work with.",
        "give the model that it was made from, in 16 or 32 bits; model.quantization and model.sampling_quantization then quantise it.",
    )


def _check_sizes(file: Path, values: Mapping[str, Any]) -> None:
    for place in (values, *(value for value in values.values() if isinstance(value, dict))):
        for name, value in place.items():
            most = LAYERS if "layer" in name else SIZE
            sized = name.endswith(("_size", "_layers", "_layer", "_heads", "_experts", "_dim", "n_embd", "n_head", "d_model"))
            least = 0 if name in CORE else -math.inf  # elsewhere some write -1 for none
            number = isinstance(value, (int, float)) and (name in CORE or not isinstance(value, bool))
            if sized and number and (isinstance(value, bool) or not least <= value <= most):
                raise CardproofError(f"{file}: field {name!r}: found {value!r}, which no model has.", "copy or fetch it again.")


def context_of(config: Any, tokenizer: Any = None) -> int | None:
    """Most tokens of a prompt and its reply; None where neither the configuration nor the tokenizer sets a limit.

    Positions that are stretched by a factor reach that many times as far as those trained with.
    """
    text = config.get_text_config()
    most = next((value for name in ("max_position_embeddings", "max_seq_len") if (value := getattr(text, name, None))), None)
    if most is None:
        length = getattr(tokenizer, "model_max_length", None)
        return int(length) if length and length < SIZE else None
    rope = getattr(text, "rope_parameters", None) or {}
    factor, trained = rope.get("factor"), rope.get("original_max_position_embeddings")
    if rope.get("rope_type") in STRETCHED and factor and (trained or rope["rope_type"] != "linear"):
        return max(int(most), int(factor * (trained or most)))
    return int(most)


def check_length(what: str, prompt: int, reply: int, context: int | None, hint: str) -> None:
    """CardproofError if a prompt and its reply, in tokens, go beyond the model's context; `what` names the prompt."""
    if context is not None and prompt + reply > context:
        raise CardproofError(f"{what} has {prompt} tokens and does not fit the model's {context} together with a reply of {reply}.", hint)
