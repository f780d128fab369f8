"""Where the time of a finished run went: seconds of its jobs by stage, and from its first job to its last.

python benchmarks/stages.py                   the demo's (results/demo); left out if it is not finished
python benchmarks/stages.py results/NAME      another run's, printed only
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STAGES = {
    "sampling": ("sample",),
    "training, of the adapters and of the verifier": ("train",),
    "verifying, and the verifier's check": ("support", "check_verifier"),
    "scoring": ("score",),
}
REST = "everything else"


def stage_of(job: str) -> str:
    """The stage of a job, by the name of its file in `cost/`."""
    return next((stage for stage, names in STAGES.items() if job.startswith(names)), REST)


def measured(run: Path) -> dict[str, dict[str, float]]:
    """Stage -> seconds of its jobs and their share; the last row is from the start of the first job to the end of the last.

    A job's file is written when it ends. ValueError if the run has no jobs.
    """
    seconds = dict.fromkeys([*STAGES, REST], 0.0)
    began, ended = float("inf"), 0.0
    for path in (run / "cost").glob("*.tsv"):
        with path.open(encoding="utf-8", newline="") as file:
            took = float(next(csv.DictReader(file, delimiter="\t"))["s"])
        seconds[stage_of(path.stem)] += took
        began, ended = min(began, path.stat().st_mtime - took), max(ended, path.stat().st_mtime)
    total = sum(seconds.values())
    if not total:
        raise ValueError(f"{run} has no finished job")
    rows = {stage: {"seconds": s, "share": s / total} for stage, s in seconds.items()}
    return {**rows, "all jobs": {"seconds": total}, "from start to end": {"seconds": ended - began}}


def minutes(rows: Mapping[str, Mapping[str, float]]) -> float:
    """From start to end."""
    return rows["from start to end"]["seconds"] / 60


def main() -> None:
    """Print the table; of the demo, also write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", type=Path, help="folder of a run; default: the demo's")
    arguments = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from benchmarks.common import ROOT, machine, table, write

    run = arguments.run or ROOT / "results/demo"
    if arguments.run is None and not (run / "report/index.html").is_file():
        return print("SKIPPED: results/demo is not finished; run make demo first")
    rows: dict[str, dict[str, Any]] = measured(run)
    if arguments.run is None:
        write("stages", {"machine": machine(), "rows": rows})
    print(table(f"{run.name}, {minutes(rows):.1f} minutes", rows))


if __name__ == "__main__":
    main()
