"""The verb that fetches, or lists, all a configuration takes from the hub, before and apart from any run."""

from __future__ import annotations

from pathlib import Path

import click

from cardproof.cli.group import FILE, ROOT, cli


@cli.command()
@click.option("--configfile", "files", type=FILE, multiple=True, help="YAML files, later ones win; default: config.yaml.")
@click.option("--manifest", type=FILE, default=None, help="Write what would be fetched: every file with its size and hash (JSON).")
@click.option("--mirror", type=FILE, default=None, help="Fetch everything into this folder, for machines without a network.")
def acquire(files: tuple[Path, ...], manifest: Path | None, mirror: Path | None) -> None:
    """List or fetch all that a configuration takes from the hub: models, adapters, benchmark.

    On a cluster without a network: `cardproof acquire --mirror DIR` where there is one, copy DIR, and set CARDPROOF_MIRROR=DIR there.
    """
    from cardproof.acquire import hub
    from cardproof.acquire.sources import hub_sources
    from cardproof.config import reading
    from cardproof.files import write_json

    sources = hub_sources(reading.load(*(files or (ROOT / "config.yaml",))))
    if not sources:
        click.echo("This configuration takes nothing from the hub.")
        return
    found = []
    for setting, (name, revision) in sources.items():
        kind: hub.Kind = "dataset" if setting == "benchmark" else "model"
        repository = hub.listing(name, *hub.resolve(name, revision, kind), kind)
        size = sum(f.size for f in repository.files)
        note = "" if repository.pinned else "  (not pinned: the newest)"
        click.echo(f"{setting:<14} {name}@{repository.revision[:12]}  {len(repository.files)} files, {size / 1e9:.2f} GB{note}")
        if mirror:
            click.echo(f"{'':<14} -> {hub.to_mirror(repository, mirror)}")
        found.append({"setting": setting, **hub.entry(repository)})
    if manifest:
        write_json(manifest, {"repositories": found})
