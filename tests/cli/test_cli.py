"""The command line: help that teaches, errors in one sentence, and a start well under a second."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from helpers.places import ROOT
from helpers.workflow import PATIENCE

EXE = str(Path(sys.executable).parent / "cardproof")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}  # it would be taken for the terminal's width
    return subprocess.run([EXE, *arguments], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=PATIENCE)


def test_help_names_every_step_in_the_order_of_the_data() -> None:
    from cardproof.cli.main import cli

    text = run("--help").stdout
    positions = [text.index(f"\n  {verb} ") for verb in cli.commands]
    assert positions == sorted(positions)


@pytest.mark.parametrize("verb", ["config", "sample", "train", "audit", "claims", "card"])
def test_each_verb_has_help(verb: str) -> None:
    result = run(verb, "--help")
    assert result.returncode == 0
    assert "Usage: cardproof" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence", "hint"),
    [
        (["smaple"], "There is no verb 'smaple'", "did you mean 'sample'?"),
        (["config", "--configfile", "nowhere.yaml"], "nowhere.yaml does not exist", "--configfile"),
        (["claims", "--run", "nowhere"], "nowhere/config.yaml does not exist", "results/NAME"),
        (["gather", "--out", "/dev/null/x", "nowhere.jsonl"], "", "Hint:"),
        (["acquire-model", "--source", "embedded", "--id", "gpt", "--out", "x"], "no embedded model 'gpt'", "smollm2-135m"),
        (
            ["acquire-model", "--source", "hub", "--id", "Qwen/Qwen3-14B", "--out", "x"],
            "'Qwen/Qwen3-14B' cannot be fetched",
            "local folder",
        ),
        (["acquire-model", "--source", "folder", "--id", "docs", "--out", "x"], "docs has no *.safetensors file", "refused"),
    ],
)
def test_an_error_is_a_sentence_a_hint_and_an_exit_code(arguments: list[str], sentence: str, hint: str) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert sentence in result.stderr
    assert hint in result.stderr
    assert "Traceback" not in result.stderr


def test_debug_shows_the_traceback() -> None:
    assert "Traceback" in run("--debug", "config", "--configfile", "nowhere.yaml").stderr


def test_starting_imports_nothing_heavy() -> None:
    heavy = {"torch", "transformers", "polars", "scipy", "matplotlib", "pydantic"}
    code = f"import sys, cardproof.cli.main; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_scoring_starts_without_what_it_does_not_use() -> None:
    code = """
import sys
from cardproof.scoring.score import Rouge
print(Rouge()("it was revoked", "a revoking"), sorted({"torch", "nltk", "scipy", "polars"} & set(sys.modules)))
from nltk.stem.porter import PorterStemmer
import nltk
print(PorterStemmer().stem("revoking"), nltk.__version__ > "3")
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["0.4 []", "revok True"]


def test_the_audit_runs_by_itself() -> None:
    result = run("audit", "--no-count")
    assert (result.returncode, result.stderr) == (0, "")
    assert "28" in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 100
    shown = next(block for block in (ROOT / "README.md").read_text().split("```") if block.lstrip().startswith("Audit of"))
    assert shown.split("        ...")[0].strip() in result.stdout, "the README shows what the audit prints"


def test_the_audit_without_counting_imports_no_model_library() -> None:
    code = """
import sys
from cardproof.cli.main import cli
cli(["audit", "--no-count"], standalone_mode=False)
print(sorted({"torch", "transformers", "peft", "bitsandbytes", "polars"} & set(sys.modules)))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(("columns", "widest"), [(100, 100), (72, 72), (200, 100)])
def test_the_audit_fits_the_terminal_it_is_in(columns: int, widest: int) -> None:
    """In a real terminal (a pty of that size): no line is longer than it, and the longest use it."""
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    process = subprocess.Popen([EXE, "audit", "--no-count"], stdout=inner, cwd=ROOT, env=environment)
    os.close(inner)
    text = b""
    with contextlib.suppress(OSError):  # reading fails once the other end is closed
        while part := os.read(outer, 65536):
            text += part
    os.close(outer)
    assert process.wait(timeout=60) == 0
    longest = max(map(len, text.decode().splitlines()))
    assert widest - 10 < longest <= widest
