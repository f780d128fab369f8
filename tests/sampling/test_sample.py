"""The sampling step: seeds, shards, and which items are sampled again."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cardproof.config.reading import validate
from cardproof.config.settings import Config, Distill
from cardproof.errors import CardproofError
from cardproof.files import read_rows, write_rows
from cardproof.records import Rollout
from cardproof.sampling import sample as module
from cardproof.sampling.gather import gather
from cardproof.sampling.sample import sample
from cardproof.sampling.sampler import rollout_seed
from helpers.decoding import make_prompt


def test_rollout_seeds_are_distinct_and_exact_in_json() -> None:
    seeds = {
        rollout_seed(s, arm, condition, item, k)
        for s in (0, 1)
        for arm in ("base", "grounded")
        for condition in ("clean", "stress")
        for item in range(20)
        for k in range(8)
    }
    assert len(seeds) == 2 * 2 * 2 * 20 * 8
    assert all(s == json.loads(json.dumps(float(s))) and s < 2**53 for s in seeds)


def config(**sampling) -> Config:
    return validate(
        {"scale": "embedded", "conditions": {"clean": {"n": 3}}, "sampling": {"max_new_tokens": 12, **sampling}, "runtime": {"threads": 1}}
    )


def run(tiny_lm: Path, folder: Path, settings: Config, number: int = 0, of: int = 1, store: str = "store.jsonl") -> Path:
    source = folder / "prompts.jsonl"
    if not source.exists():
        write_rows(source, [make_prompt(i) for i in range(8)])
    out = folder / f"samples-{number}-of-{of}.jsonl"
    sample(settings, "base", {source: out}, tiny_lm, None, f"{number}/{of}", folder / store)
    return out


@pytest.mark.parametrize("of", [3, 8])
def test_gathered_samples_do_not_depend_on_shards(tiny_lm: Path, tmp_path: Path, of: int) -> None:
    whole = run(tiny_lm, tmp_path, config())
    pieces = [run(tiny_lm, tmp_path, config(rows=4), i, of, f"store-{i}.jsonl") for i in range(of)]
    gather(pieces, tmp_path / "gathered.jsonl")
    assert (tmp_path / "gathered.jsonl").read_bytes() == whole.read_bytes()
    rows = read_rows(whole, Rollout)
    assert [(r.item, r.k) for r in rows] == [(i, k) for i in range(8) for k in range(3)]


def test_a_killed_shard_resumes_without_repeating(tiny_lm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(tiny_lm, tmp_path, config()).read_bytes()
    store = tmp_path / "store.jsonl"
    lines = store.read_bytes().splitlines(keepends=True)
    store.write_bytes(b"".join(lines[:5]) + lines[5][: len(lines[5]) // 2])  # killed while writing the sixth item

    asked: list[str] = []
    load = module.load_sampler

    def watched(*args):
        sampler = load(*args)
        original = sampler.sample
        sampler.sample = lambda work, decoding: (asked.extend(task.name for task in work), original(work, decoding))[1]
        return sampler

    monkeypatch.setattr(module, "load_sampler", watched)
    assert run(tiny_lm, tmp_path, config()).read_bytes() == whole
    assert len(asked) == 3
    # Everything is in the store now, so the model is not loaded at all.
    monkeypatch.setattr(module, "load_sampler", lambda *args: pytest.fail("loaded a model for nothing"))
    assert run(tiny_lm, tmp_path, config()).read_bytes() == whole


def test_a_changed_setting_is_sampled_again(tiny_lm: Path, tmp_path: Path) -> None:
    first = run(tiny_lm, tmp_path, config()).read_bytes()
    assert run(tiny_lm, tmp_path, config(temperature=0.1)).read_bytes() != first
    assert run(tiny_lm, tmp_path, config()).read_bytes() == first


def test_candidates_have_a_temperature_of_their_own(tiny_lm: Path, tmp_path: Path) -> None:
    """In one job with a held-out item, which keeps the other; and an item that was drawn with another one is drawn again."""
    for condition in ("train", "clean"):
        write_rows(tmp_path / f"{condition}.jsonl", [make_prompt(0, condition=condition)])

    def texts(**settings: Any) -> dict[str, list[str]]:
        of = {tmp_path / f"{condition}.jsonl": tmp_path / f"{condition}-drawn.jsonl" for condition in ("train", "clean")}
        sample(config().model_copy(update=settings), "base", of, tiny_lm, None, "0/1", tmp_path / "store.jsonl")
        return {out.stem: [row.text for row in read_rows(out, Rollout)] for out in of.values()}

    warm, cold = texts(), texts(distill=Distill(temperature=0))
    assert len(set(cold["train-drawn"])) == 1 < len(set(warm["train-drawn"]))
    assert cold["clean-drawn"] == warm["clean-drawn"]
    assert texts(distill=Distill(temperature=config().sampling.temperature)) == warm


def test_guessed_tokens_change_no_byte_of_the_samples(tiny_lm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Greedy, so that the model repeats itself and last bits decide no draw. Items are drawn again, and the log says how fast."""
    plain = run(tiny_lm, tmp_path, config(temperature=0, max_new_tokens=90)).read_bytes()
    assert "a step" not in capsys.readouterr().err
    assert run(tiny_lm, tmp_path, config(temperature=0, max_new_tokens=90, prompt_lookup=3)).read_bytes() == plain
    said = re.findall(r"^base, clean: ([\d.]+) tokens a step$", capsys.readouterr().err, re.MULTILINE)
    assert len(said) == 1 and float(said[0]) > 1.05
    assert len((tmp_path / "store.jsonl").read_bytes().splitlines()) == 2 * 8


def test_another_engine_has_no_guesses_of_this_one() -> None:
    with pytest.raises(CardproofError, match="prompt_lookup is of the backend 'transformers'"):
        config(backend="vllm", prompt_lookup=2)


@pytest.mark.parametrize(("arm", "piece", "message"), [("bse", "0/1", "no arm 'bse'"), ("base", "1/1", "--shard: found '1/1'")])
def test_an_unknown_arm_or_shard_is_named(tmp_path: Path, arm: str, piece: str, message: str) -> None:
    with pytest.raises(CardproofError, match=message):
        sample(config(), arm, {}, tmp_path, None, piece, tmp_path / "store.jsonl")
