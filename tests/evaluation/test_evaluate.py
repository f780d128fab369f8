"""The five files of a small evaluation whose every number is worked out by hand, and what bad scores are told."""

from __future__ import annotations

import json

import polars as pl
import pytest

from cardproof import files
from cardproof.config.settings import Scoring
from cardproof.errors import CardproofError
from cardproof.evaluation import axes, evaluate, statistics
from cardproof.evaluation.mechanism import counted, mechanism
from cardproof.evaluation.results import Choices
from cardproof.records import Comparison, Estimate, Score
from cardproof.scoring.table import parquet_schema

QUICK = {"simulations": 40, "seed": 3}

QUOTE = pl.DataFrame(parquet_schema().empty_table()).schema["quotes"].inner


def quote(kind, *steps):
    return {
        "text": "q",
        "cited_id": "d1",
        "kind": kind,
        "strict": kind in ("strict", "misattributed"),
        "content": kind != "fabricated",
        "attributed": kind == "strict",
        "steps": list(steps),
        "doc_id": None if kind == "fabricated" else "d1",
        "start": None,
        "end": None,
    }


S, M, F = quote("strict"), quote("misattributed"), quote("fabricated")
MARKUP, BOTH = quote("near_miss", "markup"), quote("near_miss", "whitespace", "markup")
REFUSAL = None


def row(arm, condition, item, k, oracle, content):
    """A Score row: the shares follow from the quotes, the composite is strict x validity x support."""
    held, validity, rouge, support = content or ([], 0.0, 0.0, None)
    share = {name: sum(q[name] for q in held) / len(held) if held else 0.0 for name in ("strict", "content", "attributed")}
    return {
        "item": item,
        "k": k,
        "arm": arm,
        "condition": condition,
        "oracle_present": oracle,
        "refusal": content is None,
        "answer": "" if content is None else "a",
        "citations": ["d1"] if validity else [],
        "defects": [],
        "quotes": held,
        "strict": share["strict"],
        "content": share["content"],
        "attribution": share["attributed"],
        "citation_validity": validity,
        "rouge_l": rouge,
        "gold_rouge": float(rouge >= 0.3),
        "support": support,
        "composite": share["strict"] * validity * support if content and support is not None else 0.0,
        "completion_tokens": 10,
        "finish_reason": "stop",
        "ladder": Scoring().ladder,
    }


# Per item the two candidates, k = 0 and 1, each (quotes, citation validity, ROUGE-L, support) or a refusal.
# Composites, k = 0 / k = 1, and the picked candidate:
#   base      1: 0.5*1*0.8 = 0.4 / 0.0 refusal    -> k 0     grounded  1: 0.9 / 0.6            -> k 0
#             2: 0.0 / 1*1*0.6 = 0.6              -> k 1               2: 0.5*0.6 = 0.3 / 0.8  -> k 1
#             3: 0.0 / 0.0 refusals               -> k 0, refusal      3: 0.7 / 0.0 refusal    -> k 0
#             4: 0.0 / 0.0 (validity 0)           -> either, half each  4: 0.5 / 0.5            -> either, half each
CANDIDATES = {
    "base": {
        1: [([S, MARKUP], 1.0, 0.5, 0.8), REFUSAL],
        2: [([F], 1.0, 0.1, 0.4), ([M], 1.0, 0.3, 0.6)],
        3: [REFUSAL, REFUSAL],
        4: [([BOTH], 0.0, 0.2, 0.5), ([F], 0.0, 0.9, 0.5)],
    },
    "grounded": {
        1: [([S], 1.0, 0.4, 0.9), ([S], 1.0, 0.4, 0.6)],
        2: [([S, F], 1.0, 0.2, 0.6), ([S, S], 1.0, 0.6, 0.8)],
        3: [([S], 1.0, 0.1, 0.7), REFUSAL],
        4: [([S, MARKUP], 1.0, 0.3, 1.0), ([M], 1.0, 0.8, 0.5)],
    },
}


def frame(arm, condition="clean", absent=(), candidates=CANDIDATES):
    rows = [row(arm, condition, item, k, item not in absent, c) for item, cs in candidates[arm].items() for k, c in enumerate(cs)]
    schema = {"quotes": pl.List(QUOTE), "support": pl.Float64, "citations": pl.List(pl.String), "defects": pl.List(pl.String)}
    return pl.DataFrame(rows, schema_overrides=schema)


