"""Threads that wait without taking a processor from others, and how many processors there are."""

from __future__ import annotations

import os

SPINS = 300
"""How often a waiting thread looks again before it sleeps: some microseconds. `benchmarks/threads.py` measures what this costs on a quiet
machine (14%) and gives on a busy one (up to twice the speed)."""


def yielding() -> None:
    """Let OpenMP threads that wait for one another give way soon, where the user's environment says nothing else.

    By default they keep their processors busy for milliseconds. Beside another program, a thread then waits for a thread that waits for a
    processor. Sums keep their order, so no result changes. To be called before torch is loaded, whose OpenMP reads this once.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def too_many(threads: int) -> tuple[str, str] | None:
    """What is wrong with so many threads of one step on this machine, and what is better; None where it has a processor for each."""
    there = processors()
    if threads <= there:
        return None
    found = f"each model step runs {threads} threads (runtime.threads) on {there} {'processor' if there == 1 else 'processors'}"
    return found, f"runtime.threads: {there}, as threads that share a processor wait for one another; it may change last bits of samples"
