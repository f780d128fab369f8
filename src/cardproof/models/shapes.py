"""The sizes of the configured base model, for the plan: of its folder, built without weights, or the known ones."""

from __future__ import annotations

from pathlib import Path

from cardproof.config.settings import Config
from cardproof.errors import CardproofError
from cardproof.models.architecture import context_of, load_config
from cardproof.models.layers import sides, without_weights
from cardproof.models.sizes import ARCHITECTURES, Shapes, architecture, shapes_of


def shapes(config: Config, folder: Path | None) -> Shapes:
    """Sizes of the configured base model: of the model in `folder`, built without weights, or the known sizes of a hub model.

    Raises CardproofError if neither is available.
    """
    if folder is not None:
        return shapes_of_folder(folder)
    if config.model.id not in ARCHITECTURES:
        raise CardproofError(
            f"the sizes of {config.model.id!r} are not known before it is fetched.",
            "give a local folder with its config.json and tokenizer (model.source: folder); a plan needs no weights.",
        )
    return shapes_of(architecture(config.model.id), f"config.json of {config.model.id}, by arithmetic (cardproof.models.sizes)")


def shapes_of_folder(folder: Path) -> Shapes:
    """Shapes of the real modules, built from a folder's config.json on the meta device without weights; 10 s, mostly for imports."""
    config = load_config(folder)
    model = without_weights(config)
    values = config.get_text_config()
    # Layers that keep a state instead of keys and values have no heads.
    heads = getattr(values, "num_attention_heads", None) or 0
    return Shapes(
        layers=values.num_hidden_layers,
        hidden=values.hidden_size,
        vocabulary=values.vocab_size,
        heads=heads,
        kv_heads=getattr(values, "num_key_value_heads", None) or heads,
        head_dim=getattr(values, "head_dim", None) or (values.hidden_size // heads if heads else 0),
        linears=tuple(sides(model)),
        parameters=sum(p.numel() for p in model.parameters()),
        query_norms=any("q_norm" in name for name, _ in model.named_parameters()),
        context=context_of(config),
        how=f"config.json of the model folder, counted on {type(model).__name__} without weights",
    )
