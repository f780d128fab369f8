"""Scores files as frames, checked when they are read."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from cardproof import outside
from cardproof.config.settings import Scoring
from cardproof.errors import CardproofError, did_you_mean
from cardproof.files import AGAIN
from cardproof.records import Score

RESCORE = "score these samples again: values from different ladders cannot be compared."


def read_scores(scores_dir: Path, arm: str, condition: str) -> pl.DataFrame:
    """The Score rows of one arm and condition; CardproofError names the file and the column at fault."""
    path = Path(scores_dir) / arm / f"{condition}.parquet"
    frame = read_frame(path)
    _check_values(frame, path, arm, condition)
    return frame.with_columns(pl.col("support").cast(pl.Float64))


def read_frame(path: Path) -> pl.DataFrame:
    """A scores file; CardproofError if it is missing or cut, lacks a column, or has no rows."""
    if not path.is_file():
        raise CardproofError(f"{path} does not exist.", "run the step that makes it (`cardproof score`), or check the path.")
    frame = _table(path)
    if "ladder" not in frame.columns and "quotes" in frame.columns:
        raise CardproofError(f"{path}: scored by an earlier cardproof, with another ladder than this one's.", RESCORE)
    for column in Score.model_fields:
        if column not in frame.columns:
            hint = did_you_mean(column, frame.columns, f"it has: {', '.join(frame.columns)}.")
            raise CardproofError(f"{path}: column {column!r} is missing.", hint)
    if frame.is_empty():
        raise CardproofError(f"{path} has no rows.", "score at least one item, and run again.")
    ours = Scoring().ladder
    if other := sorted(set(frame["ladder"].to_list()) - {ours}, key=str):
        raise CardproofError(f"{path}: scored with version {other[0]} of the ladder, but this cardproof has version {ours}.", RESCORE)
    return frame


def _table(path: Path) -> pl.DataFrame:
    """The content of a parquet file; CardproofError if it is none, or says that it unpacks to more than the limits in `outside`."""
    import pyarrow.parquet as pq
    from pyarrow import ArrowException

    try:
        with outside.opened(path, outside.MOST_ROWS_BYTES) as f:
            outside.check_table(path, pq.ParquetFile(f).metadata)
            f.seek(0)
            return pl.read_parquet(f)
    except (pl.exceptions.PolarsError, ArrowException, OSError, ValueError) as e:
        said = " ".join(str(e).split())
        raise CardproofError(f"{path} is not a readable parquet file: {said}.", AGAIN) from None
    except BaseException as e:
        if type(e).__name__ != "PanicException":  # what polars raises where its reader has no error of its own
            raise
        raise CardproofError(f"{path} is not a readable parquet file.", AGAIN) from None


def _check_values(frame: pl.DataFrame, path: Path, arm: str, condition: str) -> None:
    for column, want in (("arm", arm), ("condition", condition)):
        other = frame.filter(pl.col(column).ne_missing(want))
        if not other.is_empty():
            raise CardproofError(
                f"{path}: a row has {column} {other[column][0]!r}, not {want!r}.", "each file holds one arm and condition."
            )
    for column in ("item", "k", "oracle_present", "refusal", "quotes"):
        if frame[column].null_count():
            raise CardproofError(f"{path}: column {column!r} has an empty value.", AGAIN)
    for column in ("strict", "content", "attribution", "citation_validity", "rouge_l", "gold_rouge", "composite", "support"):
        # Support alone may be empty: a refusal has none.
        wrong = frame.filter(~pl.col(column).cast(pl.Float64).is_finite().fill_null(column == "support"))
        if not wrong.is_empty():
            row = wrong.row(0, named=True)
            raise CardproofError(f"{path}: column {column!r} is {row[column]} for item {row['item']}, k {row['k']}.", AGAIN)
