"""Prepares a model for decoding on a CPU: weights laid out once for oneDNN's kernels, and decoder layers of few operations.

The layout has two reasons. A product of few rows then takes the time to read the weights, without rearranging them at every call. And a
row's result does not depend on how many other rows there are. sgemm does depend on it: for some numbers of rows, which differ between
instruction sets, it takes another kernel that adds in another order. oneDNN's packed kernels were measured to give the same bits for 2 to
96 rows, with AVX2 and AVX-512, with one thread and two. A test measures it on the machine it runs on.

Few operations, because the tensors of a decoding step are small: calling an operation costs several times its arithmetic. Also, reading the
weights between two operations empties the caches.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from cardproof.models.products import PackedLinear, available, pack_linears, packable

LAYERS = ("LlamaDecoderLayer", "Qwen2DecoderLayer", "Qwen3DecoderLayer")
"""Layers of transformers that `PackedLayer` can compute: root-mean-square norms, attention with rotary positions, and a gated MLP."""


class PackedLayer(torch.nn.Module):
    """Replaces one of LAYERS and computes the same, up to rounding."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        attention, mlp = layer.self_attn, layer.mlp
        self.config, self.layer_idx, self.scaling, self.is_causal = attention.config, attention.layer_idx, attention.scaling, True
        self.head_dim, self.num_key_value_groups = attention.head_dim, attention.num_key_value_groups
        self.joined = PackedLinear(attention.q_proj, attention.k_proj, attention.v_proj)
        self.kv_heads = attention.k_proj.out_features // self.head_dim
        self.output, self.gate, self.up, self.down = map(PackedLinear, (attention.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj))
        self.before_attention, self.before_mlp = layer.input_layernorm, layer.post_attention_layernorm
        self.query_norm, self.key_norm = getattr(attention, "q_norm", None), getattr(attention, "k_norm", None)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        past_key_values: Any = None,
        position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """hidden_states: (batch, tokens, features), as transformers calls a layer."""
        assert position_embeddings is not None
        batch, tokens, _ = hidden_states.shape
        heads = self.joined(_norm(hidden_states, self.before_attention)).view(batch, tokens, -1, self.head_dim)
        turning, value = heads[:, :, : -self.kv_heads], heads[:, :, -self.kv_heads :].transpose(1, 2)
        if self.query_norm is not None:
            parts = turning[:, :, : -self.kv_heads], turning[:, :, -self.kv_heads :]
            turning = torch.cat([_norm(part, norm) for part, norm in zip(parts, (self.query_norm, self.key_norm), strict=True)], dim=2)
        cos, signed_sin = position_embeddings
        turned = (turning * cos + turning.roll(self.head_dim // 2, -1) * signed_sin).transpose(1, 2)
        query, key = turned[:, : -self.kv_heads], turned[:, -self.kv_heads :]
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        attend = ALL_ATTENTION_FUNCTIONS[self.config._attn_implementation]
        attended, _ = attend(self, query, key, value, attention_mask, dropout=0.0, scaling=self.scaling, **kwargs)
        hidden_states = self.output.combined(attended.reshape(batch, tokens, -1), hidden_states, "add")
        x = _norm(hidden_states, self.before_mlp)
        return self.down.combined(self.up.combined(x, self.gate(x, "swish"), "mul"), hidden_states, "add")


class _Rotary(torch.nn.Module):
    """Position embeddings as PackedLayer wants them: (batch, tokens, 1, head dim), with the first half of the sines negated."""

    def __init__(self, rotary: Any) -> None:
        super().__init__()
        self.rotary = rotary

    def forward(self, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        cos, sin = self.rotary(x, position_ids)
        half = sin.shape[-1] // 2
        return cos.unsqueeze(2), torch.cat((-sin[..., :half], sin[..., half:]), dim=-1).unsqueeze(2)


def _norm(x: torch.Tensor, norm: Any) -> torch.Tensor:
    return torch.nn.functional.rms_norm(x, norm.weight.shape, norm.weight, norm.variance_epsilon)


def _replaceable(layer: Any) -> bool:
    """Whether PackedLayer can replace a layer: it is one of LAYERS, not quantised, uses SiLU, and attends to every position."""
    if type(layer).__name__ not in LAYERS or getattr(layer.self_attn, "sliding_window", None):
        return False
    linears = [module for name, module in layer.named_modules() if name.endswith("_proj")]
    return layer.self_attn.config.hidden_act == "silu" and all(map(packable, linears))


def pack(model: Any) -> None:
    """Prepare a float32 model on a CPU for decoding, in place.

    Replaces the decoder layers if all of them are replaceable, and every plain linear layer that is left. Other layers (4-bit, or on a GPU)
    stay as they are.
    """
    if not available():
        return
    layers = getattr(model.model, "layers", ())
    if layers and all(map(_replaceable, layers)):
        model.model.layers = torch.nn.ModuleList(map(PackedLayer, layers))
        model.model.rotary_emb = _Rotary(model.model.rotary_emb)
    pack_linears(model)
