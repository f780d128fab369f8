"""Real QLoRA on a CPU: NF4 layers, a frozen base, gradients only in LoRA, loss on the reply only, and parameters counted by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from cardproof.acquire.sources import hub_id
from cardproof.config.settings import Config, Training, Variant
from cardproof.errors import CardproofError
from cardproof.files import write_rows
from cardproof.records import Example, Message, Turn
from cardproof.training import train as training
from cardproof.training.results import TrainingMetrics
from cardproof.training.train import Paths, count_parameters, load, tokenise, train, turns

SETTINGS = Training(rank=4, alpha=8, dropout=0.0, learning_rate=5e-3, optimizer="adamw_torch", max_tokens=256, gradient_checkpointing=False)


def example(i: int) -> Example:
    def turn(form: str, reply: str) -> Turn:
        return Turn(
            messages=[Message(role="system", content=form), Message(role="user", content=f"Question {i}: may it be revoked?")], reply=reply
        )

    return Example(
        item=i // 2,
        k=i % 2,
        composite=1.0,
        contract=turn("contract", f'EVIDENCE:\n[d{i}] "it may not be revoked"\nANSWER: No [d{i}].'),
        freeform=turn("freeform", f"No [d{i}]."),
    )


EXAMPLES = [example(i) for i in range(7)]


@pytest.fixture(scope="module")
def qlora(tiny_lm: Path):
    # In training mode, because otherwise CPUs with AVX512-BF16 take a kernel with coarser scales.
    return load(tiny_lm, "nf4", SETTINGS).train()


def test_the_base_is_nf4_and_frozen_and_only_lora_gets_gradients(qlora) -> None:
    import torch
    from bitsandbytes.nn import Linear4bit

    packed = {name for name, m in qlora.named_modules() if isinstance(m, Linear4bit)}
    assert len(packed) == 2 * 7, "two layers of q, k, v, o, gate, up and down"
    for name, module in qlora.named_modules():
        if isinstance(module, Linear4bit):
            assert module.weight.dtype == torch.uint8
            assert module.weight.quant_state.quant_type == "nf4"
            assert module.weight.quant_state.nested, f"{name} is not double quantised"
    ids = torch.arange(5, 30)[None]
    qlora(input_ids=ids, labels=ids).loss.backward()
    with_gradient = {name for name, p in qlora.named_parameters() if p.grad is not None}
    assert with_gradient
    assert all("lora_" in name for name in with_gradient)
    assert with_gradient == {name for name, p in qlora.named_parameters() if p.requires_grad}
    qlora.zero_grad()


def test_unpacking_the_weights_once_gives_the_same_bits(tiny_lm: Path) -> None:
    import torch
    from bitsandbytes.nn import Linear4bit

    from cardproof.models.nf4 import compute_on_cpu

    ids = torch.arange(5, 60)[None]

    def once(memory_gb: float):
        torch.manual_seed(0)
        model = load(tiny_lm, "nf4", SETTINGS, memory_gb).train()
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        return model, loss, [p.grad for p in model.parameters() if p.requires_grad]

    (packed, loss, gradients), (kept, same_loss, same_gradients) = once(0), once(1)

    def unpacked(model) -> int:
        layers = [vars(m)["forward"].keywords.get("weight") for m in model.modules() if isinstance(m, Linear4bit)]
        assert len(layers) == 14
        return sum(isinstance(weight, torch.Tensor) for weight in layers)

    assert [unpacked(packed), unpacked(kept)] == [0, 14], "the first keeps only packed weights, the second has all layers unpacked"
    assert torch.equal(loss, same_loss)
    assert all(map(torch.equal, gradients, same_gradients))
    assert not compute_on_cpu(packed, 1e-6), "it may not use that much memory"


def test_parameters_counted_by_hand(qlora) -> None:
    """LoRA: rank times (inputs + outputs) of each linear layer. Base: its dense shapes, although it is stored packed."""
    d, f, kv, layers, vocabulary, r = 96, 192, 32, 2, 49152, SETTINGS.rank
    shapes = [(d, d), (d, kv), (d, kv), (d, d), (d, f), (d, f), (f, d)]
    counts = count_parameters(qlora)
    assert counts["trainable_parameters"] == layers * sum(r * (i + o) for i, o in shapes)
    assert counts["base_parameters"] == layers * (sum(i * o for i, o in shapes) + 2 * d) + 2 * vocabulary * d + d


def test_only_the_reply_and_its_end_are_learnt(tiny_lm: Path) -> None:
    from cardproof.config.settings import Model
    from cardproof.models.chat import Chat

    chat = Chat(tiny_lm, Model())
    tokenizer = chat.tokenizer
    row = tokenise(chat, EXAMPLES[0].contract, 256, "x")
    learnt = [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label != -100]
    assert tokenizer.decode(learnt) == EXAMPLES[0].contract.reply + tokenizer.eos_token
    with pytest.raises(CardproofError, match=r"training\.max_tokens is 20"):
        tokenise(chat, EXAMPLES[0].contract, 20, "item 0, k 0")


def test_hybrid_share_is_exact_and_seeded() -> None:
    for share, expected in ((0.0, 0), (0.5, 4), (1.0, 7)):
        assert sum(is_contract for _, is_contract in turns(EXAMPLES, share, 0)) == expected
    halves = [[c for _, c in turns(EXAMPLES, 0.5, seed)] for seed in range(8)]
    assert halves[0] == [c for _, c in turns(EXAMPLES, 0.5, 0)]
    assert len({tuple(h) for h in halves}) > 1


def run(
    tiny_lm: Path, folder: Path, variant: Variant, examples: list[Example] = EXAMPLES, settings: Training = SETTINGS
) -> TrainingMetrics:
    config = Config.model_validate(
        {
            "scale": "embedded",
            "model": {"source": "folder", "id": "tiny"},
            "training": {**settings.model_dump(), "variants": {"grounded": variant}},
            "runtime": {"threads": 1},
        }
    )
    write_rows(folder / "raft.jsonl", examples)
    paths = Paths(folder / "raft.jsonl", tiny_lm, folder / "adapter", folder / "metrics.json", folder / "work")
    return train(config, "grounded", paths)


def test_training_learns_and_records(tiny_lm: Path, tmp_path: Path) -> None:
    metrics = run(tiny_lm, tmp_path / "a", Variant(epochs=6, effective_batch=3))
    losses = metrics.loss_per_step
    assert metrics.steps == len(losses) == 6 * math.ceil(7 / 3)
    assert losses[-1] < 0.8 * losses[0]
    assert metrics.train_loss == sum(losses) / len(losses)
    assert metrics.last_loss == losses[-1]
    assert TrainingMetrics.model_validate_json((tmp_path / "a" / "metrics.json").read_text()) == metrics
    assert not (tmp_path / "a" / "work").exists()
    written = json.loads((tmp_path / "a" / "adapter" / "adapter_config.json").read_text())
    assert written["target_modules"] == sorted(written["target_modules"]), "a set's order differs from process to process"
    assert written["base_model_name_or_path"] is None, "a folder's path means nothing elsewhere"
    again = run(tiny_lm, tmp_path / "b", Variant(epochs=6, effective_batch=3))
    assert again == metrics, "the same seed gives the same training, bit for bit"


def test_first_loss_is_the_mean_over_reply_tokens(tiny_lm: Path, tmp_path: Path) -> None:
    """Equals a plain forward pass over the first effective batch: LoRA's B is zero at the start, so the model is still the NF4 base."""
    import torch

    from cardproof.config.settings import Model
    from cardproof.models.chat import Chat
    from cardproof.models.loading import load_nf4

    metrics = run(tiny_lm, tmp_path, Variant(epochs=1, effective_batch=7))
    model, chat = load_nf4(tiny_lm).train(), Chat(tiny_lm, Model())
    total, count = 0.0, 0
    for e in EXAMPLES:
        row = tokenise(chat, e.contract, 256, "x")
        labels = torch.tensor(row["labels"][1:])
        with torch.inference_mode():
            logits = model(torch.tensor([row["input_ids"]])).logits[0, :-1].float()
        keep = labels != -100
        total += float(torch.nn.functional.cross_entropy(logits[keep], labels[keep], reduction="sum"))
        count += int(keep.sum())
    assert metrics.loss_per_step[0] == pytest.approx(total / count, rel=1e-3)


