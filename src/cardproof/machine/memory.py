"""The memory that a language model needs for training and for sampling: formulas over its layer sizes, in bytes.

A test compares every formula with the tensors of a small real model. The formulas leave out the device library's own context,
fragmentation, and short-lived temporaries smaller than those they name.
"""

from __future__ import annotations

from collections.abc import Sequence

from cardproof.models.sizes import Shapes

FLOAT, HALF = 4, 2
NF4_BLOCK, ABSMAX_BLOCK = 64, 256
"""Weights per quantised block, and blocks per second-level block (Dettmers et al. 2023; the defaults of bitsandbytes)."""
SMALLEST_8BIT = 4096


def nf4_weights(linears: Sequence[tuple[int, int]]) -> int:
    """Packed weights of NF4: half a byte each."""
    return sum((i * o + 1) // 2 for i, o in linears)


def nf4_constants(linears: Sequence[tuple[int, int]]) -> int:
    """Quantisation constants under double quantisation.

    One byte per block of 64 weights, a float32 per 256 blocks, and for each layer two code books (16 and 256 floats) and an offset.
    """
    total = 0
    for i, o in linears:
        blocks = -(-i * o // NF4_BLOCK)
        total += blocks + FLOAT * -(-blocks // ABSMAX_BLOCK) + FLOAT * (16 + 256 + 1)
    return total


def kv_bytes_per_token(sizes: Shapes, width: int) -> int:
    """Keys and values of one token: 2 x layers x key/value heads x head dimension x bytes per number."""
    return 2 * sizes.layers * sizes.kv_heads * sizes.head_dim * width


def optimizer_states(sizes: Shapes, rank: int, optimizer: str) -> int:
    """AdamW's two moments of each LoRA matrix: in float32, or in 8 bits with a float32 per 256 of them (bitsandbytes).

    bitsandbytes keeps the moments of a matrix with fewer than 4,096 numbers in float32.
    """
    total = 0
    for size in (rank * side for pair in sizes.linears for side in pair):
        packed = optimizer.endswith("8bit") and size >= SMALLEST_8BIT
        total += 2 * (size + FLOAT * -(-size // ABSMAX_BLOCK)) if packed else 2 * FLOAT * size
    return total


def block_activations(sizes: Shapes, tokens: int, rank: int, width: int, residual: int, mask: int | None) -> int:
    """What one transformer block keeps for its backward pass, with LoRA on all its linear layers and the base frozen.

    Per token: the residual stream before each of the two norms; queries and keys before their norms; queries, keys, values and the
    attention's output; gate, its activation, and up; the input of each LoRA matrix A, copied for each layer if there is dropout or a cast,
    with a mask of `mask` bytes per number (None: no dropout); the input of each matrix B; and what norms, rotary embedding and softmax
    keep. `width`: bytes of the compute type; `residual`: bytes of the residual stream, the type in which 4-bit layers return results. If
    the two differ (autocast), the cast copies of LoRA's matrices are also kept.
    """
    per_block = sizes.linears[: len(sizes.linears) // sizes.layers]
    cast = residual != width
    q, kv = sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim
    inner = per_block[-1][0] if per_block else 0
    copies = sum(i for i, _ in per_block) if cast or mask is not None else 2 * sizes.hidden + inner
    lora = width * (copies + rank * len(per_block)) + (mask or 0) * copies
    attention = width * 2 * (q + kv) + residual * 2 * sizes.head_dim + FLOAT * sizes.heads
    norms = 2 * (residual * sizes.hidden + FLOAT)
    if sizes.query_norms:
        norms += FLOAT * (q + kv + sizes.heads + sizes.kv_heads)
    matrices = width * rank * sum(i + o for i, o in per_block) if cast else 0
    return tokens * (norms + attention + residual * 3 * inner + lora) + matrices


def checkpoints(sizes: Shapes, tokens: int, residual: int) -> int:
    """What gradient checkpointing keeps, the input of each block: layers x tokens x hidden size x bytes."""
    return sizes.layers * tokens * sizes.hidden * residual


def largest_linear(sizes: Shapes, width: int) -> int:
    """The temporary that a 4-bit layer is unpacked into while it is used: the weights of the largest layer."""
    return max((i * o for i, o in sizes.linears), default=0) * width
