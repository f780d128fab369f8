"""Training of the embedded verifier: a small pretrained encoder made a cross-encoder on FactCC-style pairs, in the run itself.

The encoder is BERT-shaped (MiniLM-L6). Its weights go into the DeBERTa-v2 class with relative attention off, which computes the same
function, so that the code path is the one the card's own DeBERTa verifier takes.
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
from cardproof.records import Passage, Question
from cardproof.verifier.auc import auc
from cardproof.verifier.model import MULTIPLE, Verifier
from cardproof.verifier.pairs import Pair, build_pairs
from cardproof.verifier.planted import FOREIGN, KINDS, Templates

LABELS = {0: "contradicted/unsupported", 1: "entailed"}
MAX_TOKENS = 128
TEST_PAIRS = 300
WARMUP = 0.1
"""Share of the steps over which the learning rate rises."""
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def train_verifier(config: Config, encoder: Path, corpus: Path, sides: tuple[Path, Path], out: Path, metrics: Path) -> None:
    """Train the embedded verifier on the documents of the train side; `sides`: the files of the train side and of the held-out side."""
    passages = read_rows(corpus, Passage)
    shown = [passages_of(passages, read_rows(side, Question)) for side in sides]
    with nothing_partial(out):
        found = train(encoder, out, shown[0], shown[1], config.verifier.embedded, config.seed, config.runtime.threads)
    write_json(metrics, found)


def train(
    encoder_folder: Path,
    out_folder: Path,
    train_passages: Sequence[Passage],
    heldout_passages: Sequence[Passage],
    settings: Embedded,
    seed: int,
    threads: int | None = None,
) -> dict[str, Any]:
    """Train the embedded verifier, save it to `out_folder` (config, safetensors, tokenizer) and return its metrics.

    The metrics hold the number of pairs and steps, the loss of every step, the mean loss by epoch, and under `auc` for held-out
    passages with `seen_templates` and with `unseen_templates` the AUC overall and by kind of error, each with n and interval, measured on
    the saved folder. The folder appears whole or not at all. Equal arguments give equal weights on one machine and thread count.
    CardproofError where the encoder is not BERT-shaped or the passages give no pairs of both labels.
    """
    import torch

    if threads:
        torch.set_num_threads(threads)
    pairs = build_pairs(train_passages, settings.pairs, seed, "train")
    if len({p.label for p in pairs}) < 2:
        raise CardproofError(
            f"{len(train_passages)} passages give {len(pairs)} training pairs, not of both labels.",
            "the embedded verifier needs passages with sentences of at least six words.",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, tokenizer = load_encoder(encoder_folder)
        losses, epoch_losses = _fit(model, tokenizer, pairs, settings, seed)
    tmp = Path(out_folder).with_name(f".{Path(out_folder).name}.partial")
    shutil.rmtree(tmp, ignore_errors=True)
    tmp.mkdir(parents=True)
    model.save_pretrained(tmp)
    for name in TOKENIZER_FILES:
        if (Path(encoder_folder) / name).exists():
            shutil.copyfile(Path(encoder_folder) / name, tmp / name)
    shutil.rmtree(out_folder, ignore_errors=True)
    tmp.rename(out_folder)
    verifier = Verifier(out_folder, granularity="sentence", max_tokens=MAX_TOKENS)
    conditions: tuple[tuple[str, Templates], ...] = (("seen_templates", "train"), ("unseen_templates", "held_out"))
    measured = {name: pair_auc(verifier, build_pairs(heldout_passages, TEST_PAIRS, seed + 1, t)) for name, t in conditions}
    return {
        "pairs": len(pairs),
        "entailed": sum(p.label for p in pairs),
        "train_passages": len(train_passages),
        "heldout_passages": len(heldout_passages),
        "epochs": settings.epochs,
        "steps": len(losses),
        "loss": losses,
        "loss_by_epoch": epoch_losses,
        "trainable_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "auc": measured,
        "threads": torch.get_num_threads(),
        "seed": seed,
    }


def pair_auc(verifier: Verifier, pairs: Sequence[Pair]) -> dict[str, Any]:
    """AUC of P(entailed) for true against false claims: `all`, `planted` (without foreign sentences), and by kind of error against all
    true claims.
    """
    scores = verifier.score([(p.premise, p.claim) for p in pairs])
    true = [s for s, p in zip(scores, pairs, strict=True) if p.label]

    def against(kinds: Sequence[str]) -> Any:
        return auc(true, [s for s, p in zip(scores, pairs, strict=True) if not p.label and p.kind in kinds])

    return {
        "all": against(KINDS),
        "planted": against([k for k in KINDS if k != FOREIGN]),
        "by_kind": {k: against([k]) for k in KINDS},
    }


def load_encoder(folder: Path) -> tuple[Any, Any]:
    """(model, tokenizer): a BERT encoder's weights in a DeBERTa-v2 cross-encoder with a fresh head of two labels.

    Word embeddings are frozen: a few hundred steps touch few of the 30,000 rows, and the optimiser need not carry half of the weights.
    Freezing the first two layers as well was tried: AUC on seen templates fell from 0.965 to 0.943.
    """
    import torch
    from safetensors.torch import load_file
    from transformers import AutoTokenizer, DebertaV2Config, DebertaV2ForSequenceClassification

    folder = Path(folder)
    source = read_json(folder / "config.json")
    if source.get("model_type") != "bert":
        raise CardproofError(
            f"{folder} holds a model of type {source.get('model_type')!r}.",
            "the embedded verifier starts from a BERT encoder such as minilm-l6.",
        )
    kept = (
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "hidden_act",
        "max_position_embeddings",
    )
    model = DebertaV2ForSequenceClassification(
        DebertaV2Config(
            **{k: source[k] for k in kept},
            hidden_dropout_prob=0.1,
            attention_probs_dropout_prob=0.1,
            position_biased_input=True,
            relative_attention=False,
            pos_att_type=[],
            type_vocab_size=source["type_vocab_size"],
            layer_norm_eps=source["layer_norm_eps"],
            pad_token_id=source.get("pad_token_id", 0),
            pooler_hidden_act="tanh",
            id2label=LABELS,
            label2id={name: i for i, name in LABELS.items()},
        )
    )
    weights = {}
    for name, value in load_file(folder / "model.safetensors").items():
        name = name.removeprefix("bert.")
        for old, new in (("self.query.", "self.query_proj."), ("self.key.", "self.key_proj."), ("self.value.", "self.value_proj.")):
            name = name.replace(old, new)
        weights[name if name.startswith("pooler.") else f"deberta.{name}"] = value.to(torch.float32)
    wanted = model.state_dict()
    weights = {k: v for k, v in weights.items() if k in wanted}
    missing = [k for k in wanted if k not in weights and not k.startswith(("classifier.", "pooler."))]
    if missing:
        raise CardproofError(f"{folder}: weights are missing: {', '.join(missing[:3])}.", "unpack the encoder again.")
    model.load_state_dict(weights, strict=False)
    model.deberta.embeddings.word_embeddings.weight.requires_grad_(False)
    return model, AutoTokenizer.from_pretrained(str(folder))


def _fit(model: Any, tokenizer: Any, pairs: Sequence[Pair], settings: Embedded, seed: int) -> tuple[list[float], list[float]]:
    """Train in place; (loss of every step, mean loss by epoch)."""
    import torch
    from tqdm import tqdm

    encoded = tokenizer([p.premise for p in pairs], [p.claim for p in pairs], truncation="longest_first", max_length=MAX_TOKENS)
    lengths = [len(x) for x in encoded["input_ids"]]
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.01)
    steps = -(-len(pairs) // settings.batch) * settings.epochs
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, _linear(steps))
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
                loss.backward()
                torch.nn.utils.clip_grad_norm_(parameters, 1.0)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad(set_to_none=True)
                losses.append(loss.item())
                bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
                bar.update()
            done = losses[len(losses) - steps // settings.epochs :]
            by_epoch.append(sum(done) / len(done))
    model.eval()
    return losses, by_epoch


def batches(lengths: Sequence[int], size: int, rng: random.Random) -> list[list[int]]:
    """Every index once, in batches of `size` whose lengths are alike (little padding), in an order `rng` draws."""
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i] // MULTIPLE, rng.random()))
    found = [order[i : i + size] for i in range(0, len(order), size)]
    rng.shuffle(found)
    return found


def _linear(steps: int) -> Callable[[int], float]:
    warmup = max(1, round(WARMUP * steps))

    def factor(step: int) -> float:
        return (step + 1) / warmup if step < warmup else (steps - step) / max(1, steps - warmup)

    return factor
