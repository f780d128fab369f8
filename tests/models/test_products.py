"""Linear layers through oneDNN: the values and gradients of PyTorch's own, whatever lies where in memory."""

from __future__ import annotations

import pytest
import torch

from cardproof.models import products
from cardproof.models.products import linear

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def both(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> list[list[torch.Tensor]]:
    """The output and the gradients of everything that has one, by PyTorch's own function and by ours."""
    found = []
    for function in (torch.nn.functional.linear, linear):
        given = [t.detach().requires_grad_(t.requires_grad) for t in (x, weight, bias) if t is not None]
        out = function(*given)
        torch.autograd.backward((out * torch.arange(out.numel()).view(out.shape).cos()).sum())
        found.append([out.detach(), *(t.grad for t in given if t.grad is not None)])
    return found


@pytest.mark.parametrize("shape", [(5, 24), (1, 24), (2, 7, 24), (3, 1, 24)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("trained", ["all", "input", "weight"])
def test_values_and_gradients_are_those_of_pytorch(shape: tuple[int, ...], bias: bool, trained: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape, requires_grad=trained in ("all", "input"))
    weight = torch.randn(17, 24, requires_grad=trained in ("all", "weight"))
    expected, found = both(x, weight, torch.randn(17, requires_grad=trained == "all") if bias else None)
    assert len(expected) == len(found) == 1 + (2 + bias if trained == "all" else 1)
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(b, a, **CLOSE)


def test_inputs_and_gradients_that_are_views_are_read_as_what_they_show() -> None:
    torch.manual_seed(0)
    square, row = torch.randn(24, 24), torch.randn(1, 24)
    for x in (square.t(), row.expand(6, 24), torch.randn(24, 2, 5).permute(2, 1, 0), torch.randn(8, 48)[:, ::2]):
        x = x.detach().requires_grad_()
        weight = torch.randn(24, 9).t().requires_grad_()
        out = linear(x, weight)
        torch.testing.assert_close(out, torch.nn.functional.linear(x, weight), **CLOSE)
        torch.autograd.backward(out.sum())  # its gradient is one number, seen everywhere
        torch.testing.assert_close(x.grad, weight.detach().sum(0).expand(x.shape), **CLOSE)


def test_a_frozen_weight_may_be_made_when_it_is_needed() -> None:
    torch.manual_seed(0)
    weight, made = torch.randn(9, 24), []
    x = torch.randn(5, 24, requires_grad=True)

    def make() -> torch.Tensor:
        made.append(1)
        return weight

    out = linear(x, make)
    torch.autograd.backward(out.sum())
    assert torch.equal(out, linear(x, weight)) and len(made) == 2, "once for the output, once for the gradient"
    assert x.grad is not None
    torch.testing.assert_close(x.grad, weight.sum(0).expand(5, 24), **CLOSE)
    assert torch.equal(linear(x.double(), lambda: weight.double()), torch.nn.functional.linear(x.double(), weight.double()))


def test_a_model_keeps_its_weights_and_learns_the_same() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(24, 16), torch.nn.GELU(), torch.nn.Linear(16, 3))
    x, names = torch.randn(7, 24), list(model.state_dict())
    before = model(x)
    torch.autograd.backward(before.square().sum())
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    products.use(model)
    after = model(x)
    torch.autograd.backward(after.square().sum())
    torch.testing.assert_close(after, before, **CLOSE)
    assert list(model.state_dict()) == names
    for p, gradient in zip(model.parameters(), gradients, strict=True):
        torch.testing.assert_close(p.grad, gradient, **CLOSE)


def test_autocast_chooses_the_types_itself() -> None:
    x, weight = torch.randn(4, 8), torch.randn(6, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert products.linear(x, weight).dtype == torch.bfloat16
    assert products.linear(x, weight).dtype == torch.float32
