"""The ROUGE-L of picked candidates is the library's: what is compared, what is counted, and what ends the evaluation."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from rouge_score.rouge_scorer import RougeScorer

from cardproof.cli.main import cli
from cardproof.config.settings import Scoring
from cardproof.errors import CardproofError
from cardproof.evaluation.picked_rouge import PickedRouge
from cardproof.files import write_rows
from cardproof.records import Prompt, Support
from cardproof.scoring import library_rouge
from cardproof.scoring.score import score_files
from cardproof.scoring.table import write_scores
from helpers.rows import prompt, rollout

REFERENCES = {
    1: "Twice, unless another reader has reserved the book.",
    2: "Zweimal, sofern niemand das Buch für sich vorgemerkt hat.",
    3: "二回まで、ただし予約がある場合を除く。",
}
ANSWERS = {
    1: ("Twice, unless the book was reserved.", "Once [A#1].", "INSUFFICIENT EVIDENCE"),
    2: ("Zweimal, wenn das Buch nicht vorgemerkt ist.", "Einmal.", "Nie."),
    3: ("二回まで借りられる。", "一回。", "Twice."),
}
SUPPORT = (0.9, 0.5, None)
"""The first candidate is picked, the second not, the third refuses or comes last."""


def asked(item: int, condition: str) -> Prompt:
    return prompt().model_copy(update={"item": item, "reference": REFERENCES[item], "condition": condition})


def reply(answer: str) -> str:
    return f'EVIDENCE:\n[A#1] "A loan may be renewed *twice*"\nANSWER: {answer} [A#1]'


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prompts, and scores of one arm as `cardproof score` makes them: three items, three candidates each."""
    folder = tmp_path_factory.mktemp("scored")
    for condition in ("clean", "stress", "freeform"):
        rows = [
            rollout(reply(answer) if k < 2 else answer, k, item=item).model_copy(update={"condition": condition})
            for item, answers in ANSWERS.items()
            for k, answer in enumerate(answers)
        ]
        write_rows(folder / "prompts" / f"{condition}.jsonl", [asked(item, condition) for item in REFERENCES])
        write_rows(folder / "samples.jsonl", rows)
        told = [Support(item=r.item, k=r.k, support=SUPPORT[r.k], premises=["A#1"], pairs=1, truncated=0) for r in rows]
        write_rows(folder / "support.jsonl", told)
        paths = (folder / "prompts" / f"{condition}.jsonl", folder / "samples.jsonl", folder / "support.jsonl")
        found = score_files(*paths, Scoring(), ["INSUFFICIENT EVIDENCE"], ["base"], dict.fromkeys(("clean", "stress", "freeform"), 3))
        write_scores(folder / "scores" / "base" / f"{condition}.parquet", found)
    return folder