@pytest.mark.parametrize(("event", "step", "half_a_checkpoint"), [("on_substep_end", 2, False), ("on_step_end", 7, True)])
def test_a_killed_training_resumes_with_the_same_losses(
    event: str, step: int, half_a_checkpoint: bool, tiny_lm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between steps and inside an effective batch, mid-epoch (4 steps, a checkpoint every 2); dropout reveals the random state."""
    from transformers import TrainerCallback, trainer

    variant, settings = Variant(epochs=2, effective_batch=2), SETTINGS.model_copy(update={"dropout": 0.1})
    whole = run(tiny_lm, tmp_path / "whole", variant, settings=settings)

    def kill(self, args, state, control, **kwargs) -> None:
        if state.global_step >= step:
            raise KeyboardInterrupt

    killer = type("Kill", (TrainerCallback,), {event: kill})
    monkeypatch.setattr(trainer, "DEFAULT_CALLBACKS", [*trainer.DEFAULT_CALLBACKS, killer])
    with pytest.raises(KeyboardInterrupt):
        run(tiny_lm, tmp_path / "killed", variant, settings=settings)
    monkeypatch.undo()
    checkpoints = tmp_path / "killed" / "work" / "checkpoints"
    assert max(p.name for p in checkpoints.iterdir()) == f"checkpoint-{step // 2 * 2}"
    if half_a_checkpoint:
        (checkpoints / "checkpoint-8").mkdir()
        (checkpoints / "checkpoint-8" / "adapter_model.safetensors").write_bytes(b"half")
    resumed = run(tiny_lm, tmp_path / "killed", variant, settings=settings)
    assert json.loads((tmp_path / "killed" / "cost.json").read_text())["resumed"]
    assert resumed == whole, "every loss, their mean, and the adapter"


def test_several_gpus_change_neither_batch_nor_losses(tiny_lm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With two GPUs in the machine, the Trainer would take two examples at a time."""
    from functools import cached_property

    from transformers import TrainingArguments

    one = run(tiny_lm, tmp_path / "one", Variant(epochs=1, effective_batch=3))
    setup = TrainingArguments.__dict__["_setup_devices"].func

    def two(self: TrainingArguments):
        device = setup(self)
        self._n_gpu = 2
        return device

    shown = cached_property(two)
    shown.__set_name__(TrainingArguments, "_setup_devices")
    monkeypatch.setattr(TrainingArguments, "_setup_devices", shown)
    assert run(tiny_lm, tmp_path / "two", Variant(epochs=1, effective_batch=3)) == one


def test_the_trainer_draws_the_same_batches_from_the_data_set_as_from_its_rows(
    tiny_lm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"input_ids": [1, 2, 3], "labels": [-100, 2, 3]}, {"input_ids": [7], "labels": [-100]}]
    data = training.as_dataset(rows)
    assert data.to_list() == rows
    assert {name: str(kind) for name, kind in data.features.items()} == dict.fromkeys(rows[0], "List(Value('int64'))")
    drawn = run(tiny_lm, tmp_path / "drawn", Variant(epochs=2, effective_batch=3))
    monkeypatch.setattr(training, "as_dataset", list)
    assert run(tiny_lm, tmp_path / "listed", Variant(epochs=2, effective_batch=3)) == drawn


