"""Tamper evidence: every result of a run follows from its inputs, and one flipped byte anywhere is found and named."""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cardproof.cli.main import main
from cardproof.evidence import sidecars, verify
from cardproof.evidence.verify import check
from cardproof.files import sha256_file
from helpers.places import ROOT
from helpers.workflow import RUN, contents, snakemake

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def copied(ci_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy by links, cheap where models are large; a test replaces a file, and never writes into one."""
    folder = tmp_path_factory.mktemp("evidence") / "copy"
    try:
        shutil.copytree(ci_run, folder, symlinks=True, copy_function=os.link)
    except OSError:
        shutil.copytree(ci_run, folder, symlinks=True, dirs_exist_ok=True)
    return folder


@pytest.fixture
def folder(copied: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(copied)
    yield copied
    assert check(RUN).state == "whole", "a test left the copy changed"


def replace(path: Path, content: bytes) -> None:
    tmp = path.with_name(".replaced")
    tmp.write_bytes(content)
    tmp.replace(path)


def cardproof(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["cardproof", *arguments])
    try:
        main()
    except SystemExit as e:
        return int(e.code or 0)
    return 0


ALIKE = ("samples", "support", "scores", "store", "logs", "prompts", "figures", "report", "adapters", "revisions", "cost")
"""Folders whose files differ by arm, condition or name alone: one of each suffix stands for the others."""


def kinds(run: Path) -> dict[tuple[str, ...], Path]:
    """One file of each kind, found in what is there: of each folder and suffix where files are alike, else every file; one record each."""
    found: dict[tuple[str, ...], Path] = {}
    for path in sorted(p for p in run.rglob("*") if p.is_file() and p.stat().st_size and p.name != ".snakemake_timestamp"):
        parts = path.relative_to(run).parts
        if parts[:2] == ("provenance", "files"):
            kind = (*parts[:3], Path(path.stem).suffix)
        else:
            kind = (parts[0], path.suffix) if parts[0] in ALIKE else parts
        found.setdefault(kind, path)
    return found


@pytest.fixture
def hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that no test touched are not read again: a file that is replaced is another inode."""
    known: dict[tuple[int, int, int], str] = {}

    def digest(path: Path) -> str:
        stat = Path(path).stat()
        key = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if key not in known:
            known[key] = sha256_file(path)
        return known[key]

    for module in (sidecars, verify):
        monkeypatch.setattr(module, "sha256_file", digest)


def test_a_finished_run_is_whole(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert cardproof(monkeypatch, "verify", str(RUN)) == 0
    assert "follow from their inputs" in capsys.readouterr().out


def test_a_flipped_byte_in_any_kind_of_file_is_named(
    folder: Path,
    hashed_once: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
) -> None:
    draw = random.Random(0)
    files = kinds(RUN)
    listed = {line.split()[0] for line in (ROOT / "results/README.md").read_text().splitlines() if line.startswith("  ")}
    folders = {name.split("/")[0].split(".")[0] for name in listed} - {"preflight", "revisions", "work", "shards", "report", "adapters"}
    assert folders <= {kind[0].split(".")[0] for kind in files}, "a kind that results/README.md lists is not in the run"
    record_property("kinds of files of a run with a byte flipped, each named by cardproof verify", len(files))
    for path in files.values():
        before = path.read_bytes()
        at = draw.randrange(len(before))
        flipped = bytes([before[at] ^ (1 << draw.randrange(8))])
        replace(path, before[:at] + flipped + before[at + 1 :])
        assert cardproof(monkeypatch, "verify", str(RUN)) == 4, path
        said = capsys.readouterr().err
        first = next(line for line in said.splitlines() if line.startswith("cardproof: error:"))
        assert f"{path}" in first, (path, at, first)
        assert "Hint: " in said
        replace(path, before)


def test_every_input_of_every_rule_is_in_the_records(ci_run: Path) -> None:
    """The records are written by the verbs, the rules' inputs stand in the rules: the one must not forget what the other names."""
    looked_at = 0
    for path in (ci_run / ".snakemake/metadata").iterdir():
        found = json.loads(path.read_text())
        output = Path(base64.urlsafe_b64decode(path.name + "=" * (-len(path.name) % 4)).decode())
        if not output.is_relative_to(RUN):
            continue
        # A verb that makes a folder leaves one record for all of it.
        places = [output.relative_to(RUN), *output.relative_to(RUN).parents][:-1]
        records = [ci_run / RUN / "provenance/files" / f"{place}.json" for place in places]
        record = json.loads(next(path for path in records if path.is_file()).read_text())
        # A look at the machine is no source of a result: looking again must not make a run do its work again.
        for file in (f for f in found["input"] if Path(f).name != "preflight.json"):
            name = Path(file)
            if not name.is_relative_to(RUN):  # as seen from the folder that the run was made in
                project = next(folder for folder in (Path("prompts"), Path("published"), Path("report")) if folder.name in name.parts)
                wanted = f"project:{Path(*name.parts[name.parts.index(project.name) :]).as_posix()}"
            else:
                wanted = name.relative_to(RUN).as_posix()
            assert any(wanted == i or wanted.startswith(f"{i}/") for i in record["inputs"]), f"{output} is made from {wanted}"
            looked_at += 1
    assert looked_at > 50


def test_records_hold_no_time_host_or_place(ci_run: Path) -> None:
    for name, content in contents(ci_run, "provenance/files").items():
        text = content.decode()
        assert str(ci_run) not in text, name
        assert str(ROOT) not in text, name
        assert os.uname().nodename not in text, name


def test_a_result_made_by_hand_from_other_settings_breaks_the_chain(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = contents(folder, "config.yaml")["config.yaml"]
    replace(RUN / "config.yaml", kept.replace(b"simulations: 100", b"simulations: 150"))
    problems = {p.file: p.sentence for p in check(RUN).problems}
    assert next(iter(problems)) == "config.yaml"
    assert "evaluation was" in problems["evaluation/axes.json"]
    replace(RUN / "config.yaml", kept)


def test_an_added_a_missing_and_an_unrecorded_file_are_named(folder: Path) -> None:
    extra = RUN / "evaluation" / "extra.json"
    extra.write_text("{}")
    assert [p.file for p in check(RUN).problems] == ["evaluation/extra.json"]
    extra.unlink()
    # A result without its record counts as unknown.
    for name, found in (("claims.json", "claims.json"), ("provenance/files/claims.json.json", "claims.json")):
        content = (RUN / name).read_bytes()
        (RUN / name).unlink()
        assert check(RUN).problems[0].file == found
        replace(RUN / name, content)


def test_the_card_of_a_broken_run_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = RUN / "evaluation/axes.json"
    before = file.read_bytes()
    replace(file, before.replace(b'"value": 0.', b'"value": 1.', 1))
    assert cardproof(monkeypatch, "card", "--run", str(RUN), "--out", str(tmp_path / "card.md")) == 0
    text = (tmp_path / "card.md").read_text()
    assert "The chain of evidence of this run is broken" in text
    assert "evaluation/axes.json was changed" in text
    assert "## Published" not in text
    replace(file, before)


def test_making_a_result_again_by_the_workflow_mends_the_chain(ci_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mended"
    shutil.copytree(ci_run, folder, symlinks=True)
    (folder / RUN / "evaluation/axes.json").unlink()
    assert check(folder / RUN).problems
    result = snakemake(folder)
    assert result.returncode == 0, (result.stdout + result.stderr)[-3000:]
    assert check(folder / RUN).problems == []
