"""Trains the embedded verifier in the run itself: a small pretrained encoder becomes a cross-encoder on FactCC-style pairs.

The encoder is BERT-shaped (MiniLM-L6). Its weights go into the DeBERTa-v2 class with relative attention off, which computes the same
function. The embedded verifier therefore takes the same code path as the card's own DeBERTa verifier.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cardproof.benchmark.passages import passages_of
from cardproof.config.settings import Config, Embedded
from cardproof.errors import CardproofError
from cardproof.files import nothing_partial, read_json, read_rows, write_json
from cardproof.records import Estimate, Passage, Question
from cardproof.verifier.auc import auc
from cardproof.verifier.model import MULTIPLE, Verifier
from cardproof.verifier.pairs import Pair, build_pairs
from cardproof.verifier.planted import FOREIGN, KINDS, Templates
from cardproof.verifier.results import ByTemplate

LABELS = {0: "contradicted/unsupported", 1: "entailed"}
MAX_TOKENS = 128
TEST_PAIRS = 300
WARMUP = 0.1
"""Share of the steps over which the learning rate rises."""
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
KEPT = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "max_position_embeddings",
    "type_vocab_size",
    "layer_norm_eps",
)
"""What the DeBERTa configuration takes from BERT's."""
RENAMED = (("self.query.", "self.query_proj."), ("self.key.", "self.key_proj."), ("self.value.", "self.value_proj."))
"""Parts of weight names: BERT's, DeBERTa's."""


def train_verifier(config: Config, encoder: Path, corpus: Path, sides: tuple[Path, Path], out: Path, metrics: Path) -> dict[str, Any]:
    """Train the verifier on the passages of the train side; write its folder `out` and its metrics, and return the latter.

    `sides`: the questions of the train side and of the held-out side. See `train`.
    """
    passages = read_rows(corpus, Passage)
    shown, heldout = (passages_of(passages, read_rows(side, Question)) for side in sides)
    with nothing_partial(out):
        measured = train(config, encoder, shown, heldout, out)
    write_json(metrics, measured)
    return measured


def train(config: Config, encoder: Path, passages: Sequence[Passage], heldout: Sequence[Passage], out: Path) -> dict[str, Any]:
    """Train the embedded verifier, save it to the folder `out` (config, safetensors, tokenizer) and return its metrics.

    The metrics are the number of pairs and steps, the loss of every step, the mean loss by epoch, and `auc`: on held-out passages with
    `seen_templates` and with `unseen_templates`, overall and by kind of error, measured with the saved folder. The folder appears whole or
    not at all. Equal arguments give equal weights on one machine and thread count. CardproofError if the encoder is not BERT-shaped, or if
    the passages do not give pairs of both labels.
    """
    import torch

    settings, seed = config.verifier.embedded, config.seed
    torch.set_num_threads(config.runtime.threads)
    pairs = build_pairs(passages, settings.pairs, seed, "train")
    if len({p.label for p in pairs}) < 2:
        raise CardproofError(
            f"{len(passages)} passages give {len(pairs)} training pairs, not of both labels.",
            "the embedded verifier needs passages with sentences of at least six words.",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, tokenizer = load_encoder(encoder)
        losses, epoch_losses = _fit(model, tokenizer, pairs, settings, seed)
    _save(model, encoder, out)
    return {
        "pairs": len(pairs),
        "entailed": sum(p.label for p in pairs),
        "train_passages": len(passages),
        "heldout_passages": len(heldout),
        "epochs": settings.epochs,
        "steps": len(losses),
        "loss": losses,
        "loss_by_epoch": epoch_losses,
        "trainable_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "auc": _measured(out, heldout, seed + 1),
        "threads": torch.get_num_threads(),
        "seed": seed,
    }


def _save(model: Any, encoder: Path, out: Path) -> None:
    tmp = out.with_name(f".{out.name}.partial")
    shutil.rmtree(tmp, ignore_errors=True)
    tmp.mkdir(parents=True)
    model.save_pretrained(tmp)
    for name in TOKENIZER_FILES:
        if (encoder / name).exists():
            shutil.copyfile(encoder / name, tmp / name)
    shutil.rmtree(out, ignore_errors=True)
    tmp.rename(out)


# --- measuring --------------------------------------------------------------------------------------------------------


def _measured(folder: Path, heldout: Sequence[Passage], seed: int) -> dict[str, ByTemplate]:
    verifier = Verifier(folder, granularity="sentence", max_tokens=MAX_TOKENS)
    conditions: tuple[tuple[str, Templates], ...] = (("seen_templates", "train"), ("unseen_templates", "held_out"))
    return {name: pair_auc(verifier, build_pairs(heldout, TEST_PAIRS, seed, templates)) for name, templates in conditions}


def pair_auc(verifier: Verifier, pairs: Sequence[Pair]) -> ByTemplate:
    """AUC of P(entailed), each of all true claims against some of the false ones."""
    scores = verifier.score([(p.premise, p.claim) for p in pairs])
    true = [s for s, p in zip(scores, pairs, strict=True) if p.label]

    def against(kinds: Sequence[str]) -> Estimate:
        return auc(true, [s for s, p in zip(scores, pairs, strict=True) if not p.label and p.kind in kinds])

    planted = [k for k in KINDS if k != FOREIGN]
    return ByTemplate(all=against(KINDS), planted=against(planted), by_kind={k: against([k]) for k in KINDS})


# --- model ------------------------------------------------------------------------------------------------------------


def load_encoder(folder: Path) -> tuple[Any, Any]:
    """(model, tokenizer): a BERT encoder's weights in a DeBERTa-v2 cross-encoder with a fresh head of two labels.

    Word embeddings are frozen: a few hundred steps change few of the 30,000 rows, and the optimiser need not carry half of the weights.
    Freezing the first two layers as well was tried: AUC on seen templates fell from 0.965 to 0.943.
    """
    from transformers import AutoTokenizer

    from cardproof.models import products

    source = read_json(folder / "config.json")
    if source.get("model_type") != "bert":
        raise CardproofError(
            f"{folder} has a model of type {source.get('model_type')!r}.",
            "the embedded verifier starts from a BERT encoder such as minilm-l6.",
        )
    model = _cross_encoder(source)
    wanted = model.state_dict()
    weights = {name: value for name, value in _renamed_weights(folder).items() if name in wanted}
    missing = [k for k in wanted if k not in weights and not k.startswith(("classifier.", "pooler."))]
    if missing:
        raise CardproofError(f"{folder}: weights are missing: {', '.join(missing[:3])}.", "unpack the encoder again.")
    model.load_state_dict(weights, strict=False)
    model.deberta.embeddings.word_embeddings.weight.requires_grad_(False)
    products.use(model)
    return model, AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)


