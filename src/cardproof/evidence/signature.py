"""A signature over a run's chain with an SSH key, so that a reader knows who vouches for it: a seal alone stops no forger.

The program `ssh-keygen` signs and checks (OpenSSH 8.1 or later); the format is its own. Who may sign is a file of allowed signers.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from cardproof import outside, runs
from cardproof.errors import CardproofError
from cardproof.evidence.sidecars import config_digest, read
from cardproof.evidence.verify import AGAIN, Chain, Files, check
from cardproof.files import sha256_text, write_text

NAMESPACE = "cardproof"
"""What a signature is for: one made for another program or purpose does not count."""
MOST_SIGNATURE = 100_000
"""Most bytes of a signature: one has a thousand."""
PATIENCE = 60
"""Seconds that checking a signature may take."""
MISSING = "install OpenSSH's client (on Debian: apt-get install openssh-client)."


def statement(run: Path, chain: Chain) -> str:
    """What is signed: the chain's digest, one over all records, and one of the configuration. It is the same for a run and its archive."""
    files = Files(run)
    names = [name.removeprefix(f"{runs.RECORDS}/") for name in files.below(runs.RECORDS)]
    seals = sha256_text("\n".join(f"{name} {read(run / runs.RECORDS / name).seal}" for name in names))
    configuration = config_digest(run / runs.CONFIG)
    return f"cardproof chain {chain.digest}\nrecords {seals}\nconfiguration {configuration}\n"


def sign(run: Path, key: Path) -> str:
    """Sign the chain of a run with a private key (or a public one whose private key an agent holds); returns the chain's digest.

    CardproofError if the chain is not whole, or the key cannot sign.
    """
    chain = _whole(run)
    target = outside.inside(run, runs.SIGNATURE, str(run), outside.PLAIN)
    if not key.is_file():
        raise CardproofError(f"{key} does not exist.", "give an SSH key; `ssh-keygen -t ed25519 -f KEY` makes one.")
    # The passphrase is asked on the terminal, for as long as it takes.
    done = subprocess.run(
        [_ssh_keygen(), "-Y", "sign", "-n", NAMESPACE, "-f", str(key)], input=statement(run, chain).encode(), capture_output=True
    )
    if done.returncode:
        raise CardproofError(f"{key} cannot sign: {_said(done)}.", "give the private key itself, and its passphrase where it has one.")
    write_text(target, done.stdout.decode())
    return chain.digest


def signer(run: Path, chain: Chain, signers: Path, identity: str | None) -> str:
    """Who signed the chain of a run, by a file of allowed signers; `identity`: it must be this one.

    CardproofError (exit code 4) if there is no signature, it is of other content, or nobody of the file made it.
    """
    ssh_keygen = _ssh_keygen()
    if not signers.is_file():
        raise CardproofError(f"{signers} does not exist.", "give a file with a line `NAME KEYTYPE KEY` for each signer; see ssh-keygen(1).")
    file = outside.inside(run, runs.SIGNATURE, str(run), outside.PLAIN)
    if not file.is_file():
        raise Unsigned(f"{run} has no signature.", "ask whoever made the run for one: `cardproof sign RUN --key KEY`.")
    outside.read_bytes(file, MOST_SIGNATURE)
    name = identity or _principal(ssh_keygen, file, signers)
    command = [ssh_keygen, "-Y", "verify", "-n", NAMESPACE, "-I", name, "-f", str(signers), "-s", str(file)]
    done = subprocess.run(command, input=statement(run, chain).encode(), capture_output=True, timeout=PATIENCE)
    if done.returncode:
        raise Unsigned(f"{file} is not a signature of {name!r} over this chain: {_said(done)}.", "take the run from where it was signed.")
    return name


class Unsigned(CardproofError):
    """A signature that is missing or does not hold, which breaks the chain."""

    exit_code = 4


def _whole(run: Path) -> Chain:
    chain = check(run)
    if chain.state != "whole":
        why = chain.problems[0].sentence if chain.problems else f"{run} has no record of how its results were made."
        raise CardproofError(why, AGAIN)
    return chain


def _principal(ssh_keygen: str, file: Path, signers: Path) -> str:
    """The allowed signer whose key made the signature."""
    command = [ssh_keygen, "-Y", "find-principals", "-f", str(signers), "-s", str(file)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
    found = done.stdout.decode(errors="replace").splitlines()
    if done.returncode or not found:
        raise Unsigned(
            f"{file} was made by nobody in {signers}.", "add the signer whose key you have from elsewhere, or do not trust the run."
        )
    return found[0]


def _ssh_keygen() -> str:
    program = shutil.which("ssh-keygen")
    if program is None:
        raise CardproofError("Signatures need the program ssh-keygen, which is not on PATH.", MISSING)
    return program


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    """What the program said last, on one line."""
    lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
    return lines[-1].rstrip(".") if lines else f"exit code {done.returncode}"
