"""The header of a safetensors file: enough to refuse a file that is cut, or is not one.

The format: eight bytes with the header's length, little-endian; the header, a JSON object of name -> dtype, shape, data_offsets; the data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from cardproof.errors import CardproofError

AGAIN = "copy or fetch it again."
FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
"""Number types of weights that are not quantised, as the format spells them."""
MOST_HEADER = 100_000_000
"""Largest header in bytes that the format allows."""


class Entry(NamedTuple):
    """What a header says of one tensor."""

    dtype: str
    """As the format spells it: F32, BF16, F8_E4M3, I8, ..."""
    shape: list[int]


def header(path: Path) -> dict[str, Entry]:
    """Tensor name -> type and shape; CardproofError if the file is not in safetensors format, or is cut."""
    size = path.stat().st_size
    with open(path, "rb") as f:
        length = int.from_bytes(f.read(8), "little")
        if not 2 <= length <= min(size - 8, MOST_HEADER):
            raise CardproofError(f"{path} is not a safetensors file: its header would be {length} bytes of {size}.", AGAIN)
        try:
            tensors = {name: value for name, value in json.loads(f.read(length)).items() if name != "__metadata__"}
            end = max((int(value["data_offsets"][1]) for value in tensors.values()), default=0)
            entries = {name: Entry(str(value["dtype"]), [int(n) for n in value["shape"]]) for name, value in tensors.items()}
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
            raise CardproofError(f"{path} is not a safetensors file: its header cannot be read.", AGAIN) from None
    if size != 8 + length + end:
        raise CardproofError(f"{path} is not complete: it has {size} bytes, but its header says {8 + length + end}.", AGAIN)
    return entries


def shapes(path: Path) -> dict[str, list[int]]:
    """Tensor name -> shape; raises as `header` does."""
    return {name: entry.shape for name, entry in header(path).items()}