def changed(scored: Path, tmp_path: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Path:
    path = tmp_path / "base" / "clean.parquet"
    path.parent.mkdir()
    change(pl.read_parquet(scored / "scores" / "base" / "clean.parquet")).write_parquet(path)
    return tmp_path


def of(item: int, k: int) -> pl.Expr:
    return (pl.col("item") == item) & (pl.col("k") == k)


def rouge(scored: Path, settings: Scoring | None = None) -> PickedRouge:
    return PickedRouge(scored / "prompts", settings or Scoring())


def test_evaluate_counts_what_it_compared(scored: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("arms: {base: {adapter: none}}\n")
    files = ["--scores", str(scored / "scores"), "--prompts", str(scored / "prompts"), "--out", str(tmp_path / "out")]
    ended = CliRunner().invoke(cli, ["evaluate", "--config", str(tmp_path / "config.yaml"), *files])
    assert ended.exit_code == 0, ended.output
    for name in ("axes", "stress", "format_lock"):
        check = json.loads((tmp_path / "out" / f"{name}.json").read_text())["rouge_check"]
        assert check == {"library": "rouge-score 0.1.2", "rows": 3, "too_long": 0, "largest_difference": 0.0}
    assert "rouge_check" not in json.loads((tmp_path / "out" / "compute.json").read_text())


def test_picked_rows_have_the_librarys_value_to_the_last_bit(scored: Path) -> None:
    found = rouge(scored).read(scored / "scores", "base", "clean")
    library = RougeScorer(["rougeL"], use_stemmer=True)
    for item in (1, 2):
        row = found.row(by_predicate=of(item, 0), named=True)
        assert row["rouge_l"] == library.score(REFERENCES[item], row["answer"])["rougeL"].fmeasure > 0
    # 二回まで and the last る: five of the answer's nine characters and two words of its citation, and of the reference's 17.
    row = found.row(by_predicate=of(3, 0), named=True)
    assert row["rouge_l"] == pytest.approx(2 * 5 / (11 + 17))


def test_reading_with_the_check_changes_no_other_row_and_no_order(scored: Path) -> None:
    assert rouge(scored).read(scored / "scores", "base", "clean").equals(pl.read_parquet(scored / "scores" / "base" / "clean.parquet"))


@pytest.mark.parametrize(("by", "refused"), [(1e-12, False), (1e-6, True), (float("nan"), True), (-0.01, True)])
def test_a_picked_candidate_that_disagrees_beyond_rounding_is_named(scored: Path, tmp_path: Path, by: float, refused: bool) -> None:
    scores = changed(scored, tmp_path, lambda t: t.with_columns(pl.when(of(2, 0)).then(pl.col("rouge_l") + by).otherwise("rouge_l")))
    if refused:
        with pytest.raises(CardproofError, match=r"clean\.parquet") as caught:
            rouge(scored).read(scores, "base", "clean")
        if by == by:
            assert "item 2, k 0: field 'rouge_l'" in caught.value.sentence and "rouge-score 0.1.2 computes" in caught.value.sentence
    else:
        check = rouge(scored)
        check.read(scores, "base", "clean")
        assert 0 < check.of("clean").largest_difference < 1e-9


def test_a_candidate_that_is_not_picked_is_not_compared(scored: Path, tmp_path: Path) -> None:
    scores = changed(scored, tmp_path, lambda t: t.with_columns(pl.when(of(2, 1)).then(0.75).otherwise("rouge_l").alias("rouge_l")))
    check = rouge(scored)
    check.read(scores, "base", "clean")
    assert check.of("clean").rows == 3


def test_candidates_that_tie_are_all_compared_and_refusals_are_not(scored: Path, tmp_path: Path) -> None:
    scores = changed(scored, tmp_path, lambda t: t.with_columns(pl.lit(0.0).alias("composite")))
    check = rouge(scored)
    check.read(scores, "base", "clean")
    assert check.of("clean").rows == 8, "nine candidates, one of them a refusal"


def test_gold_that_does_not_follow_from_the_threshold_is_named(scored: Path) -> None:
    with pytest.raises(CardproofError, match=r"item \d, k 0: field 'gold_rouge': found 1, but ROUGE-L is 0\.\d+ and scoring"):
        rouge(scored, Scoring(rouge_threshold=0.99)).read(scored / "scores", "base", "clean")


def test_an_item_without_a_prompt_is_named(scored: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "clean.jsonl", [asked(1, "clean"), asked(3, "clean")])
    with pytest.raises(CardproofError, match=r"item 2 is not in .*clean\.jsonl"):
        PickedRouge(tmp_path, Scoring()).read(scored / "scores", "base", "clean")


def test_texts_too_long_for_the_library_keep_the_fast_value_and_are_counted(scored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_rouge, "MOST_CELLS", 60)  # of words: the shortest pair has 8 x 8
    check = rouge(scored)
    check.read(scored / "scores", "base", "clean")
    assert (check.of("clean").rows, check.of("clean").too_long) == (0, 3)


@pytest.mark.parametrize("words", ["latin", "unicode"])
def test_the_library_and_the_fast_one_choose_the_same_words(words: str, scored: Path) -> None:
    from cardproof.scoring.rouge import Rouge

    texts: Sequence[str] = [*REFERENCES.values(), *(a for answers in ANSWERS.values() for a in answers), "", "。", "naïve tenants"]
    fast, library = Rouge(words), library_rouge.LibraryRouge(words)  # type: ignore[arg-type]
    for answer in texts:
        for reference in texts:
            assert fast(answer, reference) == library(answer, reference)
