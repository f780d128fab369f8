"""QLoRA training: LoRA on every linear layer of an NF4 base, loss on the reply only (Dettmers et al. 2023; Hu et al. 2021)."""

from __future__ import annotations

import importlib.metadata
import json
import math
import platform
import resource
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cardproof.acquire.folders import fingerprint, model_hash
from cardproof.config.settings import Config, Training, Variant
from cardproof.errors import CardproofError, nearest
from cardproof.evidence.provenance import code_fingerprint
from cardproof.files import nothing_partial, read_rows, seeded_hash, sha256_text, write_json
from cardproof.models import device, loading, nf4, tokens
from cardproof.records import Example, Turn

PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "tokenizers", "numpy")
WHOLE = "whole"
"""Empty file in a checkpoint of which nothing is missing."""


def turns(examples: Sequence[Example], contract_share: float, seed: int) -> list[tuple[Turn, bool]]:
    """Each example's conversation and whether it is in contract form; the share of contract forms is exact, which ones is seeded."""
    ranked = sorted(range(len(examples)), key=lambda i: seeded_hash(seed, examples[i].item, examples[i].k))
    chosen = set(ranked[: round(contract_share * len(examples))])
    return [(e.contract, True) if i in chosen else (e.freeform, False) for i, e in enumerate(examples)]


