"""Linear layers for decoding on a CPU: weights laid out once for oneDNN's kernels, layers with the same input joined into one.

Two reasons. A product of few rows is then bound by reading the weights, not by rearranging them at every call. And a row's result does not
depend on how many other rows there are: sgemm takes another kernel, another order of summation, for some numbers of rows, and which ones
differs with the instruction set; oneDNN's packed kernels were measured to give the same bits for 2 to 96 rows, with AVX2 and AVX-512,
with one thread and two. A test measures it on the machine at hand.
"""

from __future__ import annotations

from typing import Any

import torch

ROWS = 32
"""The number of rows that the layout is chosen for; any other number works."""

SIBLINGS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Layers that transformers gives one and the same input."""


class PackedLinear(torch.nn.Module):
    """A linear layer for inference alone; takes the place of `torch.nn.Linear`, whose weight it does not keep."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        """weight: (out features, in features)."""
        super().__init__()
        # The operators that PyTorch's own compiler puts in the place of a linear layer with frozen weights.
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), ROWS)
        self.bias = None if bias is None else bias.detach()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (..., in features) -> (..., out features)."""
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")


class _Joined:
    """One product for several layers: the first that is asked computes it, the others take their part."""

    def __init__(self, layers: list[torch.nn.Linear]) -> None:
        biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
        weight = torch.cat([layer.weight.detach() for layer in layers])
        self.linear = PackedLinear(weight, torch.cat(biases) if biases else None)
        self.sizes = [layer.out_features for layer in layers]
        self.input: torch.Tensor | None = None
        self.parts: dict[int, torch.Tensor] = {}

    def part(self, x: torch.Tensor, number: int) -> torch.Tensor:
        if x is not self.input or number not in self.parts:
            self.input, self.parts = x, dict(enumerate(self.linear(x).split(self.sizes, dim=-1)))
        found = self.parts.pop(number)
        if not self.parts:
            self.input = None
        return found


class _Part(torch.nn.Module):
    def __init__(self, joined: _Joined, number: int) -> None:
        super().__init__()
        self.joined, self.number = joined, number

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.joined.part(x, self.number)


def _packable(layer: Any) -> bool:
    return type(layer) is torch.nn.Linear and layer.weight.device.type == "cpu" and layer.weight.dtype == torch.float32


def pack(model: Any) -> None:
    """Replace every plain float32 linear layer of a model on a CPU by its packed form, in place; others (4-bit, on a GPU) stay."""
    if not torch.backends.mkldnn.is_available():
        return
    for parent in list(model.modules()):
        if isinstance(parent, torch.nn.ModuleDict):
            continue  # an adapter beside its layer, as on a GPU: PEFT looks at its weights
        for names in SIBLINGS:
            layers: list[Any] = [getattr(parent, name, None) for name in names]
            if all(map(_packable, layers)) and len({layer.bias is None for layer in layers}) == 1:
                joined = _Joined(layers)
                for number, name in enumerate(names):
                    setattr(parent, name, _Part(joined, number))
        for name, child in list(parent.named_children()):
            if _packable(child):
                setattr(parent, name, PackedLinear(child.weight, child.bias))
