"""What a safetensors file holds, read from its header alone: enough to refuse a cut file, or an adapter that fits another base.

The format: eight bytes, little-endian: the header's length; the header: a JSON object, name -> dtype, shape, data_offsets; the data.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from cardproof.errors import CardproofError

LORA = re.compile(r"^base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])(?:\.default)?\.weight$")
AGAIN = "copy or fetch it again."


def shapes(path: Path) -> dict[str, list[int]]:
    """Tensor name -> shape; CardproofError where the file is no safetensors file, or is not whole."""
    size = path.stat().st_size
    with open(path, "rb") as f:
        length = int.from_bytes(f.read(8), "little")
        if not 2 <= length <= size - 8:
            raise CardproofError(f"{path} is no safetensors file: its header would be {length} bytes of {size}.", AGAIN)
        try:
            header = json.loads(f.read(length))
            tensors = {name: value for name, value in header.items() if name != "__metadata__"}
            end = max((value["data_offsets"][1] for value in tensors.values()), default=0)
            found = {name: list(value["shape"]) for name, value in tensors.items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise CardproofError(f"{path} is no safetensors file: its header cannot be read.", AGAIN) from None
    if size != 8 + length + end:
        raise CardproofError(f"{path} is not whole: it has {size} bytes, its header says {8 + length + end}.", AGAIN)
    return found


def check_adapter(adapter: Path, base: Path) -> None:
    """Refuse an adapter that does not fit the base model: pickled, cut, of another rank than it says, or made for other layers.

    Both are model folders; only headers are read. CardproofError names the file, the layer and both shapes.
    """
    config_file, file = adapter / "adapter_config.json", adapter / "adapter_model.safetensors"
    if not config_file.is_file():
        raise CardproofError(f"{adapter} holds no adapter_config.json.", "give the folder of a LoRA adapter in PEFT's format.")
    if not file.is_file():
        raise CardproofError(
            f"{adapter} holds no adapter_model.safetensors.", "pickled adapters (*.bin) are refused because loading them can run code."
        )
    try:
        config = json.loads(config_file.read_text(encoding="utf-8"))
        rank = int(config["r"])
    except (ValueError, KeyError, TypeError):
        raise CardproofError(f"{config_file}: field 'r' (the LoRA rank) is missing or no number.", AGAIN) from None
    ranks = {**(config.get("rank_pattern") or {})}
    layers = {name: shape for part in sorted(base.glob("*.safetensors")) for name, shape in shapes(part).items()}
    for name, shape in shapes(file).items():
        found = LORA.match(name)
        if not found:
            continue
        inner, outer = (shape[0], shape[1]) if found["side"] == "A" else (shape[1], shape[0])
        if not ranks and inner != rank:
            raise CardproofError(
                f"{file}: {name} has rank {inner}, but {config_file.name} says r = {rank}.", "the two files are of different adapters."
            )
        weight = layers.get(f"{found['module']}.weight")
        made_for = config.get("base_model_name_or_path")
        hint = f"it was made for {made_for!r}; set model.id to that model, or take another adapter."
        if weight is None:
            raise CardproofError(f"{file}: {name} belongs to a layer that the base model in {base} does not have.", hint)
        if weight[1 if found["side"] == "A" else 0] != outer:
            raise CardproofError(f"{file}: {name} has shape {shape}, but that layer of the base model in {base} has shape {weight}.", hint)
