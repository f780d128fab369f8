"""A benchmark in Parquet or CSV: the same rows as in JSON Lines, columns that do not fit named, and no code or network."""

from __future__ import annotations

import csv
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cardproof.acquire import hub
from cardproof.benchmark.acquire_benchmark import acquire_benchmark
from cardproof.benchmark.folder import load_folder
from cardproof.benchmark.tables import PASSAGES, table_rows
from cardproof.config.settings import Benchmark, Config
from cardproof.errors import CardproofError
from cardproof.files import sha256_file, write_json
from cardproof.machine import preflight

COMMIT = "c0ffee" * 6 + "beef"
CORPUS = [
    {"id": "7.10", "title": "NA", "text": 'Er sagte: "Ja, gewiß",\nund ging.', "footnotes": None},
    {"id": "8", "title": "null", "text": "借主は、二回まで延長できる。", "footnotes": "[^1]: 図書館規則"},
    {"id": "0012", "title": "x", "text": "True", "footnotes": None},
]
QA = [
    {"id": "q-a", "question": "Ging er?", "answer": "None", "relevant_passage_id": ["7.10", "0012"]},
    {"id": "q-b", "question": "何回?", "answer": "二回", "relevant_passage_id": ["8"]},
]
Rows = list[dict[str, Any]]


def jsonl(path: Path, rows: Rows) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def parquet(path: Path, rows: Rows) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path)


def as_csv(path: Path, rows: Rows) -> None:
    with open(path, "w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, list(rows[0]))
        writer.writeheader()
        writer.writerows({k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()} for row in rows)


WRITE: dict[str, Callable[[Path, Rows], None]] = {"jsonl": jsonl, "parquet": parquet, "csv": as_csv}


def folder(path: Path, form: str, corpus: Rows = CORPUS, qa: Rows = QA) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    WRITE[form](path / f"corpus.{form}", corpus)
    WRITE[form](path / f"qa.{form}", qa)
    return path


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody is asked or told anything, although the library thinks that it is online; it swallows its own errors."""
    from datasets import config
    from huggingface_hub import constants

    asked: list[object] = []

    def refuse(*arguments: object) -> None:
        asked.append(arguments)
        raise OSError("there is no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(config, "HF_UPDATE_DOWNLOAD_COUNTS", True)
    yield
    assert not asked


# --- the same rows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_every_format_gives_the_rows_of_json_lines(form: str, tmp_path: Path) -> None:
    passages, questions = load_folder(folder(tmp_path / form, form))
    assert (passages, questions) == load_folder(folder(tmp_path / "jsonl", "jsonl"))
    assert [p.model_dump() for p in passages] == CORPUS
    assert [(q.id, q.name, q.oracles, q.answer) for q in questions] == [(1, "q-a", ["7.10", "0012"], "None"), (2, "q-b", ["8"], "二回")]


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t"), min_size=1, max_size=20).map(lambda t: f"a{t}z")


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(TEXTS, min_size=1, max_size=5), form=st.sampled_from(["parquet", "csv"]))
def test_any_text_stays_what_it_is(texts: list[str], form: str, tmp_path: Path) -> None:
    rows = [{"id": f"p{i}", "title": text, "text": text} for i, text in enumerate(texts)]
    WRITE[form](tmp_path / f"t.{form}", rows)
    assert list(table_rows(tmp_path / f"t.{form}", PASSAGES)) == rows


def test_whole_numbers_and_single_passages(tmp_path: Path) -> None:
    qa = [row | {"id": 40 + i, "relevant_passage_id": "8"} for i, row in enumerate(QA)]
    for form in ("parquet", "csv"):
        _, questions = load_folder(folder(tmp_path / form, form, qa=qa))
        assert [(q.id, q.name, q.oracles) for q in questions] == [(40, None, ["8"]), (41, None, ["8"])]


def test_csv_as_spreadsheets_write_it(tmp_path: Path) -> None:
    """With a byte order mark, line ends of Windows, also in a cell, and empty lines."""
    rows = '\ufeffid,title,text\r\n"1","t","a\r\nb ""c"""\r\n\r\n2,t,"x\ny"\r\n'
    (tmp_path / "c.csv").write_bytes(rows.encode())
    found = list(table_rows(tmp_path / "c.csv", PASSAGES))
    assert found == [{"id": "1", "title": "t", "text": 'a\r\nb "c"'}, {"id": "2", "title": "t", "text": "x\ny"}]


def test_types_of_other_writers(tmp_path: Path) -> None:
    """What pandas and polars write: large texts, large lists, small whole numbers, and a column that is not used."""
    folder(tmp_path, "parquet")
    schema = pa.schema([("id", pa.int16()), ("question", pa.large_string()), ("answer", pa.large_string())])
    schema = schema.append(pa.field("relevant_passage_id", pa.large_list(pa.large_string()))).append(pa.field("extra", pa.float32()))
    rows = [row | {"id": i, "extra": 0.5} for i, row in enumerate(QA)]
    pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "qa.parquet")
    _, questions = load_folder(tmp_path)
    assert [(q.id, q.oracles) for q in questions] == [(0, ["7.10", "0012"]), (1, ["8"])]


