"""The command line: one verb per rule of the workflow, each reading files and writing files.

Only `click` is imported up front; a verb imports its step when it runs. The order of the imports is the order of `--help`.
"""

from __future__ import annotations

import io
import os
import sys

import click

# isort: off
from cardproof.cli.group import cli
from cardproof.cli import machine, acquire, benchmark, sampling, verifier, scoring, contract, training  # noqa: F401
from cardproof.cli import evaluation, claims, evidence, pages, publish  # noqa: F401

# isort: on
from cardproof.errors import CardproofError, of_system
from cardproof.machine.threads import yielding

__all__ = ["cli", "main"]
READS_STDIN = {"ground", "progress"}
"""Verbs that read standard input."""


def main() -> None:
    """Entry point: a CardproofError becomes one sentence and a hint on stderr, and its exit code."""
    yielding()
    kept = sys.stdin
    if READS_STDIN.isdisjoint(sys.argv):
        sys.stdin = io.StringIO()  # a library that asks a question gets no answer: a model might ask to run its code
    try:
        _main()
    finally:
        sys.stdin = kept


def _main() -> None:
    debug = "--debug" in sys.argv or bool(os.environ.get("CARDPROOF_DEBUG"))
    try:
        cli(standalone_mode=False)
    except click.exceptions.Exit as e:
        sys.exit(e.exit_code)
    except click.ClickException as e:
        e.show()
        sys.exit(e.exit_code)
    except click.Abort:
        sys.exit(130)
    except (CardproofError, OSError) as e:
        if debug:
            raise
        said = e if isinstance(e, CardproofError) else of_system(e)
        if "tqdm" in sys.modules:
            from tqdm import tqdm

            for bar in list(getattr(tqdm, "_instances", ())):
                bar.close()  # the sentence begins a line of its own
        click.echo(f"cardproof: error: {said.sentence}\nHint: {said.hint}", err=True)
        sys.exit(said.exit_code)