def _cross_encoder(source: dict[str, Any]) -> Any:
    """A DeBERTa-v2 classifier with the sizes of a BERT configuration, its weights drawn at random."""
    from transformers import DebertaV2Config, DebertaV2ForSequenceClassification

    build: Callable[..., Any] = DebertaV2ForSequenceClassification
    return build(
        DebertaV2Config(
            **{k: source[k] for k in KEPT},
            hidden_dropout_prob=0.1,
            attention_probs_dropout_prob=0.1,
            position_biased_input=True,
            relative_attention=False,
            pos_att_type=[],
            pad_token_id=source.get("pad_token_id", 0),
            pooler_hidden_act="tanh",
            id2label=LABELS,
            label2id={name: i for i, name in LABELS.items()},
        )
    )


def _renamed_weights(folder: Path) -> dict[str, Any]:
    """A BERT encoder's weights in float32 under DeBERTa's names."""
    import torch
    from safetensors.torch import load_file

    weights = {}
    for name, value in load_file(folder / "model.safetensors").items():
        name = name.removeprefix("bert.")
        for old, new in RENAMED:
            name = name.replace(old, new)
        weights[name if name.startswith("pooler.") else f"deberta.{name}"] = value.to(torch.float32)
    return weights


# --- fitting ----------------------------------------------------------------------------------------------------------


def _fit(model: Any, tokenizer: Any, pairs: Sequence[Pair], settings: Embedded, seed: int) -> tuple[list[float], list[float]]:
    """Train in place; returns the loss of every step and the mean loss by epoch."""
    import torch
    from tqdm import tqdm

    encoded = tokenizer([p.premise for p in pairs], [p.claim for p in pairs], truncation="longest_first", max_length=MAX_TOKENS)
    lengths = [len(x) for x in encoded["input_ids"]]
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.01)
    steps = -(-len(pairs) // settings.batch) * settings.epochs
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, _rise_and_fall(steps))
    rng = random.Random(f"{seed}/order")
    losses: list[float] = []
    by_epoch: list[float] = []
    model.train()
    with tqdm(total=steps, desc="embedded verifier", unit="step") as bar:
        for _ in range(settings.epochs):
            for batch in batches(lengths, settings.batch, rng):
                rows = [{k: encoded[k][i] for k in encoded} for i in batch]
                inputs = tokenizer.pad(rows, pad_to_multiple_of=MULTIPLE, return_tensors="pt")
                logits = model(**inputs).logits
                loss = torch.nn.functional.cross_entropy(logits, torch.tensor([pairs[i].label for i in batch]))
                torch.autograd.backward(loss)
                torch.nn.utils.clip_grad_norm_(parameters, 1.0)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad(set_to_none=True)
                losses.append(loss.item())
                bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
                bar.update()
            epoch = losses[len(losses) - steps // settings.epochs :]
            by_epoch.append(sum(epoch) / len(epoch))
    model.eval()
    return losses, by_epoch


def batches(lengths: Sequence[int], size: int, rng: random.Random) -> list[list[int]]:
    """Every index once, in batches of `size` with similar lengths (little padding); `rng` draws the order."""
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i] // MULTIPLE, rng.random()))
    all_batches = [order[i : i + size] for i in range(0, len(order), size)]
    rng.shuffle(all_batches)
    return all_batches


def _rise_and_fall(steps: int) -> Callable[[int], float]:
    """Factor of the learning rate by step: linear up over the warm-up, then linear down to 0."""
    warmup = max(1, round(WARMUP * steps))

    def factor(step: int) -> float:
        return (step + 1) / warmup if step < warmup else (steps - step) / max(1, steps - warmup)

    return factor
