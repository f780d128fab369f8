"""What the transformers backend decodes with: NF4 weights unpacked on a CPU, and 4-bit layers as on a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cardproof.models import loading
from cardproof.models.loading import load_for_sampling, load_nf4, load_plain
from helpers.decoding import decode
from helpers.tiny_qwen3 import write_tiny_adapter


def test_nf4_dequantised_gives_the_logits_of_linear4bit(tiny_lm: Path) -> None:
    ids = torch.arange(3, 40)[None]
    with torch.inference_mode():
        # In training mode, because otherwise CPUs with AVX512-BF16 take a kernel with coarser scales.
        packed = load_nf4(tiny_lm).train()(ids).logits
        unpacked = load_for_sampling(tiny_lm, "nf4", None)(ids).logits
        plain = load_plain(tiny_lm).eval()(ids).logits
    dequantising = float((packed - unpacked).abs().max())
    quantising = float((packed - plain).abs().max())
    assert dequantising <= 1e-4 * float(plain.abs().max())
    assert quantising > 100 * max(dequantising, 1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_a_gpu_samples_with_decodes_as_generate_does(
    tiny_lm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    """4-bit layers with a LoRA adapter beside them, also in a GPU's compute type: the most a CPU can show of what runs there."""
    monkeypatch.setattr(loading, "compute_dtype", lambda: getattr(torch, dtype))
    adapter = write_tiny_adapter(tmp_path, tiny_lm, rank=8, scale=0.5)
    ids = list(range(3, 40))
    logits, replies = {}, {}
    for name, beside in (("base", None), ("adapted", adapter)):
        # In training mode, because otherwise CPUs with AVX512-BF16 take a kernel with coarser scales; there is no dropout.
        model = loading.load_packed(tiny_lm, "nf4", beside).train()
        with torch.inference_mode():
            logits[name] = model(torch.tensor([ids])).logits.float()
        # Several rollouts of several items, because the decoding step is our own code and must also use the adapter.
        found = decode(model, [(ids, 0), (ids[5:], 0)], [[1, 2], [3, 4]], rows=4, temperature=0, limit=12)
        theirs = model.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False, eos_token_id=2, pad_token_id=0)[0, len(ids) :]
        replies[name] = [*found[0], theirs.tolist()]
    assert not torch.equal(logits["base"], logits["adapted"]), "the adapter changes nothing"
    assert replies["base"][-1] != replies["adapted"][-1]
    for ours in replies.values():
        if dtype == "float32":  # in bfloat16 two tokens are often tied
            assert ours[0] == ours[1] == ours[2]
        assert ours[0][0] == ours[2][0]
    if dtype == "float32":
        merged = loading.load_merged(tiny_lm, "nf4", adapter)
        with torch.inference_mode():
            off = (merged(torch.tensor([ids])).logits - logits["adapted"]).abs().max()
        assert float(off) <= 1e-3 * float(logits["adapted"].abs().max())
