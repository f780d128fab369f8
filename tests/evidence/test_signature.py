"""Signatures over a run's chain, with key pairs made here: who signed is told, a forger who rewrites every record is found."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cardproof import runs
from cardproof.cli.main import main
from cardproof.evidence import archive, signature
from cardproof.evidence.verify import check
from helpers.received import write_received, write_record

needs_ssh = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed (Debian: openssh-client)")


class Keys:
    """Two key pairs, and a file that allows the first to sign."""

    def __init__(self, folder: Path) -> None:
        self.author, self.forger, self.signers = folder / "author", folder / "forger", folder / "signers"
        for key in (self.author, self.forger):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)], check=True)
        self.signers.write_text(f"author@example.org {self.author.with_suffix('.pub').read_text()}")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_received(tmp_path / "run")


def cardproof(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["cardproof", *map(str, arguments)])
    try:
        main()
    except SystemExit as e:
        return int(e.code or 0)
    return 0


@needs_ssh
def test_a_signed_run_names_its_signer(run: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    before = check(run).digest
    assert cardproof(monkeypatch, "sign", run, "--key", keys.author) == 0
    assert check(run).state == "whole" and check(run).digest == before
    for more in ([], ["--identity", "author@example.org"]):
        assert cardproof(monkeypatch, "verify", run, "--signers", keys.signers, *more) == 0
        assert "Signed by author@example.org." in capsys.readouterr().out
    assert cardproof(monkeypatch, "verify", run, "--signers", keys.signers, "--identity", "another@example.org") == 4
    assert "is not a signature of 'another@example.org'" in capsys.readouterr().err


@needs_ssh
def test_a_signature_of_somebody_else_counts_for_nothing(
    run: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cardproof(monkeypatch, "sign", run, "--key", keys.forger) == 0
    assert cardproof(monkeypatch, "verify", run, "--signers", keys.signers) == 4
    assert "was made by nobody in" in capsys.readouterr().err


@needs_ssh
@pytest.mark.parametrize("forged", ["a result and its record", "a record's settings", "the configuration"])
def test_a_forger_who_rewrites_seals_is_found(
    forged: str, run: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seals alone do not stop one: without a signature the forged run is whole."""
    assert cardproof(monkeypatch, "sign", run, "--key", keys.author) == 0
    if forged == "a result and its record":
        (run / "evaluation/axes.json").write_text('{"items": 2}\n')
        write_record(run, "evaluation/axes.json")
    elif forged == "a record's settings":
        write_record(run, "evaluation/axes.json", command=["cardproof", "honestly"])
    else:
        text = (run / "config.yaml").read_text().replace("# Name of the run", "# A name of the run")
        (run / "config.yaml").write_text(text)
        for name in [p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file() and not p.is_relative_to(run / "provenance")]:
            if not name.startswith(("models/", "cost/", "config.yaml")):
                write_record(run, name)
        write_record(run, "models/base")
    assert cardproof(monkeypatch, "verify", run) == 0
    assert cardproof(monkeypatch, "verify", run, "--signers", keys.signers) == 4
    assert "is not a signature of 'author@example.org' over this chain" in capsys.readouterr().err


@needs_ssh
def test_an_archive_carries_the_signature(run: Path, keys: Keys, tmp_path: Path) -> None:
    signature.sign(run, keys.author)
    archive.archive(run, tmp_path / "run.tar.zst")
    with archive.opened(tmp_path / "run.tar.zst") as files:
        for name, content in files:
            (tmp_path / "unpacked" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "unpacked" / name).write_bytes(content)
    unpacked = tmp_path / "unpacked"
    assert not (unpacked / "models").exists()
    assert signature.signer(unpacked, check(unpacked), keys.signers, None) == "author@example.org"


@needs_ssh
def test_a_signature_for_another_purpose_counts_for_nothing(run: Path, keys: Keys) -> None:
    """A signature under a message of the same words, made by the same key for something else, such as a commit."""
    text = signature.statement(run, check(run)).encode()
    made = subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-n", "git", "-f", str(keys.author)], input=text, capture_output=True, check=True
    ).stdout
    (run / runs.SIGNATURE).write_bytes(made)
    with pytest.raises(signature.Unsigned):
        signature.signer(run, check(run), keys.signers, None)


def test_what_is_signed_is_the_chain_its_records_and_the_configuration(run: Path) -> None:
    said = dict(line.rsplit(" ", 1) for line in signature.statement(run, check(run)).splitlines())
    assert said["cardproof chain"] == check(run).digest
    assert said["configuration"] == hashlib.sha256((run / "config.yaml").read_bytes()).hexdigest()
    assert set(said) == {"cardproof chain", "records", "configuration"}


def test_without_ssh_keygen_it_is_named(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (run.parent / "key").write_text("a key")
    monkeypatch.setenv("PATH", str(run))
    assert cardproof(monkeypatch, "sign", run, "--key", run.parent / "key") == 2
    said = capsys.readouterr().err
    assert "need the program ssh-keygen" in said and "Hint: install OpenSSH" in said
