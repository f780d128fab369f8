"""A run's samples and scores as a data set: what `datasets` loads from it, what is left out, and what is refused."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cardproof.files import read_json, read_rows
from cardproof.pages import publish as publishing
from cardproof.records import Example, Prompt, Rollout
from cardproof.runs import CLAIMS, EXAMPLES, Run, prompts, samples, scores
from helpers.command import SECRET, cardproof, said
from helpers.hub_server import Hub, serve
from helpers.places import ROOT
from helpers.workflow import RUN

pytestmark = pytest.mark.slow  # it needs a finished run
NAME = "someone/replies"
ARMS = ("base", "hybrid", "grounded")


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with serve() as found:
        found.token = SECRET
        yield found


@pytest.fixture(scope="module")
def written(ci_run: Path, hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data-set")
    made = cardproof(folder, hub, "dataset", str(ci_run / RUN), "--out", "data")
    assert made.returncode == 0, made.stderr
    assert "samples: " in made.stdout and "Wrote data." in made.stdout and not hub.requests
    return folder / "data"


def loaded(folder: Path, name: str, split: str, cache: Path) -> list[dict[str, Any]]:
    from datasets import load_dataset

    return load_dataset(str(folder), name, split=split, cache_dir=str(cache)).to_list()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError(f"connects to {arguments[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_the_library_loads_every_row_as_it_is(ci_run: Path, written: Path, tmp_path: Path, no_network: None) -> None:
    from datasets import get_dataset_config_names

    assert get_dataset_config_names(str(written)) == ["samples", "scores", "prompts", "training"]
    run = ci_run / RUN
    for split, arms in (("clean", ARMS), ("stress", ARMS), ("freeform", ARMS), ("train", ("train",))):
        replies = [row.model_dump() for arm in arms for row in read_rows(run / samples(arm, split), Rollout)]
        assert loaded(written, "samples", split, tmp_path) == replies
        frames = [pl.read_parquet(run / scores(arm, split)) for arm in arms]
        assert loaded(written, "scores", split, tmp_path) == [row for frame in frames for row in frame.to_dicts()]
        asked = read_rows(run / prompts(split), Prompt)
        rows = loaded(written, "prompts", split, tmp_path)
        assert [(r["item"], r["question"], r["oracle_ids"]) for r in rows] == [(p.item, p.question, [p.oracle_id]) for p in asked]
        assert [r["documents"] for r in rows] == [[d.model_dump() for d in p.documents] for p in asked]
    kept = [row.model_dump() for row in read_rows(run / EXAMPLES, Example)]
    assert loaded(written, "training", "train", tmp_path) == kept and kept


def test_its_card_has_the_hubs_header_and_says_where_it_is_from(ci_run: Path, written: Path) -> None:
    from huggingface_hub import DatasetCard

    card = DatasetCard((written / "README.md").read_text())
    files = {file["path"] for part in card.data.to_dict()["configs"] for file in part["data_files"]}
    assert files == {path.relative_to(written).as_posix() for path in written.rglob("*.parquet")}
    assert (card.data.license, card.data.language) == ("other", ["en"])
    assert publishing.check(ci_run / RUN).digest in card.text
    assert f"`{read_json(ci_run / RUN / CLAIMS)['card']}` hold" in card.text
    assert "each of which may be copied as it stands" in card.text


def test_the_same_run_gives_the_same_bytes(ci_run: Path, written: Path, tmp_path: Path) -> None:
    publishing.prepare_data_set(ci_run / RUN, NAME, ROOT / "report", tmp_path)
    for path in written.rglob("*.*"):
        assert (tmp_path / path.relative_to(written)).read_bytes() == path.read_bytes(), path.name


def texts_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts_of(part)


def test_texts_that_may_not_be_passed_on_are_left_out_and_it_says_so(
    ci_run: Path, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The licence of the data decides; here it is taken away from the embedded ones."""
    monkeypatch.setattr("cardproof.pages.data_set.texts_allowed", lambda config: False)
    monkeypatch.setattr(publishing, "texts_allowed", lambda config: False)
    upload = publishing.prepare_data_set(ci_run / RUN, NAME, ROOT / "report", tmp_path)
    assert [table.name for table in upload.tables] == ["samples", "scores"]
    assert "no prompts, replies and training examples" in publishing.render_data_set(upload)
    frames = {name: pl.read_parquet(path) for name, path in upload.files.items() if name.endswith(".parquet")}
    found = {text for frame in frames.values() for row in frame.to_dicts() for text in texts_of(row)}
    run = ci_run / RUN
    replies = [row.text for arm in ARMS for row in read_rows(run / samples(arm, "clean"), Rollout)]
    asked = read_rows(run / prompts("clean"), Prompt)
    secret = {*replies, *(p.question for p in asked), *(p.reference for p in asked), *(d.text for p in asked for d in p.documents)}
    quotes = {q["text"] for row in pl.read_parquet(run / scores("base", "clean")).to_dicts() for q in row["quotes"]}
    assert quotes and not found & (secret | quotes)
    # Nothing longer than a hash is in it, and nothing with the words of a passage.
    assert max(map(len, found)) == 64 and not [text for text in found if text.count(" ") > 2]
    assert not [q for row in frames["scores/clean.parquet"].to_dicts() for q in row["quotes"] if "text" in q]
    card = (tmp_path / "README.md").read_text()
    assert "replies and training examples are left out**, because nobody has said" in card and "license" not in card.split("---")[1]


def test_a_licence_of_the_data_is_on_it(ci_run: Path, tmp_path: Path) -> None:
    run = Run(ci_run / RUN)
    header = run.config.header.model_copy(update={"texts": True, "data_license": "cc-by-4.0"})
    benchmark = run.config.benchmark.model_copy(update={"source": "folder", "path": "rules"})
    run.__dict__["config"] = run.config.model_copy(update={"header": header, "benchmark": benchmark})
    from cardproof.pages.data_set import card

    text = card(run, publishing.check(ci_run / RUN), [], ROOT / "report")
    assert "license: cc-by-4.0" in text and "are under the licence `cc-by-4.0` of the data" in text


def publish(ci_run: Path, hub: Hub, tmp_path: Path, *more: str, to: str = NAME) -> subprocess.CompletedProcess[str]:
    return cardproof(tmp_path, hub, "publish", str(ci_run / RUN), "--to", to, "--dataset", *more, HF_TOKEN=SECRET)


def test_it_is_sent_to_a_data_set_s_repository_when_asked(ci_run: Path, hub: Hub, written: Path, tmp_path: Path) -> None:
    shown = publish(ci_run, hub, tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "Nothing was sent." in shown.stdout and "scores/clean.parquet" in shown.stdout and not hub.requests
    sent = publish(ci_run, hub, tmp_path, "--push")
    assert sent.returncode == 0, sent.stderr
    assert any(f"/api/datasets/{NAME}/commit/main" in request for request in hub.requests)
    assert hub.received[NAME].keys() == {path.relative_to(written).as_posix() for path in written.rglob("*.*")}
    assert hub.received[NAME]["scores/clean.parquet"] == (written / "scores/clean.parquet").read_bytes()


def test_what_is_refused(ci_run: Path, hub: Hub, written: Path, tmp_path: Path) -> None:
    said(cardproof(written.parent, hub, "dataset", str(ci_run / RUN), "--out", "data"), "data is there already", "another folder")
    said(cardproof(tmp_path, hub, "dataset", str(tmp_path), "--out", "data"), str(tmp_path), "")
    said(publish(ci_run, hub, tmp_path, to="replies"), "is not a repository of the Hub", "OWNER/NAME")
