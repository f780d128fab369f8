"""The commands that README and docs show, and the table of what runs each: docs/commands.md.

tools/commands.py prints the table; `make generated` writes it. tests/project/commands.yaml says of each command how it is run, and
tests/project/test_commands.py runs them.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[1]
MARKS = ROOT / "tests" / "project" / "commands.yaml"
TABLE = "docs/commands.md"
PROGRAMS = ("apptainer", "cardproof", "export", "make", "pip", "python", "python3", "sbatch", "snakemake", ".venv/bin/pytest", ".")
"""What a shown line begins with if it is a command."""
NOT_SHOWN = re.compile(
    r"(?:CHANGELOG|docs/commands|docs/examples/.*/card/README|docs/examples/.*/diff|published/facts)\.md$|tests/.*|\.github/.*"
)
"""Markdown that is a result, or tells of the past."""
FENCED = re.compile(r"^[ ]*```(\w*)[^\n]*\n(.*?)^[ ]*```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`]+)`")
COMMENT = re.compile(r"\s+# .*| {3,}.*")
"""What follows a command on its line: a remark."""


class Mark(NamedTuple):
    """How a command is run."""

    run: str | None
    """The command as the tests run it."""
    code: int
    """Its exit code."""
    test: str | None
    """The test that does what it does."""
    why_not: str | None
    """Why no test runs it."""


def pages() -> list[Path]:
    """The Markdown files that git tracks and that show commands to people."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True)
    names = sorted(name for name in listed.stdout.decode().split("\0") if name and not NOT_SHOWN.match(name))
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def shown(text: str) -> list[str]:
    """The commands in a page, in its order: lines of code blocks without a language, and what is inline with an argument."""
    found: list[tuple[int, str]] = []
    for block in FENCED.finditer(text):
        if block[1] in ("", "bash", "console", "sh"):
            lines = re.sub(r"\\\n\s*", "", block[2]).splitlines()
            found += [(block.start(), COMMENT.sub("", line.strip())) for line in lines]
    rest = FENCED.sub(lambda block: " " * len(block[0]), text)
    for span in INLINE.finditer(rest):
        command = " ".join(span[1].split())
        if not is_mention(command):
            found.append((span.start(), command))
    return [command for _, command in sorted(found, key=lambda entry: entry[0]) if is_command(command)]


def is_command(line: str) -> bool:
    """Whether a line calls one of the programs with an argument, after variables of the environment, if any."""
    words = re.sub(r"^(?:[A-Z_]+=\S* )+", "", line).split(" ")
    return words[0] in PROGRAMS and len(words) > 1


def is_mention(command: str) -> bool:
    """Whether inline code names a verb alone, such as `cardproof score`, and so is no call of it."""
    return re.fullmatch(r"cardproof (?:[a-z][a-z-]*|VERB)", command) is not None


def mentioned(text: str) -> list[tuple[str, str]]:
    """The verbs and targets that a page names in its text: (`cardproof` or `make`, name)."""
    spans = [re.match(r"(cardproof|make) ([a-z][a-z-]+)\b", " ".join(span.split())) for span in INLINE.findall(FENCED.sub("", text))]
    return [(span[1], span[2]) for span in spans if span]


def commands() -> dict[str, list[str]]:
    """Command -> the pages that show it."""
    found: dict[str, list[str]] = {}
    for page in pages():
        for command in shown(page.read_text(encoding="utf-8")):
            places = found.setdefault(command, [])
            name = page.relative_to(ROOT).as_posix()
            if name not in places:
                places.append(name)
    return found


def marks() -> dict[str, Mark]:
    """Command -> how it is run, as tests/project/commands.yaml says."""
    raw = yaml.safe_load(MARKS.read_text(encoding="utf-8"))
    found: dict[str, Mark] = {}
    for entry in raw:
        run = entry.get("as", entry["command"]) if entry.keys() <= {"command", "as", "code"} else None
        found[entry["command"]] = Mark(run, entry.get("code", 0), entry.get("test"), entry.get("why_not"))
    return found


def table() -> str:
    """docs/commands.md."""
    known, places = marks(), commands()
    count = {kind: sum(getattr(known[c], kind) is not None for c in places if c in known) for kind in ("run", "test", "why_not")}
    lines = [
        "# What runs each command",
        "",
        "Generated from tests/project/commands.yaml by `make generated`; do not edit. These are the commands that README and docs show.",
        f"A test runs {count['run']} of them, as they are or on a smaller run. Other tests do what {count['test']} do.",
        f"{count['why_not']} are not run, and the table says why.",
        "",
        "| command | shown in | run by |",
        "|---|---|---|",
    ]
    for command, pages_ in sorted(places.items(), key=lambda entry: (entry[1][0], entry[0])):
        mark = known.get(command)
        lines.append(f"| {_code(command)} | {', '.join(pages_)} | {_how(command, mark) if mark else '**nothing says**'} |")
    return "\n".join(lines) + "\n"


def _how(command: str, mark: Mark) -> str:
    if mark.run is not None:
        ending = f"; exits with {mark.code}" if mark.code else ""
        return f"a test{f', as {_code(mark.run)}' if mark.run != command else ''}{ending}"
    return f"`{mark.test}`" if mark.test else f"not run: {mark.why_not}"


def _code(text: str) -> str:
    return f"`{text.replace('|', chr(92) + '|')}`"


if __name__ == "__main__":
    sys.stdout.write(table())
