"""One line that says how far a run is: it reads what Snakemake says of its jobs, and knows about how long a job of each rule takes.

How long: as in the demo on one machine (`demo` in planning.yaml), scaled by this processor's speed at a matrix product, and then by how
long the jobs take. The first guess knows nothing of what else keeps the machine busy.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple

from cardproof.machine.threads import processors
from cardproof.machine.workload import assumptions

SIDE, TRY = 512, 0.1
"""Rows of a square matrix, and processor seconds of multiplying it."""
HEEDED = 1.0
"""Seconds: jobs that are expected to take less mostly start Python, and say nothing about the machine's speed."""
TRUST = 20.0
"""Seconds of expected work that must have ended until the observed speed counts as much as the first guess."""
PARALLEL = 2
"""Jobs at once, at most: the demo's longest chain of jobs that wait for each other is not much shorter than half its work."""


class Running(NamedTuple):
    """A job at work."""

    message: str
    rule: str | None
    since: float


class Progress:
    """What is known of a run from Snakemake's lines."""

    def __init__(self, seconds: Mapping[str, float], rules: Mapping[str, str], speed: float = 1.0, parallel: int = 1) -> None:
        """`seconds`: expected, by rule; `rules`: regular expression of a rule's message -> rule; `speed`: this machine's against theirs."""
        self.seconds, self.parallel = seconds, parallel
        # The most specific first: "Training .*" is also how another rule's message begins.
        self.rules = [(re.compile(pattern), rules[pattern]) for pattern in sorted(rules, key=len, reverse=True)]
        self.planned: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.running: dict[str, Running] = {}
        self.total = self.done = 0
        self._in_table = False
        self._expected, self._took = TRUST, TRUST / speed

    def read(self, line: str, now: float) -> str | None:
        """Take note of a line; returns what it says of the run if that is new: a job's message, or that there is nothing to do."""
        if self._in_table or line.startswith("Job stats:"):
            self._table(line)
        elif match := re.match(r"Job (\d+): (.*)", line):
            rule = next((rule for pattern, rule in self.rules if pattern.fullmatch(match[2])), None)
            self.running[match[1]] = Running(match[2].rstrip("."), rule, now)
            return match[2]
        elif match := re.match(r"Finished jobid: (\d+) \(Rule: (\w+)\)", line):
            self._end(match[1], match[2], now)
        elif match := re.match(r"(\d+) of (\d+) steps \(", line):
            self.done, self.total = int(match[1]), int(match[2])
        elif line.startswith("Nothing to be done"):
            return line
        return None

    def _table(self, line: str) -> None:
        match = re.match(r"(\w+) +(\d+)$", line)
        self._in_table = not line.startswith("total ")
        if match and self._in_table:
            self.planned[match[1]] = int(match[2])
        elif match:
            self.total = int(match[2])

    def _end(self, job: str, rule: str, now: float) -> None:
        self.ended[rule] += 1
        begun = self.running.pop(job, None)
        if begun is not None and self._of(rule) >= HEEDED:
            self._expected, self._took = self._expected + self._of(rule), self._took + now - begun.since

    def _of(self, rule: str | None) -> float:
        return self.seconds.get(rule or "", 0.0)

    def _speed(self, now: float) -> float:
        """Seconds of expected work done in one second of a job; a job that is overdue counts as far as it is known to be slow."""
        expected, took = self._expected, self._took
        for job in self.running.values():
            of, since = self._of(job.rule), now - job.since
            if of >= HEEDED and since * self._expected > of * self._took:
                expected, took = expected + of, took + since
        return expected / took

    def left(self, now: float) -> float:
        """Seconds until the run ends, about."""
        speed = self._speed(now)
        at_work = [max(0.0, self._of(job.rule) - speed * (now - job.since)) for job in self.running.values()]
        waiting = sum((count - self.ended[rule]) * self._of(rule) for rule, count in self.planned.items())
        waiting -= sum(self._of(job.rule) for job in self.running.values())
        return max((max(waiting, 0.0) + sum(at_work)) / self.parallel, *at_work, 0.0) / speed

    def line(self, now: float) -> str:
        """Stage, jobs done of all, time left."""
        longest = max(self.running.values(), key=lambda job: self._of(job.rule), default=None)
        stage = longest.message if longest else "Planning"
        return f"[{self.done} of {self.total} jobs, {about(self.left(now))} left] {stage}" if self.total else stage


