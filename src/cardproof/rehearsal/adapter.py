"""A LoRA adapter of the published sizes, with random weights: an arm that was trained elsewhere, and hardly changes a word."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cardproof.files import seeded_hash
from cardproof.models.sizes import Architecture
from cardproof.rehearsal.sparse import Piece, Tensor, write

SMALL = 1e-4
"""Standard deviation of B. Adapters whose B is all zero do nothing, and are suspected of being empty."""


def write_adapter(folder: Path, sizes: Architecture, rank: int, alpha: int, base: str, seed: int) -> Path:
    """Write an adapter on all linear layers of the base model `base` to `folder`, in PEFT's format and in float32; returns the folder."""
    from peft import LoraConfig

    folder.mkdir(parents=True, exist_ok=True)
    linears = sizes.linears()
    LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=sorted(linears),
        task_type="CAUSAL_LM",
        base_model_name_or_path=base,
        inference_mode=True,
    ).save_pretrained(str(folder))
    tensors = []
    for layer in range(sizes.num_hidden_layers):
        for name, (inputs, outputs) in linears.items():
            part = "self_attn" if name[0] in "qkvo" else "mlp"
            module = f"base_model.model.model.layers.{layer}.{part}.{name}"
            draw = np.random.default_rng(int(seeded_hash(seed, module)[:16], 16))
            a = draw.uniform(-1, 1, (rank, inputs)).astype(np.float32) / np.float32(np.sqrt(inputs))
            b = SMALL * draw.standard_normal((outputs, rank), dtype=np.float32)
            tensors += [Tensor(f"{module}.lora_{side}.weight", m.shape, [Piece(0, 0, m)]) for side, m in (("A", a), ("B", b))]
    write(folder / "adapter_model.safetensors", tensors, "F32")
    return folder
