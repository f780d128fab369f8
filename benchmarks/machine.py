"""The machine's own limits: matrix products per second bound prefill, and memory traffic per second bounds decoding.

python benchmarks/machine.py
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

THREADS = 2
GEMM = 2048
"""Side of the square matrices."""
STREAM = 1 << 25
"""Floats in a vector (128 MB): far larger than any cache."""


def seconds(work: Callable[[], object], repeats: int) -> float:
    """The fastest of some runs, after one that does not count."""
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def has_bf16() -> bool:
    """Whether the processor multiplies bfloat16. If not, it is emulated and slower than float32."""
    flags = Path("/proc/cpuinfo").read_text()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def measure(repeats: int) -> dict[str, dict[str, Any]]:
    """GFLOP/s of a matrix product by type, GB/s of copy and triad."""
    import torch

    torch.set_num_threads(THREADS)
    rows: dict[str, dict[str, Any]] = {}
    for name, dtype in (("gemm float32", torch.float32), ("gemm bfloat16", torch.bfloat16)):
        native = dtype == torch.float32 or has_bf16()
        side = GEMM if native else GEMM // 4
        a, b = (torch.randn(side, side).to(dtype) for _ in range(2))
        taken = seconds(lambda a=a, b=b: a @ b, repeats)  # type: ignore[misc]
        rows[name] = {"value": 2 * side**3 / taken / 1e9, "unit": "GFLOP/s", "note": "" if native else "emulated by this processor"}
    a, b, c = (torch.rand(STREAM) for _ in range(3))
    rows["stream copy"] = {"value": 2 * 4 * STREAM / seconds(lambda: a.copy_(b), repeats) / 1e9, "unit": "GB/s", "note": ""}
    triad = seconds(lambda: torch.add(b, c, alpha=3.0, out=a), repeats)
    rows["stream triad"] = {"value": 3 * 4 * STREAM / triad / 1e9, "unit": "GB/s", "note": ""}
    best = rows["gemm float32"]["value"]
    rows["gemm bfloat16"]["of float32"] = rows["gemm bfloat16"]["value"] / best
    return rows


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from benchmarks.common import machine, table, write

    before = machine()
    rows = measure(arguments.repeats)
    write("machine", {"threads": THREADS, "machine": before, "rows": rows})
    print(table(f"machine, {THREADS} threads", rows))


if __name__ == "__main__":
    main()
