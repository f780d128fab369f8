"""What the Hub reads: the header and `.eval_results/`, built from results, read back by the Hub's own classes, and held against schemas."""

from __future__ import annotations

import copy

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries

from cardproof.config import settings
from cardproof.errors import CardproofError
from cardproof.evaluation.axes import LABELS
from cardproof.pages import card, card_metadata
from cardproof.pages.figures import FIGURES
from cardproof.runs import EVAL_RESULTS, Run
from helpers.rendered_card import REPORT
from helpers.synthetic_run import write_run


def rendered(folder):
    for name in FIGURES:
        (folder / "figures").mkdir(exist_ok=True)
        (folder / "figures" / f"{name}.png").touch()
    card.render(folder, REPORT, folder / "card" / "README.md")
    return folder / "card"


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return rendered(write_run(tmp_path_factory.mktemp("metadata") / "run"))


@pytest.fixture(scope="module")
def on_the_hubs_data(tmp_path_factory):
    return rendered(write_run(tmp_path_factory.mktemp("metadata") / "run", scale="published"))


def test_the_header_is_the_hubs(demo):
    read = ModelCard.load(demo / "README.md").data
    assert (read.license, read.library_name, read.language) == ("apache-2.0", "peft", "en")
    assert read.base_model == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert read.datasets is None  # the embedded questions are no dataset of the Hub
    assert "not-a-reproduction" in read.tags


def test_results_come_back_from_the_header_as_they_were_measured(demo):
    read = ModelCard.load(demo / "README.md").data
    axes = Run(demo.parent).results["axes"]
    found = {(r.dataset_config, r.metric_type): r for r in read.eval_results}
    clean = {metric: r for (condition, metric), r in found.items() if condition == "clean"}
    assert clean.keys() == set(LABELS)
    for axis, result in clean.items():
        assert result.metric_value == pytest.approx(axes["arms"]["grounded"][axis]["value"], abs=5e-4)
        assert f"n = {axes['arms']['grounded'][axis]['n']}" in result.metric_name
        assert "not the published card's data" in result.dataset_name
    assert len(found) > len(clean), "stress is told as well"


def test_reading_and_writing_the_card_again_changes_nothing(demo, tmp_path):
    text = (demo / "README.md").read_text(encoding="utf-8")
    read = ModelCard(text)
    read.save(tmp_path / "again.md")
    again = ModelCard.load(tmp_path / "again.md")
    assert again.data.to_dict() == read.data.to_dict()
    assert again.data.eval_results == read.data.eval_results
    assert again.text.strip() == read.text.strip()


def test_only_a_data_set_of_the_hub_has_eval_results(demo, on_the_hubs_data):
    assert not (demo / EVAL_RESULTS).exists()
    content = yaml.safe_load((on_the_hubs_data / EVAL_RESULTS).read_text(encoding="utf-8"))
    entries = parse_eval_result_entries(content)
    default = settings.Config()
    assert {(e.dataset_id, e.dataset_revision) for e in entries} == {(default.benchmark.id, default.benchmark.revision)}
    axes = Run(on_the_hubs_data.parent).results["axes"]["arms"]["grounded"]
    by_task = {e.task_id: e for e in entries}
    assert by_task["strict"].value == pytest.approx(axes["strict"]["value"], abs=5e-4)
    assert "stress_strict" in by_task
    # No record says where these numbers are from, so the card withholds the word, and so do its results.
    assert all("not a reproduction" in str(e.notes) for e in entries)


def test_metadata_the_hub_would_refuse_is_named(demo, on_the_hubs_data):
    text = (demo / "README.md").read_text(encoding="utf-8")
    entries = (on_the_hubs_data / EVAL_RESULTS).read_text(encoding="utf-8")
    card_metadata.check(text, entries)
    with pytest.raises(CardproofError, match="base_model: 'a path/to/model' does not match"):
        card_metadata.check(text.replace("HuggingFaceTB/SmolLM2-135M-Instruct", "a path/to/model"), None)
    with pytest.raises(CardproofError, match="cannot read the card's metadata"):
        card_metadata.check(text.replace("license: apache-2.0", "license: [apache-2.0"), None)
    wrong = yaml.safe_load(entries)
    wrong[0]["value"] = "high"
    with pytest.raises(CardproofError, match="0/value: 'high' is not of type 'number'"):
        card_metadata.check(text, yaml.safe_dump(wrong))
    missing = copy.deepcopy(yaml.safe_load(entries))
    del missing[0]["dataset"]["task_id"]
    with pytest.raises(CardproofError, match=r"task_id"):
        card_metadata.check(text, yaml.safe_dump(missing))
