"""Verbs that run or train a model, and those that score what it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cardproof.cli.group import FILE, ROOT, cli, given, with_config
from cardproof.errors import CardproofError, nearest

if TYPE_CHECKING:
    from cardproof.config.settings import Config


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
    from cardproof.sampling.sample import sample as run

    if arm not in config.sampled_arms:
        near = nearest(arm, config.sampled_arms)
        raise CardproofError(
            f"There is no arm {arm!r}.", f"did you mean {near!r}?" if near else f"this run has: {', '.join(config.sampled_arms)}."
        )
    number, _, of = shard.partition("/")
    if not (number.isdecimal() and of.isdecimal() and int(number) < int(of)):
        raise CardproofError(f"--shard: found {shard!r}.", "write NUMBER/OF, NUMBER counted from 0, such as 0/4.")
    run(config, arm, dict(work), config.rollouts, model, adapter, int(number), int(of), store)


@cli.command()
@given("--out", "Samples file to write.")
@click.argument("shards", nargs=-1, type=FILE, required=True)
def gather(out: Path, shards: tuple[Path, ...]) -> None:
    """Join the shards of one arm and condition, in order."""
    from cardproof.sampling.gather import gather as run

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
    from cardproof.benchmark.passages import passages_of
    from cardproof.files import nothing_partial, read_rows, write_json
    from cardproof.records import Passage, Question
    from cardproof.verifier.train_verifier import train as run

    passages = read_rows(corpus, Passage)
    sides = [passages_of(passages, read_rows(side, Question)) for side in (train, eval)]
    with nothing_partial(out):
        found = run(encoder, out, sides[0], sides[1], config.verifier.embedded, config.seed, config.runtime.threads)
    write_json(metrics, found)


@cli.command()
@with_config
@given("--model", "Verifier folder.")
@click.option("--work", type=(FILE, FILE, FILE), multiple=True, required=True, help="Prompts, samples, and the support file to write.")
def support(config: Config, model: Path, work: Any) -> None:
    """Let the verifier judge each answer by the documents it cites."""
    from cardproof.files import read_rows, write_rows
    from cardproof.records import Prompt, Rollout
    from cardproof.verifier.support import verify_rollouts

    verifier = _load_verifier(config, model)
    for prompts_path, samples_path, out in work:
        rows = verify_rollouts(read_rows(prompts_path, Prompt), read_rows(samples_path, Rollout), verifier, config.contract.refusal_phrases)
        write_rows(out, rows)


def _load_verifier(config: Config, model: Path) -> Any:
    from cardproof.models.device import quiet
    from cardproof.verifier.model import Verifier

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
@click.option("--support", type=FILE, multiple=True, help="Support files of this run, whose pairs and cut premises are counted.")
@click.option("--training", type=FILE, default=None, help="Metrics of its training in this run, to be included.")
@given("--out", "Metrics to write (JSON).")
def check_verifier(
    config: Config, model: Path, prompts: Path, samples: Path, support: tuple[Path, ...], training: Path | None, out: Path
) -> None:
    """Measure how well the verifier tells true from altered claims, on this run's own rollouts."""
    from itertools import chain

    from cardproof.files import iter_rows, read_json, read_rows, write_json
    from cardproof.records import Prompt, Rollout, Support
    from cardproof.verifier.check_verifier import check_planted, coverage, ragtruth_auc

    verifier = _load_verifier(config, model)
    planted = check_planted(read_rows(prompts, Prompt), read_rows(samples, Rollout), verifier, config.seed, config.contract.refusal_phrases)
    metrics = read_json(training) if training else {"auc": {}}
    metrics["auc"] |= {f"planted_{sort}": planted[sort]["auc"] for sort in ("sentences", "answers")}
    ragtruth = ragtruth_auc(Path(config.verifier.ragtruth), verifier) if config.verifier.ragtruth else None
    if ragtruth:
        metrics["auc"]["ragtruth"] = ragtruth["auc"]
    seen = coverage(chain.from_iterable(iter_rows(path, Support) for path in support))
    write_json(out, {**metrics, "planted": planted, "ragtruth": ragtruth, "coverage": seen})


@cli.command()
@with_config
@given("--prompts", "Prompts file.")
@given("--samples", "Samples file.")
@given("--support", "Support file.")
@given("--out", "Scores to write (Parquet).")
def score(config: Config, prompts: Path, samples: Path, support: Path, out: Path) -> None:
    """Compute every axis of every rollout."""
    import gc

    from cardproof.scoring.score import score_files
    from cardproof.scoring.table import write_scores

    gc.disable()  # rows hold no cycles, and looking for some among so many takes a tenth of the time
    arms = [*config.sampled_arms, "train"]
    write_scores(out, score_files(prompts, samples, support, config.scoring, config.contract.refusal_phrases, arms, config.rollouts))


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
    from cardproof.contract import asking
    from cardproof.files import read_rows
    from cardproof.records import Message, Prompt, Rollout
    from cardproof.scoring.frames import read_frame
    from cardproof.training.distill import select, write

    def ask(prompt: Prompt, in_contract: bool) -> list[Message]:
        demonstration = in_contract and config.contract.demonstration and config.distill.demonstration
        return asking.render(prompt.question, prompt.documents, in_contract, templates, demonstration, config.contract.refusal_phrases[0])

    examples, summary = select(
        read_rows(prompts, Prompt),
        read_rows(samples, Rollout),
        read_frame(scores),
        config.distill,
        config.contract.refusal_phrases,
        ask,
        config.scoring.composite,
    )
    write(out, selection, examples, summary)
    click.echo(f"{out}: {summary['kept']} of {summary['candidates']} candidates kept", err=True)


@cli.command()
@with_config
@click.option("--variant", required=True, help="Name of the training run: a variant, a replica of it (NAME.seedN), or a reading.")
@given("--examples", "Training examples.")
@given("--model", "Base model folder.")
@given("--out", "Adapter folder to write.")
@given("--metrics", "Its metrics to write (JSON).")
@given("--work", "Folder for checkpoints while it runs.")
def train(config: Config, variant: str, examples: Path, model: Path, out: Path, metrics: Path, work: Path) -> None:
    """Train one LoRA adapter on the NF4 base."""
    from cardproof.files import nothing_partial, read_rows
    from cardproof.records import Example
    from cardproof.training.train import train as run

    if variant not in config.training_runs:
        near = nearest(variant, config.training_runs)
        raise CardproofError(
            f"There is no training run {variant!r}.", f"did you mean {near!r}?" if near else f"known: {', '.join(config.training_runs)}."
        )
    with nothing_partial(out):
        run(
            variant,
            config.training_runs[variant].variant,
            config.training,
            read_rows(examples, Example),
            model,
            config.model.id,
            config.model.quantization,
            config.model.thinking,
            out,
            metrics,
            work,
            config.training_runs[variant].seed,
            config.runtime.threads,
            config.runtime.memory_gb,
        )