def test_a_categorical_is_its_texts(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(CORPUS)
    pq.write_table(table.set_column(2, "text", table["text"].dictionary_encode()), folder(tmp_path, "parquet") / "corpus.parquet")
    assert [p.model_dump() for p in load_folder(tmp_path)[0]] == CORPUS


def test_a_data_set_that_the_library_wrote(tmp_path: Path) -> None:
    from datasets import Dataset

    for name, rows in (("corpus", CORPUS), ("qa", QA)):
        Dataset.from_list(rows).to_parquet(tmp_path / f"{name}.parquet")
    assert load_folder(tmp_path) == load_folder(folder(tmp_path / "jsonl", "jsonl"))


# --- which files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("corpus", "qa", "patterns"),
    [
        (["corpus/test-00000-of-00002.parquet", "corpus/test-00001-of-00002.parquet"], "qa/test-00000-of-00001.parquet", {}),
        (["data/corpus-00000-of-00002.parquet", "data/corpus-00001-of-00002.parquet"], "data/qa-00000-of-00001.parquet", {}),
        (["corpus.csv"], "questions.parquet", {}),
        (["corpus-v2.jsonl"], "q.csv", {}),
        (["a/rows.csv"], "b/rows.csv", {"corpus": "a/rows.csv", "questions": "b/*"}),
        (["corpus.jsonl"], "mine.parquet", {"questions": "mine.parquet"}),
    ],
)
def test_parts_are_found_by_name_or_pattern(corpus: list[str], qa: str, patterns: dict[str, str], tmp_path: Path) -> None:
    pieces = [CORPUS[:1], CORPUS[1:]] if len(corpus) > 1 else [CORPUS]
    for name, rows in (*zip(corpus, pieces, strict=True), (qa, QA)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        WRITE[name.rpartition(".")[2]](tmp_path / name, rows)
    source = Benchmark(source="folder", path=str(tmp_path), sha256={name: sha256_file(tmp_path / name) for name in corpus}, **patterns)
    passages, questions = acquire_benchmark(source, 0, tmp_path)
    assert [p.id for p in passages] == ["7.10", "8", "0012"] and len(questions) == 2
    wrong = source.model_copy(update={"sha256": {**source.sha256, corpus[-1]: "0" * 64}})
    with pytest.raises(CardproofError, match="is not the pinned file"):
        acquire_benchmark(wrong, 0, tmp_path)
    if len({name.rpartition("/")[2] for name in (*corpus, qa)}) > len(corpus):  # a pin by name alone is of all files of that name
        by_name = source.model_copy(update={"sha256": {name.rpartition("/")[2]: digest for name, digest in source.sha256.items()}})
        assert acquire_benchmark(by_name, 0, tmp_path)[0] == passages


@pytest.mark.parametrize(("name", "patterns"), [("corpus/extra.jsonl", {}), ("corpus/corpus-2.jsonl", {"corpus": "corpus/*.jsonl"})])
def test_more_rows_beside_a_pinned_file_are_refused(name: str, patterns: dict[str, str], tmp_path: Path) -> None:
    """Else a run on more passages than the published ones would be told to have used the published ones."""
    (tmp_path / "corpus").mkdir()
    WRITE["jsonl"](tmp_path / "corpus/corpus.jsonl", CORPUS[:2])
    WRITE["jsonl"](tmp_path / name, CORPUS[2:])
    WRITE["jsonl"](tmp_path / "qa.jsonl", QA)
    pins = {file: sha256_file(tmp_path / file) for file in ("corpus/corpus.jsonl", "qa.jsonl")}
    source = Benchmark(source="folder", path=str(tmp_path), sha256=pins, **patterns)
    with pytest.raises(
        CardproofError, match=rf"{name} is read as well as corpus/corpus\.jsonl, which is pinned .* but is not pinned itself"
    ):
        acquire_benchmark(source, 0, tmp_path)
    both = source.model_copy(update={"sha256": {**pins, name: sha256_file(tmp_path / name)}})
    assert len(acquire_benchmark(both, 0, tmp_path)[0]) == 3


def test_pins_of_other_files_vouch_for_nothing(tmp_path: Path) -> None:
    """Otherwise the published data's pins would make any tables the published data."""
    data = folder(tmp_path / "data", "csv")
    settings = Benchmark(source="folder", path=str(data))
    with pytest.raises(CardproofError, match=r"qa\.jsonl is pinned \(benchmark\.sha256\) but not there; read are corpus\.csv, qa\.csv"):
        acquire_benchmark(settings, 0, tmp_path)
    free = Benchmark(source="folder", path=str(data), sha256={"qa.jsonl": "null", "corpus.jsonl": None})  # as Snakemake passes a null on
    assert len(acquire_benchmark(free, 0, tmp_path)[0]) == 3


def test_a_part_of_the_data_under_a_name_of_its_own_is_not_taken_for_the_pinned_file(tmp_path: Path) -> None:
    """Else a run on a subset of the published corpus would be told to have used the published one."""
    data = folder(tmp_path / "data", "jsonl")
    (data / "corpus.jsonl").rename(data / "corpus_subset.jsonl")
    pinned = Benchmark(source="folder", path=str(data), sha256={"qa.jsonl": None, "corpus.jsonl": "0" * 64})
    with pytest.raises(CardproofError, match=r"corpus\.jsonl is pinned .* read are corpus_subset\.jsonl, qa\.jsonl") as caught:
        acquire_benchmark(pinned, 0, tmp_path)
    assert caught.value.hint == "set benchmark.sha256.corpus.jsonl to null, and pin the files that are read."
    own = {"qa.jsonl": None, "corpus.jsonl": None, "corpus_subset.jsonl": sha256_file(data / "corpus_subset.jsonl")}
    assert len(acquire_benchmark(pinned.model_copy(update={"sha256": own}), 0, tmp_path)[0]) == 3


def test_parts_that_cannot_be_told_are_named(tmp_path: Path) -> None:
    folder(tmp_path, "csv")
    parquet(tmp_path / "corpus.parquet", CORPUS)
    with pytest.raises(CardproofError, match=r"has 2 files that may be the corpus: corpus\.csv, corpus\.parquet") as caught:
        load_folder(tmp_path)
    assert "set benchmark.corpus to it" in str(caught.value.hint)
    assert len(load_folder(tmp_path, corpus="corpus.csv")[0]) == 3
    with pytest.raises(CardproofError, match=r"has no file 'corpus\.txt' \(benchmark\.corpus\)"):
        load_folder(tmp_path, corpus="corpus.txt")
    with pytest.raises(CardproofError, match=r"has no file '\.\./secret\.csv'"):
        load_folder(tmp_path, corpus="../secret.csv")


@pytest.mark.parametrize("name", ["data[1]", "a b", "hf::x", "{train}", "*"])
def test_a_folder_may_have_any_name(name: str, tmp_path: Path) -> None:
    assert len(load_folder(folder(tmp_path / name, "parquet"))[0]) == 3


# --- what does not fit ------------------------------------------------------------------------------------------------


def typed(name: str, kind: pa.DataType, values: list[Any]) -> Callable[[Path], None]:
    """Questions whose column has another type."""

    def write(path: Path) -> None:
        table = pa.Table.from_pylist(QA)
        pq.write_table(table.set_column(table.schema.names.index(name), name, pa.array(values, kind)), path / "qa.parquet")

    return write


def corpus(table: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    return lambda path: pq.write_table(table(pa.Table.from_pylist(CORPUS)), path / "corpus.parquet")


def repeated(rows: int, length: int) -> Callable[[Path], None]:
    """A corpus of a few kilobytes, which repeats one large text."""

    def write(path: Path) -> None:
        texts = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), ["x" * length])
        table = pa.table({"id": [f"p{i}" for i in range(rows)], "title": ["t"] * rows, "text": texts})
        pq.write_table(table, path / "corpus.parquet", store_schema=False)
        assert (path / "corpus.parquet").stat().st_size < 300_000

    return write


