"""How large the stand-ins are: as large as the published models, or less where there is no GPU."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from cardproof.config.settings import Config
from cardproof.errors import CardproofError
from cardproof.models.sizes import Architecture, architecture

FEWEST_LAYERS = 2
"""Layers of the model that recites; every further layer of a stand-in is zero."""
ITEMS = 8


@dataclass(frozen=True)
class Judge:
    """Sizes of a verifier, named as in its `config.json`; by default those of microsoft/deberta-v3-large."""

    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    vocab_size: int = 128100
    position_buckets: int = 256


@dataclass(frozen=True)
class Documents:
    """Lengths of the benchmark's passages, in characters."""

    shortest: int = 1000
    mean: int = 1600
    longest: int = 2715


@dataclass(frozen=True)
class Shapes:
    """The sizes of all stand-ins, and in words what is smaller than in the published run."""

    model: Architecture
    judge: Judge
    documents: Documents
    new_tokens: int
    """Longest reply, in tokens."""
    items: int
    reduced: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The sizes as JSON values."""
        return asdict(self)


def of(config: Config, gpu: bool, layers: int | None, items: int) -> Shapes:
    """The sizes of a rehearsal of `config`: the real ones on a GPU; on a CPU a quarter of the model's widths, and short documents.

    CardproofError for a model of unknown sizes, too few layers or items, or all layers of the model on a CPU.
    """
    real = architecture(config.model.id)
    if layers is None and not gpu:
        raise CardproofError(
            f"there is no GPU that torch can use, and {real.num_hidden_layers} layers of the published widths are too much for a CPU.",
            "`cardproof rehearse --layers 2` rehearses the workflow on this CPU in minutes; on a machine with a GPU leave --layers out.",
        )
    count = real.num_hidden_layers if layers is None else layers
    if not FEWEST_LAYERS <= count <= real.num_hidden_layers:
        raise CardproofError(
            f"--layers is {count}, but {config.model.id} has {real.num_hidden_layers} layers.",
            f"give a number from {FEWEST_LAYERS} to {real.num_hidden_layers}.",
        )
    judge = Judge()
    model = replace(real, num_hidden_layers=count)
    reduced = [f"{count} of {real.num_hidden_layers} layers"] if count < real.num_hidden_layers else []
    new_tokens, documents = config.sampling.max_new_tokens, Documents()
    if not gpu:
        judge = replace(judge, num_hidden_layers=min(count, judge.num_hidden_layers), vocab_size=16384)
        model = replace(
            model,
            hidden_size=real.hidden_size // 4,
            intermediate_size=real.intermediate_size // 4,
            num_attention_heads=real.num_attention_heads // 4,
            num_key_value_heads=real.num_key_value_heads // 4,
            vocab_size=16384,
        )
        documents, new_tokens = Documents(300, 450, 700), min(new_tokens, 96)
        reduced += [
            f"hidden size {model.hidden_size} of {real.hidden_size}",
            f"vocabulary {model.vocab_size} of {real.vocab_size}",
            f"passages of about {documents.mean} characters instead of {Documents().mean}",
            f"replies of at most {new_tokens} tokens instead of {config.sampling.max_new_tokens}",
            f"a verifier of {judge.num_hidden_layers} layers instead of {Judge().num_hidden_layers}",
        ]
    return Shapes(model, judge, documents, new_tokens, items, tuple(reduced))
