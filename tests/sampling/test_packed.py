"""Packed layers give the same numbers as the layers they replace, for any number of rows."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from cardproof.sampling.packed import PackedLayer, pack
from helpers.decoding import random_model

PACKED = """
import torch
from cardproof.models.products import PackedLinear
from cardproof.sampling.shared_prefix import MIN_ROWS

torch.set_num_threads({threads})
torch.manual_seed(0)
for outer, inner in ((576, 576), (960, 576), (576, 1536), (96, 64), (64, 128), (5000, 576)):
    layer = PackedLinear(torch.nn.Linear(inner, outer, bias=False).requires_grad_(False))
    x, other = torch.randn(64, inner), torch.randn(64, outer)
    ways = [lambda rows, how=how: layer(x[rows], how) for how in ("none", "swish")]
    ways += [lambda rows, how=how: layer.combined(x[rows], other[rows], how) for how in ("add", "mul")]
    for way in ways:
        whole = way(slice(None))
        for rows in range(MIN_ROWS, 65):
            for some in (slice(rows), slice(-rows, None)):
                assert torch.equal(way(some), whole[some]), (outer, inner, some)
print("same bits")
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("instructions", ["ALL", "AVX2"])
def test_a_row_of_a_packed_layer_does_not_depend_on_the_number_of_rows(instructions: str, threads: int) -> None:
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": instructions}
    done = subprocess.run([sys.executable, "-c", PACKED.format(threads=threads)], capture_output=True, text=True, env=environment)
    assert done.stdout == "same bits\n", done.stderr


@pytest.mark.parametrize(
    ("kind", "different", "replaced"),
    [
        ("llama", {}, True),
        (
            "llama",
            {"attention_bias": True, "mlp_bias": True, "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}},
            True,
        ),
        ("qwen3", {}, True),
        ("qwen3", {"hidden_act": "gelu"}, False),
        ("qwen2", {}, True),
    ],
)
def test_packing_keeps_what_a_model_computes(kind: str, different: dict[str, object], replaced: bool) -> None:
    model, packed = random_model(kind, **different), random_model(kind, **different)
    pack(packed)
    assert not any(isinstance(m, torch.nn.Linear) for m in packed.modules())
    assert all(isinstance(layer, PackedLayer) == replaced for layer in packed.model.layers)
    ids = torch.arange(3, 203).view(2, 100)
    with torch.inference_mode():
        expected, found = model(ids).logits, packed(ids).logits
    assert torch.allclose(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
