"""A run's samples and scores as a data set: Parquet files with a card, which `datasets.load_dataset` reads from the folder or the Hub.

Replies quote the passages, so prompts, replies and training examples are in it only where the licence of the passages allows that
(`usage.texts_allowed`). Elsewhere it has the numbers, and the hash of each reply.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cardproof import __version__, runs
from cardproof.claims.comparable import against
from cardproof.claims.verdicts import verdicts_of
from cardproof.config.settings import CONDITIONS
from cardproof.evidence.verify import Chain
from cardproof.files import iter_rows, read_rows, sha256_text, write_text
from cardproof.pages.base_card import base_of
from cardproof.pages.card import filled
from cardproof.pages.card_metadata import HUB, dataset
from cardproof.pages.usage import texts_allowed
from cardproof.records import Example, Message, Prompt, Rollout
from cardproof.runs import Run
from cardproof.scoring.frames import read_frame
from cardproof.scoring.table import parquet_schema

if TYPE_CHECKING:
    from datasets import Dataset

TRAIN = "train"
TEMPLATE = "data_set.md.j2"
ABOUT = {
    "samples": "one row for each sampled reply: arm, item, candidate, seed, tokens, hashes of model, adapter and prompt",
    "scores": "one row for each of them: every axis, the quotes with what became of each, refusal and defects",
    "prompts": "one row for each item: question, reference answer, the documents shown, the turns that the model read",
    "training": "the training set: one row for each example that was kept, under the contract and in free form",
}
"""What each configuration holds."""


class Table(NamedTuple):
    """One configuration of the data set."""

    name: str
    files: dict[str, str]
    """Split -> path of its file."""
    rows: int
    about: str


def write(run: Run, chain: Chain, templates: Path, out: Path) -> list[Table]:
    """Write a run's data set into a folder, and return what it holds; CardproofError if a file of the run is missing or broken."""
    from datasets import disable_progress_bars

    disable_progress_bars()
    texts = texts_allowed(run.config)
    parts = {"samples": _samples(run, texts), "scores": _scores(run, texts)}
    if texts:
        parts |= {"prompts": _prompts(run), "training": _training(run)}
    tables = []
    for name, splits in parts.items():
        files, rows = {}, 0
        for split, table in splits:
            files[split] = f"{name}/{split}.parquet"
            (out / name).mkdir(parents=True, exist_ok=True)
            table.to_parquet(out / files[split])
            rows += len(table)
        if files:
            tables.append(Table(name, files, rows, ABOUT[name]))
    write_text(out / "README.md", card(run, chain, tables, templates))
    return tables


def card(run: Run, chain: Chain, tables: list[Table], templates: Path) -> str:
    """The data set's card: its header for the Hub, then what it holds, where it is from and what was left out."""
    config, texts, verdicts = run.config, texts_allowed(run.config), verdicts_of(run)
    hub = config.benchmark.source == "hub"
    return filled(
        templates,
        TEMPLATE,
        {
            "header": _header(run, tables),
            "title": config.header.title or config.run,
            "run": config,
            "version": __version__,
            "data": dataset(config.benchmark)[1],
            "data_link": f"{HUB}/datasets/{config.benchmark.id}" if hub else None,
            "tables": tables,
            "trains": any(TRAIN in table.files for table in tables if table.name == "samples"),
            "texts": texts,
            "license": config.header.data_license,
            "digest": chain.digest,
            "published": verdicts.card,
            "differing": [check.what for check in against(verdicts.compared)],
        },
    )


def _header(run: Run, tables: list[Table]) -> str:
    from huggingface_hub import DatasetCardData

    config = run.config
    # Without texts it holds numbers alone, and no licence of the passages is on them.
    license = (config.header.data_license or "other") if texts_allowed(config) else None
    data = DatasetCardData(
        license=license,
        language=base_of(run).language or None,
        pretty_name=f"{config.header.title or config.run}: samples and scores",
        tags=["cardproof", "grounded-generation", *config.header.tags],
        source_datasets=[config.benchmark.id] if config.benchmark.source == "hub" else None,
        configs=[
            {"config_name": table.name, "data_files": [{"split": split, "path": path} for split, path in table.files.items()]}
            | ({"default": True} if table.name == "samples" else {})
            for table in tables
        ],
    )
    return data.to_yaml().strip()


# --- tables -----------------------------------------------------------------------------------------------------------


def _splits(run: Run) -> Iterator[tuple[str, list[str]]]:
    """Each condition and its arms; the candidates for training are a split and an arm of their own."""
    for condition in CONDITIONS:
        yield condition, list(run.config.sampled_arms)
    if run.has(runs.scores(TRAIN, TRAIN)):
        yield TRAIN, [TRAIN]


def _samples(run: Run, texts: bool) -> Iterator[tuple[str, Dataset]]:
    from datasets import Dataset, Features, Value

    kinds = {name: Value("int64" if field.annotation is int else "string") for name, field in Rollout.model_fields.items()}
    if not texts:
        kinds = {"text_sha256" if name == "text" else name: kind for name, kind in kinds.items()}
    for condition, arms in _splits(run):
        rows = [_sample(row, texts) for arm in arms for row in iter_rows(run.path(runs.samples(arm, condition)), Rollout)]
        yield condition, Dataset.from_list(rows, Features(kinds))


def _sample(row: Rollout, texts: bool) -> dict[str, Any]:
    return row.model_dump() if texts else {**row.model_dump(exclude={"text"}), "text_sha256": sha256_text(row.text)}


def _scores(run: Run, texts: bool) -> Iterator[tuple[str, Dataset]]:
    import pyarrow as pa
    from datasets import Dataset

    schema = parquet_schema()
    if not texts:
        quotes = schema.field("quotes").type.value_type
        kept = pa.list_(pa.struct([field for field in quotes if field.name != "text"]))
        schema = pa.schema([pa.field("quotes", kept) if field.name == "quotes" else field for field in schema if field.name != "answer"])
    for condition, arms in _splits(run):
        rows = [row for arm in arms for row in read_frame(run.path(runs.scores(arm, condition))).to_dicts()]
        yield condition, Dataset(pa.Table.from_pylist(rows, schema))


def _prompts(run: Run) -> Iterator[tuple[str, Dataset]]:
    from datasets import Dataset, Features, List, Value

    text = Value("string")
    kinds = Features(
        {
            "item": Value("int64"),
            "name": text,
            "question": text,
            "reference": text,
            "oracle_ids": List(text),
            "oracle_present": Value("bool"),
            "documents": List({"id": text, "text": text, "role": text}),
            "messages": _messages(),
            "reply_prefix": text,
            "prompt_hash": text,
        }
    )
    for condition, _ in _splits(run):
        prompts = read_rows(run.path(runs.prompts(condition)), Prompt)
        rows = [p.model_dump() | {"name": p.name, "oracle_ids": [p.oracle_id, *p.further_oracle_ids]} for p in prompts]
        yield condition, Dataset.from_list([{name: row[name] for name in kinds} for row in rows], kinds)


def _training(run: Run) -> Iterator[tuple[str, Dataset]]:
    from datasets import Dataset, Features, Value

    if not run.has(runs.EXAMPLES):
        return
    turn = {"messages": _messages(), "reply": Value("string")}
    whole = Value("int64")
    kinds = Features({"item": whole, "k": whole, "composite": Value("float64"), "contract": turn, "freeform": turn})
    yield TRAIN, Dataset.from_list([row.model_dump() for row in iter_rows(run.path(runs.EXAMPLES), Example)], kinds)


def _messages() -> Any:
    from datasets import List, Value

    return List({name: Value("string") for name in Message.model_fields})
