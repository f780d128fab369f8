"""What the Hub reads from a card: its YAML header with `model-index`, and `.eval_results/*.yaml`; built by the Hub's own classes.

The numbers are the rendered card's: those of the arm the card is about. A run that is not a reproduction says so in the header's name
and tags, and beside every number. An entry of `.eval_results` names a task that a data set on the Hub defines, so it exists only where the
configuration names one (`header.tasks`). Licence and languages are the base model's, unless the configuration says otherwise.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cardproof.config.settings import Benchmark, Config
from cardproof.errors import CardproofError, did_you_mean
from cardproof.evaluation.axes import LABELS
from cardproof.evaluation.of_run import Evaluation
from cardproof.evaluation.printed import number
from cardproof.evaluation.results import AxisTable
from cardproof.pages.base_card import Base
from cardproof.records import Estimate
from cardproof.runs import EVAL_RESULTS

SCHEMAS = Path(__file__).resolve().parents[3] / "schemas"
TASK = "text-generation"
DOCUMENTS = {"axes": "oracle passage alone", "stress": "distractors added, oracle passage dropped at times"}
"""Files of `evaluation/` whose axes the Hub is told, and what documents the arm was shown."""
CONFIGURATIONS = {"axes": "clean", "stress": "stress"}
"""The same files and the condition; the Hub's class tells results apart by a data set's configuration, not by the task's name."""


HUB = "https://huggingface.co"


def header(run: Config, base: Base, results: Evaluation, subject: str, name: str, published: bool | None) -> str:
    """The card's YAML header; `published`: it may go by the published card's name (None: there is no such card)."""
    from huggingface_hub import EvalResult, ModelCardData

    kind, called = dataset(run.benchmark)
    entries = [
        EvalResult(
            task_type=TASK,
            task_name=f"quote-first question answering, {DOCUMENTS[file]}",
            dataset_type=kind,
            dataset_name=called,
            dataset_config=CONFIGURATIONS[file],
            dataset_split="held-out half",
            dataset_revision=run.benchmark.revision if run.benchmark.source == "hub" else None,
            metric_type=axis,
            metric_name=f"{LABELS[axis]}: {note(estimate, table(results, file).best_of)}",
            metric_value=value,
        )
        for file, axis, value, estimate in measured(results, subject)
    ]
    data = ModelCardData(
        license=base.license,
        license_name=base.license_name,
        license_link=base.license_link,
        language=base.language or None,
        library_name="peft",
        pipeline_tag=TASK,
        model_name=name,
        base_model=base.id,
        base_model_relation="adapter" if base.id else None,
        datasets=[run.benchmark.id] if run.benchmark.source == "hub" else None,
        tags=tags(run, subject, published),
        eval_results=entries,
    )
    return data.to_yaml().strip()


def tags(run: Config, subject: str, published: bool | None) -> list[str]:
    """Tags of the method, those of the configuration, and what the run is not."""
    quantized = run.arms[subject].adapter == "trained" and run.model.quantization == "nf4"
    marks = {"qlora": quantized, "synthetic": run.synthetic, "not-a-reproduction": published is False}
    further = [tag for tag, holds in marks.items() if holds]
    return list(dict.fromkeys(["cardproof", "lora", "grounded-generation", *run.header.tags, *further]))


def eval_results(run: Config, results: Evaluation, subject: str, published: bool | None) -> str | None:
    """The content of the Hub's list of results; None if the run's data set is not on the Hub or defines no task that the run knows."""
    import yaml
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    if not run.hub_tasks:
        return None
    further = ["not a reproduction"] * (published is False)
    asked = {f"{'' if file == 'axes' else file + '_'}{axis}": (file, axis) for file in DOCUMENTS for axis in LABELS}
    if unknown := sorted(run.hub_tasks.keys() - asked):
        raise CardproofError(
            f"header.tasks names {unknown[0]!r}, which is not an axis.", did_you_mean(unknown[0], asked, f"axes: {', '.join(asked)}.")
        )
    tasks = {asked[name]: task for name, task in run.hub_tasks.items()}
    entries = [
        EvalResultEntry(
            dataset_id=run.benchmark.id,
            dataset_revision=run.benchmark.revision,
            task_id=tasks[file, axis],
            value=value,
            notes="; ".join([DOCUMENTS[file], note(estimate, table(results, file).best_of), *further]),
        )
        for file, axis, value, estimate in measured(results, subject)
        if (file, axis) in tasks
    ]
    return yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True, width=140)


