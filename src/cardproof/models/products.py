"""Linear layers through oneDNN, which PyTorch has beside MKL on a CPU.

On a processor that is not Intel's, MKL multiplies float32 matrices with AVX2 only: measured on an AMD EPYC with AVX-512, oneDNN took less
than half the time for every product of this project's trainings and of their gradients. What is not float32 on a CPU, or is under autocast,
is computed as before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

ROWS = 32
"""The number of rows that a packed layout is chosen for. It works for any other number."""


def available() -> bool:
    """Whether this build of PyTorch has oneDNN."""
    found: Callable[[], bool] = torch.backends.mkldnn.is_available
    return found()


def _fits(*tensors: torch.Tensor | None) -> bool:
    if torch.is_autocast_enabled("cpu"):  # its types are chosen by PyTorch's own function
        return False
    return all(t is None or (t.device.type == "cpu" and t.dtype == torch.float32) for t in tensors)


def _product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """x: (..., in features), weight: (out features, in features) -> (..., out features). Transposed matrices are read as they lie."""
    out: torch.Tensor = torch.ops.mkldnn._linear_pointwise.default(_dense(x), _dense(weight), bias, "none", [], "")
    return out


def _dense(x: torch.Tensor) -> torch.Tensor:
    return x if x.dim() == 2 and x.t().is_contiguous() else x.contiguous()


class _Linear(torch.autograd.Function):
    """A product whose gradients are products of the same kind. `weight` is a tensor, or what makes a frozen one when it is needed."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: Any, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.made_by = None if isinstance(weight, torch.Tensor) else weight
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight if ctx.made_by is None else None)
        return _product(x, weight if ctx.made_by is None else weight(), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        rows = gradient.reshape(-1, gradient.shape[-1])
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = _product(gradient, (weight if ctx.made_by is None else ctx.made_by()).t())
        if ctx.needs_input_grad[1]:
            of_weight = _product(rows.t(), x.reshape(-1, x.shape[-1]).t())
        if ctx.needs_input_grad[2]:
            of_bias = rows.sum(0)
        return of_x, of_weight, of_bias


def linear(x: torch.Tensor, weight: torch.Tensor | Callable[[], torch.Tensor], bias: torch.Tensor | None = None) -> torch.Tensor:
    """`torch.nn.functional.linear`, up to rounding.

    `weight` may be a function that makes a frozen one; it is called again for gradients.
    """
    made = weight if isinstance(weight, torch.Tensor) else None
    if available() and _fits(x, made, bias) and x.numel():
        compute: Callable[..., torch.Tensor] = _Linear.apply
        return compute(x, weight, bias)
    return torch.nn.functional.linear(x, weight() if made is None else made, bias)  # type: ignore[operator]


class _Layer(torch.nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return linear(x, self.weight, self.bias)


def use(model: Any) -> None:
    """Let every plain linear layer of a model compute with `linear`, in place; its weights stay where they are, and can be trained."""
    for module in model.modules():
        if type(module) is torch.nn.Linear:
            module.__class__ = _Layer


class PackedLinear(torch.nn.Module):
    """A linear layer for inference only. It replaces `torch.nn.Linear` and does not keep the weight of the layer it replaces."""

    def __init__(self, *layers: torch.nn.Linear) -> None:
        """Joins layers that have the same input into one; its output is their outputs one after the other."""
        super().__init__()
        # PyTorch's own compiler uses these operators for a linear layer with frozen weights.
        self.packed = torch.ops.mkldnn._reorder_linear_weight(torch.cat([layer.weight.detach() for layer in layers]), ROWS)
        biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
        self.bias = torch.cat(biases) if biases else None

    def forward(self, x: torch.Tensor, activation: str = "none") -> torch.Tensor:
        """x: (..., in features) -> (..., out features); `activation`: none, or swish."""
        out: torch.Tensor = torch.ops.mkldnn._linear_pointwise.default(x, self.packed, self.bias, activation, [], "")
        return out

    def combined(self, x: torch.Tensor, other: torch.Tensor, how: str) -> torch.Tensor:
        """The output plus (`how` is add) or times (mul) `other`, element by element."""
        out: torch.Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, other, self.packed, self.bias, how)
        return out


def packable(layer: Any) -> bool:
    """Whether PackedLinear can replace a module."""
    return type(layer) is torch.nn.Linear and _fits(layer.weight)


def pack_linears(model: Any) -> None:
    """Replace every plain linear layer of a model that is only read from, in place, except for adapters beside their layer."""
    for parent in list(model.modules()):
        if isinstance(parent, torch.nn.ModuleDict):
            continue  # an adapter beside its layer, as on a GPU: PEFT reads its weights
        for name, child in list(parent.named_children()):
            if packable(child):
                setattr(parent, name, PackedLinear(child))
