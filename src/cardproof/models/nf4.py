"""NF4 weights, unpacked once to compute with."""

from __future__ import annotations

from typing import Any

from cardproof.models.device import compute_dtype
from cardproof.models.layers import linears


def keep_dequantised(model: Any, most_gb: float) -> bool:
    """Unpack each Linear4bit's weight once and compute with it, if all of them fit into `most_gb`; returns whether they did.

    Results and gradients stay the same to the last bit: otherwise bitsandbytes unpacks the same values in every forward and backward pass.
    The layers also keep their packed weights.
    """
    import functools

    import torch
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn.modules import Linear4bit

    layers: list[Any] = [module for module in model.modules() if isinstance(module, Linear4bit)]
    if sum(layer.in_features * layer.out_features for layer in layers) * compute_dtype().itemsize > most_gb * 1e9:
        return False
    for layer in layers:
        weight = dequantize_4bit(layer.weight.data, layer.weight.quant_state).to(compute_dtype())
        layer.forward = functools.partial(torch.nn.functional.linear, weight=weight, bias=layer.bias)
    return True


def dequantise_nf4(model: Any) -> None:
    """Replace, in place, every linear weight that load_nf4 would quantise by its value after a round trip through NF4."""
    for _, module in linears(model):
        module.weight.data = round_trip(module.weight.data)


def round_trip(weight: Any) -> Any:
    """A weight's values after NF4 with double quantisation in blocks of 64, in its own dtype and on its own device."""
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    packed, state = quantize_4bit(weight, blocksize=64, compress_statistics=True, quant_type="nf4")
    return dequantize_4bit(packed, state).to(weight.dtype)