def sourced(entries: str, repository: str, date: str) -> str:
    """The list of results with where each number can be checked (the repository's own page) and when it was published (ISO 8601)."""
    import yaml

    source = {"url": f"{HUB}/{repository}", "name": "cardproof"}
    rows = [{**row, "date": date, "source": source} for row in yaml.safe_load(entries)]
    return yaml.safe_dump(rows, sort_keys=False, allow_unicode=True, width=140)


def measured(results: Evaluation, subject: str) -> list[tuple[str, str, float, Estimate]]:
    """File, axis, value as the card prints it, and estimate of every axis of the arm `subject` that has a value."""
    numbers = []
    for file in DOCUMENTS:
        for axis in LABELS:
            estimate: Estimate = getattr(table(results, file).arms[subject], axis)
            if estimate.value is not None:
                numbers.append((file, axis, round(estimate.value, 3), estimate))
    return numbers


def table(results: Evaluation, file: str) -> AxisTable:
    """The axes in one of the files of `SHOWN`."""
    return results.axes if file == "axes" else results.stress


def note(estimate: Estimate, best_of: int) -> str:
    """How a number was made, in a line: best-of-N, n and interval."""
    span = "" if estimate.low is None else f", {estimate.level:.0%} interval {number(estimate.low)} to {number(estimate.high)}"
    return f"verifier-reranked best of {best_of}, n = {estimate.n}{span}"


def dataset(benchmark: Benchmark) -> tuple[str, str]:
    """A data set's id for the Hub and its name for readers; data that the Hub does not know says so in its name."""
    if benchmark.source == "hub":
        return benchmark.id, benchmark.id.rpartition("/")[2]
    if benchmark.source == "embedded":
        return "cardproof-licence-questions", "cardproof's own questions on open-source licences"
    folder = Path(str(benchmark.path)).name
    return folder, f"{folder} (a local folder)"


def check(text: str, entries: str | None) -> None:
    """Raise CardproofError if a card's header or the content of its `.eval_results` file is not what the Hub takes.

    Both are read back by huggingface_hub's own classes and held against `schemas/hub_*.schema.json`, without a network.
    """
    import yaml
    from huggingface_hub import ModelCard, parse_eval_result_entries

    hint = "render the card again; if that does not help, the results have a value that a card cannot."
    try:
        content = yaml.safe_load(ModelCard(text).data.to_yaml())
        results = yaml.safe_load(entries) if entries is not None else None
        if results is not None:
            parse_eval_result_entries(results)
    except (ValueError, KeyError, TypeError, yaml.YAMLError) as e:
        raise CardproofError(f"The Hub's library cannot read the card's metadata: {' '.join(str(e).split())}.", hint) from None
    _follows("hub_card", content, "header", hint)
    if results is not None:
        _follows("hub_eval_results", results, EVAL_RESULTS, hint)


def _follows(schema: str, content: Any, where: str, hint: str) -> None:
    import jsonschema

    validator = jsonschema.Draft202012Validator(json.loads((SCHEMAS / f"{schema}.schema.json").read_text(encoding="utf-8")))
    for error in sorted(validator.iter_errors(content), key=lambda e: list(map(str, e.absolute_path))):
        path = "/".join(map(str, error.absolute_path))
        raise CardproofError(f"The card's {where}: {path or 'as a whole'}: {error.message}.", hint)
