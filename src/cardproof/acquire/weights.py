"""The header of a safetensors file: enough to refuse a cut file, or an adapter made for another base.

The format: eight bytes with the header's length, little-endian; the header, a JSON object of name -> dtype, shape, data_offsets; the data.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from cardproof.errors import CardproofError

LORA = re.compile(r"^base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])(?:\.default)?\.weight$")
AGAIN = "copy or fetch it again."


def shapes(path: Path) -> dict[str, list[int]]:
    """Tensor name -> shape; CardproofError if the file is not in safetensors format, or is cut."""
    size = path.stat().st_size
    with open(path, "rb") as f:
        length = int.from_bytes(f.read(8), "little")
        if not 2 <= length <= size - 8:
            raise CardproofError(f"{path} is not a safetensors file: its header would be {length} bytes of {size}.", AGAIN)
        try:
            header = json.loads(f.read(length))
            tensors = {name: value for name, value in header.items() if name != "__metadata__"}
            end = max((value["data_offsets"][1] for value in tensors.values()), default=0)
            shape_of = {name: list(value["shape"]) for name, value in tensors.items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise CardproofError(f"{path} is not a safetensors file: its header cannot be read.", AGAIN) from None
    if size != 8 + length + end:
        raise CardproofError(f"{path} is not complete: it has {size} bytes, but its header says {8 + length + end}.", AGAIN)
    return shape_of


def check_adapter(adapter: Path, base: Path) -> None:
    """Refuse an adapter that does not fit the base model: pickled, cut, of a rank other than it says, or made for other layers.

    Both are model folders. Only the headers of their weights are read. CardproofError names the file, the layer and both shapes.
    """
    config_file, file = adapter / "adapter_config.json", adapter / "adapter_model.safetensors"
    if not config_file.is_file():
        raise CardproofError(f"{adapter} has no adapter_config.json.", "give the folder of a LoRA adapter in PEFT's format.")
    if not file.is_file():
        raise CardproofError(
            f"{adapter} has no adapter_model.safetensors.", "pickled adapters (*.bin) are refused because loading them can run code."
        )
    try:
        config = json.loads(config_file.read_text(encoding="utf-8"))
        rank = int(config["r"])
    except (ValueError, KeyError, TypeError):
        raise CardproofError(f"{config_file}: field 'r' (the LoRA rank) is missing or not a number.", AGAIN) from None
    ranks = {**(config.get("rank_pattern") or {})}
    layers = {name: shape for part in sorted(base.glob("*.safetensors")) for name, shape in shapes(part).items()}
    for name, shape in shapes(file).items():
        match = LORA.match(name)
        if not match:
            continue
        inner, outer = (shape[0], shape[1]) if match["side"] == "A" else (shape[1], shape[0])
        if not ranks and inner != rank:
            raise CardproofError(
                f"{file}: {name} has rank {inner}, but {config_file.name} says r = {rank}.", "the two files are of different adapters."
            )
        weight = layers.get(f"{match['module']}.weight")
        made_for = config.get("base_model_name_or_path")
        hint = f"it was made for {made_for!r}; set model.id to that model, or take another adapter."
        if weight is None:
            raise CardproofError(f"{file}: {name} belongs to a layer that the base model in {base} does not have.", hint)
        if weight[1 if match["side"] == "A" else 0] != outer:
            raise CardproofError(f"{file}: {name} has shape {shape}, but that layer of the base model in {base} has shape {weight}.", hint)
