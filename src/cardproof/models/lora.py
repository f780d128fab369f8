"""Fresh LoRA matrices on a base model, as training starts with them."""

from __future__ import annotations

from typing import Any

from cardproof.config.settings import Training
from cardproof.errors import CardproofError


def with_lora(model: Any, settings: Training) -> Any:
    """A model with LoRA matrices on all linear layers except the output head. CardproofError if PEFT cannot adapt these layers."""
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(
        r=settings.rank, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    try:
        return get_peft_model(model, lora)
    except Exception as e:  # each kind of layer is refused in its own way
        if "out of memory" in str(e):
            raise
        why = " ".join(f"{e}".split())[:250]
        raise CardproofError(
            f"PEFT cannot train a LoRA adapter on all linear layers of a {model.config.model_type!r} ({why}).",
            "take a model with other layers, or change that setting under `training`.",
        ) from None
