"""Loading causal language models: NF4 for training, the same NF4 weights for sampling, with or without a LoRA adapter."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from cardproof.acquire.weights import check_adapter
from cardproof.errors import CardproofError
from cardproof.records import Message

Quantization = Literal["nf4", "none"]


def quiet() -> None:
    """No progress bars and advisory chatter from the model libraries: the steps print their own."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def device() -> str:
    """`cuda` where a GPU is there, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def compute_dtype() -> Any:
    """bfloat16 on a GPU; float32 on a CPU, where bfloat16 is many times slower."""
    import torch

    return torch.bfloat16 if device() == "cuda" else torch.float32


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model folder; it must bring a chat template."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    if not tokenizer.chat_template:
        raise CardproofError(f"{folder}: the tokenizer has no chat template.", "use an instruction-tuned model.")
    return tokenizer


def prompt_ids(tokenizer: Any, messages: list[Message], reply_prefix: str, thinking: bool) -> tuple[list[int], int]:
    """Token ids of a conversation up to where the reply begins, and how many of them all turns but the last make up.

    The second number is 0 where the template does not render earlier turns as a prefix of the whole.
    """
    turns = [m.model_dump() for m in messages]
    options = {"tokenize": False, "enable_thinking": thinking}
    text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, **options) + reply_prefix
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    common = 0
    if len(turns) > 1:
        head = tokenizer(tokenizer.apply_chat_template(turns[:-1], **options), add_special_tokens=False)["input_ids"]
        if ids[: len(head)] == head and len(head) < len(ids):
            common = len(head)
    return ids, common


def load_nf4(folder: Path) -> Any:
    """A model with its linear layers as bitsandbytes Linear4bit: NormalFloat4, double quantisation, blocks of 64 (Dettmers et al. 2023)."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    nf4 = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=compute_dtype()
    )
    return AutoModelForCausalLM.from_pretrained(
        folder, quantization_config=nf4, dtype=compute_dtype(), device_map={"": device()}, use_safetensors=True
    )


def load_plain(folder: Path, where: str | None = None) -> Any:
    """A model in the device's compute dtype, not quantised; kept on `where` instead of the device."""
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=compute_dtype(), use_safetensors=True)
    return model.to(where or device())


def load_for_sampling(folder: Path, quantization: Quantization, adapter: Path | None, packed: bool | None = None) -> Any:
    """A model ready to draw replies: always the causal language model itself, never PEFT's wrapper around it.

    On a CPU the NF4 weights are dequantised once (the same weights as Linear4bit computes with, without its cost at every call) and the
    adapter is merged into them; on a GPU they stay in 4 bits with the adapter beside them. `packed` says which of the two; None: as the
    device has it.
    """
    packed = device() == "cuda" if packed is None else packed
    if packed and quantization == "nf4":
        model = load_nf4(folder)
    else:
        model = load_plain(folder)
        if quantization == "nf4":
            dequantise_nf4(model)
    if adapter is not None:
        from peft import PeftModel

        check_adapter(adapter, folder)
        adapted = PeftModel.from_pretrained(model, adapter)
        model = adapted.get_base_model() if packed else adapted.merge_and_unload()
    return model.eval()


def keep_dequantised(model: Any, most_gb: float) -> bool:
    """Unpack each Linear4bit's weight once and compute with that, where all of them fit into `most_gb`; says whether it was done.

    The layers keep their packed weights, and give the same results and gradients to the last bit: bitsandbytes unpacks the same values at
    every forward and backward pass.
    """
    import functools

    import torch
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit

    layers: list[Any] = [module for module in model.modules() if isinstance(module, Linear4bit)]
    if sum(layer.in_features * layer.out_features for layer in layers) * compute_dtype().itemsize > most_gb * 1e9:
        return False
    for layer in layers:
        weight = dequantize_4bit(layer.weight.data, layer.weight.quant_state).to(compute_dtype())
        layer.forward = functools.partial(torch.nn.functional.linear, weight=weight, bias=layer.bias)
    return True


def dequantise_nf4(model: Any) -> None:
    """Replace every linear weight that load_nf4 would quantise by its value after a round trip through NF4, in place."""
    import torch
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    head = model.get_output_embeddings()
    for module in model.modules():
        if isinstance(module, torch.nn.Linear) and module is not head:
            packed, state = quantize_4bit(module.weight.data, blocksize=64, compress_statistics=True, quant_type="nf4")
            module.weight.data = dequantize_4bit(packed, state).to(module.weight.dtype)
