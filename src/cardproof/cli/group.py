"""The `cardproof` command itself, and the kinds of options its verbs share."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cardproof import __version__
from cardproof.cli.recording import FILE, Recorded
from cardproof.errors import CardproofError, did_you_mean

if TYPE_CHECKING:
    from cardproof.config.settings import Config

# A checkout has its templates and claims beside the package's source; elsewhere the user names them.
ROOT = Path(__file__).resolve().parents[3]
# Only these verbs may ask the hub; every other runs offline, on a cluster's nodes as in a container without network.
ASKING_THE_HUB = ("acquire", "preflight", "publish")
CLAIMS = ROOT / "published" / "claims.yaml"
OF_RUN = "The card's numbers, as data.  [default: the claims file that the run's configuration names]"


def card_of_run(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """The claims file given, else the one that the run's configuration names (`published`); None if the run has no card."""
    from cardproof.config.settings import PUBLISHED
    from cardproof.runs import Run

    if value is not None or ctx.resilient_parsing:
        return value
    named = Run(ctx.params["run"]).settings.get("published", PUBLISHED)
    return CLAIMS if named == PUBLISHED else None if named is None else Path(named)


OVERLAYS = click.option("--configfile", "files", type=FILE, multiple=True, help="Overlays on config.yaml, later ones win.")


def overlaid(files: Sequence[Path]) -> Config:
    """The published recipe with overlays on it, as the Snakefile merges them. The recipe itself may be named as well."""
    from cardproof.config.reading import load

    recipe = ROOT / "config.yaml"
    beneath = [recipe] if recipe.is_file() else []  # outside a checkout the model's defaults, which are the same
    return load(*beneath, *(file for file in files if file.resolve() != recipe))


class Verbs(click.Group):
    """Lists the verbs in the order of the data flow, and names the nearest one to a misspelt one."""

    command_class = Recorded

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order they were defined."""
        return list(self.commands)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with a hint."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            hint = did_you_mean(args[0], self.commands, "`cardproof --help` lists the verbs.")
            raise CardproofError(f"There is no verb {args[0]!r}.", hint)
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Regenerate every number on a published model card, and judge each one.

    The whole job is a Snakemake workflow: `make demo` runs it on embedded data and models (CPU, minutes), `snakemake --cores all
    --use-apptainer` at published scale. Each verb below is one step of it and also runs by hand: it reads the files it is given, writes
    the files it is told to, and takes its settings from the resolved configuration of a run (results/RUN/config.yaml).

    \b
    Look first:
      cardproof audit                      does the published card agree with itself? (no GPU, seconds)
      cardproof audit CARD.md              does any other model card? (a file, a folder of cards, or a Hub id)
      cardproof config --explain           every setting, what it means, and whether the card states it
      cardproof rehearse                   will the published run work on this machine? (stand-ins of the real sizes, minutes)
    """
    # It says of each process that a kernel from the Hub is missing, which nothing here asks for.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    ctx.obj = os.environ.get("HF_HUB_OFFLINE")
    if not (ctx.invoked_subcommand or "").startswith(ASKING_THE_HUB):
        os.environ["HF_HUB_OFFLINE"] = "1"


def ask_the_hub(ctx: click.Context) -> None:
    """Let a verb that only sometimes needs the hub ask it, unless the user said not to."""
    os.environ["HF_HUB_OFFLINE"] = ctx.obj or "0"


def with_config(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the option --config, and pass it the loaded configuration as `config`."""
    return _configured(verb, lambda config, run_dir: nullcontext())


def with_gpus(verb: Callable[..., None]) -> Callable[..., None]:
    """The same for a verb that computes on the configured number of GPUs: it gets GPUs of its own for as long as it runs."""

    def granted(config: Config, run_dir: Path) -> AbstractContextManager[None]:
        from cardproof.machine.gpus import granted as lend

        return lend(config, run_dir, verb.__name__)

    return _configured(verb, granted)


def _configured(verb: Callable[..., None], around: Callable[[Config, Path], AbstractContextManager[None]]) -> Callable[..., None]:
    option = click.option("--config", "config_file", type=FILE, required=True, help="Resolved configuration of the run.")

    def run(config_file: Path, **options: Any) -> None:
        from cardproof.config.reading import load

        config = load(config_file)
        with around(config, config_file.parent):
            verb(config=config, **options)

    run.__name__, run.__doc__ = verb.__name__, verb.__doc__
    run.__click_params__ = getattr(verb, "__click_params__", [])  # type: ignore[attr-defined]
    return option(run)


def show(form: str, data: Any, text: Callable[[int], str]) -> None:
    """Print a report as JSON, or as text as wide as the terminal (or COLUMNS): 40 to 100 columns, 100 in a pipe."""
    if form == "json":
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
    else:
        click.echo(text(max(40, min(100, shutil.get_terminal_size((100, 24)).columns))), nl=False)
