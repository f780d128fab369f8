"""Where the time of a finished run went: seconds of its jobs by stage, and from its first job to its last.

python benchmarks/stages.py                   the demo's (results/demo); left out if it is not finished
python benchmarks/stages.py results/NAME      another run's, printed only
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STAGES = {
    "sampling": ("sample",),
    "training, of the adapters and of the verifier": ("train", "train_verifier"),
    "verifying, and the verifier's check": ("support", "check_verifier"),
    "scoring": ("score",),
}
"""Stage -> its steps."""
REST = "everything else"


def measured(run: Path) -> dict[str, dict[str, float]]:
    """Stage -> seconds of its jobs and their share; the last row is from the start of the first job to the end of the last.

    ValueError if the run has no jobs.
    """
    from cardproof.pages.report import jobs

    stage_of = {step: stage for stage, steps in STAGES.items() for step in steps}
    seconds = dict.fromkeys([*STAGES, REST], 0.0)
    began, ended = float("inf"), 0.0
    for job in jobs(run):
        seconds[stage_of.get(job.step, REST)] += job.seconds
        end = job.file.stat().st_mtime
        began, ended = min(began, end - job.seconds), max(ended, end)
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
        print("SKIPPED: results/demo is not finished; run make demo first")
        return
    rows: dict[str, dict[str, Any]] = measured(run)
    if arguments.run is None:
        write("stages", {"machine": machine(), "rows": rows})
    print(table(f"{run.name}, {minutes(rows):.1f} minutes", rows))


if __name__ == "__main__":
    main()
