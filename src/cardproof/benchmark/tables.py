"""Rows of a benchmark from Parquet or CSV, through the library `datasets`: columns checked first, then one row after the other.

Only the library's own readers of these two formats run, on a file that is here already. Code that comes with a data set never does.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from cardproof import outside
from cardproof.errors import CardproofError, did_you_mean

if TYPE_CHECKING:
    from datasets import Features

TEXT, WHOLE, TEXTS, EMPTY = "text", "whole number", "list of texts", "empty"


class Column(NamedTuple):
    """What a column may be."""

    kinds: tuple[str, ...]
    needed: bool = True


PASSAGES: Mapping[str, Column] = {
    "id": Column((TEXT,)),
    "title": Column((TEXT,)),
    "text": Column((TEXT,)),
    "footnotes": Column((TEXT, EMPTY), needed=False),
}
QUESTIONS: Mapping[str, Column] = {
    "id": Column((WHOLE, TEXT)),
    "question": Column((TEXT,)),
    "answer": Column((TEXT,)),
    "relevant_passage_id": Column((TEXT, TEXTS)),
}
LONGEST = 800_000
"""Most bytes of one cell: longer than any text that a benchmark may have (`folder.MAX_TEXT`)."""
MOST_COLUMNS = 1000
"""Most columns of a file."""
BATCH = 1000
"""Rows that are read together."""
FETCH = "fetch or write the file again."


def table_rows(path: Path, columns: Mapping[str, Column]) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet or CSV file, with the known columns alone; what a row lacks is left out.

    CardproofError names file and column if one is missing or has another type, and whatever makes the file unreadable. Other columns are
    named on stderr, and not used.
    """
    return (_parquet if path.suffix == ".parquet" else _csv)(path, columns)


# --- columns ----------------------------------------------------------------------------------------------------------


def _check_names(path: Path, names: Sequence[str]) -> None:
    """CardproofError if there are too many columns, or two of one name."""
    if len(names) > MOST_COLUMNS:
        raise CardproofError(f"{path} has {len(names):,} columns.", f"at most {MOST_COLUMNS:,} are read.")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise CardproofError(f"{path}: the column {twice[0]!r:.80} is there twice.", "give each column once.")


def _used(path: Path, found: Mapping[str, str], columns: Mapping[str, Column]) -> list[str]:
    """The known columns that the file has; `found` is name -> type. CardproofError as `table_rows`."""
    has = f"it has: {', '.join(f'{name:.40}' for name in list(found)[:20])}."
    for name, column in columns.items():
        if name not in found:
            if column.needed:
                raise CardproofError(f"{path}: the column {name!r} is missing.", did_you_mean(name, found, has))
        elif _kind(found[name]) not in column.kinds:
            raise CardproofError(
                f"{path}: the column {name!r} is {found[name]}, not {' or '.join(column.kinds)}.", _cast(name, found[name])
            )
    if others := [name for name in found if name not in columns]:
        print(f"{path}: columns that are not used: {', '.join(f'{name!r:.40}' for name in others[:20])}", file=sys.stderr)
    return [name for name in columns if name in found]


def _kind(type_: str) -> str:
    """The kind of a column by its type's name."""
    if re.fullmatch(r"u?int\d+", type_):
        return WHOLE
    return {"string": TEXT, "list of string": TEXTS, "null": EMPTY}.get(type_, type_)


def _cast(name: str, type_: str) -> str:
    if _kind(type_) == WHOLE:
        return f"store it as text: `dataset.cast_column({name!r}, datasets.Value('string'))`."
    wanted = {name: " or ".join(column.kinds) for table in (PASSAGES, QUESTIONS) for name, column in table.items()}
    return f"give the column as {wanted[name]}; README.md lists the columns of a benchmark."


def _type(feature: Any) -> str:
    """The name of a feature's type, the same for the ways in which texts and lists are stored."""
    from datasets import LargeList, List, Value

    if isinstance(feature, Value):
        return "string" if feature.dtype in {"large_string", "string_view"} else str(feature.dtype)
    if isinstance(feature, List | LargeList):
        return f"list of {_type(feature.feature)}"
    return "a struct" if isinstance(feature, dict) else type(feature).__name__


# --- formats ----------------------------------------------------------------------------------------------------------


def _parquet(path: Path, columns: Mapping[str, Column]) -> Iterator[dict[str, Any]]:
    with _readable(path, "Parquet"):
        import pyarrow.parquet as pq
        from datasets import Features

        with outside.opened(path, outside.MOST_ROWS_BYTES) as f:
            file = pq.ParquetFile(f)
            outside.check_table(path, file.metadata)
            _check_names(path, file.schema_arrow.names)
            features = Features.from_arrow_schema(file.schema_arrow)
            used = _used(path, {name: _type(feature) for name, feature in features.items()}, columns)
            leaves = [file.schema.column(i) for i in range(len(file.schema))]
            _check_lengths(path, [leaf.path for leaf in leaves if leaf.path.split(".")[0] in used and leaf.physical_type == "BYTE_ARRAY"])
        chosen = Features({name: features[name] for name in used})
        for row in _stream("parquet", path, chosen, columns=used, batch_size=BATCH):
            yield {name: row[name] for name in used if row[name] is not None}


