"""A model folder whose weights went through NF4 once, for an engine without NF4: made once a run, and read by every shard.

vLLM has no NF4 format. It computes with the values that 4-bit weights stand for, written out in the type that it computes in.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cardproof.acquire.model_hash import model_hash
from cardproof.errors import CardproofError
from cardproof.files import nothing_partial, read_json, write_json
from cardproof.models.architecture import load_config
from cardproof.models.device import compute_dtype, device, quiet
from cardproof.models.layers import linears, without_weights
from cardproof.models.nf4 import round_trip

MARK = "weights"
NF4 = "after a round trip through NF4"
"""What `source.json` of such a folder says of its weights, under MARK."""


def dequantise(folder: Path, out: Path) -> None:
    """Write the model of `folder` into `out`, file by file: what `load_nf4` would quantise after a round trip, the rest as it is.

    The quantisation runs on the GPU where there is one. A file of weights is in memory at a time, and files keep their names. Raises
    CardproofError if the weights are not named as the model's layers.
    """
    quiet()
    wanted = {f"{name}.weight" for name, _ in linears(without_weights(load_config(folder)))}
    files = sorted(folder.glob("*.safetensors"))
    held = {name for file in files for name in _names(file)}
    if missing := sorted(wanted - held):
        raise CardproofError(
            f"{folder}: its weights do not have {missing[0]!r}, which the model's layers have"
            f" ({len(missing)} of {len(wanted)} are missing).",
            "set sampling.backend to transformers, which loads weights under any name that transformers knows.",
        )
    with nothing_partial(out):
        partial = out.with_name(f".{out.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with tqdm(total=len(held), desc="NF4 round trip", unit="tensor", file=sys.stderr, mininterval=2) as bar:
            for file in files:
                _convert(file, partial / file.name, wanted, bar)
        for file in sorted(folder.iterdir()):
            if file.is_file() and file.suffix != ".safetensors" and file.name != "source.json":
                shutil.copyfile(file, partial / file.name)
        source = folder / "source.json"
        told = read_json(source) if source.is_file() else {"name": folder.name, "package": None, "sha256": None}
        write_json(partial / "source.json", {**told, "model_hash": model_hash(folder), MARK: NF4})
        shutil.rmtree(out, ignore_errors=True)
        partial.rename(out)


def went_through_nf4(folder: Path) -> bool:
    """Whether `dequantise` made this model folder."""
    source = folder / "source.json"
    return source.is_file() and read_json(source).get(MARK) == NF4


def _names(file: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as tensors:
        return list(tensors.keys())


def _convert(file: Path, out: Path, wanted: set[str], bar: Any) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    converted = {}
    with safe_open(file, framework="pt") as tensors:
        for name in tensors.keys():  # noqa: SIM118 (not a dictionary)
            value = tensors.get_tensor(name)
            if value.is_floating_point():
                value = value.to(compute_dtype())
            if name in wanted:
                value = round_trip(value.to(device())).cpu()
            converted[name] = value.contiguous()
            bar.update()
    save_file(converted, out, metadata={"format": "pt"})