def text(name: str, content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        (path / f"{Path(name).stem}.parquet").unlink()
        (path / name).write_bytes(content)

    return write


WRONG: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "ids that are numbers": (
        corpus(lambda t: t.set_column(0, "id", pa.array([1, 2, 3], pa.int32()))),
        r"corpus\.parquet: the column 'id' is int32, not text\.",
        "cast_column('id', datasets.Value('string'))",
    ),
    "gold passages that are numbers": (
        typed("relevant_passage_id", pa.list_(pa.int64()), [[1], [2]]),
        r"qa\.parquet: the column 'relevant_passage_id' is list of int64, not text or list of texts\.",
        "give the column as text or list of texts",
    ),
    "texts that are structs": (
        corpus(lambda t: t.set_column(2, "text", pa.array([{"a": 1}] * 3))),
        r"the column 'text' is a struct, not text\.",
        "give the column as text",
    ),
    "a class label": (
        corpus(
            lambda t: t.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": LABELLED}})}).set_column(
                1, "title", pa.array([0, 0, 0])
            )
        ),
        r"the column 'title' is (ClassLabel|int64), not text\.",
        "",
    ),
    "dates": (typed("answer", pa.timestamp("s"), [0, 1]), r"the column 'answer' is timestamp\[m?s\], not text\.", "as text"),
    "a column of nothing": (corpus(lambda t: t.set_column(2, "text", pa.nulls(3))), r"the column 'text' is null, not text\.", "as text"),
    "a column with another name": (
        corpus(lambda t: t.rename_columns(["id", "title", "txt", "footnotes"])),
        r"corpus\.parquet: the column 'text' is missing\.",
        "did you mean 'txt'",
    ),
    "a column twice": (corpus(lambda t: t.append_column("id", t["id"])), r"the column 'id' is there twice\.", "once"),
    "an empty cell": (
        corpus(lambda t: t.set_column(2, "text", pa.array(["a", None, "b"]))),
        r"corpus\.parquet, row 2: the field 'text' is missing",
        "",
    ),
    "no rows": (corpus(lambda t: t.slice(0, 0)), r"corpus\.parquet has no passage", "empty"),
    "not Parquet": (lambda path: (path / "corpus.parquet").write_bytes(b"id,title\n"), r"corpus\.parquet is not readable Parquet", "again"),
    "cut Parquet": (
        lambda path: (path / "corpus.parquet").write_bytes((path / "corpus.parquet").read_bytes()[:-9]),
        r"corpus\.parquet is not readable Parquet",
        "again",
    ),
    "a repeated large text": (repeated(3_000, 900_000), r"the column 'text' has a text of 900,000 bytes", "at most 800,000"),
    "texts that unpack to gigabytes": (repeated(4_000, 700_000), r"unpacks to more than 2,000,000,000 bytes of text", "smaller"),
    "a broken list in CSV": (
        text("qa.csv", b'id,question,answer,relevant_passage_id\nq,Q?,A,"[""a"", 1]"\n'),
        r"qa\.csv, row 1: the column 'relevant_passage_id' is '\[\"a\", 1\]', not a list",
        "JSON",
    ),
    "two thousand columns": (text("corpus.csv", b",".join(b"c%d" % i for i in range(2000))), r"corpus\.csv has 2,000 columns", "1,000"),
    "semicolons": (text("corpus.csv", b"id;title;text\na;b;c\n"), r"corpus\.csv: the column 'id' is missing", "id;title;text"),
    "a row with too many fields": (
        text("corpus.csv", b"id,title,text\na,b,c,d\ne,f,g,h\n"),
        r"corpus\.csv, row 1 has 4 fields, and the header 3",
        "between double quotes",
    ),
    "a row with too few": (text("corpus.csv", b"id,title,text\na,b,c\nd,e\n"), r"corpus\.csv, row 2 has 2 fields", "double quotes"),
    "a quote that never ends": (
        text("corpus.csv", b'id,title,text\na,b,"c\n'),
        r"corpus\.csv is not readable CSV: unexpected end",
        "again",
    ),
    "another encoding": (
        text("corpus.csv", "id,title,text\na,b,ü\n".encode("latin-1")),
        r"corpus\.csv is not readable CSV: 'utf-8'",
        "again",
    ),
    "an empty file": (text("corpus.csv", b""), r"corpus\.csv: the column 'id' is missing", ""),
    "a header alone": (text("corpus.csv", b"id,title,text\n"), r"corpus\.csv has no passage", ""),
    "an empty text": (text("corpus.csv", b"id,title,text\na,b,\n"), r"corpus\.csv, row 1: the field 'text'", ""),
    "a zero byte": (text("corpus.csv", b"id,title,text\na,b,c\0d\n"), r"corpus\.csv", ""),
}
LABELLED = {name: {"dtype": "string", "_type": "Value"} for name in CORPUS[0]} | {"title": {"names": ["a"], "_type": "ClassLabel"}}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_one_sentence_with_the_column(name: str, tmp_path: Path) -> None:
    change, sentence, hint = WRONG[name]
    change(folder(tmp_path, "parquet"))
    with pytest.raises(CardproofError, match=sentence) as caught:
        load_folder(tmp_path)
    assert hint in str(caught.value.hint) and "\n" not in caught.value.sentence