@pytest.fixture
def clean():
    return {arm: frame(arm) for arm in CANDIDATES}


@pytest.fixture
def scores(tmp_path):
    for arm in CANDIDATES:
        for condition, absent in (("clean", ()), ("stress", (3, 4)), ("freeform", ())):
            path = tmp_path / "scores" / arm / f"{condition}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            frame(arm, condition, absent).write_parquet(path)
    return tmp_path / "scores"


def numbers(arm):
    return {name: (found.value, found.n) for name, found in arm if isinstance(found, Estimate)}


def test_the_rows_here_are_rows_of_scores():
    for arm in CANDIDATES:
        for found in frame(arm).to_dicts():
            Score.model_validate(found)


def test_axes_by_hand(clean):
    found = evaluate.axes(clean, **QUICK)
    assert (found.condition, found.best_of, found.items) == ("clean", 2, 4)
    base, grounded = found.arms["base"], found.arms["grounded"]
    assert (base.answered, base.oracle_present) == (3, 4)
    assert (grounded.answered, grounded.oracle_present) == (4, 4)
    assert numbers(base) == {
        # Items 1, 2, 4 answer: k 0, k 1, and the mean of both.
        "strict": (pytest.approx((0.5 + 1 + 0) / 3), 3),
        "content": (pytest.approx((1 + 1 + 0.5) / 3), 3),
        "attribution": (pytest.approx((0.5 + 0 + 0) / 3), 3),
        "citation_validity": (pytest.approx(2 / 3), 3),
        "gold_rouge": (pytest.approx((1 + 1 + 0.5) / 3), 3),
        "rouge_l": (pytest.approx((0.5 + 0.3 + 0.55) / 3), 3),
        "false_refusals": (0.25, 4),
        "support": (pytest.approx((0.8 + 0.6 + 0.5) / 3), 3),
        "composite": (pytest.approx((0.4 + 0.6 + 0) / 3), 3),
        # The five candidates that answer: strict 0.5 | 0, 1 | 0, 0 and composite 0.4 | 0, 0.6 | 0, 0, of three items.
        "strict_n1": (pytest.approx(1.5 / 5), 3),
        "composite_n1": (pytest.approx(1.0 / 5), 3),
    }
    assert numbers(grounded) == {
        "strict": (pytest.approx((1 + 1 + 1 + 0.75) / 4), 4),
        "content": (1.0, 4),
        "attribution": (pytest.approx((1 + 1 + 1 + 0.25) / 4), 4),
        "citation_validity": (1.0, 4),
        # 0.4, 0.6, 0.1, and 0.3 or 0.8: three reach 0.30.
        "gold_rouge": (0.75, 4),
        "rouge_l": (pytest.approx((0.4 + 0.6 + 0.1 + 0.55) / 4), 4),
        "false_refusals": (0.0, 4),
        "support": (pytest.approx((0.9 + 0.8 + 0.7 + 0.75) / 4), 4),
        "composite": (pytest.approx((0.9 + 0.8 + 0.7 + 0.5) / 4), 4),
        # Seven candidates answer: strict 1, 1 | 0.5, 1 | 1 | 0.5, 1; composite 0.9, 0.6 | 0.3, 0.8 | 0.7 | 0.5, 0.5.
        "strict_n1": (pytest.approx(6 / 7), 4),
        "composite_n1": (pytest.approx(4.3 / 7), 4),
    }
    # Over all four items a refusal counts 0.
    assert (base.all_items.strict.value, base.all_items.strict.n) == (pytest.approx(1.5 / 4), 4)
    assert not hasattr(base.all_items, "false_refusals")
    # Of base's items 3 and 4 all candidates tie; of grounded's item 4.
    assert base.choices == Choices(items=4, unique=2, some=2)
    assert grounded.choices == Choices(items=4, unique=3, some=3)
    assert base.false_refusals.count == 1
    assert base.citation_validity.method == "clopper-pearson"
    assert base.gold_rouge.count is None, "half an item is no count"
    assert base.strict.method.startswith("bayesian bootstrap over items")


