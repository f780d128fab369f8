"""Every command that README and docs show is run here, or by another test that is named, or is marked with why not."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from cardproof.cli.main import cli
from helpers.adapters import write_base
from helpers.places import ROOT
from helpers.received import PASSAGES, QUESTIONS, jsonl
from helpers.workflow import PATIENCE, RUN

sys.path.insert(0, str(ROOT / "tools"))
shown = import_module("commands")
COMMANDS, MARKS = shown.commands(), shown.marks()
RUNNABLE = [command for command, mark in MARKS.items() if mark.run is not None]
LINKED = ("rules", "profiles", "published", "prompts", "report", "src", "schemas")
REPLY = 'EVIDENCE:\n[D1] "renewed twice"\nANSWER: Twice. [D1]\n'


def test_every_command_that_is_shown_is_run_or_marked() -> None:
    missing = {command: pages for command, pages in COMMANDS.items() if command not in MARKS}
    assert not missing, f"say in {shown.MARKS.name} how each is run, or why not"
    assert not MARKS.keys() - COMMANDS.keys(), "no page shows these any more"


def test_a_mark_is_one_of_three_and_names_a_test_that_exists() -> None:
    for entry in yaml.safe_load(shown.MARKS.read_text(encoding="utf-8")):
        assert len(entry.keys() & {"as", "test", "why_not"}) <= 1, entry
        if test := entry.get("test"):
            file, _, name = test.partition("::")
            assert re.search(rf"^ *def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), test


def test_the_table_is_in_sync() -> None:
    assert (ROOT / shown.TABLE).read_text(encoding="utf-8") == shown.table(), "they differ; `make generated` writes it again"


def test_every_verb_and_target_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in shown.pages():
        for program, name in shown.mentioned(page.read_text(encoding="utf-8")):
            assert name in (cli.commands if program == "cardproof" else targets), f"{page.name}: {program} {name}"


def test_of_the_page_for_artifact_evaluation_only_the_longest_are_not_run() -> None:
    of_the_page = {command for command, pages in COMMANDS.items() if "docs/artifact.md" in pages}
    assert len(of_the_page) > 15
    assert {command for command in of_the_page if MARKS[command].why_not} == {"make demo", "make test"}


def test_what_counts_as_a_command() -> None:
    block = "```\nmake x   # a remark\nsnakemake a \\\n   -n\nA=b c\nA=b make y\nDone.\n```\n"
    text = f"`cardproof score` and `make demo`, not `file.json`:\n{block}```yaml\nmake: y\n```\n"
    assert shown.shown(text) == ["make demo", "make x", "snakemake a -n", "A=b make y"]


def link(source: str, target: str) -> None:
    """As cheap a copy as the file systems allow: no command writes into a file that is there."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@pytest.fixture(scope="module")
def checkout(ci_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a checkout in which the demo has run: its run is the smallest one."""
    folder = tmp_path_factory.mktemp("commands") / "checkout"
    folder.mkdir()
    for name in LINKED:
        (folder / name).symlink_to(ROOT / name)
    for name in ("Snakefile", "config.yaml"):
        shutil.copyfile(ROOT / name, folder / name)
    shutil.copytree(ROOT / "config", folder / "config")
    shutil.copytree(ci_run / RUN, folder / "results/demo", symlinks=True, ignore=shutil.ignore_patterns("store"), copy_function=link)
    (folder / "data").mkdir()
    for name, rows in (("corpus.jsonl", PASSAGES), ("qa.jsonl", QUESTIONS)):
        (folder / "data" / name).write_bytes(jsonl(rows))
    write_base(folder / "base")
    (folder / "base/config.json").rename(folder / "config.json")
    shutil.copyfile(folder / "results/demo/card/README.md", folder / "CARD.md")
    (folder / "cards").mkdir()
    shutil.copyfile(folder / "CARD.md", folder / "cards/one.md")
    (folder / "FILE").write_text(REPLY)
    (folder / "FILE.jsonl").write_text('{"id": "D1", "text": "A loan may be renewed twice."}\n')
    example = (ROOT / "docs/examples/README.md").read_text(encoding="utf-8")
    readings = next(block for block in example.split("```") if "# readings.yaml" in block)
    (folder / "readings.yaml").write_text(readings)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "me@example.org", "-f", str(folder / "KEY")], check=True)
    (folder / "allowed_signers").write_text(f"me@example.org {(folder / 'KEY.pub').read_text()}")
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="ssh-keygen is not on PATH")
def test_the_commands_run(checkout: Path, record_property: pytest.fixture) -> None:
    """One after the other, because some use what others made."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"}
    failed = {}
    ran: set[str] = set()
    for command in RUNNABLE:
        mark = MARKS[command]
        if mark.run in ran:
            continue
        ran.add(mark.run)
        done = subprocess.run(
            ["bash", "-c", mark.run],
            cwd=checkout,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        if done.returncode != mark.code or "Traceback" in done.stderr:
            failed[command] = f"exit code {done.returncode}: {(done.stdout + done.stderr)[-600:]}"
    assert not failed, json.dumps(failed, indent=2)
    record_property("commands of README and docs, run", len(RUNNABLE))
