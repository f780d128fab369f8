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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cardproof.acquire.model_hash import fingerprint, model_hash
from cardproof.acquire.sources import hub_id
from cardproof.config.places import without_places
from cardproof.config.settings import Config, Training, TrainingRun, optimizer_steps
from cardproof.errors import CardproofError, did_you_mean
from cardproof.evidence.provenance import code_fingerprint
from cardproof.files import nothing_partial, read_rows, seeded_hash, sha256_text, write_json
from cardproof.models import device, loading, nf4
from cardproof.models.architecture import check_length, context_of, load_config
from cardproof.models.chat import Chat
from cardproof.models.lora import with_lora
from cardproof.records import Example, Turn
from cardproof.training.results import TrainingMetrics

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import Trainer

PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "tokenizers", "numpy")
WHOLE = "whole"
"""Name of the empty file that marks a complete checkpoint."""
IGNORED_LABEL = -100
"""Label of a token that does not count in the loss."""

Row = dict[str, list[int]]
"""One tokenised example: `input_ids` and `labels`."""


class Paths(NamedTuple):
    """What a training reads and writes."""

    examples: Path
    model: Path
    """Folder of the base model."""
    adapter: Path
    """Folder to write."""
    metrics: Path
    """JSON file to write; `cost.json` goes beside it."""
    work: Path
    """Folder of the checkpoints, removed at the end."""


class TrainingSet(NamedTuple):
    """The examples of one training run."""

    rows: list[Row]
    contract: int
    """How many rows are in contract form."""


def train(config: Config, name: str, paths: Paths) -> TrainingMetrics:
    """Train one adapter; write the adapter, its metrics and its cost, and return the metrics.

    A killed training resumes from its last checkpoint in `paths.work`. CardproofError if the configuration has no training run of that
    name, there are no examples, one is too long, or the loss is not finite.
    """
    if name not in config.training_runs:
        known = f"known: {', '.join(config.training_runs)}."
        raise CardproofError(f"There is no training run {name!r}.", did_you_mean(name, config.training_runs, known))
    examples = read_rows(paths.examples, Example)
    if not examples:
        raise CardproofError(
            f"{paths.examples} has no examples: no candidate of the base model passed the selection.",
            "see distill/selection.json for the reasons; lower distill.threshold or raise distill.n.",
        )
    with nothing_partial(paths.adapter):
        return _train(config, name, examples, paths)


def _train(config: Config, name: str, examples: Sequence[Example], paths: Paths) -> TrainingMetrics:
    import torch
    from transformers import set_seed

    run = config.training_runs[name]
    device.quiet()
    torch.set_num_threads(config.runtime.threads)
    set_seed(run.seed)
    dataset = _dataset(config, run, examples, paths.model)
    model = load(paths.model, config.model.quantization, config.training, config.runtime.memory_gb)
    base_hash = model_hash(paths.model)
    resume = _resume_point(paths.work, _identity(config, run, dataset, base_hash))
    trainer = _trainer(config.training, run, model, dataset.rows, paths.work)
    started = time.monotonic()
    trainer.train(resume_from_checkpoint=resume)
    seconds = round(time.monotonic() - started, 1)
    losses = _losses(trainer, name)
    _save_adapter(model, hub_id(config), paths.adapter)
    metrics = TrainingMetrics(
        variant=name,
        model=without_places(config).model.id,
        model_hash=base_hash,
        adapter_hash=fingerprint(paths.adapter),
        **_recipe(config, run, dataset, trainer.state.global_step),
        **_loss_figures(losses),
        **_token_counts(dataset.rows, run.variant.epochs),
        **count_parameters(model),
        device=device.device(),
        environment={"python": platform.python_version(), **{p: importlib.metadata.version(p) for p in PACKAGES}},
    )
    write_json(paths.metrics, metrics)
    # Time and memory differ from run to run, so they are in a file of their own.
    write_json(paths.metrics.with_name("cost.json"), {"seconds": seconds, **_memory(), "resumed": resume is not None})
    shutil.rmtree(paths.work, ignore_errors=True)
    print(f"training/{name}: {metrics.steps} steps, mean loss {metrics.train_loss:.4f}, {seconds} s", file=sys.stderr)
    return metrics


# --- examples ---------------------------------------------------------------------------------------------------------


def turns(examples: Sequence[Example], contract_share: float, seed: int) -> list[tuple[Turn, bool]]:
    """Each example's conversation and whether it is in contract form. The share of contract forms is exact; the seed says which ones."""
    ranked = sorted(range(len(examples)), key=lambda i: seeded_hash(seed, examples[i].item, examples[i].k))
    chosen = set(ranked[: round(contract_share * len(examples))])
    return [(e.contract, True) if i in chosen else (e.freeform, False) for i, e in enumerate(examples)]


