"""A run's folder: opened once, each file read once, and what is wrong with one said in a sentence."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardproof import files, runs
from cardproof.config.settings import Config
from cardproof.errors import CardproofError
from cardproof.evaluation.of_run import Evaluation
from cardproof.evaluation.results import Axes
from cardproof.files import read_json, write_json, write_text
from cardproof.runs import Run, evaluation, metrics
from cardproof.training.results import TrainingMetrics
from helpers.synthetic_run import write_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run", items=4, n=2)


def test_nothing_is_read_before_it_is_asked_for_and_nothing_twice(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def counted(path: Path) -> Any:
        read.append(path.relative_to(made).as_posix())
        return read_json(path)

    monkeypatch.setattr(files, "read_json", counted)
    run = Run(made)
    assert read == []
    for _ in range(2):
        Evaluation.of(run)
        assert run.results["axes"]["best_of"] == run.read(evaluation("axes"), Axes).best_of == 2
        assert run.at(evaluation("axes"), "/arms/base/strict/n") == run.results["axes"]["arms"]["base"]["strict"]["n"]
        run.training(TrainingMetrics)
    trained = [metrics(name) for name in ("grounded", "hybrid", "b7x1", "b14x2")]
    assert sorted(read) == sorted([*map(evaluation, runs.EVALUATION), *trained])
    assert list(run.results) == list(runs.EVALUATION)


def test_settings_are_typed_and_as_written(made: Path) -> None:
    run = Run(made)
    assert isinstance(run.config, Config)
    assert run.scale == "embedded"
    assert run.settings["run"] == run.config.run == "demo"
    assert [run.adapter(arm) for arm in ("base", "hybrid", "nobody", None)] == ["none", "trained", None, None]
    assert run.at(runs.CONFIG, "/sampling/temperature") == run.config.sampling.temperature


def test_training_lists_what_arms_use_and_what_was_trained_besides(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", items=4, n=2)
    (folder / metrics("b7x1")).unlink()
    assert list(Run(folder).training(TrainingMetrics)) == ["grounded", "hybrid", "b14x2"]
    (folder / metrics("hybrid")).unlink()
    with pytest.raises(CardproofError, match=r"hybrid/metrics\.json does not exist"):
        Run(folder).training(TrainingMetrics)


def test_hashes_are_of_the_bytes(made: Path) -> None:
    content = (made / evaluation("axes")).read_bytes()
    assert Run(made).hash(evaluation("axes")) == hashlib.sha256(content).hexdigest()


values = st.recursive(
    st.integers() | st.text(max_size=5) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc0123", min_size=1, max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_a_pointer_leads_to_every_value_and_nowhere_else(content: Any) -> None:
    run = Run(Path("nowhere"))
    run._json["file.json"] = content

    def walk(value: Any, path: str) -> None:
        if path:
            assert run.at("file.json", path) == value
        if isinstance(value, dict):
            for key, below in value.items():
                walk(below, f"{path}/{key}")
        if isinstance(value, list):
            for i, below in enumerate(value):
                walk(below, f"{path}/{i}")
            with pytest.raises(KeyError):
                run.at("file.json", f"{path}/{len(value)}")
        with pytest.raises(KeyError):
            run.at("file.json", f"{path}/none")

    walk(content, "")


def test_what_nobody_pinned(made: Path, tmp_path: Path) -> None:
    def source(file: str, **fields: Any) -> None:
        write_json(tmp_path / file, {"name": "team/x", "revision": "a" * 40, **fields})

    source("models/base/source.json", pinned=True)
    source("models/verifier/source.json", pinned=False)
    source("adapters/hybrid/source.json", pinned=False)
    source("revisions/benchmark.json", pinned=False, kind="dataset")
    source("revisions/model.json", pinned=False, kind="model")
    found = [entry["file"] for entry in Run(tmp_path).unpinned()]
    assert found == ["adapters/hybrid/source.json", "models/verifier/source.json", "revisions/benchmark.json"]
    assert Run(made).unpinned() == []


# --- what is wrong ----------------------------------------------------------------------------------------------------


def test_a_folder_that_is_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(CardproofError, match="the scale of the run is unknown") as error:
        _ = Run(tmp_path).scale
    assert "results/NAME" in error.value.hint
    for text, sentence in (
        ("run: x\n", "names no scale"),
        ("- a\n", "has a list where settings belong"),
        ("run: [", r"config\.yaml, line \d+: not valid YAML"),
        ("scale: published\nscale: embedded\n", "the key 'scale' is given twice"),
    ):
        write_text(tmp_path / runs.CONFIG, text)
        with pytest.raises(CardproofError, match=sentence):
            _ = Run(tmp_path).scale


def test_settings_of_another_version_still_tell_their_scale(tmp_path: Path) -> None:
    write_text(tmp_path / runs.CONFIG, "scale: published\nformer: 1\n")
    assert Run(tmp_path).scale == "published"
    with pytest.raises(CardproofError, match="unknown key 'former'"):
        _ = Run(tmp_path).config


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda axes: axes.pop("items"), "the key 'items' is missing"),
        (lambda axes: axes.update(itmes=1), "unknown key 'itmes'"),
        (lambda axes: axes["arms"]["base"]["strict"].update(n="many"), r"'arms\.base\.strict\.n': .*found 'many'"),
        (lambda axes: axes["arms"].update(base=3), r"'arms\.base': .*found 3"),
    ],
)
def test_a_result_that_is_not_what_it_should_be(made: Path, tmp_path: Path, change: Any, sentence: str) -> None:
    axes = json.loads((made / evaluation("axes")).read_text())
    change(axes)
    write_json(tmp_path / evaluation("axes"), axes)
    with pytest.raises(CardproofError, match=rf"axes\.json: .*{sentence}") as error:
        Run(tmp_path).read(evaluation("axes"), Axes)
    assert error.value.hint


def test_a_missing_result_has_the_hint_of_who_asks(tmp_path: Path) -> None:
    with pytest.raises(CardproofError, match=r"axes\.json does not exist") as error:
        Run(tmp_path).read(evaluation("axes"), Axes, "evaluate first.")
    assert error.value.hint == "evaluate first."
    assert Run(tmp_path).json_if(False, evaluation("axes")) is None


def test_fingerprints_that_are_not_a_mapping(tmp_path: Path) -> None:
    assert Run(tmp_path).steps == {}
    write_json(tmp_path / runs.STEPS, ["evaluate"])
    with pytest.raises(CardproofError, match="is not a mapping of rules"):
        _ = Run(tmp_path).steps
    write_json(tmp_path / runs.STEPS, {"evaluate": {"code": "c0de"}, "other": None})
    assert Run(tmp_path).steps == {"evaluate": {"code": "c0de"}}
