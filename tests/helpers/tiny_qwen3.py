"""Tiny stand-ins for tests: the rehearsal's Qwen3 that recites, on a few short passages, and an adapter for any model."""

from __future__ import annotations

from pathlib import Path

from cardproof.benchmark.embedded import load_embedded
from cardproof.benchmark.folder import Rows
from cardproof.rehearsal.reciter import write_reciter
from helpers.places import PROMPTS

ITEMS = (13, 15, 18, 26, 48, 54, 58, 70)
"""Embedded questions on short passages."""


def tiny_benchmark() -> Rows:
    """Eight short questions, and their passages among others to distract from them."""
    passages, questions = load_embedded()
    asked = [q for q in questions if q.id in ITEMS]
    oracles = {q.relevant_passage_id for q in asked}
    short = [p for p in passages if len(p.text.split()) < 30][:8]
    return [p for p in passages if p.id in oracles or p in short], asked


def write_tiny_qwen3(folder: Path, data: Rows) -> Path:
    """Write the model and its tokenizer into `folder`, fitted to the contract's replies on `data`; returns the folder."""
    return write_reciter(folder, data, PROMPTS)


def write_benchmark(folder: Path, data: Rows) -> Path:
    """Write the benchmark in the published one's layout: qa.jsonl and corpus.jsonl."""
    from cardproof.benchmark.folder import write

    folder.mkdir(parents=True, exist_ok=True)
    write(*data, folder / "corpus.jsonl", folder / "qa.jsonl")
    return folder


def write_tiny_adapter(folder: Path, model_folder: Path, rank: int, seed: int = 1, scale: float = 1e-3) -> Path:
    """Write a LoRA adapter on all linear layers with random weights, B scaled by `scale`: an arm trained elsewhere."""
    import torch
    from peft import LoraConfig, get_peft_model

    from cardproof.models.loading import load_plain

    torch.manual_seed(seed)
    lora = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    model = get_peft_model(load_plain(model_folder), lora)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.mul_(scale)
    model.save_pretrained(folder, safe_serialization=True)
    return folder
