"""Where a model computes, and in which numbers."""

from __future__ import annotations

import os
from typing import Any, Literal

Quantization = Literal["nf4", "none"]


def quiet() -> None:
    """No progress bars and advisory chatter from the model libraries: the steps print their own."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def device() -> str:
    """`cuda` where a GPU is there, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def compute_dtype() -> Any:
    """bfloat16 on a GPU; float32 on a CPU, where bfloat16 is many times slower."""
    import torch

    return torch.bfloat16 if device() == "cuda" else torch.float32
