"""Scores by hand: each axis of small replies, and what happens when files do not belong together."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from pyarrow.parquet import ParquetFile
from rouge_score.rouge_scorer import RougeScorer

from cardproof.config.settings import Scoring
from cardproof.contract.citing import citation_validity
from cardproof.errors import CardproofError
from cardproof.files import InStep, write_rows
from cardproof.records import Prompt, Rollout, Score, Support
from cardproof.scoring.frames import read_frame
from cardproof.scoring.rouge import Rouge
from cardproof.scoring.score import Shown, composite, score, score_files
from cardproof.scoring.table import ScoreFields, _columns, write_scores
from helpers.rows import checked, prompt, rollout

ROUGE, LIBRARY = Rouge(), RougeScorer(["rougeL"], use_stemmer=True)


def support(value: float | None, k: int = 0) -> Support:
    return Support(item=1, k=k, support=value, premises=["A#1"], pairs=1, truncated=0)


def axes(text: str, value: float | None = 0.5, contract: bool = True):
    return checked(score(Shown.of(prompt(contract), ["INSUFFICIENT EVIDENCE"]), rollout(text), value, Scoring(), Rouge()))


def test_a_strict_reply() -> None:
    s = axes('EVIDENCE:\n[A#1] "A loan may be renewed *twice*"\nANSWER: Twice, unless another reader has reserved the book [A#1].')
    assert (s.strict, s.content, s.attribution, s.citation_validity) == (1, 1, 1, 1)
    assert s.composite == pytest.approx(1 * 1 * 0.5)
    assert s.gold_rouge == 1
    # Tokens of the answer: 9 of the reference's and `a`, `1` of the citation: P 9/11, R 1.
    assert s.rouge_l == pytest.approx(2 * (9 / 11) / (9 / 11 + 1), abs=0.06)
    assert s.defects == []


def test_near_miss_misattributed_and_fabricated_quotes_are_shares() -> None:
    s = axes(
        'EVIDENCE:\n[A#1] "A loan may be renewed twice"\n[A#1] "Lost books must be paid for."\n[B#2] "Books are free."\n'
        "ANSWER: Twice [A#1] [B#2]."
    )
    assert [q.kind for q in s.quotes] == ["near_miss", "misattributed", "fabricated"]
    assert s.strict == pytest.approx(1 / 3)
    assert s.content == pytest.approx(2 / 3)
    assert s.attribution == 0
    assert s.composite == pytest.approx(1 / 3 * 0.5)


def test_a_citation_of_what_was_not_provided_voids_validity() -> None:
    assert axes('EVIDENCE:\n[C#9] "Lost books must be paid for."\nANSWER: Pay [B#2].').citation_validity == 0
    assert citation_validity([], ["a"]) == 0
    assert citation_validity(["a"], ["a", "b"]) == 1


def test_refusals_score_nothing() -> None:
    s = axes("ANSWER: INSUFFICIENT EVIDENCE", None)
    assert (s.refusal, s.composite, s.rouge_l, s.support) == (True, 0, 0, None)


def test_no_quotes_is_no_grounding() -> None:
    s = axes("EVIDENCE:\nANSWER: Twice [A#1].")
    assert (s.strict, s.content, s.composite) == (0, 0, 0)


def test_a_free_form_reply_is_its_own_answer_and_ranked_by_support() -> None:
    s = axes("It may be renewed twice [A#1].", 0.7, contract=False)
    assert s.answer == "It may be renewed twice [A#1]."
    assert s.composite == pytest.approx(0.7)


def test_composite_is_a_product_and_undefined_is_zero() -> None:
    assert composite({"strict": 0.5, "support": 0.4}, ["strict", "support"], False) == pytest.approx(0.2)
    assert composite({"strict": 0.5, "support": None}, ["strict", "support"], False) == 0
    assert composite({"strict": 1.0}, ["strict"], True) == 0


ARMS = ("base", "hybrid", "grounded")


def files(folder: Path, rollouts: list[Rollout], supports: list[Support]) -> tuple[Path, Path, Path]:
    paths = folder / "p.jsonl", folder / "s.jsonl", folder / "v.jsonl"
    write_rows(paths[0], [prompt()])
    write_rows(paths[1], rollouts)
    write_rows(paths[2], supports)
    return paths


def test_files_that_do_not_belong_together_are_named(tmp_path: Path) -> None:
    def run(rollouts, supports):
        return list(score_files(*files(tmp_path, rollouts, supports), Scoring(), ["INSUFFICIENT EVIDENCE"], ARMS, {"clean": len(rollouts)}))

    with pytest.raises(CardproofError, match=r"s\.jsonl: item 2 is not in"):
        run([rollout("x", item=2)], [])
    with pytest.raises(CardproofError, match=r"item 1, k 0: sampled from another prompt"):
        run([rollout("x", prompt_hash="other")], [support(0.1)])
    with pytest.raises(CardproofError, match=r"v\.jsonl: item 1, k 1 is missing"):
        run([rollout("x"), rollout("y", 1)], [support(0.1)])


def test_parquet_is_the_same_for_the_same_rows_and_reads_back(tmp_path: Path) -> None:
    text = 'EVIDENCE:\n[A#1] "A loan may be renewed twice"\nANSWER: Twice [A#1].'
    paths = files(tmp_path, [rollout(text), rollout("ANSWER: INSUFFICIENT EVIDENCE", 1)], [support(0.25), support(None, 1)])
    for name in ("a", "b"):
        assert write_scores(tmp_path / name, score_files(*paths, Scoring(), ["INSUFFICIENT EVIDENCE"], ARMS, {"clean": 2})) == 2
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    frame = pl.read_parquet(tmp_path / "a")
    assert frame["support"].to_list() == [0.25, None]
    assert frame["quotes"][0][0]["steps"] == ["markup"] or frame["quotes"][0][0]["steps"] == ["punctuation"]


WORDS = st.sampled_from(
    ["The", "licences", "licensed", "revoked", "revoking", "terms", "§", "30", "e.g.", "naïve", "ﬁne", "it", "nationally", "\n", ""]
)


@given(st.lists(WORDS, max_size=30).map(" ".join), st.lists(WORDS, max_size=30).map(" ".join))
@settings(max_examples=300)
def test_rouge_is_the_librarys_to_the_last_bit(answer: str, reference: str) -> None:
    expected = LIBRARY.score(reference, answer)["rougeL"].fmeasure
    assert ROUGE(answer, reference) == expected


@given(st.text(max_size=200), st.text(max_size=200))
@settings(max_examples=200)
def test_rouge_is_the_librarys_for_any_text_against_a_latin_reference(answer: str, reference: str) -> None:
    assume(2 * len(re.findall("[a-z0-9]", reference.lower())) >= sum(ch.isalnum() for ch in reference))
    assert ROUGE(answer, reference) == LIBRARY.score(reference, answer)["rougeL"].fmeasure


@pytest.mark.parametrize(
    ("answer", "reference", "f1"),
    [
        ("Арендатор платит 5 рублей.", "Арендатор платит 5 рублей.", 1.0),
        ("арендатор ПЛАТИТ", "Арендатор платит аренду в срок", 4 / 7),  # 2 of 2 words, 2 of 5
        ("किरायेदार भुगतान करता है", "किरायेदार भुगतान करता है", 1.0),
        ("租户支付租金", "租户支付租金", 1.0),
        ("租户", "租户支付租金", 0.5),  # 2 of 2 characters, 2 of 6
        ("The tenant pays.", "Арендатор платит.", 0.0),
    ],
)
def test_rouge_of_other_scripts_compares_their_words(answer: str, reference: str, f1: float) -> None:
    assert LIBRARY.score(reference, reference)["rougeL"].fmeasure in (0, 1)
    assert ROUGE(answer, reference) == pytest.approx(f1)
    assert Rouge("unicode")(answer, reference) == pytest.approx(f1)


def test_unicode_words_can_be_asked_for_everywhere() -> None:
    assert Rouge("unicode")("naïve tenants", "naïve tenant") == pytest.approx(0.5), "no stemming"
    assert ROUGE("naïve tenants", "naïve tenant") == 1


def test_scores_of_another_ladder_are_refused(tmp_path: Path) -> None:
    paths = files(tmp_path, [rollout("Twice.")], [support(None)])
    write_scores(tmp_path / "s.parquet", score_files(*paths, Scoring(), ["INSUFFICIENT EVIDENCE"], ARMS, {"clean": 1}))
    frame = read_frame(tmp_path / "s.parquet")
    assert frame["ladder"].to_list() == [2]
    frame.with_columns(pl.lit(1, pl.Int64).alias("ladder")).write_parquet(tmp_path / "old.parquet")
    with pytest.raises(CardproofError, match=r"old\.parquet: scored with version 1 of the ladder, but this cardproof has version 2"):
        read_frame(tmp_path / "old.parquet")
    frame.drop("ladder").write_parquet(tmp_path / "older.parquet")
    with pytest.raises(CardproofError, match=r"older\.parquet: scored by an earlier cardproof"):
        read_frame(tmp_path / "older.parquet")


def test_a_free_form_reply_of_quotes_alone_is_its_own_answer() -> None:
    s = axes('[A#1] "A loan may be renewed *twice*, unless"', 0.5, contract=False)
    assert s.answer == '[A#1] "A loan may be renewed *twice*, unless"'
    assert s.composite == 0.5
    assert axes('[A#1] "A loan may be renewed *twice*, unless"').answer == ""


def many(folder: Path, items: int, n: int) -> tuple[list[Prompt], list[Rollout], list[Support]]:
    """Prompts of `items` items, `n` rollouts of each, and their support, in the order the steps write."""
    texts = ['EVIDENCE:\n[A#1] "A loan may be renewed twice"\nANSWER: Twice [A#1].', "ANSWER: INSUFFICIENT EVIDENCE", "Twice."]
    prompts = [prompt().model_copy(update={"item": i, "prompt_hash": f"h{i}"}) for i in range(items)]
    rollouts = [rollout(f"{texts[(i + k) % 3]}{i}", k, f"h{i}", i) for i in range(items) for k in range(n)]
    supports = [support(k / n, k).model_copy(update={"item": i}) for i in range(items) for k in range(n)]
    return prompts, rollouts, supports


def test_prompts_and_support_are_found_in_any_order(tmp_path: Path) -> None:
    rows = many(tmp_path, 7, 3)
    orders = [rows, (rows[0][::-1], rows[1], rows[2][::-1]), (rows[0], sorted(rows[1], key=lambda r: r.k), rows[2])]
    found = []
    for number, parts in enumerate(orders):
        paths = [tmp_path / f"{name}{number}.jsonl" for name in ("prompts", "samples", "support")]
        for path, part in zip(paths, parts, strict=True):
            write_rows(path, part)
        scores = score_files(paths[0], paths[1], paths[2], Scoring(), ["INSUFFICIENT EVIDENCE"], ARMS, {"clean": 3})
        found.append(sorted(scores, key=lambda s: (s.item, s.k)))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 21


def test_files_in_one_order_are_held_a_row_at_a_time() -> None:
    rows = InStep(iter(range(1000)), lambda x: x)
    read = [(rows.take(x), len(rows._passed)) for x in range(0, 1000)]
    assert read == [(x, 0) for x in range(1000)]
    assert rows.take(0) is None
    back = InStep(iter(range(3)), lambda x: x)
    assert [back.take(x) for x in (2, 0, 7, 1)] == [2, 0, None, 1]


def test_scores_are_written_group_by_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts, rollouts, supports = many(tmp_path, 50, 2)
    by_item = {p.item: Shown.of(p, ["INSUFFICIENT EVIDENCE"]) for p in prompts}
    rows = [score(by_item[r.item], r, s.support, Scoring(), Rouge()) for r, s in zip(rollouts, supports, strict=True)]
    taken = 0

    def counted():
        nonlocal taken
        for row in rows:
            taken += 1
            yield row

    monkeypatch.setattr("cardproof.scoring.table.ROWS", 30)
    held: list[int] = []
    monkeypatch.setattr("cardproof.scoring.table._columns", lambda group, schema: held.append(taken) or _columns(group, schema))
    assert write_scores(tmp_path / "grouped.parquet", counted()) == 100
    assert held == [30, 60, 90, 100], "a group is written before the next one is scored"
    assert ParquetFile(tmp_path / "grouped.parquet").num_row_groups == 4
    monkeypatch.setattr("cardproof.scoring.table.ROWS", 1000)
    write_scores(tmp_path / "whole.parquet", iter(rows))
    assert_frame_equal(pl.read_parquet(tmp_path / "grouped.parquet"), pl.read_parquet(tmp_path / "whole.parquet"), check_exact=True)


def test_rows_have_the_fields_of_a_score_and_read_back_as_scores(tmp_path: Path) -> None:
    assert ScoreFields._fields == tuple(Score.model_fields)
    paths = files(tmp_path, [rollout('EVIDENCE:\n[A#1] "A loan may be renewed twice"\nANSWER: Twice [A#1].')], [support(None)])
    write_scores(tmp_path / "s.parquet", score_files(*paths, Scoring(), ["INSUFFICIENT EVIDENCE"], ARMS, {"clean": 1}))
    (row,) = pl.read_parquet(tmp_path / "s.parquet").to_dicts()
    assert Score.model_validate(row) == axes('EVIDENCE:\n[A#1] "A loan may be renewed twice"\nANSWER: Twice [A#1].', None)


def test_rouge_forgets_its_words_without_changing_its_value() -> None:
    small = Rouge()
    small.WORDS = 3
    for answer, reference in [
        ("licences are revoked", "a licence is revoked"),
        ("other words altogether", "no word shared"),
        ("a b c", "a c"),
    ] * 2:
        assert small(answer, reference) == LIBRARY.score(reference, answer)["rougeL"].fmeasure