def about(seconds: float) -> str:
    """A length of time as one says it."""
    if seconds < 50:
        return f"about {max(10, round(seconds, -1)):.0f} s"
    return f"about {max(1, round(seconds / 60)):.0f} min"


def follow(stream: int, log: IO[bytes], out: IO[str], progress: Progress, now: Callable[[], float] = time.monotonic) -> None:
    """Copy Snakemake's output into a file until it ends, and say how far the run is.

    In a terminal that is one line, rewritten every second; elsewhere a line for each job as it starts, in the same words.
    """
    terminal = out.isatty()
    planned = False
    for line in _lines(stream, 1.0 if terminal else None):
        said = None
        if line is not None:
            log.write(line)
            log.flush()
            said = progress.read(line.decode(errors="replace").rstrip("\n"), now())
        if progress.total and not planned:
            planned = True
            _clear(out, terminal)
            print(
                f"The run: {progress.total} jobs, {about(progress.left(now()))} if nothing else keeps this machine busy.",
                file=out,
                flush=True,
            )
        if said is not None and said.startswith("Nothing"):
            print(said, file=out, flush=True)
        elif terminal:
            _clear(out, terminal)
            out.write(progress.line(now())[: shutil.get_terminal_size().columns - 1])
            out.flush()
        elif said is not None:
            head = f"[{progress.done} of {progress.total} jobs, {about(progress.left(now()))} left] " if progress.total else ""
            print(f"{head}{said.rstrip('.')}", file=out, flush=True)
    _clear(out, terminal)


def _clear(out: IO[str], terminal: bool) -> None:
    if terminal:
        out.write("\r\x1b[K")
        out.flush()


def _lines(stream: int, tick: float | None) -> Iterator[bytes | None]:
    """Lines of a file descriptor as they come; None after every `tick` seconds without one."""
    rest = b""
    while True:
        if tick is not None and not select.select([stream], [], [], tick)[0]:
            yield None
            continue
        read = os.read(stream, 1 << 16)
        if not read:
            break
        *lines, rest = (rest + read).split(b"\n")
        yield from (line + b"\n" for line in lines)
    if rest:
        yield rest


def of_demo(rules: Path) -> Progress:
    """The progress of a demo that begins now; `rules`: the folder of the workflow's rules, which hold the jobs' messages."""
    known = assumptions()["demo"]
    return Progress(known["seconds"], messages(rules), products() / known["product"], min(processors(), PARALLEL))


def messages(folder: Path) -> dict[str, str]:
    """Regular expression of a rule's message -> rule, from files of rules. A rule made of another with its message comes later."""
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*.smk")):
        parts = re.split(r"(?m)^ *(?:use rule \w+ as (\w+) with|rule (\w+)):", path.read_text(encoding="utf-8"))
        for derived, rule, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
            if match := re.search(r'message:\s*f?"(.*)"', text):
                pieces = re.split(r"\{[^}]*\}", match[1])
                found[".*".join(map(re.escape, pieces))] = derived or rule
    return found


def products() -> float:
    """GFLOP/s of a product of float32 matrices on one core, in its own processor time. To be called before anything loads numpy."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when numpy is imported, and of no meaning to anything else in this process
    import numpy as np

    one = np.random.default_rng(0).random((SIDE, SIDE), dtype=np.float32)
    one @ one  # the first one also starts the library
    started, done = time.process_time(), 0
    while (taken := time.process_time() - started) < TRY:
        one @ one
        done += 1
    return done * 2 * SIDE**3 / taken / 1e9
