"""Verbs about the evidence itself: does a run's every result follow from its inputs?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cardproof import runs
from cardproof.cli.group import cli, with_config
from cardproof.cli.recording import EVALUATED, FILE, TRAINING, FileOption, below, itself, makes
from cardproof.errors import CardproofError, shown

if TYPE_CHECKING:
    from cardproof.config.settings import Config

BROKEN = 4
"""Exit code where the chain of a run is broken."""


@cli.command()
@click.argument("run", type=FILE)
@click.option("--signers", type=FILE, default=None, help="Allowed signers (see ssh-keygen(1)): the run must be signed by one of them.")
@click.option("--identity", default=None, help="The name, in that file, of whoever must have signed.")
@click.option("--follow-links", is_flag=True, help="Also read models that are links to folders elsewhere: for a run of your own.")
def verify(run: Path, signers: Path | None, identity: str | None, follow_links: bool) -> None:
    """Check that every result of a finished RUN follows from its inputs, and name the first one that does not.

    Each result has a record of its inputs' hashes, the code, the settings and the command it was made with. Exits with 4 where a file was
    changed, removed or added after its step, or is older than what it is made from. Nothing outside RUN is read. Records do not stop a
    forger who rewrites them all; a signature does (`cardproof sign`, --signers).
    """
    from cardproof.evidence.verify import AGAIN, check

    if identity and not signers:
        raise CardproofError("--identity needs --signers.", "give the file of allowed signers, with the key of that name.")
    chain = check(run, links=follow_links)
    for note in chain.notes:
        click.echo(f"note: {shown(note)}", err=True)
    if chain.state == "unrecorded":
        click.echo(f"cardproof: error: {shown(str(run))} has no record of how its results were made.\nHint: {AGAIN}", err=True)
        sys.exit(BROKEN)
    if chain.problems:
        first, *others = chain.problems
        click.echo(f"cardproof: error: {shown(first.sentence)}", err=True)
        for problem in others[:20]:
            click.echo(f"  then: {shown(problem.sentence)}", err=True)
        if len(others) > 20:
            click.echo(f"  and {len(others) - 20} more.", err=True)
        click.echo(f"Hint: {AGAIN}", err=True)
        sys.exit(BROKEN)
    said = f"{shown(str(run))}: {chain.results} results follow from their inputs.\nDigest of the chain: {chain.digest}"
    if signers:
        from cardproof.evidence.signature import signer

        said += f"\nSigned by {shown(signer(run, chain, signers, identity))}."
    click.echo(said)


@cli.command()
@click.argument("run", type=FILE)
@click.option("--key", type=FILE, required=True, help="SSH key to sign with: a private one, or a public one that an agent holds.")
def sign(run: Path, key: Path) -> None:
    """Sign the chain of a finished RUN with an SSH key, by the program ssh-keygen.

    The signature is a file in RUN, and archives carry it. `cardproof verify RUN --signers FILE` checks it.
    """
    from cardproof.evidence.signature import sign as signed

    digest = signed(run, key)
    click.echo(f"{shown(str(run / runs.SIGNATURE))}\nDigest of the chain: {digest}")


@cli.command()
@click.argument("run", type=FILE)
@click.option("--out", type=FILE, default=None, help="Archive to write; default: RUN.tar.zst in the working folder.")
def archive(run: Path, out: Path | None) -> None:
    """Pack a finished RUN without its weights into one file that anyone can replay without a GPU.

    The same run gives the same bytes. The prompts hold the benchmark's passages, so an archive is under their licence.
    """
    from cardproof.evidence.archive import archive as pack
    from cardproof.files import sha256_file

    target = out or Path(f"{run.resolve().name}.tar.zst")
    count, digest = pack(run, target)
    click.echo(
        f"{shown(str(target))}: {count} files, {target.stat().st_size:,} bytes, sha256 {sha256_file(target)}\nDigest of the chain: {digest}"
    )


def _taken(run: Path, config: Config | None) -> list[Path]:
    """The files that a replay took from its archive, and the list of them."""
    from cardproof.files import read_json

    listed = run / runs.REPLAYED
    return [listed, *(run / name for name in (read_json(listed) if listed.is_file() else ()))]


@cli.command()
@click.option("--archive", "source", cls=FileOption, type=FILE, required=True, reads=[itself], help="Archive, or folder of a finished run.")
@makes("--run", "Folder of the run to fill.", _taken)
def replay(source: Path, run: Path) -> None:
    """Take prompts, samples, the verifier's word and training metrics from an archive, to be rescored without any model."""
    from cardproof.evidence.replay import replay as unpack

    click.echo(f"{run}: {len(unpack(source, run))} files taken from {source}", err=True)


def _evaluated(out: Path, config: Config | None) -> list[Path]:
    """The results behind `provenance/steps.json`: it is written after them."""
    return below(*EVALUATED, TRAINING)(out.parents[1], config)


@cli.command()
@with_config
@click.option("--out", cls=FileOption, type=FILE, required=True, reads=[_evaluated], makes=[itself], help="steps.json to write.")
def provenance(config: Config, out: Path) -> None:
    """Record which code and which settings each step of a run depends on."""
    from cardproof.evidence.provenance import steps
    from cardproof.files import write_json

    write_json(out, steps(config))