def test_other_columns_are_told_and_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load_folder(folder(tmp_path, "csv", corpus=[row | {"year": 1999} for row in CORPUS]))
    assert "corpus.csv: columns that are not used: 'year'" in capsys.readouterr().err


# --- nothing runs, nothing is asked -----------------------------------------------------------------------------------


def test_code_that_comes_with_a_data_set_never_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loading script has the name of its folder; builders of the library have modules of these names."""
    data = folder(tmp_path / "data", "parquet")
    script = f"open({str(tmp_path / 'ran')!r}, 'w')\nimport datasets\nclass Data(datasets.GeneratorBasedBuilder):\n    pass\n"
    for name in ("data.py", "parquet.py", "rows.py", "dataset.py", "__init__.py"):
        (data / name).write_text(script)
    (data / "README.md").write_text("---\nconfigs:\n- config_name: corpus\n  data_files: ../secret.parquet\n---\n")
    monkeypatch.chdir(data)
    assert len(load_folder(Path())[0]) == 3
    assert not (tmp_path / "ran").exists()


def mirror(root: Path, data: Path) -> None:
    """A mirror that has the data set `team/bench`."""
    place = hub.place(root, "team/bench", "dataset")
    place.mkdir(parents=True)
    files = []
    for path in sorted(data.iterdir()):
        (place / path.name).write_bytes(path.read_bytes())
        files.append(hub.RemoteFile(path.name, path.stat().st_size, sha256_file(path), None))
    write_json(place / hub.LISTING, hub.entry(hub.Repository("dataset", "team/bench", COMMIT, True, files)))


def cache(root: Path, data: Path) -> None:
    """The hub library's cache with the data set `team/bench`: contents by their hash, and links to them."""
    place = root / "datasets--team--bench"
    for path in data.iterdir():
        large = path.suffix == ".parquet"
        digest = sha256_file(path) if large else hub.git_blob(path)
        (place / "blobs").mkdir(parents=True, exist_ok=True)
        (place / "blobs" / digest).write_bytes(path.read_bytes())
        (place / "snapshots" / COMMIT).mkdir(parents=True, exist_ok=True)
        (place / "snapshots" / COMMIT / path.name).symlink_to(Path("../../blobs", digest))


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_the_hub_offline_is_a_mirror_or_its_library_s_cache(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    data = folder(tmp_path / "data", form)
    settings = Benchmark(id="team/bench", revision=COMMIT)
    assert set(settings.sha256.values()) == {None}, "the pins of the published data are not expected of other data"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(CardproofError, match="cannot be fetched from the hub"):
        acquire_benchmark(settings, 0, tmp_path / "scratch")
    cache(tmp_path / "cache", data)
    expected = load_folder(data)
    assert acquire_benchmark(settings, 0, tmp_path / "scratch") == expected
    content = next((tmp_path / "cache").rglob(f"corpus.{form}")).resolve()
    content.write_bytes(content.read_bytes() + b"\n")
    with pytest.raises(CardproofError, match=rf"corpus\.{form} has the hash"):
        acquire_benchmark(settings, 0, tmp_path / "scratch")
    mirror(tmp_path / "mirror", data)
    monkeypatch.setenv(hub.MIRROR, str(tmp_path / "mirror"))
    assert acquire_benchmark(settings, 0, tmp_path / "scratch") == expected
    assert not (tmp_path / "scratch").exists()


def test_a_file_in_the_cache_that_is_a_link_elsewhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    data = folder(tmp_path / "data", "csv")
    cache(tmp_path / "cache", data)
    link = next((tmp_path / "cache").rglob("corpus.csv"))
    link.unlink()
    link.symlink_to(data / "corpus.csv")
    with pytest.raises(CardproofError, match="is not a link to a content of the hub's cache"):
        acquire_benchmark(Benchmark(id="team/bench", revision=COMMIT), 0, tmp_path / "scratch")


def test_a_file_that_is_too_large_is_refused_before_it_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [hub.RemoteFile("corpus.parquet", 3_000_000_000, "0" * 64, None), hub.RemoteFile("qa.csv", 9, "0" * 64, None)]
    monkeypatch.setattr(
        "cardproof.benchmark.acquire_benchmark.listing", lambda *a: hub.Repository("dataset", "team/bench", COMMIT, True, files)
    )
    monkeypatch.setattr("cardproof.benchmark.acquire_benchmark.from_cache", lambda *a: None)
    with pytest.raises(CardproofError, match=r"corpus\.parquet has 3,000,000,000 bytes") as caught:
        acquire_benchmark(Benchmark(id="team/bench", revision=COMMIT), 0, tmp_path / "scratch")
    assert "at most 2,000,000,000" in str(caught.value.hint)


@pytest.mark.parametrize("revision", [None, "main", "v1.0", "c0ffee"])
def test_the_hub_needs_a_commit(revision: str | None, tmp_path: Path) -> None:
    with pytest.raises(CardproofError, match=f"benchmark.revision is {revision!r}, not a commit of 'team/bench'") as caught:
        acquire_benchmark(Benchmark(id="team/bench", revision=revision), 0, tmp_path / "scratch")
    assert "40 hexadecimal digits" in str(caught.value.hint)
    run = Config.model_validate({"benchmark": {"id": "team/bench", "revision": revision}})
    assert [check.status for check in preflight._revisions(run)] == ["failed"]
