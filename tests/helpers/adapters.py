"""Adapters as PEFT saves them, on random models of tiny widths, with the logits that PEFT itself computes with them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cardproof.rehearsal.reciter import write_tokenizer

TEXTS = ("The tenant must give notice in writing before the day of the hearing.", "EVIDENCE: ANSWER: INSUFFICIENT EVIDENCE")
IDS = [5, 9, 40, 77, 100, 31, 260, 12]
TRAINED = ("lora_B", "lora_embedding_", "modules_to_save", "trainable_tokens_delta", "magnitude", ".bias")


class Made(NamedTuple):
    """An adapter that was saved, and PEFT's own model with it."""

    folder: Path
    base: Path
    model: Any


def write_base(folder: Path, kind: str = "qwen3", tied: bool = False) -> Path:
    """Write a random causal language model with tokenizer and chat template; returns the folder. `kind`: qwen3, qwen2 or gpt2."""
    import torch
    from transformers import AutoModelForCausalLM, GPT2Config, Qwen2Config, Qwen3Config

    tokenizer = write_tokenizer(folder, TEXTS, size=320)
    common = {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    decoder = {
        **common,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "tie_word_embeddings": tied,
    }
    config: Any = {
        "qwen3": lambda: Qwen3Config(**decoder, head_dim=16),
        "qwen2": lambda: Qwen2Config(**decoder),
        "gpt2": lambda: GPT2Config(**common, n_embd=64, n_layer=2, n_head=4, n_positions=256),
    }[kind]()
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    for name, parameter in model.named_parameters():
        # Larger than a fresh model's, so that logits differ by more than rounding.
        parameter.data.mul_(4) if parameter.dim() > 1 else parameter.data.add_(0.1 if name.endswith("bias") else 0)
    model.save_pretrained(folder)
    return folder


def write_adapter(
    folder: Path,
    base: Path,
    settings: Mapping[str, Any],
    tokens: tuple[str, ...] = (),
    rows: int | None = None,
    dtype: str = "float32",
    train: Callable[[Any], None] | None = None,
) -> Made:
    """Save an adapter changed as training would; `tokens` are added, and the embeddings resized for them or to `rows`."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(base)
    if tokens or rows:
        tokenizer.add_tokens(list(tokens))
        model.resize_token_embeddings(rows or len(tokenizer), mean_resizing=False)
    options = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **settings}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peft = get_peft_model(model, LoraConfig(**options))
        (train or _train)(peft)
        for name, parameter in peft.named_parameters():
            if dtype != "float32" and "lora_" in name:
                parameter.data = parameter.data.to(getattr(torch, dtype)).float()
        peft.save_pretrained(folder)
    if dtype != "float32":
        rewrite(folder, lambda name, tensor: tensor.to(getattr(torch, dtype)))
    if tokens:
        tokenizer.save_pretrained(folder)
    return Made(folder, base, peft.eval())


def _train(model: Any) -> None:
    import torch

    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and any(part in name for part in TRAINED):
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)


def rewrite(folder: Path, change: Callable[[str, Any], Any]) -> None:
    """Write an adapter's weights again; `change` maps a name and its tensor to a tensor, to (name, tensor), or to None: left out."""
    from safetensors.torch import load_file, save_file

    file = folder / "adapter_model.safetensors"
    kept = {}
    for name, tensor in load_file(file).items():
        made = change(name, tensor)
        if made is not None:
            name, tensor = made if isinstance(made, tuple) else (name, made)
            kept[name] = tensor.contiguous()
    save_file(kept, file, metadata={"format": "pt"})
