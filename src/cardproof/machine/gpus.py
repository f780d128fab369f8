"""NVIDIA's GPUs as their driver lists them: what there is, and one job's own share of it.

Snakemake counts GPUs, but it does not say which job gets which one: without a choice, all jobs of a machine compute on its first GPU. On
SLURM the scheduler chooses, and a job sees its own GPUs only.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from cardproof.config.settings import Config
from cardproof.errors import CardproofError
from cardproof.files import read_json, write_json

VISIBLE = "CUDA_VISIBLE_DEVICES"
QUERY = ("uuid", "name", "memory.total", "memory.free", "driver_version")
PATIENCE = 30
"""Seconds for `nvidia-smi` to answer. It loads the driver where nothing else has."""
DRIVERS = {11: 450, 12: 525, 13: 580}
"""The oldest major version of the Linux driver that runs programs of a major version of CUDA.

NVIDIA, CUDA Compatibility, table `Minimum Required Driver Version for CUDA Minor Version Compatibility`.
"""
_held: list[IO[str]] = []
"""Locks of this process. The operating system frees them when the process ends, in whatever way."""


class Card(NamedTuple):
    """A GPU of this machine; memory in bytes."""

    uuid: str
    name: str
    memory: int
    free: int
    driver: str


def cards() -> list[Card]:
    """The machine's GPUs, in the driver's order; empty without NVIDIA's driver. CardproofError if the driver does not answer."""
    if not shutil.which("nvidia-smi"):
        return []
    command = ["nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits"]
    hint = "run `nvidia-smi` to see what it says; a broken driver often needs a restart of the machine."
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True, stdin=subprocess.DEVNULL)
        rows = [[field.strip() for field in line.split(",")] for line in done.stdout.splitlines() if line.strip()]
        mebibyte = 2**20
        return [Card(uuid, name, int(total) * mebibyte, int(free) * mebibyte, driver) for uuid, name, total, free, driver in rows]
    except subprocess.TimeoutExpired:
        raise CardproofError(f"NVIDIA's driver does not answer: nvidia-smi took longer than {PATIENCE} s.", hint) from None
    except subprocess.CalledProcessError as e:
        said = " ".join((e.stderr or e.stdout or "").split())[:200]
        raise CardproofError(f"NVIDIA's driver does not answer: nvidia-smi says {said or e.returncode}.", hint) from None
    except ValueError:
        raise CardproofError(f"nvidia-smi lists the GPUs in a form that is not understood: {done.stdout.strip()[:200]!r}.", hint) from None


def visible(found: list[Card]) -> list[Card]:
    """Those that this process may use: all, or those that CUDA_VISIBLE_DEVICES names by number or (the start of) their UUID."""
    said = os.environ.get(VISIBLE)
    if said is None:
        return found
    chosen = []
    for word in (part.strip() for part in said.split(",")):
        match = [found[int(word)]] if word.isdigit() and int(word) < len(found) else [c for c in found if word and c.uuid.startswith(word)]
        if len(match) != 1:  # CUDA also ignores everything from the first name on that it does not know
            break
        chosen += match
    return chosen


def needed_driver(cuda: str) -> int | None:
    """The oldest driver for a build of torch with this version of CUDA; None for a version newer than this list."""
    return DRIVERS.get(int(cuda.split(".")[0]))


def reserve(count: int, patience: float = 3600) -> None:
    """Give this process `count` of the machine's GPUs for as long as it lives, by CUDA_VISIBLE_DEVICES; call it before torch sees a GPU.

    Jobs beside this one get others. With no more GPUs to choose from than asked for, nothing changes; with a count of zero none is seen.
    Raises CardproofError if other jobs keep them for longer than `patience` seconds.
    """
    if count == 0:
        os.environ[VISIBLE] = ""
        return
    mine = visible(cards())
    if len(mine) > count:
        os.environ[VISIBLE] = ",".join(_choose(mine, count, patience))
    if chosen := os.environ.get(VISIBLE):
        print(f"cardproof: this job has GPU {chosen}", file=sys.stderr)


def _choose(mine: list[Card], count: int, patience: float) -> list[str]:
    """The UUIDs of `count` GPUs, whose locks this process then holds."""
    folder = Path(tempfile.gettempdir(), f"cardproof-gpus-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    end, told = time.monotonic() + patience, False
    while True:
        # The emptiest first: other programs may compute here as well.
        locked = [(card, lock) for card in sorted(mine, key=lambda c: -c.free) if (lock := _lock(folder / card.uuid))]
        if len(locked) >= count:
            _held.extend(lock for _, lock in locked[:count])
            for _, lock in locked[count:]:
                lock.close()
            return [card.uuid for card, _ in locked[:count]]
        for _, lock in locked:
            lock.close()
        if time.monotonic() > end:
            raise CardproofError(
                f"Other jobs of cardproof use {len(mine) - len(locked)} of the {len(mine)} GPUs, and this one needs {count}.",
                "let fewer jobs run at once: --resources gpu=N, where N is the number of GPUs.",
            )
        if not told:
            print("cardproof: waiting for a GPU that another job uses", file=sys.stderr)
            told = True
        time.sleep(1)


@contextmanager
def granted(config: Config, run_dir: Path, verb: str) -> Iterator[None]:
    """Run a block of work with the configured GPUs reserved; what they lack in memory becomes one sentence.

    That it failed is written down beside the logs. A second try of the same work with the same settings on the same kind of GPU, as a
    cluster makes by itself, then ends at once. Raises CardproofError in both cases, and as `reserve` does.
    """
    reserve(config.runtime.gpus)
    marker = run_dir / "logs" / f"out-of-memory.{verb}.json"
    settings = config.fingerprint("sampling", "training", "verifier", "conditions", "model.quantization", "model.sampling_quantization")
    now = {"settings": settings, "gpus": [card.name for card in visible(cards())]} if config.runtime.gpus else None
    if now and marker.is_file() and read_json(marker) == now:
        raise CardproofError(
            f"The same work ran out of a GPU's memory before ({marker} says so), and nothing has changed since.",
            f"{_less(config, verb)}; or delete that file to try the same again.",
        )
    try:
        yield
    except Exception as e:
        if not _of_memory(e):
            raise
        if now:
            write_json(marker, now)
        asked = re.search(r"Tried to allocate ([\d.]+ \w+)", str(e))
        device = "GPU" if config.runtime.gpus else "machine"
        raise CardproofError(
            f"{verb}: the {device} ran out of memory{f' when it was asked for {asked[1]} more' if asked else ''}.",
            f"{_less(config, verb)}; `cardproof plan` shows what takes how much, and `nvidia-smi` what else uses the GPU.",
        ) from e
    if now:
        marker.unlink(missing_ok=True)


def _of_memory(error: Exception) -> bool:
    """Whether an error of Python, torch or vLLM says that there was not enough memory. torch is not imported for it."""
    words = ("out of memory", "No available memory", "larger than the available KV cache memory")
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or any(word in str(error) for word in words)


def _less(config: Config, verb: str) -> str:
    """What to lower, with its present value."""
    if verb == "train":
        off = "" if config.training.gradient_checkpointing else ", or set training.gradient_checkpointing to true"
        return f"lower training.max_tokens (now {config.training.max_tokens}){off}"
    if verb in ("support", "check_verifier"):
        return f"lower verifier.max_tokens (now {config.verifier.max_tokens})"
    return f"lower sampling.rows (now {config.sampling.rows}), sampling.max_new_tokens or a condition's distractors"


def _lock(path: Path) -> IO[str] | None:
    """The lock of one GPU, or None if another process has it."""
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