def _check_lengths(path: Path, leaves: list[str]) -> None:
    """CardproofError if a cell, or all together, are longer than the limits: a small file may repeat a large text a million times.

    Texts are read as places in a dictionary, so that a repeated one is in memory once.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    total = 0
    with outside.opened(path, outside.MOST_ROWS_BYTES) as f:
        for batch in pq.ParquetFile(f, read_dictionary=leaves).iter_batches(BATCH, columns=leaves):
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                texts = column.flatten() if hasattr(column, "flatten") and not hasattr(column, "dictionary") else column
                lengths = pc.binary_length(texts.dictionary)
                if (longest := pc.max(lengths).as_py() or 0) > LONGEST:
                    raise CardproofError(f"{path}: the column {name!r} has a text of {longest:,} bytes.", f"at most {LONGEST:,} are read.")
                total += pc.sum(pc.take(lengths, texts.indices)).as_py() or 0
            if total > outside.MOST_ROWS_BYTES:
                hint = "give a smaller corpus."
                raise CardproofError(f"{path} unpacks to more than {outside.MOST_ROWS_BYTES:,} bytes of text.", hint)


def _csv(path: Path, columns: Mapping[str, Column]) -> Iterator[dict[str, Any]]:
    with _readable(path, "CSV"):
        from datasets import Features, Value

        header = _header(path)
        # Texts stay texts: `7.10` is not a number, and `NA` may be an answer.
        texts = Features({name: Value("string") for name in header})
        types = dict.fromkeys(header, "string")
        used = _used(path, types, columns)
        options = {"keep_default_na": False, "na_filter": False, "encoding": "utf-8-sig"}
        for number, row in enumerate(_stream("csv", path, texts, **options), 1):
            yield {name: _cell(path, number, name, row[name], columns[name]) for name in used if row[name] or columns[name].needed}


def _header(path: Path) -> list[str]:
    """The names of the columns; CardproofError if the file is not CSV with one field for each of them in every row."""
    csv.field_size_limit(LONGEST)
    with outside.opened(path, outside.MOST_ROWS_BYTES) as raw:
        records = csv.reader(io.TextIOWrapper(raw, encoding="utf-8-sig", newline=""), strict=True)
        header = next(records, [])
        _check_names(path, header)
        for number, record in enumerate(records, 1):
            if record and len(record) != len(header):
                raise CardproofError(
                    f"{path}, row {number} has {len(record)} fields, and the header {len(header)}.",
                    "separate fields by commas, and put one that has a comma or a line break in it between double quotes.",
                )
    return header


def _cell(path: Path, row: int, name: str, text: str, column: Column) -> str | list[str]:
    """A cell of CSV; where a column may hold a list, one that begins with `[` is a list in JSON."""
    if TEXTS not in column.kinds or not text.lstrip().startswith("["):
        return text
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(part, str) for part in found):
        raise CardproofError(f'{path}, row {row}: the column {name!r} is {text!r:.80}, not a list such as ["a", "b"].', "write it as JSON.")
    return found


def _stream(kind: str, path: Path, features: Features, **options: Any) -> Iterator[dict[str, Any]]:
    """The rows of a file by one of the library's readers, in order; little more than BATCH of them is in memory."""
    from datasets import config, load_dataset

    config.HF_UPDATE_DOWNLOAD_COUNTS = False  # it would tell a server about every file that is opened, local ones too
    with TemporaryDirectory(prefix="cardproof-rows-") as folder:
        # A link with a plain name: the library takes brackets and double colons in a path for patterns and addresses.
        link = Path(folder, f"rows{path.suffix}")
        link.symlink_to(path.resolve())
        files = {"train": [str(link)]}
        yield from load_dataset(kind, data_files=files, split="train", streaming=True, cache_dir=folder, features=features, **options)


@contextmanager
def _readable(path: Path, form: str) -> Iterator[None]:
    """A block in which an error of any library becomes a CardproofError about the file."""
    try:
        yield
    except (CardproofError, FileNotFoundError, IsADirectoryError):
        raise
    except ModuleNotFoundError as e:
        raise CardproofError(f"{path} cannot be read without the package {e.name}.", "`make setup` installs it.") from None
    except Exception as e:
        cause: BaseException = e
        while cause.__cause__ is not None:
            cause = cause.__cause__
        said = " ".join(str(cause).split())[:200] or type(cause).__name__
        raise CardproofError(f"{path} is not readable {form}: {said}.", FETCH) from None
