"""Loading causal language models, with or without a LoRA adapter: NF4 for training, and the same NF4 weights for sampling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cardproof.acquire.adapters import Fit, check_adapter
from cardproof.acquire.lora import WEIGHTS, peft_config
from cardproof.errors import CardproofError
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
    fit = check_adapter(adapter, folder) if adapter else None
    model = load_nf4(folder) if quantization == "nf4" else load_plain(folder)
    return (_adapted(model, adapter, fit).get_base_model() if adapter and fit else model).eval()


def load_merged(folder: Path, quantization: Quantization, adapter: Path | None) -> Any:
    """The model that a CPU samples with: NF4 weights are dequantised once, and the adapter is merged into them.

    Linear4bit computes with the same weights, but unpacks them at every call.
    """
    fit = check_adapter(adapter, folder) if adapter else None
    model = load_plain(folder)
    if quantization == "nf4":
        dequantise_nf4(model)
    return (_merged(_adapted(model, adapter, fit)) if adapter and fit else model).eval()


def _adapted(model: Any, adapter: Path, fit: Fit) -> Any:
    """PEFT's wrapper around a model, with the adapter's weights; CardproofError if a tensor did not land, of which PEFT only warns."""
    import warnings

    from peft import PeftModel

    if fit.rows is not None:
        model.resize_token_embeddings(fit.rows, mean_resizing=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peft = PeftModel(model, peft_config(adapter))
        landed: Any = peft.load_adapter(str(adapter), "default")
    if astray := [*landed.missing_keys, *(set(landed.unexpected_keys) - fit.twice)]:
        raise CardproofError(
            f"{adapter / WEIGHTS}: {len(astray)} tensors did not land in the model, such as {astray[0]}.",
            "use the pinned versions of peft and transformers.",
        )
    return peft


def _merged(peft: Any) -> Any:
    """The model with the adapter added to its weights, which computes what PEFT's wrapper does."""
    _give_biases(peft)
    _untie(peft)
    return peft.merge_and_unload()


def _untie(peft: Any) -> None:
    """If the output layer shares the embeddings' weight and the adapter changes one of them, part the two: merging would change both."""
    import torch

    model = peft.get_base_model()
    ends = model.get_input_embeddings(), model.get_output_embeddings()
    first, last = (end.get_base_layer() if hasattr(end, "get_base_layer") else end for end in ends)
    if (first, last) != ends and first.weight is last.weight:
        last.weight = torch.nn.Parameter(last.weight.detach().clone(), requires_grad=False)
        model.config.tie_word_embeddings = False


def _give_biases(peft: Any) -> None:
    """Give each layer whose adapter has a bias one of zeros, if it has none: PEFT cannot merge the adapter's without it."""
    import torch

    for layer in (m for m in peft.modules() if any(getattr(m, "lora_bias", {}).values())):
        base = layer.get_base_layer()
        if base.bias is None:
            base.bias = torch.nn.Parameter(base.weight.new_zeros(layer.out_features), requires_grad=False)
