"""Runs all benchmarks one after the other, then prints their ratios and how far they are from the project's aims.

Call it by `make bench` or `python -m benchmarks`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.common import KEEP, RESULTS, ROOT, bars, table
from benchmarks.stages import minutes

ORDER = ("machine", "startup", "stages", "scoring", "growth", "sampler", "training", "threads")
FASTER = "cardproof is times as fast"
AIMS = {"sampler: hf_generate": 8.0, "sampler: llama_cpp": 5.0, "sampler: vllm_cpu": 2.0}
"""Times as fast as a peer that the project aims at."""
DEMO = 6.0
"""Minutes of `make demo`, set-up apart, that the project aims at."""


def combined(results: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """One row for each ratio: its benchmark and peer, what it compares, and its value. Ratios of a thing to itself are left out."""
    rows: dict[str, dict[str, Any]] = {}
    for name, result in results.items():
        for peer, row in result.get("rows", {}).items():
            for column, value in row.items():
                if value != 1 and ("times" in column or column.startswith("of ")):
                    rows[f"{name}: {peer}"] = {"ratio": value, "what": column.replace("_", " ")}
    return rows


def distances(results: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """For each aim: what was measured of it, and how many times faster the project must become; "reached" if it need not."""
    ratios = combined(results)
    needed = {peer: (aim, ratios.get(peer, {}).get("ratio")) for peer, aim in AIMS.items()}
    rows = {f"{peer}, times as fast": _distance(aim, found, aim / found if found else None) for peer, (aim, found) in needed.items()}
    found = minutes(results["stages"]["rows"]) if "stages" in results else None
    return {**rows, "make demo, minutes": _distance(DEMO, found, found / DEMO if found else None)}


def _distance(aim: float, found: float | None, times: float | None) -> dict[str, Any]:
    left = "not measured" if times is None else "reached" if times <= 1 else f"{times:.2f} times faster"
    return {"aim": aim, "measured": found, "to go": left}


def main() -> None:
    """Run them; exit with 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=ORDER, help="benchmarks to run; default: all")
    arguments = parser.parse_args()
    folder = Path(__file__).parent
    chosen = [n for n in ORDER if (folder / f"{n}.py").is_file() and (not arguments.only or n in arguments.only)]
    failed = []
    for name in chosen:
        print(f"\n== {name}", flush=True)
        if subprocess.run([sys.executable, str(folder / f"{name}.py")], cwd=ROOT).returncode:
            failed.append(name)
    done = {n: json.loads((RESULTS / f"{n}.json").read_text()) for n in chosen if n not in failed and (RESULTS / f"{n}.json").is_file()}
    ratios = combined(done)
    print(f"\n{table('all ratios', ratios)}")
    print(f"\n{table('aims', distances(done))}")
    print(f"Results: {RESULTS.relative_to(ROOT)}/" + ("" if os.environ.get(KEEP) else f" ({KEEP}=1 replaces the project's own)"))
    if not arguments.only and not failed:
        bars("ratios", "cardproof is ... times as fast as", {n: row["ratio"] for n, row in ratios.items() if row["what"] == FASTER})
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
