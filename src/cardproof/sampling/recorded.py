"""A decoding step on a GPU without the Python of its layers: what lies between two attentions is recorded once, as a CUDA graph.

A step of few rows is short for a GPU, and long for Python, which starts each of its operations by hand. The shapes of a step are always the
same on a GPU, except in attention, where items come, grow and go. So the model runs once while its operations are recorded, and each of its
attentions ends one recording and begins the next. From then on a step is: replay, attention, replay, attention, ... The kernels are the
same ones, and so are the bits; the first recorded step is compared with the model's own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch


class Step(ABC):
    """What the layers of a decoding step hand their keys, values and queries to. transformers takes it for a cache."""

    is_compileable = False

    @abstractmethod
    def update(self, key: torch.Tensor, value: torch.Tensor, layer: int, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Store a layer's keys and values, (rows, kv heads, 1, head dim)."""

    @abstractmethod
    def attend(self, layer: int, query: torch.Tensor, scaling: float, sliding_window: int | None, softcap: float | None) -> torch.Tensor:
        """(rows, heads, 1, head dim) -> (rows, 1, heads, head dim)."""

    def get_seq_length(self, layer: int = 0) -> int:
        """What transformers asks of a cache; positions are given, so it counts for nothing."""
        return 0


class Piece(Protocol):
    """Recorded operations that can be run again on the same memory."""

    def replay(self) -> None:
        """Run them."""
        ...


class Recorder(Protocol):
    """Records operations instead of running them, or while it runs them."""

    def begin(self) -> None:
        """Record from here on."""
        ...

    def end(self) -> Piece:
        """What was recorded since `begin`."""
        ...

    def stream(self) -> Any:
        """A context in which to record."""
        ...


class CudaRecorder:
    """Records CUDA graphs that share one pool of memory, because they are always replayed one after the other."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream()
        self._graph: Any = None

    def begin(self) -> None:
        """See `Recorder`."""
        self._graph = torch.cuda.CUDAGraph()
        self._graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")

    def end(self) -> Piece:
        """See `Recorder`."""
        graph, self._graph = self._graph, None
        graph.capture_end()
        piece: Piece = graph
        return piece

    @contextmanager
    def stream(self) -> Iterator[None]:
        """A stream of its own; a recording that an error leaves open is ended."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            try:
                yield
            finally:
                if self._graph is not None:
                    self.end()
        torch.cuda.current_stream().wait_stream(self._stream)


@dataclass
class _Attention:
    """One attention of the model: what the piece before it leaves, and the memory that the piece after it reads."""

    layer: int
    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    options: tuple[float, int | None, float | None]
    result: torch.Tensor


class _Recording(Step):
    """The step that is recorded: it computes no attention, and each one ends a piece."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.pieces: list[Piece] = []
        self.attentions: list[_Attention] = []
        self._stored: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(self, key: torch.Tensor, value: torch.Tensor, layer: int, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        self._stored = key, value
        return key, value

    def attend(self, layer: int, query: torch.Tensor, scaling: float, sliding_window: int | None, softcap: float | None) -> torch.Tensor:
        assert self._stored is not None, "a layer attends without storing keys and values"
        self.pieces.append(self.recorder.end())
        rows, heads, _, dim = query.shape
        result = torch.zeros((rows, 1, heads, dim), dtype=query.dtype, device=query.device)
        self.attentions.append(_Attention(layer, query, *self._stored, (scaling, sliding_window, softcap), result))
        self._stored = None
        self.recorder.begin()
        return result


Forward = Callable[[torch.Tensor, torch.Tensor, Any], torch.Tensor]
"""(ids, positions, step) -> logits, (rows, vocabulary); ids and positions are (rows, 1)."""


class RecordedStep:
    """One decoding step of a fixed number of rows, recorded."""

    def __init__(self, forward: Forward, rows: int, device: Any, recorder: Recorder) -> None:
        """Record `forward`. Whatever the model does that cannot be recorded raises its own exception."""
        self.ids, self.positions = (torch.zeros((rows, 1), dtype=torch.long, device=device) for _ in range(2))
        recording = _Recording(recorder)
        with recorder.stream():
            recorder.begin()
            self.logits = forward(self.ids, self.positions, recording)
            recording.pieces.append(recorder.end())
        self.pieces, self.attentions = recording.pieces, recording.attentions

    def __call__(self, ids: torch.Tensor, positions: torch.Tensor, step: Step) -> torch.Tensor:
        """The logits of a step, (rows, vocabulary)."""
        self.ids.copy_(ids)
        self.positions.copy_(positions)
        for piece, attention in zip(self.pieces, self.attentions, strict=False):
            piece.replay()
            step.update(attention.key, attention.value, attention.layer)
            attention.result.copy_(step.attend(attention.layer, attention.query, *attention.options))
        self.pieces[-1].replay()
        return self.logits.clone()
