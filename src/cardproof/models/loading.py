"""Loading causal language models, with or without a LoRA adapter: NF4 for training, and the same NF4 weights for sampling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cardproof.acquire.adapters import Fit, check_adapter
from cardproof.acquire.lora import WEIGHTS, peft_config
from cardproof.acquire.weights import AGAIN
from cardproof.errors import CardproofError, brief, unwritable
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
        raise CardproofError(f"{folder}: transformers cannot load the model ({brief(e, 300)}).", AGAIN) from None
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
