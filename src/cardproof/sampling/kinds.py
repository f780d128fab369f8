"""Which decoder draws a model's replies: this project's own where tests have shown it right, otherwise transformers' generation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

Decoder = Literal["shared-prefix", "generate"]

KNOWN = frozenset(
    {
        *(
            "llama",
            "mistral",
            "ministral",
            "ministral3",
            "qwen2",
            "qwen3",
            "gemma",
            "gemma2",
            "gemma3_text",
            "granite",
            "cohere",
            "cohere2",
        ),
        *("phi", "phi3", "olmo", "olmo2", "olmo3", "smollm3", "starcoder2", "glm", "glm4", "exaone4", "arcee", "seed_oss"),
        *("helium", "apertus", "hunyuan_v1_dense", "ernie4_5"),
    }
)
"""Values of `model_type` whose layers the shared-prefix decoder knows."""

GROWING = frozenset({"dynamic", "longrope"})
"""Rotary positions whose frequencies depend on the longest sequence of a step, once one is longer than the model was first trained for."""

TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3}
COARSE = 0.25
"""Difference of logits, relative to their spread, up to which two ways of computing them agree; COARSE for types of 16 bits.

Measured in bfloat16 and NF4 on the embedded model: up to 0.05. A scale left out makes it 0.9 or more, a wrong position about 1.
"""


@dataclass(frozen=True)
class Kind:
    """What the shared-prefix decoder can do with a model."""

    most: float
    """The longest prompt and reply together, in tokens; 0 if it does not know the model."""
    why: str
    """Why not more."""

    @property
    def shared(self) -> bool:
        """Whether it decodes any item at all."""
        return self.most > 0

    def decoder(self, tokens: int) -> Decoder:
        """The decoder for a prompt and reply of so many tokens together."""
        return "shared-prefix" if tokens <= self.most else "generate"

    def in_words(self) -> str:
        """For the plan and the record."""
        if not self.shared:
            return f"transformers' own generation: {self.why}"
        return "cardproof's shared-prefix decoder" + (f"; longer than {self.most:.0f} tokens, generate: {self.why}" if self.why else "")


def kind_of(config: Any) -> Kind:
    """What the shared-prefix decoder can do with a model of this transformers configuration."""
    if config.model_type not in KNOWN:
        return Kind(0, f"the layers of {config.model_type!r} are not among those that cardproof's decoder is tested with")
    text = config.get_text_config()
    rope = getattr(text, "rope_parameters", None) or {}
    kinds = [rope, *(value for value in rope.values() if isinstance(value, dict))]
    growing = [value for value in kinds if value.get("rope_type") in GROWING]
    if not growing:
        return Kind(math.inf, "")
    most = min(value.get("original_max_position_embeddings") or text.max_position_embeddings for value in growing)
    return Kind(float(most), f"its {growing[0]['rope_type']} positions then depend on the longest row")


def alike(found: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> bool:
    """Whether two lists of logits agree up to rounding."""
    for a, b in zip(found, expected, strict=True):
        spread = float((b.float() - b.float().mean()).square().mean().sqrt())
        if not float((a.float() - b.float()).square().mean().sqrt()) <= TOLERANCE.get(b.dtype, COARSE) * spread + 1e-6:
            return False
    return True
