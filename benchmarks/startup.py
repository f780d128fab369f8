"""Seconds until work begins: the command's help against bare Python, and a rerun with nothing to do against a bare workflow.

python benchmarks/startup.py        leaves the rerun out if there is no finished demo (make demo)
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

JOBS = """
rule all:
    input: {inputs}
rule job:
    output: "done/{{n}}"
    shell: "touch {{output}}"
"""


def bare(folder: Path, jobs: int) -> list[str]:
    """Write and run a workflow of trivial jobs; returns the command, which then has nothing left to do."""
    from benchmarks.common import cost, program

    (folder / "Snakefile").write_text(JOBS.format(inputs=", ".join(f'"done/{n}"' for n in range(jobs))))
    command = [program("snakemake"), "--cores", "2"]
    cost(command, folder)
    return command


def measure(repeats: int) -> dict[str, dict[str, Any]]:
    """The least seconds of each command, and their ratio to those of its floor."""
    from benchmarks.common import ROOT, best, program

    python = best([sys.executable, "-c", "pass"], repeats)
    rows: dict[str, dict[str, Any]] = {"python -c pass": {"seconds": python.seconds, "cpu_seconds": python.cpu_seconds}}
    commands = {
        "cardproof --help": ([program("cardproof"), "--help"], python),
        "snakemake --version": ([program("snakemake"), "--version"], python),
    }
    for name, (command, floor) in commands.items():
        least = best(command, repeats)
        rows[name] = {"seconds": least.seconds, "cpu_seconds": least.cpu_seconds, "times its floor": least.seconds / floor.seconds}
    jobs = len(list((ROOT / "results/demo/cost").glob("*.tsv")))
    if not jobs or not (ROOT / "results/demo/report/index.html").is_file():
        print("SKIPPED the rerun with nothing to do: results/demo is not finished; run make demo first")
        return rows
    with tempfile.TemporaryDirectory() as scratch:
        floor = best(bare(Path(scratch), jobs), repeats, Path(scratch))
    ours = best([program("snakemake"), "--cores", "all", "--configfile", "config/demo.yaml"], repeats)
    rows[f"bare Snakemake, nothing to do, {jobs} jobs"] = {"seconds": floor.seconds, "cpu_seconds": floor.cpu_seconds}
    rows["make demo, nothing to do"] = {
        "seconds": ours.seconds,
        "cpu_seconds": ours.cpu_seconds,
        "times its floor": ours.seconds / floor.seconds,
        "seconds above": ours.seconds - floor.seconds,
    }
    return rows


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from benchmarks.common import machine, table, write

    before = machine()
    rows = measure(arguments.repeats)
    write("startup", {"machine": before, "rows": rows})
    print(table("start-up", rows))


if __name__ == "__main__":
    main()
