"""Loading causal language models, with or without a LoRA adapter: NF4 for training, and the same NF4 weights for sampling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cardproof.acquire.weights import check_adapter
from cardproof.models.device import Quantization, compute_dtype, device
from cardproof.models.nf4 import dequantise_nf4


def load_nf4(folder: Path) -> Any:
    """A model whose linear layers are bitsandbytes Linear4bit: NormalFloat4, double quantisation, blocks of 64 (Dettmers et al. 2023)."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    nf4 = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=compute_dtype()
    )
    return AutoModelForCausalLM.from_pretrained(
        folder, quantization_config=nf4, dtype=compute_dtype(), device_map={"": device()}, use_safetensors=True
    )


def load_plain(folder: Path, where: str | None = None) -> Any:
    """A model in the device's compute dtype, not quantised; it goes to `where`, by default to the device."""
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=compute_dtype(), use_safetensors=True)
    return model.to(where or device())


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
