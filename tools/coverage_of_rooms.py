"""Print the share of statements and branches of each room that the tests ran: tools/coverage_of_rooms.py REPORT (`make coverage`).

REPORT is what `coverage json` writes. Shares are not compared with a goal: a line that ran was not thereby checked.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from pathlib import Path, PurePosixPath

COUNTS = ("covered_lines", "num_statements", "covered_branches", "num_branches")


def rooms(report: dict[str, dict[str, dict[str, dict[str, int]]]]) -> dict[str, Counter[str]]:
    """Room -> its counts; a module of the package's top is a room of its own."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for name, file in report["files"].items():
        parts = PurePosixPath(name).parts
        room = parts[parts.index("cardproof") + 1].removesuffix(".py")
        found[room].update({count: file["summary"].get(count, 0) for count in COUNTS})
    return dict(sorted(found.items()))


def line(name: str, counts: Counter[str]) -> str:
    """One line of the table."""
    statements, branches = (
        f"{100 * done / of:5.1f} % of {of:5}" if of else "-"
        for done, of in ((counts["covered_lines"], counts["num_statements"]), (counts["covered_branches"], counts["num_branches"]))
    )
    return f"{name:14} {statements:>16} {branches:>16}"


def main() -> None:
    """Print the table."""
    found = rooms(json.loads(Path(sys.argv[1]).read_text()))
    print(f"{'room':14} {'statements':>16} {'branches':>16}")
    for name, counts in found.items():
        print(line(name, counts))
    print(line("all", sum(found.values(), Counter())))


if __name__ == "__main__":
    main()