def test_no_examples_is_said_in_a_sentence(tiny_lm: Path, tmp_path: Path) -> None:
    with pytest.raises(CardproofError, match="has no examples"):
        run(tiny_lm, tmp_path, Variant(), [])


def test_a_trained_adapter_changes_what_is_sampled(tiny_lm: Path, tmp_path: Path) -> None:
    import torch

    from cardproof.models.loading import load_for_sampling

    run(tiny_lm, tmp_path, Variant(epochs=6, effective_batch=3))
    ids = torch.arange(3, 40)[None]
    with torch.inference_mode():
        base = load_for_sampling(tiny_lm, "nf4", None)(ids).logits
        tuned = load_for_sampling(tiny_lm, "nf4", tmp_path / "adapter")(ids).logits
    assert not torch.allclose(base, tuned, atol=1e-2)
    with pytest.raises(CardproofError, match="adapter_config"):
        load_for_sampling(tiny_lm, "nf4", tiny_lm)


def test_a_misspelt_training_run_names_the_nearest(tmp_path: Path) -> None:
    paths = Paths(*(tmp_path / name for name in ("raft.jsonl", "model", "adapter", "metrics.json", "work")))
    with pytest.raises(CardproofError, match="no training run 'groundde'") as error:
        train(Config(), "groundde", paths)
    assert error.value.hint == "did you mean 'grounded'?"


@pytest.mark.parametrize(
    ("source", "name", "expected"),
    [
        ("hub", "Qwen/Qwen3-14B", "Qwen/Qwen3-14B"),
        ("embedded", "smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("folder", "/data/models/mine", None),
    ],
)
def test_an_adapter_names_its_base_as_the_cards_header_does(source: str, name: str, expected: str | None) -> None:
    config = Config.model_validate({"scale": "embedded", "model": {"source": source, "id": name, "revision": None}})
    assert hub_id(config) == expected
