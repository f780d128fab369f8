"""Which device a model computes on, and in which number type."""

from __future__ import annotations

import importlib.metadata
import os
from typing import Any, Literal

Quantization = Literal["nf4", "none"]


def quiet() -> None:
    """Silence the progress bars and advice of the model libraries; the steps print their own."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def device() -> str:
    """`cuda` if there is a GPU, otherwise `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def compute_dtype() -> Any:
    """bfloat16 on a GPU; float32 on a CPU, where bfloat16 is many times slower."""
    import torch

    return torch.bfloat16 if device() == "cuda" else torch.float32


def computed_on(rows: int) -> dict[str, Any]:
    """What decides the last bits of a rollout beside code, model and settings: the device, its number type and the libraries.

    On a GPU the number of rows of a step does as well, since kernels are chosen by it.
    """
    import torch

    gpu = device() == "cuda"
    name = torch.cuda.get_device_name() if gpu else f"CPU with {torch.backends.cpu.get_cpu_capability()}"
    libraries = ("torch", "transformers", "bitsandbytes", "peft", "vllm")
    # By what is installed, not by what can be imported: any folder of that name could be.
    found = {package: importlib.metadata.version(package) for package in libraries if any(importlib.metadata.distributions(name=package))}
    return {"device": name, "dtype": str(compute_dtype()), "rows": rows if gpu else None, **found}


def attention_of(config: Any) -> str | None:
    """The attention of transformers that computes what a model says; None for its default. Its fast one leaves out caps on scores."""
    if getattr(config.get_text_config(), "attn_logit_softcapping", None):
        return "eager"
    return None
