"""Shared by the benchmarks: facts about the machine, the cost of a command, tables of ratios, and the files of results."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
KEEP = "CARDPROOF_BENCHMARKS_KEEP"
"""Environment variable. 1: results replace the project's own, which git tracks and the docs quote. Another machine's name: they are kept
in a folder of that name beside them."""


def _results(keep: str) -> Path:
    folder = Path(__file__).parent
    return folder / "mine" if not keep else folder / "results" if keep == "1" else folder / "results" / keep


RESULTS = _results(os.environ.get(KEEP, ""))
PACKAGES = ("torch", "transformers", "numpy", "polars", "rapidfuzz", "snakemake")


def machine() -> dict[str, Any]:
    """Processor, cores, memory (GB), load before the run, Python and packages, but not the host name."""
    cpu = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        "processor": cpu[1] if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(int(memory[1]) / 1e6, 1) if memory else None,
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **versions,
    }


class Cost(NamedTuple):
    """What a command cost."""

    seconds: float
    cpu_seconds: float
    """Of all its processes. Other work on the machine disturbs this less than `seconds`."""
    peak_mb: float
    """Resident memory of its largest process."""


def cost(command: Sequence[str], cwd: Path = ROOT) -> Cost:
    """Run a command to its end; RuntimeError with its error output if it fails."""
    started = time.perf_counter()
    # The output is discarded, because a pipe could fill up. `wait4` reports on this process and its children only.
    with open(os.devnull, "wb") as nowhere, subprocess.Popen(command, stdout=nowhere, stderr=subprocess.PIPE, cwd=cwd) as process:
        said = process.stderr.read().decode(errors="replace") if process.stderr else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command[:3])} ended with {process.returncode}: {said[-1000:]}")
    return Cost(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)


def best(command: Sequence[str], repeats: int, cwd: Path = ROOT) -> Cost:
    """The least of each figure over some runs: other work on the machine can only add to it."""
    return Cost(*map(min, zip(*(cost(command, cwd) for _ in range(repeats)), strict=True)))


def table(title: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Rows with the same columns as aligned text; numbers have four significant figures."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    cells = [[title, *columns], *([name, *(_cell(row.get(column)) for column in columns)] for name, row in rows.items())]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))) for row in cells
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    return str(value)


def write(name: str, result: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Write `NAME.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return path


def bars(name: str, title: str, values: Mapping[str, float], folder: Path = RESULTS) -> None:
    """Write `NAME.svg`: ratios as bars, with a line at 1, the first on top."""
    plots = pyplot(name)
    figure, axis = plots.subplots(figsize=(7, 0.8 + 0.4 * len(values)), layout="constrained")
    drawn = axis.barh(list(values)[::-1], list(values.values())[::-1], height=0.6)
    axis.bar_label(drawn, fmt="%.2g", padding=3)
    axis.axvline(1, color="black", linewidth=1)
    axis.set(title=title, xlim=(0, 1.1 * max(values.values())))
    axis.spines[["top", "right"]].set_visible(False)
    save(figure, name, folder)


def draw(name: str, panels: Sequence[tuple[str, str, str, Mapping[str, Sequence[tuple[float, float]]]]], folder: Path = RESULTS) -> None:
    """Write `NAME.svg`: panels of (title, x label, y label, curve name -> points), both axes logarithmic."""
    plots = pyplot(name)
    figure, axes = plots.subplots(1, len(panels), figsize=(5 * len(panels), 3.6), layout="constrained", squeeze=False)
    for axis, (title, x, y, curves) in zip(axes[0], panels, strict=True):
        for label, points in curves.items():
            axis.plot(*zip(*points, strict=True), marker="o", markersize=3, label=label)
        axis.set(title=title, xlabel=x, ylabel=y, xscale="log", yscale="log")
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small")
    save(figure, name, folder)


def pyplot(name: str) -> Any:
    """matplotlib's pyplot, set to write the same SVG for the same data."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = name
    from matplotlib import pyplot

    return pyplot


def save(figure: Any, name: str, folder: Path = RESULTS) -> None:
    """Write a figure as `NAME.svg`."""
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    pyplot.close(figure)


def program(name: str) -> str:
    """The path of a command that is installed beside this Python."""
    return str(Path(sys.executable).with_name(name))