def test_what_each_item_adds_is_kept(clean):
    found = evaluate.axes(clean, **QUICK)
    for arm in CANDIDATES:
        for axis in axes.AXES:
            kept = found.per_item[f"/arms/{arm}/{axis.name}"]
            assert sum(kept.totals) / sum(kept.weights) == pytest.approx(getattr(found.arms[arm], axis.name).value)
    assert found.per_item["/arms/base/strict"].model_dump() == {"totals": [0.5, 1.0, 0.0, 0.0], "weights": [1.0, 1.0, 0.0, 1.0]}


def test_a_reply_without_answer_text_is_answered_and_has_no_support():
    few = {arm: {1: [([S], 1.0, 0.5, 0.8)], 2: [([S], 1.0, 0.0, None)]} for arm in CANDIDATES}
    found = evaluate.axes({arm: frame(arm, candidates=few) for arm in few}, **QUICK).arms["base"]
    assert (found.answered, found.support.n, found.support.value) == (2, 2, pytest.approx(0.4))
    assert {getattr(found, axis.name).n for axis in axes.AXES} == {2}


def test_paired_axes_by_hand(clean):
    found = evaluate.axes(clean, **QUICK)
    assert list(found.paired) == ["grounded-base"]
    paired = found.paired["grounded-base"]
    assert {name: (comparison.difference, comparison.n) for name, comparison in paired.items()} == {
        # Both arms answer items 1, 2, 4.
        "strict": (pytest.approx((0.5 + 0 + 0.75) / 3), 3),
        "content": (pytest.approx((0 + 0 + 0.5) / 3), 3),
        "attribution": (pytest.approx((0.5 + 1 + 0.25) / 3), 3),
        "citation_validity": (pytest.approx(1 / 3), 3),
        "gold_rouge": (pytest.approx((0 + 0 + 0.5) / 3), 3),
        "rouge_l": (pytest.approx((-0.1 + 0.3 + 0) / 3), 3),
        # Over all four items: lost in item 3 alone.
        "false_refusals": (-0.25, 4),
        "support": (pytest.approx((0.1 + 0.2 + 0.25) / 3), 3),
        "composite": (pytest.approx((0.5 + 0.2 + 0.5) / 3), 3),
    }
    # Three items show nothing, and would not have.
    assert {comparison.p_holm for comparison in paired.values()} == {1.0}
    assert found.differs == {"grounded-base": []}
    assert found.minimal_detectable["grounded-base"]["strict"] is None


def test_a_difference_is_found_where_there_is_one():
    few = {"base": {i: [([F], 1.0, 0.0, 0.2)] for i in range(20)}, "grounded": {i: [([S], 1.0, 0.0, 0.9 - i / 50)] for i in range(20)}}
    found = evaluate.axes({arm: frame(arm, candidates=few) for arm in few}, **QUICK)
    assert found.differs["grounded-base"] == ["strict", "content", "attribution", "support", "composite"]
    strict = found.paired["grounded-base"]["strict"]
    # All 20 differences are 1, of which the range allows 2: p = 2 (1/2)^20. The other axes cannot vary, or are no less certain.
    assert strict.p == pytest.approx(2 * 0.5**20)
    assert strict.p_holm == pytest.approx(5 * strict.p)


def test_the_primary_hypotheses_are_one_family(clean):
    stressed = {arm: frame(arm, "stress", absent=(3, 4)) for arm in CANDIDATES}
    freeform = {arm: frame(arm, "freeform") for arm in CANDIDATES}
    found = evaluate.results(clean, stressed, freeform, support_margin=0.05, **QUICK)
    family = found.axes.primary["grounded-base"]
    assert list(family) == ["strict_clean", "strict_stress", "gap_clean", "gap_stress", "compute", "support_equivalence"]
    assert family["strict_clean"] == found.axes.paired["grounded-base"]["strict"]
    assert family["strict_stress"] == found.stress.paired["grounded-base"]["strict"]
    assert family["gap_clean"] == found.mechanism.paired["clean"]["grounded-base"]
    assert family["compute"] == found.compute.equivalence["grounded"].single
    ps = [family[name].p for name in ("strict_clean", "strict_stress", "gap_clean", "gap_stress", "compute")]
    assert [family[name].p_holm for name in family if name != "support_equivalence"] == pytest.approx(
        [step.p for step in statistics.holm_steps([*ps, family["support_equivalence"].p])][:-1]
    )
    # A family of one is not corrected, and what is not in it stays in its own table's family.
    one = evaluate.results(clean, stressed, freeform, support_margin=0.05, hypotheses=["gap_clean"], **QUICK)
    assert list(one.axes.primary["grounded-base"]) == ["gap_clean"]
    assert one.mechanism.paired["clean"]["grounded-base"].p_holm == one.mechanism.paired["clean"]["grounded-base"].p
    assert one.axes.paired == evaluate.axes(clean, **QUICK).paired


