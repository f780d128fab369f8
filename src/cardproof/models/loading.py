"""Loading causal language models, with or without a LoRA adapter: NF4 for training, and the same NF4 weights for sampling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cardproof.acquire.weights import AGAIN, check_adapter
from cardproof.errors import CardproofError, unwritable
from cardproof.models.architecture import load_config
from cardproof.models.device import Quantization, attention_of, compute_dtype, device
from cardproof.models.nf4 import dequantise_nf4


def load_nf4(folder: Path) -> Any:
    """A model whose linear layers are bitsandbytes Linear4bit: NormalFloat4, double quantisation, blocks of 64 (Dettmers et al. 2023)."""
    from transformers import BitsAndBytesConfig

    nf4 = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=compute_dtype()
    )
    return _load(folder, quantization_config=nf4, device_map={"": device()})


def load_plain(folder: Path, where: str | None = None) -> Any:
    """A model in the device's compute dtype, not quantised; it goes to `where`, by default to the device."""
    return _load(folder).to(where or device())


def check_complete(folder: Path) -> None:
    """CardproofError if a model's weights lack a tensor, or have one of another shape. Only their headers are read."""
    _load(folder, device_map="meta")


def _load(folder: Path, **options: Any) -> Any:
    """The model of a folder. CardproofError if weights are missing, which transformers would draw at random, or not those of its layers."""
    from transformers import AutoModelForCausalLM

    config = load_config(folder)
    attention = {} if (chosen := attention_of(config)) is None else {"attn_implementation": chosen}
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=compute_dtype(),
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **attention,
            **options,
        )
    except Exception as e:  # each architecture fails in its own way
        if unwritable(e) or "out of memory" in str(e):
            raise
        why = " ".join(f"{type(e).__name__}: {e}".split())[:300]
        raise CardproofError(f"{folder}: transformers cannot load the model ({why}).", AGAIN) from None
    model, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise CardproofError(f"{folder}: the weights lack {missing[0]}{_and_more(missing)}, which config.json describes.", AGAIN)
    if wrong := sorted(report["mismatched_keys"]):
        name, found, expected = wrong[0]
        raise CardproofError(f"{folder}: {name} has shape {list(found)}, but config.json describes {list(expected)}.", AGAIN)
    if beside := sorted(name for name in report["unexpected_keys"] if "lora_" in name):
        raise CardproofError(
            f"{folder}: the weights hold {beside[0]}{_and_more(beside)}, a part of an adapter that the model would not use.",
            "give the base model's folder, and the adapter in one of its own.",
        )
    return model


def _and_more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def load_for_sampling(folder: Path, quantization: Quantization, adapter: Path | None) -> Any:
    """A model ready to sample replies: the causal language model itself, never PEFT's wrapper around it."""
    load = load_packed if device() == "cuda" else load_merged
    return load(folder, quantization, adapter)


def load_packed(folder: Path, quantization: Quantization, adapter: Path | None) -> Any:
    """The model that a GPU samples with: NF4 weights stay in 4 bits, and the adapter stays separate."""
    model = load_nf4(folder) if quantization == "nf4" else load_plain(folder)
    return (_adapted(model, folder, adapter).get_base_model() if adapter else model).eval()


def load_merged(folder: Path, quantization: Quantization, adapter: Path | None) -> Any:
    """The model that a CPU samples with: NF4 weights are dequantised once, and the adapter is merged into them.

    Linear4bit computes with the same weights, but unpacks them at every call.
    """
    model = load_plain(folder)
    if quantization == "nf4":
        dequantise_nf4(model)
    return (_adapted(model, folder, adapter).merge_and_unload() if adapter else model).eval()


def _adapted(model: Any, folder: Path, adapter: Path) -> Any:
    from peft import PeftModel

    check_adapter(adapter, folder)
    return PeftModel.from_pretrained(model, adapter)
