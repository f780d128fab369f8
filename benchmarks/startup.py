"""Seconds until work begins: the command's help beside bare Python, and a rerun with nothing to do beside bare Snakemake's.

python benchmarks/startup.py        the rerun needs a finished demo (make demo), and is left out without one
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
    output: "made/{{n}}"
    shell: "touch {{output}}"
"""


def bare(folder: Path, jobs: int) -> list[str]:
    """A finished workflow of as many trivial jobs, and the command that finds nothing to do in it."""
    from benchmarks.common import cost, program

    (folder / "Snakefile").write_text(JOBS.format(inputs=", ".join(f'"made/{n}"' for n in range(jobs))))
    command = [program("snakemake"), "--cores", "2"]
    cost(command, folder)
    return command


def measure(repeats: int) -> dict[str, dict[str, Any]]:
    """Least seconds of each command, and its ratio to the floor it stands on."""
    from benchmarks.common import ROOT, best, program

    python = best([sys.executable, "-c", "pass"], repeats)
    rows: dict[str, dict[str, Any]] = {"python -c pass": {"seconds": python.seconds, "cpu_seconds": python.cpu_seconds}}
    commands = {
        "cardproof --help": ([program("cardproof"), "--help"], python),
        "snakemake --version": ([program("snakemake"), "--version"], python),
    }
    for name, (command, floor) in commands.items():
        found = best(command, repeats)
        rows[name] = {"seconds": found.seconds, "cpu_seconds": found.cpu_seconds, "times its floor": found.seconds / floor.seconds}
    jobs = len(list((ROOT / "results/demo/cost").glob("*.tsv")))
    if not jobs or not (ROOT / "results/demo/report/index.html").is_file():
        print("SKIPPED the rerun with nothing to do: no finished results/demo; run make demo first")
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
