"""The layers of a language model: built without weights, and those that NF4 packs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cardproof.errors import CardproofError, brief


def without_weights(config: Any) -> Any:
    """The real modules of a transformers configuration on the meta device. CardproofError if transformers cannot build them."""
    import torch
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as e:  # each architecture fails in its own way over values that do not go together
        raise CardproofError(
            f"config.json of the model: transformers cannot build a {config.model_type!r} of these sizes ({brief(e)}).",
            "copy or fetch it again.",
        ) from None


def linears(model: Any) -> Iterator[tuple[str, Any]]:
    """Name and module of every linear layer but the output head: those that load_nf4 quantises."""
    import torch

    head = model.get_output_embeddings()
    return ((name, module) for name, module in model.named_modules() if isinstance(module, torch.nn.Linear) and module is not head)


def sides(model: Any) -> Iterator[tuple[int, int]]:
    """(inputs, outputs) of every linear layer but the head; GPT-2's kind keeps its weight the other way round."""
    from transformers.pytorch_utils import Conv1D

    yield from ((layer.in_features, layer.out_features) for _, layer in linears(model))
    for module in model.modules():
        if isinstance(module, Conv1D):
            inputs, outputs = module.weight.shape
            yield inputs, outputs
