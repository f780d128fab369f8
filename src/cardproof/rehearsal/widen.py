"""A small Qwen3 inside a large one: the same function, computed in the widths, heads, layers and vocabulary of the published model.

Every weight of the large model is zero but those that the small one's are copied to. Three things keep the function the same:

- *Norms.* An RMSNorm divides by the root of a mean of squares. Over D numbers of which D - d are zero that mean is d/D of the small
  model's, so the norm's weights are scaled by sqrt(d/D), and the small model is made with D/d times the large one's eps.
- *Heads.* Key and value head j stays number j, and the query heads that read it go into its group.
- *Layers.* A layer of zeros adds nothing to the residual stream.

NF4 shares a scale among 64 neighbours of a row. Widths that are multiples of 64 keep such blocks whole, so quantisation sees the same ones.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cardproof.acquire.weights import shapes
from cardproof.models.sizes import Architecture
from cardproof.rehearsal.reciter import END_OF_TURN, PAD, configuration
from cardproof.rehearsal.sparse import Piece, Tensor, rounded, span, write_model

BLOCK = 64
EPS = 1e-6
"""Of Qwen3-14B's norms."""
COPIED = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")


def write_widened(small: Path, sizes: Architecture, folder: Path, shard: int) -> Path:
    """Write the model in `small` in the sizes of `sizes` to `folder`, with its tokenizer; returns `folder`. `shard`: bytes in one file."""
    from transformers import AutoTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(small)
    write_model(folder, list(widened(small, sizes)), "BF16", shard)
    made = configuration(tokenizer, **vars(sizes), rms_norm_eps=EPS, architectures=["Qwen3ForCausalLM"], dtype="bfloat16")
    made.save_pretrained(folder)
    ids: Any = tokenizer.convert_tokens_to_ids([END_OF_TURN, PAD])
    (folder / "generation_config.json").write_text(json.dumps({"do_sample": False, "eos_token_id": ids, "pad_token_id": ids[1]}))
    for name in COPIED:
        if (small / name).is_file():
            (folder / name).write_bytes((small / name).read_bytes())
    return folder


def small_eps(sizes: Architecture, hidden: int) -> float:
    """The eps of a small model of that hidden size which becomes EPS in the large one."""
    return EPS * sizes.hidden_size / hidden


def widened(small: Path, sizes: Architecture) -> Iterator[Tensor]:
    """Every tensor of the large model, in the order of its layers."""
    from safetensors.numpy import load_file

    weights: dict[str, np.ndarray] = load_file(small / "model.safetensors")
    of: dict[str, Any] = json.loads((small / "config.json").read_text())
    _check(of, sizes)
    d, big = int(of["hidden_size"]), sizes.hidden_size
    linears = {f"{'self_attn' if name[0] in 'qkvo' else 'mlp'}.{name}": (o, i) for name, (i, o) in sizes.linears().items()}
    yield Tensor("model.embed_tokens.weight", (sizes.vocab_size, big), [Piece(0, 0, weights["model.embed_tokens.weight"])])
    for number in range(sizes.num_hidden_layers):
        layer = f"model.layers.{number}"
        there = number < int(of["num_hidden_layers"])
        for name, shape in linears.items():
            full = f"{layer}.{name}.weight"
            yield Tensor(full, shape, _pieces(name, weights[full], of, sizes) if there else ())
        for name in ("self_attn.q_norm", "self_attn.k_norm"):
            full = f"{layer}.{name}.weight"
            yield Tensor(full, (sizes.head_dim,), [Piece(0, 0, weights[full])] if there else ())
        for name in ("input_layernorm", "post_attention_layernorm"):
            full = f"{layer}.{name}.weight"
            yield Tensor(full, (big,), [Piece(0, 0, _scaled(weights[full], d, big))] if there else ())
    yield Tensor("model.norm.weight", (big,), [Piece(0, 0, _scaled(weights["model.norm.weight"], d, big))])
    yield Tensor("lm_head.weight", (sizes.vocab_size, big), [Piece(0, 0, weights["lm_head.weight"])])


def as_stored(small: Path, sizes: Architecture, folder: Path) -> Path:
    """The small model with the weights that the large one stores, in bfloat16 and its norms by way of their scale; returns `folder`."""
    from safetensors.numpy import load_file, save_file

    folder.mkdir(parents=True, exist_ok=True)
    of = json.loads((small / "config.json").read_text())
    d, big = int(of["hidden_size"]), sizes.hidden_size
    weights = load_file(small / "model.safetensors")
    for name, value in weights.items():
        wide = name.endswith(("layernorm.weight", "model.norm.weight"))
        weights[name] = rounded(_scaled(value, d, big)) * np.float32(math.sqrt(big / d)) if wide else rounded(value)
    for file in small.iterdir():
        if file.suffix != ".safetensors":
            (folder / file.name).write_bytes(file.read_bytes())
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_endless(folder: Path, out: Path) -> Path:
    """A large model that never ends a reply: it writes a rare word where it would write the end-of-turn token; returns `out`."""
    from transformers import AutoTokenizer

    name = "lm_head.weight"
    out.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        (out / path.name).symlink_to(path.resolve())
    file = next(f for f in sorted(folder.glob("*.safetensors")) if name in shapes(f))
    width = 2 * shapes(file)[name][1]
    (out / file.name).unlink()
    shutil.copyfile(file, out / file.name)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    end, first_control = tokenizer.convert_tokens_to_ids([END_OF_TURN, PAD])
    start, _ = span(out / file.name, name)
    with open(out / file.name, "r+b") as f:
        f.seek(start + end * width)
        row = f.read(width)
        f.seek(start + end * width)
        f.write(bytes(width))
        f.seek(start + (first_control - 1) * width)  # the last word of the vocabulary, and so the rarest
        f.write(row)
    return out


def _scaled(weight: np.ndarray, d: int, big: int) -> np.ndarray:
    return (weight * math.sqrt(d / big)).astype(np.float32)


def _pieces(name: str, weight: np.ndarray, of: dict[str, Any], sizes: Architecture) -> list[Piece]:
    """Where a linear layer's weights go: (outputs, inputs), heads into their groups."""
    width, small_group = sizes.head_dim, int(of["num_attention_heads"]) // int(of["num_key_value_heads"])
    group = sizes.num_attention_heads // sizes.num_key_value_heads
    slots = [(h // small_group * group + h % small_group) * width for h in range(int(of["num_attention_heads"]))]
    if name.endswith("q_proj"):
        return [Piece(slot, 0, weight[h * width : (h + 1) * width]) for h, slot in enumerate(slots)]
    if name.endswith("o_proj"):
        return [Piece(0, slot, weight[:, h * width : (h + 1) * width]) for h, slot in enumerate(slots)]
    return [Piece(0, 0, weight)]


def _check(of: dict[str, Any], sizes: Architecture) -> None:
    """A programming error if the small model does not fit."""
    small_group = int(of["num_attention_heads"]) // int(of["num_key_value_heads"])
    assert of["head_dim"] == sizes.head_dim and small_group <= sizes.num_attention_heads // sizes.num_key_value_heads
    assert of["num_key_value_heads"] <= sizes.num_key_value_heads and of["num_hidden_layers"] <= sizes.num_hidden_layers
    assert of["hidden_size"] % BLOCK == of["intermediate_size"] % BLOCK == sizes.hidden_size % BLOCK == sizes.intermediate_size % BLOCK == 0
    assert of["vocab_size"] <= sizes.vocab_size
