"""Safetensors files that are almost all zeros: as large as the real ones to whoever reads them, but of little size on disk.

Only the pages of a file that something is written to, or that are asked for, take space; a read of the others gives zeros.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from cardproof.files import write_json

Kind = Literal["BF16", "F32"]
WIDTH: dict[Kind, int] = {"BF16": 2, "F32": 4}
STORED: dict[Kind, Any] = {"BF16": np.uint16, "F32": np.float32}
SHARD = 4_000_000_000
"""Bytes of weights in one file, as on the hub."""
THERE = 50
"""One byte in so many has its place on the disk: files of nothing but holes are refused (`cardproof.outside`)."""


class Piece(NamedTuple):
    """A block of numbers in a larger tensor of one or two dimensions: where it begins, and its values in float32."""

    row: int
    column: int
    values: np.ndarray


class Tensor(NamedTuple):
    """A tensor of zeros but for some pieces."""

    name: str
    shape: tuple[int, ...]
    pieces: Sequence[Piece] = ()


def bfloat16(values: np.ndarray) -> np.ndarray:
    """Float32 numbers as the bits of the nearest bfloat16 numbers, ties to even."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def rounded(values: np.ndarray) -> np.ndarray:
    """Float32 numbers after a round trip through bfloat16."""
    return (bfloat16(values).astype(np.uint32) << 16).view(np.float32)


def write_model(folder: Path, tensors: Sequence[Tensor], kind: Kind, shard: int = SHARD) -> list[Path]:
    """Write a model's weights as the hub has them; returns the files: several with an index if one of `shard` bytes is too small."""
    parts: list[list[Tensor]] = [[]]
    filled = 0
    for tensor in tensors:
        size = _size(tensor, kind)
        if parts[-1] and filled + size > shard:
            parts.append([])
            filled = 0
        parts[-1].append(tensor)
        filled += size
    if len(parts) == 1:
        return [write(folder / "model.safetensors", parts[0], kind)]
    names = [f"model-{number:05d}-of-{len(parts):05d}.safetensors" for number in range(1, len(parts) + 1)]
    files = [write(folder / name, part, kind) for name, part in zip(names, parts, strict=True)]
    weight_map = {tensor.name: name for name, part in zip(names, parts, strict=True) for tensor in part}
    total = sum(_size(tensor, kind) for tensor in tensors)
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})
    return files


def write(path: Path, tensors: Sequence[Tensor], kind: Kind) -> Path:
    """Write one safetensors file: the header, and then only the pieces."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        start, end = end, end + _size(tensor, kind)
        header[tensor.name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    first = 8 + len(text)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        f.truncate(first + end)
        os.posix_fallocate(f.fileno(), 0, first + end // THERE)
        for tensor in tensors:
            at = first + header[tensor.name]["data_offsets"][0]
            for offset, data in _runs(tensor, kind):
                f.seek(at + offset)
                f.write(data)
    return path


def span(path: Path, name: str) -> tuple[int, int]:
    """Where a tensor's data begin and end in a safetensors file."""
    with open(path, "rb") as f:
        length = int.from_bytes(f.read(8), "little")
        start, end = json.loads(f.read(length))[name]["data_offsets"]
    return 8 + length + start, 8 + length + end


def _runs(tensor: Tensor, kind: Kind) -> Iterator[tuple[int, bytes]]:
    """The bytes of each row of each piece, and their offset in the tensor."""
    width = tensor.shape[-1]
    for piece in tensor.pieces:
        values = np.atleast_2d(piece.values)
        stored = bfloat16(values) if kind == "BF16" else np.ascontiguousarray(values, dtype=STORED[kind])
        if stored.shape[1] == width:
            yield piece.row * width * WIDTH[kind], stored.tobytes()
            continue
        for number, row in enumerate(stored):
            yield ((piece.row + number) * width + piece.column) * WIDTH[kind], row.tobytes()


def _size(tensor: Tensor, kind: Kind) -> int:
    return int(np.prod(tensor.shape)) * WIDTH[kind]