def tokenise(chat: Chat, turn: Turn, max_tokens: int, name: str, context: int | None = None) -> Row:
    """Token ids of a conversation and its labels: the reply and what the chat template ends a turn with, IGNORED_LABEL elsewhere.

    CardproofError if it is longer than `max_tokens`, since a cut example would teach the model to cut quotes, or than the model's context.
    """
    encoded = chat.prompt(turn.messages)
    # What the template opens is in the prompt already.
    said = turn.reply.removeprefix(encoded.opened.rstrip()).lstrip() if encoded.opened else turn.reply
    prompt, reply = encoded.ids, [*chat.encode(said), *chat.ending.ids]
    what = f"distill/raft.jsonl: example {name}"
    check_length(what, len(prompt), len(reply), context, "shorten the documents shown, or take a model with a longer context.")
    if len(prompt) + len(reply) > max_tokens:
        raise CardproofError(
            f"{what} has {len(prompt) + len(reply)} tokens, training.max_tokens is {max_tokens}.",
            "raise training.max_tokens, or shorten the documents shown.",
        )
    return {"input_ids": prompt + reply, "labels": [IGNORED_LABEL] * len(prompt) + reply}


def _dataset(config: Config, run: TrainingRun, examples: Sequence[Example], model: Path) -> TrainingSet:
    chat = Chat(model, config.model, any(len(e.contract.messages) > 2 for e in examples))
    context = context_of(load_config(model))
    chosen = turns(examples, run.variant.contract_share, run.seed)
    rows = [
        tokenise(chat, turn, config.training.max_tokens, f"item {e.item}, k {e.k}", context)
        for e, (turn, _) in zip(examples, chosen, strict=True)
    ]
    return TrainingSet(rows, sum(is_contract for _, is_contract in chosen))


def as_dataset(rows: Sequence[Row]) -> Dataset:
    """The examples as the library `datasets` has them, in memory: what the trainer draws its batches from."""
    from datasets import Dataset, Features, List, Value

    return Dataset.from_list(list(rows), Features({name: List(Value("int64")) for name in ("input_ids", "labels")}))


def collate(rows: list[Row]) -> dict[str, Any]:
    """A batch of one row as tensors of shape (1, tokens)."""
    import torch

    (row,) = rows
    return {key: torch.tensor([value]) for key, value in row.items()}


# --- model ------------------------------------------------------------------------------------------------------------


def load(model_dir: Path, quantization: device.Quantization, settings: Training, memory_gb: float = 0) -> Any:
    """The NF4 (or plain) base, frozen, with fresh LoRA matrices on all linear layers except the output head.

    `memory_gb` is what the step may use. On a CPU, NF4 weights are unpacked once if that takes at most a quarter of it.
    """
    from peft import prepare_model_for_kbit_training

    from cardproof.models import products

    if quantization == "nf4":
        prepare: Callable[..., Any] = prepare_model_for_kbit_training
        model = prepare(
            loading.load_nf4(model_dir),
            use_gradient_checkpointing=settings.gradient_checkpointing,
            gradient_checkpointing_kwargs={"use_reentrant": False},
        )
        hold_as_published(model, device.compute_dtype())
        if device.device() == "cpu":
            nf4.compute_on_cpu(model, memory_gb / 4)
    else:
        model = loading.load_plain(model_dir)
    model = with_lora(model, settings)
    products.use(model)
    return model


def hold_as_published(model: Any, dtype: Any) -> None:
    """Keep embeddings and output head in the compute type, in place; PEFT has cast them to float32.

    Nothing is lost, since their values came in 16 bits. The stream behind the embeddings stays in float32, and autocast would have cast the
    head anyway. At 14B it saves 4.7 GB: half of both, and autocast's copy of the head.
    """
    import torch

    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    if dtype == torch.float32:
        return
    for module in (embeddings, head):
        module.weight.data = module.weight.data.to(dtype)
    embeddings.register_forward_hook(lambda module, inputs, output: output.float())


def count_parameters(model: Any) -> dict[str, Any]:
    """Trainable and base parameters, and the trainable share of the base and of the total. A packed 4-bit weight counts by its values."""
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


def _save_adapter(model: Any, base: str | None, out: Path) -> None:
    """Write the adapter without what differs between machines and processes; the folder appears whole or not at all.

    `base` is the base model's name on the Hub, if it has one.
    """
    tmp = out.with_name(f".{out.name}.partial")
    shutil.rmtree(tmp, ignore_errors=True)
    model.save_pretrained(tmp, safe_serialization=True)
    (tmp / "README.md").unlink(missing_ok=True)  # PEFT's own; it is not a result
    adapter_config = json.loads((tmp / "adapter_config.json").read_text())
    # The modules are a set, whose order differs between processes.
    modules = sorted(adapter_config["target_modules"])
    # PEFT writes the path of the base model's folder, which means nothing elsewhere.
    write_json(tmp / "adapter_config.json", {**adapter_config, "base_model_name_or_path": base, "target_modules": modules})
    shutil.rmtree(out, ignore_errors=True)
    tmp.rename(out)


