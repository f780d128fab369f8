"""A model's size and its LoRA adapters' sizes from its `config.json`, for any architecture that transformers knows; it makes no weights."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from cardproof import outside
from cardproof.cards.document import Document
from cardproof.cards.finding import Finding, finding
from cardproof.cards.intervals import numeral
from cardproof.cards.names import words
from cardproof.cards.numbers import numbers
from cardproof.cards.tables import Cell
from cardproof.errors import CardproofError
from cardproof.files import parse_json

KIND = "lora_parameters"
LARGEST = 1_000_000
"""Most bytes of a config.json, and the largest number in one: no model has wider layers."""
MOST_LAYERS = 1_000
RANK = re.compile(r"(?:lora )?(?:rank|r)(?: r)?|lora r|lora rank", re.IGNORECASE)


@dataclass(frozen=True)
class Architecture:
    """The linear layers of a model without weights."""

    name: str
    base: int
    """Parameters of the whole model."""
    linears: tuple[tuple[str, int, int], ...]
    """Name, inputs and outputs of every linear layer."""
    head: str
    """Name of the output layer; empty if there is none."""

    def lora(self, rank: int, kinds: set[str] | None = None, head: bool = False) -> int:
        """Trainable parameters of a LoRA (Hu et al. 2021): rank x (inputs + outputs) of each adapted layer; all of them by default."""
        return rank * sum(
            i + o for name, i, o in self.linears if (name != self.head or head) and (kinds is None or name.rsplit(".", 1)[-1] in kinds)
        )

    def kinds(self) -> set[str]:
        """The last names of the linear layers, without the head: q_proj, up_proj, ..."""
        return {name.rsplit(".", 1)[-1] for name, _, _ in self.linears if name != self.head}


def read_architecture(path: Path) -> Architecture:
    """Build the model of a `config.json` on the meta device; CardproofError if transformers does not know it or its sizes are absurd."""
    raw = _config(path)
    try:
        import torch
        import transformers
    except ImportError as e:
        raise CardproofError(
            f"counting the parameters of {path} needs {e.name}, which is not installed.", "install cardproof[cpu]."
        ) from None
    kind = raw.pop("model_type", None)
    if kind not in transformers.CONFIG_MAPPING:
        raise CardproofError(f"{path}: the model type {kind!r} is unknown to transformers.", "give the config.json of the base model.")
    for key in ("auto_map", "quantization_config", "torch_dtype", "dtype", "_name_or_path"):
        raw.pop(key, None)
    try:
        config = transformers.CONFIG_MAPPING[kind](**raw)
        with torch.device("meta"):
            model = _build(transformers, config, raw.get("architectures") or [])
    except Exception as e:
        raise CardproofError(
            f"{path}: no model can be built from it: {str(e).splitlines()[0][:150]}.", "give the base model's own config.json."
        ) from None
    head = model.get_output_embeddings()
    linears = tuple((n, m.in_features, m.out_features) for n, m in model.named_modules() if isinstance(m, torch.nn.Linear))
    # GPT-2's layers are transposed linear ones.
    linears += tuple((n, m.weight.shape[0], m.weight.shape[1]) for n, m in model.named_modules() if type(m).__name__ == "Conv1D")
    name = next((n for n, m in model.named_modules() if m is head), "")
    return Architecture(kind, sum(p.numel() for p in model.parameters()), linears, name)


def _config(path: Path) -> dict[str, Any]:
    try:
        raw = parse_json(outside.read_bytes(path, LARGEST), str(path), "give the config.json of the base model.")
    except OSError as e:
        raise CardproofError(f"{path} is not a config.json: {e}.", "give the config.json of the base model.") from None
    if not isinstance(raw, dict):
        raise CardproofError(f"{path} is not a config.json: it is not a mapping.", "give the config.json of the base model.")
    for key, value in raw.items():
        most = MOST_LAYERS if "layers" in key else LARGEST
        if (
            isinstance(value, int)
            and not isinstance(value, bool)
            and key.endswith(("_layers", "_size", "_dim", "_heads", "d_model"))
            and value > most
        ):
            raise CardproofError(
                f"{path}: {key} is {value:,}, more than any model has.", f"give a config.json with {key} of at most {most:,}."
            )
    return raw


def _build(transformers: Any, config: Any, names: list[str]) -> Any:
    for name in names:
        kind = getattr(transformers, name, None) if isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_]+", name) else None
        if isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel):
            return kind(config)
    try:
        return transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except ValueError:
        return transformers.AutoModel.from_config(config)


ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj", "out_proj", "query", "key", "value", "dense", "c_attn"}
QUERY_VALUE = {"q_proj", "v_proj", "query", "value"}


def choices(model: Architecture, rank: int, named: set[str]) -> dict[str, int]:
    """The sizes of the usual adapters, by name; `named` are the layers that the card names."""
    kinds = model.kinds()
    sizes = {"all linear layers": model.lora(rank), "all linear layers and the head": model.lora(rank, head=True)}
    if named & kinds:
        sizes = {f"the layers the card names ({', '.join(sorted(named & kinds))})": model.lora(rank, named & kinds)} | sizes
    for name, wanted in (("attention only", ATTENTION), ("queries and values", QUERY_VALUE)):
        if wanted & kinds:
            sizes[name] = model.lora(rank, wanted & kinds)
    return {k: v for k, v in sizes.items() if v}


def lora(card: Document, model: Architecture) -> Iterator[Finding]:
    """Compare the printed numbers of trainable and base parameters with a count over the real modules."""
    rank = next((c for c in _labelled(card) if RANK.fullmatch(words(c.place)) and c.number.whole and 1 <= c.number.value <= 4096), None)
    named = {k for k in model.kinds() if "_" in k and card.says(rf"\b{re.escape(k)}\b")}
    for cell in _labelled(card):
        plain = words(cell.place)
        if "param" not in plain or cell.number.value < 1000 or cell.number.percent:
            continue
        if "trainable" in plain and rank is not None:
            sizes = choices(model, int(rank.number.value), named)
            fits = [k for k, v in sizes.items() if cell.number.loose.holds(v)]
            first, size = next(iter(sizes.items()), ("", 0))
            yield finding(
                KIND,
                "ok" if fits and (fits[0] == first or not named) else "note" if fits else "warning",
                f"{cell.number.text} trainable parameters {'fit LoRA on ' + fits[0] if fits else 'fit no usual choice of layers'}.",
                [cell, rank],
                f"{first}: {size:,}; " + "; ".join(f"{k}: {v:,}" for k, v in list(sizes.items())[1:4]),
                [] if fits else ["another rank, or other layers", "a layer is trained whole beside the adapter"],
            )
        elif "base" in plain and "trainable" not in plain:
            good = cell.number.loose.holds(Fraction(model.base))
            yield finding(
                KIND,
                "ok" if good else "note",
                f"The base model has {numeral(Fraction(model.base))} parameters{'' if good else ', printed ' + cell.number.text}.",
                [cell],
                f"counted on the modules of {model.name}",
                [] if good else ["embeddings or the head counted otherwise"],
            )


def _labelled(card: Document) -> Iterator[Cell]:
    """Numbers with a label: in lists, and in the second column of two-column tables."""
    for block in card.blocks:
        for p in block.pairs:
            own = p.number or next(iter(numbers(p.text)), None)
            if own is not None:
                yield Cell(p.line, p.label, own)
    for t in card.tables:
        if len(t.header) == 2:
            for r in range(len(t.rows)):
                if (n := t.leading(r, 1)) is not None:
                    yield Cell(t.lines[r], t.labels[r], n)