def test_stress_by_hand():
    found = evaluate.stress({arm: frame(arm, "stress", absent=(3, 4)) for arm in CANDIDATES}, **QUICK)
    assert found.settings.model_dump() == {"items": 4, "oracle_dropped": 2}
    assert found.arms["base"].oracle_present == 2
    # Strict is over all answered items, those without the oracle too.
    assert (found.arms["base"].strict.value, found.arms["base"].strict.n) == (0.5, 3)
    # Items 1 and 2 have the oracle, and both are answered.
    assert (found.arms["base"].false_refusals.count, found.arms["base"].false_refusals.n) == (0, 2)
    # Of items 3 and 4 base refuses 3.
    refusals = {arm: (found.correct_refusals[arm].count, found.correct_refusals[arm].n) for arm in CANDIDATES}
    assert refusals == {"base": (1, 2), "grounded": (0, 2)}
    residual = found.residual["base"]
    # Quotes of the picked answers: S, near miss | M | near miss or fabricated. M is the slip.
    assert (residual.quotes, residual.slips) == (4, 1)
    assert residual.strict.value - residual.attribution.value == pytest.approx(1 / 3)
    # In grounded's item 4 either S and a near miss, or M.
    assert (found.residual["grounded"].quotes, found.residual["grounded"].slips) == (5.5, 0.5)


def test_nothing_to_be_over_gives_no_value(clean):
    silent = {arm: {1: [REFUSAL], 2: [REFUSAL]} for arm in CANDIDATES}
    found = evaluate.stress({arm: frame(arm, "stress", (1, 2), silent) for arm in silent}, **QUICK)
    arm = found.arms["base"]
    for axis in axes.AXES:
        assert (getattr(arm, axis.name).value, getattr(arm, axis.name).n, getattr(arm, axis.name).low) == (None, 0, None)
        comparison = found.paired["grounded-base"][axis.name]
        assert (comparison.difference, comparison.p, comparison.p_holm) == (None, None, None)
    assert arm.strict_n1.value is None
    assert found.correct_refusals["base"].value == 1.0
    gaps = mechanism({"stress": {arm: frame(arm, "stress", (1, 2), silent) for arm in silent}})
    assert gaps.conditions["stress"]["base"].gap.n == 0
    files.plain(found)


def test_mechanism_by_hand(clean):
    found = mechanism({"clean": clean})
    base = found.conditions["clean"]["base"]
    # Gaps of items 1, 2, 4: 0.5, 0, and 1 or 0.
    assert (base.answered, base.gap.value, base.gap.n) == (3, pytest.approx(1 / 3), 3)
    assert base.quotes == 4
    assert {kind: share.count for kind, share in base.kinds.items()} == {
        "strict": 1,
        "near_miss": 1.5,
        "misattributed": 1,
        "fabricated": 0.5,
    }
    assert base.kinds["near_miss"].share == 1.5 / 4
    assert base.ladder.near_misses == 1.5
    assert files.plain(base.ladder.repairs) == [
        {"steps": ["markup"], "count": 1, "share": pytest.approx(2 / 3)},
        {"steps": ["whitespace", "markup"], "count": 0.5, "share": pytest.approx(1 / 3)},
    ]
    involved = {step: share.count for step, share in base.ladder.involves.items()}
    assert involved == {"whitespace": 0.5, "typography": 0, "markup": 1.5, "case": 0, "punctuation": 0}
    # All candidates that answer: gaps 0.5 | 0, 0 | 1, 0 over five.
    assert (base.candidates.answered, base.candidates.gap.value) == (5, pytest.approx(0.3))
    assert base.candidates.kinds["fabricated"].model_dump() == {"count": 2, "share": pytest.approx(2 / 6)}
    # Grounded has gaps 0, 0, 0, and 0.5 or 0; on items 1, 2, 4 it differs from base by -0.5, 0, -0.25.
    assert found.conditions["clean"]["grounded"].gap.value == 0.0625
    paired = found.paired["clean"]["grounded-base"]
    assert (paired.difference, paired.n) == (pytest.approx(-0.25), 3)


