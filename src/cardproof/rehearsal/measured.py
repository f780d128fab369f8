"""Run one verb of cardproof and measure it from inside: `python -m cardproof.rehearsal.measured VERB ...`.

The environment says where the measurements go (FOLDER), and as how small the device is to be treated (LIMIT). The workflow of a rehearsal
finds a `cardproof` command that does this, so every job of it is measured. Without FOLDER the verb runs as always.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import runpy
import sys
import time
import uuid
from pathlib import Path
from typing import Any

FOLDER = "CARDPROOF_MEASURE"
LIMIT = "CARDPROOF_MEASURE_LIMIT"
"""Bytes that a process may have on the GPU."""
MODEL_VERBS = ("sample", "train", "support", "check-verifier", "dequantise")


class Clock:
    """What one process does with its models: loading, reading whole sequences, and all that follows the first computation."""

    def __init__(self) -> None:
        self.begin = time.monotonic()
        self.loading: float | None = None
        """When the first model began to load."""
        self.first: float | None = None
        """When a model was first computed with."""
        self.rows = self.tokens = 0
        self.seconds = 0.0
        """Sequences of more than one token that went through a whole model, their tokens, and the time that took."""
        self._started = 0.0

    def attach(self) -> None:
        """Watch every model that transformers loads in this process, and the first computation of any."""
        import torch
        from transformers import PreTrainedModel

        load = PreTrainedModel.from_pretrained.__func__  # type: ignore[attr-defined]

        def watched(cls: Any, *args: Any, **kwargs: Any) -> Any:
            if self.loading is None:
                self.loading = time.monotonic()
                limit_gpu()
            made = load(cls, *args, **kwargs)
            model = made[0] if isinstance(made, tuple) else made
            model.register_forward_pre_hook(self._before, with_kwargs=True)
            model.register_forward_hook(self._after, with_kwargs=True)
            return made

        PreTrainedModel.from_pretrained = classmethod(watched)  # type: ignore[assignment]

        def begun(module: Any, inputs: Any) -> None:
            self.first = time.monotonic()
            handle.remove()

        handle = torch.nn.modules.module.register_module_forward_pre_hook(begun)

    def _before(self, module: Any, args: Any, kwargs: Any) -> None:
        if _sequence(args, kwargs) is not None:
            _wait()
            self._started = time.monotonic()

    def _after(self, module: Any, args: Any, kwargs: Any, result: Any) -> None:
        ids = _sequence(args, kwargs)
        if ids is not None:
            _wait()
            self.seconds += time.monotonic() - self._started
            self.rows += ids.shape[0]
            self.tokens += ids.numel()

    def as_json(self) -> dict[str, Any]:
        """Seconds of the process, of loading, and since the first computation; sequences read; the memory's peaks in bytes."""
        end = time.monotonic()
        used = self.first is not None and self.loading is not None
        return {
            "seconds": end - self.begin,
            "load_seconds": self.first - self.loading if used else None,  # type: ignore[operator]
            "work_seconds": end - self.first if used else None,  # type: ignore[operator]
            "read": {"rows": self.rows, "tokens": self.tokens, "seconds": self.seconds},
            "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            **_device(),
        }


def _sequence(args: Any, kwargs: Any) -> Any:
    """The token ids of a call, if they are sequences of more than one token."""
    ids = kwargs.get("input_ids", args[0] if args else None)
    return ids if getattr(ids, "ndim", 0) == 2 and ids.shape[1] > 1 else None


def _wait() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _device() -> dict[str, int | None]:
    """The GPU's memory in bytes: the most that tensors took, and the most that the process reserved for them; None without a GPU."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return {"gpu_allocated": None, "gpu_reserved": None}
    return {"gpu_allocated": torch.cuda.max_memory_allocated(), "gpu_reserved": torch.cuda.max_memory_reserved()}


def limit_gpu() -> None:
    """Refuse this process more of the GPU than LIMIT says, as a smaller one would. Only now: a verb first chooses its GPU."""
    import torch

    limit = int(os.environ.get(LIMIT, 0))
    if limit and torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, limit / total), 0)


def main(arguments: list[str]) -> None:
    """Run the verb, and leave a file of what was measured, however the verb ended."""
    folder, clock = os.environ.get(FOLDER), Clock()
    verb = next((a for a in arguments if not a.startswith("-")), "")
    if folder and verb in MODEL_VERBS:
        with contextlib.suppress(ImportError):
            clock.attach()
    sys.argv = ["cardproof", *arguments]
    ok = False
    try:
        runpy.run_module("cardproof", run_name="__main__", alter_sys=True)
        ok = True
    except SystemExit as e:
        ok = e.code in (None, 0)
        raise
    finally:
        if folder:
            found = {"verb": verb, "arguments": arguments, "ok": ok, **clock.as_json()}
            path = Path(folder, f"{verb}-{uuid.uuid4().hex[:12]}.json")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
