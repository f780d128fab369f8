"""How cost grows: with the items of a sampling step whose model takes no time, and with the shards on a simulated cluster.

python benchmarks/growth.py --load 12 --item 30        measured seconds of one model load and of one item's rollouts

The step does all that it does with a real model, including the durable store; only the replies come from a stub. Its seconds per item are
therefore the overhead that the project adds to a model.

In the simulation, a job loads the model (`--load` seconds), then samples its items one after the other (`--item` seconds each). Jobs start
in order, each on the worker that is free first. Starting a job and gathering take `--job` seconds each. The sizes of shards differ by at
most one item.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ITEMS = (10, 30, 100, 300, 1000)
SHARDS = (1, 2, 4, 8, 16, 32, 64, 125, 250, 500, 1000)
WORKERS = (1, 8, 64)


class Plan(NamedTuple):
    """What a fan-out costs."""

    makespan: float
    """Seconds from the first start to the last end."""
    overhead: float
    """Share of the workers' busy seconds that does not go into sampling."""


def sizes(items: int, shards: int) -> list[int]:
    """The number of items in each shard, as `cardproof sample` cuts them."""
    return [items * (i + 1) // shards - items * i // shards for i in range(shards)]


def simulate(items: int, shards: int, workers: int, load: float, item: float, job: float) -> Plan:
    """Schedule the shards in order on equal workers. A shard without items does not load the model."""
    free = [0.0] * workers
    busy = 0.0
    for size in sizes(items, shards):
        taken = job + (load + item * size if size else 0.0)
        busy += taken
        heapq.heappush(free, heapq.heappop(free) + taken)
    return Plan(max(free) + job, 1 - items * item / busy)


class Stub:
    """A sampler whose replies take no time."""

    model_hash, adapter_hash = "stub", None

    def sample(self, work: Sequence[Any], decoding: Any) -> Iterator[tuple[int, list[Any]]]:
        """One short reply for each seed."""
        from cardproof.sampling.sampler import Draw

        text = 'EVIDENCE:\n[a] "a dozen words of some document, copied by the reply"\nANSWER: A dozen words, and a citation [a].'
        for index, task in enumerate(work):
            yield index, [Draw(text, 900, 40, "stop", "generate") for _ in task.seeds]


class StubChat:
    """A chat template that writes one token."""

    def __init__(self, *_: Any) -> None:
        from cardproof.models.chat import Ending

        self.ending = Ending((0,), (0,), "", "a stub")

    def prompt(self, *_: Any) -> Any:
        """The same for any conversation."""
        from cardproof.models.chat import Encoded

        return Encoded([0], 0, "")


def step_seconds(items: int, folder: Path) -> tuple[float, float]:
    """Seconds of the sampling step over `items` items of 8 rollouts: with an empty store, and again with all of them in it."""
    from unittest.mock import patch

    from benchmarks.scoring import N, write_work
    from cardproof.config.settings import Config
    from cardproof.sampling.sample import sample

    prompts = write_work(folder, items * N)[0]
    model = folder / "model"
    model.mkdir(exist_ok=True)

    def run() -> float:
        started = time.perf_counter()
        sample(Config(), "base", {prompts: folder / "out.jsonl"}, model, None, "0/1", folder / "store.jsonl")
        return time.perf_counter() - started

    with (
        patch("cardproof.sampling.sample.load_sampler", lambda *_: Stub()),
        patch("cardproof.sampling.sample.Chat", StubChat),
        patch("cardproof.sampling.sample._fits", lambda *_: lambda *_: None),
        patch("cardproof.sampling.sample.model_hash", lambda _: "stub"),
    ):
        return run(), run()


def quiet_step_seconds(items: int) -> tuple[float, float]:
    """The same in a temporary folder, without the step's progress."""
    with tempfile.TemporaryDirectory() as scratch, open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        return step_seconds(items, Path(scratch))


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--load", type=float, default=12.0, help="seconds to load the model (default 12)")
    parser.add_argument("--item", type=float, default=30.0, help="seconds to sample an item's rollouts (default 30)")
    parser.add_argument("--job", type=float, default=3.0, help="seconds to start or gather a job (default 3)")
    arguments = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from benchmarks.common import draw, machine, table, write

    before = machine()
    steps = {}
    quiet_step_seconds(1)  # the very first run also imports
    for items in ITEMS:
        fresh, again = quiet_step_seconds(items)
        steps[f"{items} items"] = {"seconds": fresh, "ms per item": 1000 * fresh / items, "rerun seconds": again}
    first = steps[f"{ITEMS[0]} items"]["ms per item"]
    for row in steps.values():
        row["times the first"] = row["ms per item"] / first
    costs = {"load": arguments.load, "item": arguments.item, "job": arguments.job}
    plans = {w: {s: simulate(1000, s, w, **costs) for s in SHARDS} for w in WORKERS}
    shards = {
        f"{w} workers, {s} shards": {
            "makespan s": p.makespan,
            "overhead": p.overhead,
            "times the ideal": p.makespan / (1000 * arguments.item / w),
        }
        for w, by in plans.items()
        for s, p in by.items()
    }
    write("growth", {"machine": before, "costs": costs, "rows": steps, "shards": shards})
    curves = {f"{w} workers": [(s, p.makespan) for s, p in by.items()] for w, by in plans.items()}
    step = {"from nothing": [(i, steps[f"{i} items"]["seconds"]) for i in ITEMS]}
    draw(
        "growth",
        [
            ("sampling step, stub model", "items", "seconds", step),
            ("1,000 items on a cluster", "shards", "makespan (s)", curves),
        ],
    )
    print(table("items, stub model", steps))
    print(table("shards, simulated", shards))


if __name__ == "__main__":
    main()