def test_no_quotes_have_no_shares():
    found = counted(2, statistics.estimate(statistics.column([])), [[], []])
    assert found.quotes == 0
    assert found.kinds["strict"].model_dump() == {"count": 0, "share": None}
    assert found.ladder.repairs == []


def test_compute_by_hand(clean):
    found = evaluate.compute(clean)
    assert (found.condition, found.metric, found.max_n) == ("clean", "composite", 2)
    base = found.arms["base"]
    # Over four items, a refusal counts 0. N = 1: means 0.2, 0.3, 0, 0; N = 2: 0.4, 0.6, 0, 0.
    assert [e.value for e in base.composite] == pytest.approx([0.125, 0.25])
    assert {e.n for e in base.composite} == {4}
    assert [e.value for e in base.strict] == pytest.approx([(0.25 + 0.5) / 4, 1.5 / 4])
    # Support 0.8, refusal | 0.6, 0.4 | refusals | 0.5, 0.5.
    assert [e.value for e in base.support] == pytest.approx([(0.4 + 0.5 + 0.5) / 4, (0.8 + 0.6 + 0.5) / 4])
    # Grounded at N = 1: 0.75, 0.55, 0.35, 0.5.
    assert found.arms["grounded"].composite[0].value == pytest.approx(2.15 / 4)
    assert list(found.equivalence) == ["grounded"]
    equivalence = found.equivalence["grounded"]
    assert equivalence.target == pytest.approx(2.15 / 4)
    assert (equivalence.n_equivalent, equivalence.reason, equivalence.doublings) == (None, "above N=2", None)


def test_compute_equivalence_between_two_n():
    # Base: every item 0.2 and 0.6, so 0.4 at N = 1 and 0.6 at N = 2. Grounded: 0.5 and 0.5. Halfway: N = 1 x 2^(1/2).
    few = {
        "base": {i: [([S], 1.0, 0.0, 0.2), ([S], 1.0, 0.0, 0.6)] for i in range(5)},
        "grounded": {i: [([S], 1.0, 0.0, 0.5), ([S], 1.0, 0.0, 0.5)] for i in range(5)},
    }
    found = evaluate.compute({arm: frame(arm, candidates=few) for arm in few}).equivalence["grounded"]
    assert (found.n_equivalent, found.doublings) == pytest.approx((2**0.5, 0.5))
    # Five items are alike, and five are too few to say so: the interval is the whole curve.
    assert (found.low, found.high) == (None, None)
    assert found.level == 0.95


def test_format_lock_by_hand(clean):
    freeform = {arm: frame(arm, "freeform") for arm in CANDIDATES}
    found = evaluate.format_lock(freeform, clean, support_margin=0.1)
    base = found.arms["base"]
    assert (base.support.value, base.rouge_l.value) == pytest.approx((1.9 / 3, 1.35 / 3))
    # Of four picked replies only the refusal holds no quote.
    assert (base.strict_rate_contract.count, base.strict_rate_contract.n) == (3, 4)
    paired = found.paired["grounded-base"]["support"]
    assert (paired.difference, paired.n) == (pytest.approx(0.55 / 3), 3)
    assert paired.p_holm == paired.p
    assert found.contract_paired["grounded-base"]["support"] == paired
    items = statistics.differences(statistics.column([0.8, 0.6, 0.5]), statistics.column([0.9, 0.8, 0.75]))
    expected = statistics.equivalence(items, 0.1)
    tost = found.equivalence["grounded-base"]
    assert (tost.n, tost.margin, tost.level, tost.method) == (expected.n, expected.margin, expected.level, expected.method)
    assert (tost.low, tost.high, tost.p) == pytest.approx((expected.low, expected.high, expected.p))
    assert tost.equivalent is False


