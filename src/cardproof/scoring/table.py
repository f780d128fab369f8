"""The table of scores, written in row groups."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cardproof.contract.grounding import Match
from cardproof.files import atomic
from cardproof.records import Defect, Grounding, Score

if TYPE_CHECKING:
    import pyarrow as pa


class ScoreFields(NamedTuple):
    """The fields of a `Score`, in its order and unchecked: what goes into the columns of a scores file."""

    item: int
    k: int
    arm: str
    condition: str
    oracle_present: bool
    refusal: bool
    answer: str
    citations: list[str]
    defects: list[Defect]
    quotes: list[Match]
    strict: float
    content: float
    attribution: float
    citation_validity: float
    rouge_l: float
    gold_rouge: float
    support: float | None
    composite: float
    completion_tokens: int
    finish_reason: str
    ladder: int


ROWS = 16_384
"""Rollouts in a row group of a scores file; so many are in memory while they are written."""


def parquet_schema() -> pa.Schema:
    """Names and types of the columns of a scores file, from the fields of Score."""
    import pyarrow as pa

    texts = pa.list_(pa.string())
    kinds: dict[Any, pa.DataType] = {
        bool: pa.bool_(),
        int: pa.int64(),
        float: pa.float64(),
        str: pa.string(),
        float | None: pa.float64(),
        str | None: pa.string(),
        int | None: pa.int64(),
    }
    quote = pa.struct([(name, kinds.get(field.annotation, pa.string())) for name, field in Grounding.model_fields.items()])
    quote = pa.struct([pa.field("steps", texts) if field.name == "steps" else field for field in quote])
    return pa.schema(
        [(name, pa.list_(quote) if name == "quotes" else kinds.get(field.annotation, texts)) for name, field in Score.model_fields.items()]
    )


def write_scores(path: Path, scores: Iterable[ScoreFields]) -> int:
    """Write scores as Parquet (columns = fields of Score), atomically and with the same bytes for the same rows; returns how many.

    Rows are taken and written in groups of ROWS, so the memory needed does not grow with them.
    """
    import pyarrow.parquet as pq

    schema, count = parquet_schema(), 0
    rows = iter(scores)
    group = list(islice(rows, ROWS))  # an error in the first rows is raised before a file is made
    with atomic(path) as tmp, open(tmp, "wb") as f, pq.ParquetWriter(f, schema, compression="zstd", write_statistics=False) as writer:
        while group:
            writer.write_batch(_columns(group, schema))
            count += len(group)
            group = list(islice(rows, ROWS))
    print(f"{path}: {count} rollouts scored", file=sys.stderr)
    return count


def _columns(rows: Sequence[ScoreFields], schema: pa.Schema) -> pa.RecordBatch:
    """Rows as a batch of columns. Structs are built from columns of their own, which is ten times as fast as row by row."""
    import pyarrow as pa

    columns = dict(zip(ScoreFields._fields, zip(*rows, strict=True), strict=True))
    quotes = columns.pop("quotes")
    kind = schema.field("quotes").type.value_type
    each = list(zip(*chain.from_iterable(quotes), strict=True)) or [()] * kind.num_fields
    parts = [pa.array(values, field.type) for values, field in zip(each, kind, strict=True)]
    offsets = pa.array(accumulate(map(len, quotes), initial=0), pa.int32())
    nested = pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(parts, fields=list(kind)))
    return pa.record_batch([nested if f.name == "quotes" else pa.array(columns[f.name], f.type) for f in schema], schema=schema)
