"""The per-item table: rows are items, columns the arms side by side. The page shows it, and it is downloaded as CSV and as Parquet.

Each cell is what an item adds to a printed number: the value of the candidate that best-of-N picks, in expectation where candidates tie, by
the functions that make the numbers. So a number is the weighted mean (or the sum) of a column over the rows that count.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl

from cardproof.config.settings import CONDITIONS
from cardproof.evaluation.axes import AXES, AXIS
from cardproof.evaluation.bounded import Floats
from cardproof.evaluation.evaluate import values
from cardproof.evaluation.mechanism import KINDS, gaps
from cardproof.evaluation.rerank import Table, aligned
from cardproof.files import read_rows
from cardproof.pages.over import REFUSED, WORDS
from cardproof.records import Prompt
from cardproof.runs import Run, prompts
from cardproof.scoring.frames import read_scores

PLACES = 6
"""Decimals of a value on the page and in the CSV; the Parquet file has all of them."""
FIRST = ("strict", "citation_validity", "rouge_l", "support", REFUSED)
"""The axes that come first; then the picked reply and whether there was a choice, then the other axes."""
WHOLE = ("strict", "content", "attribution", "citation_validity", "gold_rouge")
"""Axes on which an item holds or fails: it holds with the value 1."""
COUNTED: dict[str, str] = {"strict_quotes" if kind == "strict" else kind: kind for kind in KINDS}
"""Column that counts quotes -> their kind."""
Columns = dict[str, Floats]


class PerItem(NamedTuple):
    """The table in both its forms."""

    data: dict[str, Any]
    """What the page shows."""
    parquet: bytes
    """The same as a Parquet file: a row for each condition and item, a column `AXIS.ARM` for each axis and arm."""


def per_item(run: Run, arms: list[str]) -> PerItem:
    """The table of a run; CardproofError if scores are missing, or arms do not have the same items."""
    tables = {condition: aligned({arm: read_scores(run.path("scores"), arm, condition) for arm in arms}) for condition in CONDITIONS}
    listed = [name for name in (*FIRST, *(a.name for a in AXES), "gap") if name != "false_refusals"]
    entries = [{"name": name, "title": WORDS[name], "whole": name in WHOLE} for name in dict.fromkeys(listed)]
    data = {
        "arms": arms,
        "columns": entries,
        "first": len(FIRST),
        "conditions": {condition: _condition(found, condition) for condition, found in tables.items()},
    }
    frame = pl.concat([_frame(run, found, condition, entries) for condition, found in tables.items()])
    out = io.BytesIO()
    frame.write_parquet(out, compression="zstd", statistics=False)
    return PerItem(data, out.getvalue())


# --- the columns ------------------------------------------------------------------------------------------------------


def columns(table: Table, curves: bool = False) -> Columns:
    """Every column of an arm under a condition: what each item adds; shape (items,).

    `answered` is how often the picked candidate answers: the weight of the quality axes. `NAME@N` is the same for best-of-N; of quotes,
    `NAME@1` counts those of all candidates. `curves` adds the composite at every N.
    """
    found = {a.name: values(table, a).totals for a in AXES if a.over == "answered"}
    found |= {"answered": values(table, AXIS["strict"]).weights, "answered@1": values(table, AXIS["strict"], 1).weights}
    found |= {"strict@1": values(table, AXIS["strict"], 1).totals}
    found |= {"gap": gaps(table).totals, "gap@1": gaps(table, 1).totals, "quoting": table.expected(pl.col("quotes").list.len() > 0)}
    for name, counted in _counted().items():
        found |= {name: table.expected(counted), f"{name}@1": table.expected(counted, 1) * table.best_of}
    draws = range(1, table.best_of + 1) if curves else (1,)
    found |= {f"composite@{n}": values(table, AXIS["composite"], n).totals for n in draws}
    return found


def _counted() -> dict[str, pl.Expr]:
    """Column -> how many quotes of a reply it counts; 0 for refusals."""
    quote = pl.element().struct
    kinds = {name: (quote.field("kind") == kind) for name, kind in COUNTED.items()}
    kinds |= {"slips": quote.field("strict") & ~quote.field("attributed")}
    found = {name: pl.col("quotes").list.eval(kind).list.sum() for name, kind in kinds.items()}
    found["quotes"] = pl.col("quotes").list.len()
    return {name: pl.when("refusal").then(0).otherwise(count) for name, count in found.items()}


def picked(table: Table) -> list[list[int]]:
    """The candidates that best-of-N takes of each item: one, or those that tie."""
    ks = table.rows["k"].to_numpy().reshape(len(table.shares), -1)
    return [
        [int(k) for k, share in zip(row, shares, strict=True) if share > 0] for row, shares in zip(ks, table.shares[:, :, -1], strict=True)
    ]


def _condition(tables: Mapping[str, Table], condition: str) -> dict[str, Any]:
    first = next(iter(tables.values()))
    return {
        "items": first.of_items("item").to_list(),
        "oracle": first.of_items("oracle_present").cast(pl.Int8).to_list(),
        "best_of": first.best_of,
        "arms": {
            arm: {
                "picked": picked(table),
                **{name: _short(column) for name, column in columns(table, curves=condition == "clean").items()},
            }
            for arm, table in tables.items()
        },
    }


def _short(column: Floats) -> list[float | int]:
    """A column with as many decimals as the page keeps; whole numbers as such."""
    rounded = [round(float(x), PLACES) for x in column]
    return [int(x) if x == int(x) else x for x in rounded]


# --- Parquet ----------------------------------------------------------------------------------------------------------


def _frame(run: Run, tables: Mapping[str, Table], condition: str, listed: list[dict[str, Any]]) -> pl.DataFrame:
    first = next(iter(tables.values()))
    questions = {p.item: p.question for p in read_rows(run.path(prompts(condition)), Prompt)}
    items = first.of_items("item").to_list()
    frame: dict[str, Any] = {
        "condition": [condition] * len(items),
        "item": items,
        "question": [questions.get(item, "") for item in items],
        "oracle_present": first.of_items("oracle_present"),
    }
    found = {arm: columns(table) for arm, table in tables.items()}
    for name in (entry["name"] for entry in listed):
        for arm, of_arm in found.items():
            weights = of_arm["answered"]
            frame[f"{name}.{arm}"] = (
                1 - weights if name == REFUSED else [t / w if w else None for t, w in zip(of_arm[name], weights, strict=True)]
            )
    for arm, table in tables.items():
        taken = picked(table)
        frame |= {f"picked.{arm}": taken, f"had_choice.{arm}": [len(ks) < table.best_of for ks in taken]}
    kinds = {name: pl.Float64 for name in frame if name.partition(".")[0] in {entry["name"] for entry in listed}}
    return pl.DataFrame(frame, schema_overrides={**kinds, **{f"picked.{arm}": pl.List(pl.Int64) for arm in tables}})