def tokenise(tokenizer: Any, turn: Turn, thinking: bool, max_tokens: int, name: str) -> dict[str, list[int]]:
    """Token ids of a conversation and its labels: the reply and its end-of-turn token, -100 elsewhere.

    Raises CardproofError where it is longer than `max_tokens`: a cut example would teach a cut quote.
    """
    prompt, _ = tokens.prompt_ids(tokenizer, turn.messages, "", thinking)
    reply = tokenizer(turn.reply, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    if len(prompt) + len(reply) > max_tokens:
        raise CardproofError(
            f"distill/raft.jsonl: example {name} has {len(prompt) + len(reply)} tokens, training.max_tokens is {max_tokens}.",
            "raise training.max_tokens, or shorten the documents shown.",
        )
    return {"input_ids": prompt + reply, "labels": [-100] * len(prompt) + reply}


def load(model_dir: Path, quantization: device.Quantization, settings: Training, memory_gb: float = 0) -> Any:
    """The NF4 (or plain) base, frozen, with fresh LoRA matrices on all linear layers but the output head.

    `memory_gb`: what the step may use. On a CPU, NF4 weights are unpacked once where that takes no more than a quarter of it.
    """
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    if quantization == "nf4":
        model = prepare_model_for_kbit_training(
            loading.load_nf4(model_dir),
            use_gradient_checkpointing=settings.gradient_checkpointing,
            gradient_checkpointing_kwargs={"use_reentrant": False},
        )
        if device.device() == "cpu":
            nf4.keep_dequantised(model, memory_gb / 4)
    else:
        model = loading.load_plain(model_dir)
    lora = LoraConfig(
        r=settings.rank, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    return get_peft_model(model, lora)


def count_parameters(model: Any) -> dict[str, int | float]:
    """Trainable and base parameters, a packed 4-bit weight counted by its values, and the trainable share of both totals."""
    trainable = base = 0
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        size = math.prod(state.shape) if state is not None else parameter.numel()
        if parameter.requires_grad:
            trainable += size
        else:
            base += size
    return {
        "trainable_parameters": trainable,
        "base_parameters": base,
        "total_parameters": trainable + base,
        "trainable_share_of_base": trainable / base,
        "trainable_share_of_total": trainable / (trainable + base),
    }


class Paths(NamedTuple):
    """What a training reads and writes."""

    examples: Path
    model: Path
    """Folder of the base model."""
    adapter: Path
    """Folder to write."""
    metrics: Path
    work: Path
    """Folder of checkpoints while it runs."""


def train(config: Config, variant: str, paths: Paths) -> dict[str, Any]:
    """Train the adapter of one training run; see `fit`. CardproofError where the run trains nothing of that name."""
    if variant not in config.training_runs:
        near = nearest(variant, config.training_runs)
        raise CardproofError(
            f"There is no training run {variant!r}.", f"did you mean {near!r}?" if near else f"known: {', '.join(config.training_runs)}."
        )
    run = config.training_runs[variant]
    with nothing_partial(paths.adapter):
        return fit(
            variant,
            run.variant,
            config.training,
            read_rows(paths.examples, Example),
            paths.model,
            config.model.id,
            config.model.quantization,
            config.model.thinking,
            paths.adapter,
            paths.metrics,
            paths.work,
            run.seed,
            config.runtime.threads,
            config.runtime.memory_gb,
        )


def fit(
    name: str,
    variant: Variant,
    settings: Training,
    examples: Sequence[Example],
    model_dir: Path,
    model_id: str,
    quantization: device.Quantization,
    thinking: bool,
    out: Path,
    metrics_path: Path,
    work: Path,
    seed: int,
    threads: int,
    memory_gb: float = 0,
) -> dict[str, Any]:
    """Train one variant; saves the adapter into `out` and the run's record into `metrics_path`, and returns the record.

    `work` holds checkpoints while the training runs: a killed training resumes from the last one. Raises CardproofError where there are no
    examples.
    """
    import torch
    from transformers import Trainer, TrainingArguments, set_seed

    if not examples:
        raise CardproofError(
            "distill/raft.jsonl holds no example: no candidate of the base model passed the selection.",
            "see distill/selection.json for the reasons; lower distill.threshold or raise distill.n.",
        )
    device.quiet()
    torch.set_num_threads(threads)
    set_seed(seed)
    tokenizer = tokens.load_tokenizer(model_dir)
    chosen = turns(examples, variant.contract_share, seed)
    rows = [
        tokenise(tokenizer, turn, thinking, settings.max_tokens, f"item {e.item}, k {e.k}")
        for e, (turn, _) in zip(examples, chosen, strict=True)
    ]
    model = load(model_dir, quantization, settings, memory_gb)
    steps = math.ceil(len(rows) / variant.effective_batch) * variant.epochs
    depends_on = {"variant": variant.model_dump(), "settings": settings.model_dump(mode="json"), "rows": rows, "seed": seed}
    base_hash = model_hash(model_dir)
    code = code_fingerprint("train")
    resume = _resume_point(work, {**depends_on, "model": base_hash, "quantization": quantization, "code": code})
    arguments = TrainingArguments(
        output_dir=str(work / "checkpoints"),
        num_train_epochs=variant.epochs,
        # One example at a time: no padding is computed, and the loss is normalised over the whole effective batch all the same.
        per_device_train_batch_size=1,
        gradient_accumulation_steps=variant.effective_batch,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.scheduler,
        warmup_steps=settings.warmup_steps,
        max_grad_norm=settings.max_grad_norm,
        weight_decay=settings.weight_decay,
        optim=settings.optimizer,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=max(1, steps // 4),
        # Two: the one before is whole while the next is written.
        save_total_limit=2,
        report_to="none",
        seed=seed,
        data_seed=seed,
        use_cpu=device.device() == "cpu",
        bf16=device.device() == "cuda",
        remove_unused_columns=False,
        disable_tqdm=False,
        dataloader_pin_memory=False,
    )
    # One GPU, also where the machine shows several: the Trainer would multiply the batch by their number.
    arguments._n_gpu = min(1, arguments.n_gpu)
    trainer = _trainer_class(Trainer)(model=model, args=arguments, train_dataset=rows, data_collator=_collate)
    started = time.monotonic()
    trainer.train(resume_from_checkpoint=resume)
    seconds = time.monotonic() - started
    # Of every step, those before a resumption too; the mean that the trainer itself returns knows only the steps of this call.
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    mean = sum(losses) / len(losses)
    if not all(math.isfinite(x) for x in losses):
        raise CardproofError(f"training/{name}: the loss is not finite: {losses}.", "lower training.learning_rate.")
    tmp = out.with_name(f".{out.name}.partial")
    shutil.rmtree(tmp, ignore_errors=True)
    model.save_pretrained(tmp, safe_serialization=True)
    # PEFT writes a README of its own and the path of the base model: neither belongs to the result.
    (tmp / "README.md").unlink(missing_ok=True)
    adapter_config = json.loads((tmp / "adapter_config.json").read_text())
    # The modules are a set, whose order differs from process to process.
    modules = sorted(adapter_config["target_modules"])
    write_json(tmp / "adapter_config.json", {**adapter_config, "base_model_name_or_path": model_id, "target_modules": modules})
    shutil.rmtree(out, ignore_errors=True)
    tmp.rename(out)
    metrics = {
        "variant": name,
        "model": model_id,
        "model_hash": base_hash,
        "adapter_hash": fingerprint(out),
        "quantization": quantization,
        "examples": len(rows),
        "contract_examples": sum(is_contract for _, is_contract in chosen),
        "freeform_examples": sum(not is_contract for _, is_contract in chosen),
        "seed": seed,
        "epochs": variant.epochs,
        "effective_batch": variant.effective_batch,
        "steps": trainer.state.global_step,
        "rank": settings.rank,
        "alpha": settings.alpha,
        "learning_rate": settings.learning_rate,
        "loss_per_step": losses,
        "train_loss": mean,
        "last_loss": losses[-1],
        "tokens": variant.epochs * sum(len(r["input_ids"]) for r in rows),
        "reply_tokens": variant.epochs * sum(sum(label != -100 for label in r["labels"]) for r in rows),
        **count_parameters(model),
        "device": device.device(),
        "environment": {"python": platform.python_version(), **{p: importlib.metadata.version(p) for p in PACKAGES}},
    }
    write_json(metrics_path, metrics)
    # Time and memory differ from run to run: they stand apart from what must not.
    cost = {
        "seconds": round(seconds, 1),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "peak_gpu_memory_mb": torch.cuda.max_memory_allocated() // 2**20 if torch.cuda.is_available() else None,
        "resumed": resume is not None,
    }
    write_json(metrics_path.with_name("cost.json"), cost)
    shutil.rmtree(work, ignore_errors=True)
    print(f"training/{name}: {metrics['steps']} steps, mean loss {mean:.4f}, {cost['seconds']} s", file=sys.stderr)
    return metrics


def _collate(rows: list[dict[str, list[int]]]) -> dict[str, Any]:
    import torch

    (row,) = rows
    return {key: torch.tensor([value]) for key, value in row.items()}


def _trainer_class(trainer: Any) -> Any:
    """The Trainer, with logits computed for the reply's positions alone: most of a long prompt's cost at the output layer is saved.

    A checkpoint gets a mark when all of it is there, since a killed run may leave half of one.
    """
    import torch

    class ReplyLossTrainer(trainer):
        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
            labels = inputs["labels"][0, 1:]
            positions = torch.nonzero(labels != -100).flatten()
            outputs = model(input_ids=inputs["input_ids"], logits_to_keep=positions, use_cache=False)
            total = torch.nn.functional.cross_entropy(outputs.logits[0].float(), labels[positions], reduction="sum")
            loss = total / (num_items_in_batch if num_items_in_batch is not None else len(positions))
            return (loss, outputs) if return_outputs else loss

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            super()._save_checkpoint(model, trial)
            Path(self.args.output_dir, f"checkpoint-{self.state.global_step}", WHOLE).touch()

    return ReplyLossTrainer


def _resume_point(work: Path, depends_on: dict[str, Any]) -> str | None:
    """The last whole checkpoint in `work`, where it belongs to this very training; anything else there is removed."""
    digest = sha256_text(json.dumps(depends_on, sort_keys=True))
    mark = work / "training.sha256"
    if not (mark.exists() and mark.read_text() == digest):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        mark.write_text(digest)
        return None
    checkpoints = sorted((work / "checkpoints").glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]))
    last = next((p for p in reversed(checkpoints) if (p / WHOLE).is_file()), None)
    for other in (p for p in checkpoints if p != last):
        shutil.rmtree(other)
    return str(last) if last else None
