"""What the Hub reads: the header and `.eval_results/`, built from results, read back by the Hub's own classes, and held against schemas."""

from __future__ import annotations

import copy
import shutil

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries

from cardproof.config import reading, settings, texts
from cardproof.errors import CardproofError
from cardproof.evaluation.axes import LABELS
from cardproof.files import write_text
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


def configured(folder, **sections):
    """A run with other settings in these sections."""
    settings = reading.load(folder / "config.yaml").model_dump(mode="json")
    write_text(folder / "config.yaml", texts.to_yaml(reading.validate(reading.merge(settings, sections))))
    return folder


TASKS = {"strict": "quotes", "stress_strict": "quotes_stress"}


@pytest.fixture(scope="module")
def on_the_hubs_data(tmp_path_factory):
    """A run on a data set of the Hub that defines two tasks."""
    return rendered(configured(write_run(tmp_path_factory.mktemp("metadata") / "run", scale="published"), header={"tasks": TASKS}))


def test_the_header_is_the_hubs(demo):
    read = ModelCard.load(demo / "README.md").data
    assert (read.license, read.library_name, read.language) == ("apache-2.0", "peft", ["en"])
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
        assert "cardproof's own questions" in result.dataset_name
    assert len(found) > len(clean), "stress is told as well"


def test_reading_and_writing_the_card_again_changes_nothing(demo, tmp_path):
    text = (demo / "README.md").read_text(encoding="utf-8")
    read = ModelCard(text)
    read.save(tmp_path / "again.md")
    again = ModelCard.load(tmp_path / "again.md")
    assert again.data.to_dict() == read.data.to_dict()
    assert again.data.eval_results == read.data.eval_results
    assert again.text.strip() == read.text.strip()


BASES = {
    "Qwen/Qwen2.5-3B-Instruct": (
        {"license": "other", "license_name": "qwen-research", "license_link": "https://huggingface.co/Qwen/LICENSE", "language": ["en"]},
        {"license": "other", "license_name": "qwen-research", "license_link": "https://huggingface.co/Qwen/LICENSE", "language": ["en"]},
    ),
    "meta-llama/Llama-3.2-1B-Instruct": (
        {"license": "llama3.2", "language": ["en", "de", "pt"], "license_link": "LICENSE.txt", "extra_gated_prompt": "terms: { of use"},
        {"license": "llama3.2", "language": ["en", "de", "pt"]},
    ),
    "google/gemma-3-1b-it": ({"license": "gemma", "base_model": "google/gemma-3-1b-pt"}, {"license": "gemma"}),
    "nobody/says": ({"license": {"name": "x"}, "language": "English", "license_link": "javascript:alert(1)"}, {}),
}
"""Base model -> what its own card says, and what the adapter's header must say then."""
OF_THE_BASE = ("license", "license_name", "license_link", "language")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("plain") / "run", scale="published", items=4, n=2)


@pytest.mark.parametrize("name", BASES)
def test_licence_and_language_are_the_bases_own(plain, tmp_path, name):
    stated, expected = BASES[name]
    folder = tmp_path / "run"
    shutil.copytree(plain, folder)
    configured(folder, model={"id": name, "revision": None})
    front = yaml.safe_dump(stated, sort_keys=False)
    (folder / "models/base").mkdir(parents=True)
    (folder / "models/base/README.md").write_text(f"---\n{front}---\n# A base model\n")
    read = ModelCard.load(rendered(folder) / "README.md").data.to_dict()
    assert {key: read[key] for key in OF_THE_BASE if key in read} == expected
    assert (read["base_model"], read["base_model_relation"]) == (name, "adapter")
    assert read["tags"] == ["cardproof", "lora", "grounded-generation", "qlora", "not-a-reproduction"]
    assert "legal" not in read["tags"]


def test_the_configuration_comes_first(plain, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(plain, folder)
    header = {"license": "mit", "language": ["de"], "base_model": "team/base", "tags": ["legal", "lora"]}
    configured(folder, header=header, model={"source": "folder", "id": "/far/away/base"})
    (folder / "models/base").mkdir(parents=True)
    (folder / "models/base/README.md").write_text("---\nlicense: apache-2.0\nlanguage: [en]\n---\n")
    text = (rendered(folder) / "README.md").read_text(encoding="utf-8")
    read = ModelCard(text).data
    assert (read.license, read.language, read.base_model) == ("mit", ["de"], "team/base")
    assert read.tags[:4] == ["cardproof", "lora", "grounded-generation", "legal"]
    assert "/far/away" not in text
    assert 'base = "team/base"' in text


def test_a_base_without_a_card_leaves_no_licence(plain, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(plain, folder)
    configured(folder, model={"source": "folder", "id": "/far/away/base"})
    read = ModelCard.load(rendered(folder) / "README.md").data.to_dict()
    assert not {"license", "language", "base_model"} & read.keys()


def test_only_tasks_that_the_data_set_defines_are_listed(demo, on_the_hubs_data, plain, tmp_path):
    assert not (demo / EVAL_RESULTS).exists()
    shutil.copytree(plain, tmp_path / "run")
    assert not (rendered(tmp_path / "run") / EVAL_RESULTS).exists(), "no task is named"
    with pytest.raises(CardproofError, match=r"header\.tasks names 'strickt', which is not an axis"):
        rendered(configured(tmp_path / "run", header={"tasks": {"strickt": "quotes"}}))
    content = yaml.safe_load((on_the_hubs_data / EVAL_RESULTS).read_text(encoding="utf-8"))
    entries = parse_eval_result_entries(content)
    default = settings.Config()
    assert {(e.dataset_id, e.dataset_revision) for e in entries} == {(default.benchmark.id, default.benchmark.revision)}
    axes = Run(on_the_hubs_data.parent).results["axes"]["arms"]["grounded"]
    by_task = {e.task_id: e for e in entries}
    assert by_task.keys() == set(TASKS.values())
    assert by_task["quotes"].value == pytest.approx(axes["strict"]["value"], abs=5e-4)
    published = card_metadata.sourced(
        (on_the_hubs_data / EVAL_RESULTS).read_text(encoding="utf-8"), "team/name", "2026-01-02T03:04:05+00:00"
    )
    for entry in parse_eval_result_entries(yaml.safe_load(published)):
        assert (entry.source_url, entry.date) == ("https://huggingface.co/team/name", "2026-01-02T03:04:05+00:00")
    card_metadata.check((on_the_hubs_data / "README.md").read_text(encoding="utf-8"), published)
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
