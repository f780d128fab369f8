"""A run is the same on any day: a chat template that asks for the date is told the configured one."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cardproof.cli.main import main
from cardproof.files import read_json, read_rows, write_rows
from cardproof.records import Rollout
from helpers import tiny_chat
from helpers.decoding import make_prompt
from helpers.tiny_chat import write_model

CLOCK = """
import datetime, time
day = datetime.datetime.fromisoformat("{day}")
class Then(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(day.timestamp(), tz)
    today = utcnow = now
datetime.datetime = Then
time.time = day.timestamp
"""
"""What a process starts with that lives on another day."""


def set_clock(day: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Move this process' clock, as chat templates see it, and that of every Python it starts."""
    import transformers.utils.chat_template_utils as rendering

    class Then(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return cls.fromisoformat(day)

    monkeypatch.setattr(rendering, "datetime", Then)
    (folder / "clock").mkdir(parents=True)
    (folder / "clock" / "sitecustomize.py").write_text(CLOCK.format(day=day))
    monkeypatch.syspath_prepend(str(folder / "clock"))


def run(folder: Path, day: str, model: Path, monkeypatch: pytest.MonkeyPatch, date: str = "2026-01-01") -> Path:
    """Acquire the model and sample three items, on a day."""
    settings = {
        "scale": "embedded",
        "model": {"source": "folder", "id": str(model), "sampling_quantization": "none", "date": date},
        "conditions": {"clean": {"n": 2}},
        "sampling": {"max_new_tokens": 12},
        "runtime": {"threads": 1, "gpus": 0},
    }
    with monkeypatch.context() as then:
        set_clock(day, folder, then)
        then.chdir(folder)
        Path("config.yaml").write_text(yaml.safe_dump(settings))
        write_rows(Path("clean.jsonl"), [make_prompt(i) for i in range(3)])
        acquire = ["acquire-model", "--source", "folder", "--id", str(model), "--model-of", "config.yaml", "--out", "base"]
        sample = ["sample", "--config", "config.yaml", "--arm", "base", "--model", "base", "--work", "clean.jsonl", "samples.jsonl"]
        for command in (acquire, [*sample, "--store", "store.jsonl"]):
            then.setattr(sys, "argv", ["cardproof", *command])
            main()
    return folder


@pytest.fixture(scope="module")
def dated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "dated", tiny_chat.DATED)


def test_the_clock_of_these_tests_moves_what_transformers_renders(dated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoTokenizer

    set_clock("2027-03-09", tmp_path, monkeypatch)
    text = AutoTokenizer.from_pretrained(dated).apply_chat_template([{"role": "user", "content": "x"}], tokenize=False)
    assert "Today is 09 March 2027." in text


def test_samples_of_two_days_are_the_same_bytes(dated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (run(tmp_path / day, day, dated, monkeypatch) for day in ("2026-11-26", "2027-03-09"))
    for name in ("samples.jsonl", "store.jsonl", "base/source.json"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    assert read_json(one / "base" / "source.json")["use"]["date"] == "2026-01-01"
    other = run(tmp_path / "configured", "2026-11-26", dated, monkeypatch, date="2026-01-02")
    first, changed = (read_rows(folder / "samples.jsonl", Rollout) for folder in (one, other))
    assert {r.token_hash for r in first}.isdisjoint(r.token_hash for r in changed), "the hash covers what the model read"
    assert {r.prompt_hash for r in first} == {r.prompt_hash for r in changed}