# --- files ------------------------------------------------------------------------------------------------------------


def test_run_writes_five_files_and_the_same_bytes_again(scores, tmp_path):
    for out in ("one", "two"):
        evaluate.run(scores, tmp_path / out, support_margin=0.05, arms=list(CANDIDATES), **QUICK)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["axes.json", "compute.json", "format_lock.json", "mechanism.json", "stress.json"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    axes = json.loads((tmp_path / "one" / "axes.json").read_text())
    assert list(axes["arms"]) == ["base", "grounded"]
    Estimate.model_validate(axes["arms"]["base"]["strict"])
    Comparison.model_validate(axes["paired"]["grounded-base"]["strict"])
    assert axes["arms"]["base"]["strict"]["value"] == 0.5


def test_results_do_not_depend_on_the_order_of_rows(clean):
    turned = {arm: table.reverse() for arm, table in clean.items()}
    assert files.plain(evaluate.axes(turned, **QUICK)) == files.plain(evaluate.axes(clean, **QUICK))
    assert files.plain(mechanism({"clean": turned})) == files.plain(mechanism({"clean": clean}))


def test_another_seed_moves_only_what_is_simulated(clean):
    one, two = (files.plain(evaluate.axes(clean, simulations=40, seed=seed)) for seed in (0, 1))
    for key in one:
        if key != "minimal_detectable":
            assert one[key] == two[key]


def test_one_arm_is_enough(scores, tmp_path):
    evaluate.run(scores, tmp_path / "out", support_margin=0.05, arms=["base"], **QUICK)
    assert files.read_json(tmp_path / "out" / "axes.json")["paired"] == {}
    assert files.read_json(tmp_path / "out" / "compute.json")["equivalence"] == {}


def run(scores, **changes):
    evaluate.run(scores, scores.parent / "out", **{"support_margin": 0.05, "arms": list(CANDIDATES), **QUICK, **changes})


def test_a_missing_file_is_named(scores):
    with pytest.raises(CardproofError, match=r"hybrid/clean\.parquet does not exist"):
        run(scores, arms=["base", "hybrid"])
    with pytest.raises(CardproofError, match="reference arm 'base'"):
        run(scores, arms=["grounded"])


def test_a_broken_file_is_named(scores):
    (scores / "base" / "clean.parquet").write_text("no parquet")
    with pytest.raises(CardproofError, match=r"base/clean\.parquet is not a readable parquet"):
        run(scores)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.drop("support"), r"clean\.parquet: column 'support' is missing"),
        (lambda t: t.rename({"rouge_l": "rouge_L"}), r"column 'rouge_l' is missing\.\nHint: did you mean 'rouge_L'"),
        (lambda t: t.clear(), r"clean\.parquet has no rows"),
        (lambda t: t.with_columns(arm=pl.lit("other")), r"a row has arm 'other', not 'base'"),
        (lambda t: t.with_columns(strict=pl.lit(float("nan"))), r"column 'strict' is nan for item 1, k 0"),
        (lambda t: t.with_columns(composite=pl.lit(None, pl.Float64)), r"column 'composite' is None for item 1, k 0"),
        (lambda t: t.with_columns(refusal=pl.lit(None, pl.Boolean)), r"column 'refusal' has an empty value"),
        (lambda t: t.head(7), r"base/clean: item 4 has 1 candidates and item 1 has 2"),
    ],
)
def test_a_bad_column_is_named(scores, change, sentence):
    path = scores / "base" / "clean.parquet"
    change(pl.read_parquet(path)).write_parquet(path)
    with pytest.raises(CardproofError, match=sentence):
        run(scores)


def test_scores_without_any_support_or_quote(scores):
    # Where every reply is a refusal polars may have guessed a column of nulls and a list of nulls.
    path = scores / "base" / "freeform.parquet"
    table = pl.read_parquet(path).with_columns(support=pl.lit(None), refusal=pl.lit(True), quotes=pl.lit([], pl.List(pl.Null)))
    table.write_parquet(path)
    run(scores)
    found = files.read_json(scores.parent / "out" / "format_lock.json")
    assert found["arms"]["base"]["support"]["n"] == 0
    assert found["equivalence"]["grounded-base"]["p"] is None
