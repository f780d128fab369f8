"""The configuration: one sentence and a hint for anything wrong, assumptions marked, schema and defaults in sync."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest
import yaml

from cardproof.config import reading, settings, texts
from cardproof.errors import CardproofError
from helpers.places import ROOT

OVERLAYS = sorted(p.name for p in (ROOT / "config").glob("*.yaml"))


@pytest.mark.parametrize(
    ("values", "found", "hint"),
    [
        ({"samplng": {}}, "unknown key 'samplng'", "'sampling'"),
        ({"sampling": {"tempratur": 1}}, "unknown key 'tempratur' in 'sampling'", "'temperature'"),
        ({"conditions": {"stress": {"distractor": 4}}}, "unknown key 'distractor' in 'conditions.stress'", "'distractors'"),
        ({"arms": {"base": {}, "x": {"adaptr": "hub"}}}, "unknown key 'adaptr' in 'arms.x'", "'adapter'"),
        ({"sampling": {"temperature": "hot"}}, "'sampling.temperature': ", "Softmax temperature"),
        (
            {"conditions": {"clean": {"n": 0}}},
            "'conditions.clean.n': input should be greater than or equal to 1, found 0",
            "rollouts per item",
        ),
        ({"scale": "huge"}, "'scale': ", "compares with a card"),
        ({"run": "../up"}, "'run': ", "Name of the run"),
        ({"arms": {"grounded": {"adapter": "none"}}}, "`arms` must hold `base`", "config"),
        ({"arms": {"base": {}, "x": {"adapter": "trained"}}}, "needs `variant`", "config"),
        ({"arms": {"base": {}, "x": {"adapter": "trained", "variant": "nope"}}}, "names the training run 'nope'", "config"),
        ({"arms": {"base": {}, "x": {"adapter": "hub"}}}, "needs `id`", "config"),
        ({"benchmark": {"source": "folder"}}, "benchmark.path is not set", "config"),
        ({"conditions": {"freeform": {"contract": True}}}, "conditions.freeform.contract must be false", "config"),
        ({"distill": {"n": 2, "keep_top": 3}}, "distill.keep_top (3) is larger than distill.n (2)", "config"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(values: dict, found: str, hint: str) -> None:
    with pytest.raises(CardproofError) as error:
        reading.validate(values)
    assert found in error.value.sentence
    assert "\n" not in error.value.sentence
    assert hint in error.value.hint


def test_a_broken_file_is_named_with_its_line(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("run: demo\nsampling: {temperature: 1\n")
    with pytest.raises(CardproofError, match=r"bad\.yaml, line \d+: not valid YAML"):
        reading.load(bad)
    bad.write_text("- a\n- b\n")
    with pytest.raises(CardproofError, match="has a list where settings belong"):
        reading.load(bad)
    with pytest.raises(CardproofError, match="does not exist"):
        reading.load(tmp_path / "none.yaml")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_overlay_loads_and_is_not_called_published(overlay: str) -> None:
    loaded = reading.load(ROOT / "config.yaml", ROOT / "config" / overlay)
    assert loaded.scale != "published"
    assert loaded.run != "published"


def fields() -> list[tuple[str, str]]:
    """(section and field, text) of every field that holds a value, not a section."""
    sections = [kind for _, kind in inspect.getmembers(settings, inspect.isclass) if issubclass(kind, settings.Section)]
    return [
        (f"{kind.__name__}.{name}", texts.field_texts(kind)[name])
        for kind in sections
        for name, field in kind.model_fields.items()
        if not (inspect.isclass(field.annotation) and issubclass(field.annotation, settings.Section))
    ]


@pytest.mark.parametrize(("field", "text"), fields())
def test_every_field_carries_exactly_one_mark(field: str, text: str) -> None:
    assert texts.mark(text), f"{field}: {text!r} carries none of {texts.MARKS}, or more than one"
    assert sum(text.count(word) for word in ("tated on the card", "Assumed", "Of the run")) == 1


def test_a_text_with_two_marks_or_none_has_no_mark() -> None:
    assert texts.mark("LoRA rank. Stated on the card: 32.") == texts.STATED
    assert texts.mark("LoRA rank.") is None
    assert texts.mark("Stated on the card. Assumed, because it is.") is None


def test_what_is_of_the_run_is_not_in_the_register_of_assumptions() -> None:
    config = settings.Config()
    register = {entry["key"] for entry in texts.assumptions(config)}
    of_the_run = {path for path, _, text in texts.described(config) if texts.mark(text) == texts.OF_THE_RUN}
    named = {"run", "scale", "replay", "benchmark.path", "sampling.python", "sampling.rows", "sampling.shards", "verifier.ragtruth"}
    assert named | {path for path, _, _ in texts.described(config) if path.startswith("runtime.")} <= of_the_run
    assert not register & of_the_run
    # Each of these can change a result, and the card does not say it.
    open_ones = {
        *("seed", "benchmark.revision", "split.near_duplicate_threshold", "contract.refusal_phrases", "contract.reply_prefix"),
        *("conditions.stress.shuffle", "model.sampling_quantization", "model.thinking", "sampling.backend", "sampling.temperature"),
        *("sampling.top_p", "verifier.granularity", "scoring.composite", "distill.n", "distill.threshold", "training.learning_rate"),
        *("training.alpha", "training.dropout", "training.optimizer", "evaluation.support_margin", "arms.hybrid.revision"),
    }
    assert open_ones <= register


def test_the_schema_describes_every_field() -> None:
    schema = texts.schema()
    for section in (schema, *schema["$defs"].values()):
        for name, field in section["properties"].items():
            assert field.get("description"), f"{section['title']}.{name}"
            assert "\n" not in field["description"]


def test_what_the_card_states_is_stated_here() -> None:
    c = settings.Config()
    assert (c.conditions.stress.distractors, c.conditions.stress.oracle_drop, c.conditions.clean.n) == (4, 0.3, 8)
    assert (c.training.rank, c.distill.keep_top, c.scoring.rouge_threshold, c.model.quantization) == (32, 3, 0.3, "nf4")
    assert (c.training.variants["grounded"].epochs, c.training.variants["grounded"].effective_batch) == (2, 7)
    stated = {path for path, _, text in texts.described(c) if texts.mark(text) == texts.STATED}
    assumed = {row["key"] for row in texts.assumptions(c)}
    assert {"training.learning_rate", "training.alpha", "sampling.temperature", "scoring.composite", "contract.demonstration"} <= assumed
    assert {"training.rank", "distill.keep_top", "conditions.stress.oracle_drop"} <= stated
    assert not assumed & stated


def test_arms_stand_in_the_cards_order_however_they_were_merged() -> None:
    arms = {"zeta": {"adapter": "folder", "id": "x"}, "grounded": {"adapter": "folder", "id": "y"}, "base": {}}
    assert list(reading.validate({"arms": arms}).arms) == ["base", "grounded", "zeta"]


def test_yaml_round_trips() -> None:
    loaded = reading.load(ROOT / "config.yaml", ROOT / "config" / "demo.yaml")
    assert reading.validate(yaml.safe_load(texts.to_yaml(loaded))) == loaded


def test_a_fingerprint_sees_its_own_paths_only() -> None:
    base = settings.Config()
    other = reading.validate({"sampling": {"temperature": 0.1}})
    assert base.fingerprint("sampling.temperature") != other.fingerprint("sampling.temperature")
    assert base.fingerprint("sampling.top_p", "training") == other.fingerprint("sampling.top_p", "training")
    with pytest.raises(KeyError):
        base.fingerprint("sampling.nope")


def test_merge_replaces_leaves_and_keeps_the_rest() -> None:
    assert reading.merge({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": 3}, "d": [2]}) == {"a": {"b": 3, "c": 2}, "d": [2]}


def test_the_schema_is_in_sync() -> None:
    written = json.loads((ROOT / "schemas" / "config.schema.json").read_text())
    assert written == texts.schema(), "run: cardproof config --schema > schemas/config.schema.json"
