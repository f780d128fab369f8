"""A recorder of decoding steps for a CPU: it keeps the operations and runs them again on the same memory, as a CUDA graph does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cardproof.sampling.recorded import Piece


class Operations(TorchDispatchMode):
    """The operations of one piece, and the memory of their results."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.kept.append((func, args, kwargs or {}, result))
        return result

    def replay(self) -> None:
        """Run them again; a result that is no view of something older is written where the first one was."""
        for func, args, kwargs, result in self.kept:
            for old, new in zip(_tensors(result), _tensors(func(*args, **kwargs)), strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def _tensors(result: Any) -> list[torch.Tensor]:
    return [t for t in (result if isinstance(result, (tuple, list)) else [result]) if isinstance(t, torch.Tensor)]


class Recorder:
    """A `Recorder` on a CPU."""

    kept: ClassVar[list[Operations]] = []
    """All pieces that any of them recorded."""

    def __init__(self, operations: type[Operations] = Operations) -> None:
        self.operations = operations

    def begin(self) -> None:
        self.now = self.operations()
        self.now.__enter__()

    def end(self) -> Piece:
        self.now.__exit__(None, None, None)
        self.kept.append(self.now)
        return self.now

    @contextmanager
    def stream(self) -> Iterator[None]:
        yield
