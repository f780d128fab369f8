"""`cardproof run`: what Snakemake would end in a traceback for is a sentence and a hint; all else is Snakemake's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cardproof.errors import CardproofError
from cardproof.machine.start import command, configuration_files
from helpers.places import ROOT
from helpers.workflow import PATIENCE, planned, snakemake


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    called = [sys.executable, "-m", "cardproof", "run", *arguments]
    given = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment}
    return subprocess.run(called, cwd=folder, env=given, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.mark.parametrize(
    ("content", "said", "hint"),
    [
        (None, "demi.yaml does not exist", "did you mean demo.yaml?"),
        ("run: [", "demi.yaml, line 2: not valid YAML", "check indentation"),
        ("- run", "demi.yaml has a list where settings belong", "write `key: value` lines"),
        ("run: a\nrun: b", "the key 'run' is given twice", "give each key once"),
        (b"\xff\xfe", "demi.yaml", "UTF-8"),
    ],
)
@pytest.mark.parametrize("option", ["--configfile", "--configfiles"])
def test_a_configuration_file_at_fault_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, content: str | bytes | None, said: str, hint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo.yaml").write_text("run: demo\n")
    if content is not None:
        (tmp_path / "demi.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    for arguments in ([option, "demo.yaml", "demi.yaml", "-n"], [f"{option}=demi.yaml"], ["-n", option, "demi.yaml"]):
        with pytest.raises(CardproofError) as caught:
            command(arguments, ROOT)
        assert said in caught.value.sentence and hint in caught.value.hint


def test_a_folder_as_configuration_and_a_file_as_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CardproofError, match="is a folder"):
        command(["--configfile", str(tmp_path)], ROOT)
    with pytest.raises(CardproofError, match="is not a folder"):
        command(["--directory", str(tmp_path / "file")], ROOT)


@pytest.mark.parametrize("name", [".snakemake", "results"])
def test_a_working_folder_that_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    """Something in the way is to Snakemake what a file system is that is mounted to be read."""
    (tmp_path / name).touch()
    for arguments in (["--directory", str(tmp_path)], ["-d", str(tmp_path)], [f"--directory={tmp_path}"]):
        with pytest.raises(CardproofError, match="cannot be written") as caught:
            command(arguments, ROOT)
        assert str(tmp_path / name) in caught.value.sentence and "--directory FOLDER" in caught.value.hint


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    for environment in ({"HOME": str(tmp_path / "home")}, {"XDG_CACHE_HOME": str(tmp_path / "home"), "HOME": "/"}):
        with pytest.raises(CardproofError, match="home cannot be written") as caught:
            command(["--directory", str(tmp_path)], ROOT, environment)
        assert "XDG_CACHE_HOME" in caught.value.hint


def test_every_option_is_snakemakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["--cores", "all", "--config", 'sampling={"rows": 7}', "-n", "--", "claims"]
    called = command(given, ROOT)
    assert Path(called[0]).name == "snakemake" and called[1:] == ["--snakefile", str(ROOT / "Snakefile"), *given]
    (tmp_path / "Snakefile").touch()
    assert command(given, ROOT)[1:] == given, "a folder's own workflow is its own"
    assert command(["-s", "other", *given], ROOT)[1:] == ["-s", "other", *given]
    assert configuration_files(["--configfile", "a", "b", "--config", "c=1", "--configfile=d"]) == ["a", "b", "d"]


def test_it_becomes_snakemake(tmp_path: Path) -> None:
    done = run(tmp_path, "--cores", "1", "-n", "--configfile", str(ROOT / "config/ci.yaml"))
    assert planned(done) == planned(snakemake(tmp_path, "-n"))
    wrong = run(tmp_path, "--cores", "1", "--no-such-option")
    assert wrong.returncode != 0 and "--no-such-option" in wrong.stderr


def test_what_is_wrong_ends_in_a_sentence_and_a_hint_alone(tmp_path: Path) -> None:
    done = run(tmp_path, "--cores", "1", "--configfile", str(ROOT / "config/dmeo.yaml"))
    assert done.returncode == 2
    assert done.stderr == (f"cardproof: error: {ROOT}/config/dmeo.yaml does not exist.\nHint: did you mean {ROOT}/config/demo.yaml?\n")


def test_whoever_calls_snakemake_is_told_of_the_working_folder_too(tmp_path: Path) -> None:
    (tmp_path / "results").touch()
    done = snakemake(tmp_path, "-n")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert f"cardproof: error: {tmp_path}/results cannot be written.\nHint: " in done.stderr
