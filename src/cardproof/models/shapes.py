"""The sizes of the configured base model, for the plan: of its folder, built without weights, or the known ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cardproof.config.settings import Config
from cardproof.errors import CardproofError
from cardproof.models.architecture import context_of, load_config
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
        linears=tuple(_linears(model)),
        parameters=sum(p.numel() for p in model.parameters()),
        query_norms=any("q_norm" in name for name, _ in model.named_parameters()),
        context=context_of(config),
        how=f"config.json of the model folder, counted on {type(model).__name__} without weights",
    )


def without_weights(config: Any) -> Any:
    """The real modules of a transformers configuration on the meta device. CardproofError if transformers cannot build them."""
    import torch
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as e:  # each architecture fails in its own way over values that do not go together
        why = " ".join(f"{type(e).__name__}: {e}".split())[:200]
        raise CardproofError(
            f"config.json of the model: transformers cannot build a {config.model_type!r} of these sizes ({why}).",
            "copy or fetch it again.",
        ) from None


def _linears(model: Any) -> Iterator[tuple[int, int]]:
    """(inputs, outputs) of every linear layer but the head; GPT-2's kind keeps its weight the other way round."""
    import torch
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    for module in model.modules():
        if isinstance(module, torch.nn.Linear) and module is not head:
            yield module.in_features, module.out_features
        elif isinstance(module, Conv1D):
            inputs, outputs = module.weight.shape
            yield inputs, outputs