# --- trainer ----------------------------------------------------------------------------------------------------------


def reply_loss_trainer() -> type[Trainer]:
    """transformers' Trainer, with logits for the reply's positions only, which saves most of the output layer's work on a long prompt.

    A checkpoint gets a mark once it is complete, because a killed run may leave half of one.
    """
    import torch
    from transformers import Trainer

    class ReplyLossTrainer(Trainer):
        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
            labels = inputs["labels"][0, 1:]
            positions = torch.nonzero(labels != IGNORED_LABEL).flatten()
            outputs = model(input_ids=inputs["input_ids"], logits_to_keep=positions, use_cache=False)
            total = torch.nn.functional.cross_entropy(outputs.logits[0].float(), labels[positions], reduction="sum")
            loss = total / (num_items_in_batch if num_items_in_batch is not None else len(positions))
            return (loss, outputs) if return_outputs else loss

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            super()._save_checkpoint(model, trial)
            Path(str(self.args.output_dir), f"checkpoint-{self.state.global_step}", WHOLE).touch()

    return ReplyLossTrainer


def _trainer(settings: Training, run: TrainingRun, model: Any, rows: Sequence[Row], work: Path) -> Trainer:
    from transformers import TrainingArguments

    variant = run.variant
    arguments = TrainingArguments(
        output_dir=str(work / "checkpoints"),
        num_train_epochs=variant.epochs,
        # One example at a time needs no padding; the loss is still normalised over the whole effective batch.
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
        save_steps=max(1, optimizer_steps(len(rows), variant) // 4),
        # Two: the older one is complete while the newer one is written.
        save_total_limit=2,
        report_to="none",
        seed=run.seed,
        data_seed=run.seed,
        use_cpu=device.device() == "cpu",
        bf16=device.device() == "cuda",
        remove_unused_columns=False,
        disable_tqdm=False,
        dataloader_pin_memory=False,
    )
    # One GPU even if the machine has several: the Trainer would multiply the batch by their number.
    arguments._n_gpu = min(1, arguments.n_gpu)
    return reply_loss_trainer()(model=model, args=arguments, train_dataset=as_dataset(rows), data_collator=collate)


def _identity(config: Config, run: TrainingRun, dataset: TrainingSet, base_hash: str) -> dict[str, Any]:
    """Everything a training depends on: a checkpoint may be resumed only if all of it is the same."""
    return {
        "variant": run.variant.model_dump(),
        "settings": config.training.model_dump(mode="json"),
        "rows": dataset.rows,
        "seed": run.seed,
        "model": base_hash,
        "quantization": config.model.quantization,
        "code": code_fingerprint("train"),
    }


def _resume_point(work: Path, identity: dict[str, Any]) -> str | None:
    """The last complete checkpoint of this same training in `work`, or None; anything else in `work` is removed."""
    digest = sha256_text(json.dumps(identity, sort_keys=True))
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


# --- metrics ----------------------------------------------------------------------------------------------------------


def _losses(trainer: Trainer, name: str) -> list[float]:
    """The loss of every step, including those before a resumption: the mean that `Trainer.train` returns leaves them out."""
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    if not all(math.isfinite(x) for x in losses):
        raise CardproofError(f"training/{name}: the loss is not finite: {losses}.", "lower training.learning_rate.")
    return losses


def _recipe(config: Config, run: TrainingRun, dataset: TrainingSet, steps: int) -> dict[str, Any]:
    return {
        "quantization": config.model.quantization,
        "examples": len(dataset.rows),
        "contract_examples": dataset.contract,
        "freeform_examples": len(dataset.rows) - dataset.contract,
        "seed": run.seed,
        "epochs": run.variant.epochs,
        "effective_batch": run.variant.effective_batch,
        "steps": steps,
        "rank": config.training.rank,
        "alpha": config.training.alpha,
        "learning_rate": config.training.learning_rate,
    }


def _loss_figures(losses: Sequence[float]) -> dict[str, Any]:
    return {"loss_per_step": losses, "train_loss": sum(losses) / len(losses), "last_loss": losses[-1]}


def _token_counts(rows: Sequence[Row], epochs: int) -> dict[str, Any]:
    replies = sum(label != IGNORED_LABEL for row in rows for label in row["labels"])
    return {"tokens": epochs * sum(len(row["input_ids"]) for row in rows), "reply_tokens": epochs * replies}


def _memory() -> dict[str, int | None]:
    import torch

    gpu = torch.cuda.max_memory_allocated() // 2**20 if torch.cuda.is_available() else None
    return {"peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "peak_gpu_memory_mb": gpu}
