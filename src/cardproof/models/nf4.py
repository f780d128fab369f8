"""NF4 weights, unpacked once to compute with."""

from __future__ import annotations

import functools
from typing import Any

from cardproof.models.device import compute_dtype
from cardproof.models.layers import linears


def compute_on_cpu(model: Any, most_gb: float) -> bool:
    """Let each Linear4bit compute with its unpacked weight, which is kept if all of them fit into `most_gb`; returns whether they did.

    Results and gradients are the same to the last bit either way: else the same values are unpacked in every forward and backward pass. The
    layers also keep their packed weights.
    """
    from bitsandbytes.nn.modules import Linear4bit

    from cardproof.models.products import linear

    layers: list[Any] = [module for module in model.modules() if isinstance(module, Linear4bit)]
    fit: bool = sum(layer.in_features * layer.out_features for layer in layers) * compute_dtype().itemsize <= most_gb * 1e9
    for layer in layers:
        if fit:
            layer.forward = functools.partial(linear, weight=_unpacked(layer.weight), bias=layer.bias)
        else:
            layer.forward = functools.partial(_unpacking, own=layer.forward, packed=layer.weight, bias=layer.bias)
    return fit


def _unpacking(x: Any, own: Any, packed: Any, bias: Any) -> Any:
    """A layer whose weight is unpacked each time. Under autocast it is the library's own, which keeps no unpacked weight for gradients."""
    import torch

    from cardproof.models.products import linear

    return own(x) if torch.is_autocast_enabled("cpu") else linear(x, functools.partial(_unpacked, packed), bias)


def _unpacked(weight: Any) -> Any:
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(weight.data, weight.quant_state).to(compute_dtype())


def dequantise_nf4(model: Any) -> None:
    """Replace, in place, every linear weight that load_nf4 would quantise by its value after a round trip through NF4."""
    for _, module in linears(model):
        module.weight.data = round_trip(module.weight.data)


def round_trip(weight: Any) -> Any:
    """A weight's values after NF4 with double quantisation in blocks of 64, in its own dtype and on its own device."""
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    packed, state = quantize_4bit(weight, blocksize=64, compress_statistics=True, quant_type="nf4")
    return dequantize_4bit(packed, state).to(weight.dtype)
