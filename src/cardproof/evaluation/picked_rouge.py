"""ROUGE-L of the candidates that best-of-N picks, computed by `rouge_score`, and the scores checked against it."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from cardproof.config.settings import Scoring
from cardproof.errors import CardproofError
from cardproof.evaluation.rerank import ranked
from cardproof.evaluation.results import RougeCheck
from cardproof.files import iter_rows
from cardproof.records import Prompt
from cardproof.scoring.frames import read_scores
from cardproof.scoring.library_rouge import LibraryRouge, version

ROUNDING = 1e-9
"""Largest difference between the two that is rounding. They use the same arithmetic, so 0 is what tests find."""


class PickedRouge:
    """Reads scores, and puts the library's ROUGE-L in the place of the fast one for every picked candidate that answers.

    All numbers on a card are about these. The other candidates keep the fast value, which no printed number of ROUGE-L uses.
    """

    def __init__(self, prompts_dir: Path, settings: Scoring) -> None:
        self._prompts_dir = prompts_dir
        self._threshold = settings.rouge_threshold
        self._rouge = LibraryRouge(settings.rouge_words)
        self._references: dict[str, dict[int, str]] = {}
        self._known: dict[tuple[str, str], float | None] = {}
        self._checks: dict[str, dict[str, RougeCheck]] = {}

    def read(self, scores_dir: Path, arm: str, condition: str) -> pl.DataFrame:
        """The Score rows of one arm and condition, as `frames.read_scores` reads them, with the library's ROUGE-L.

        CardproofError names file, item and candidate if a picked one's ROUGE-L or gold ROUGE is not what the library gives.
        """
        frame = read_scores(scores_dir, arm, condition)
        path = scores_dir / arm / f"{condition}.parquet"
        table = ranked(frame)
        taken = pl.Series((table.shares[:, :, -1] > 0).ravel())
        picked = table.rows.filter(taken).filter(~pl.col("refusal"))
        computed, too_long, largest = [], 0, 0.0
        for item, k, answer, found, gold in picked.select("item", "k", "answer", "rouge_l", "gold_rouge").iter_rows():
            value = self._value(answer, self._reference(condition, item, path))
            if value is None:
                too_long += 1
                value = found
            largest = max(largest, abs(value - found))
            self._compare(f"{path}: item {item}, k {k}", found, value, gold)
            computed.append(value)
        self._checks.setdefault(condition, {})[arm] = RougeCheck(
            library=version(), rows=len(computed) - too_long, too_long=too_long, largest_difference=largest
        )
        library = picked.select("item", "k").with_columns(pl.Series("library", computed, dtype=pl.Float64))
        joined = frame.join(library, on=["item", "k"], how="left", maintain_order="left")
        return joined.with_columns(pl.coalesce("library", "rouge_l").alias("rouge_l")).drop("library")

    def of(self, condition: str) -> RougeCheck:
        """What was compared under one condition, over all arms that were read."""
        checks = self._checks[condition].values()
        return RougeCheck(
            library=version(),
            rows=sum(c.rows for c in checks),
            too_long=sum(c.too_long for c in checks),
            largest_difference=max((c.largest_difference for c in checks), default=0.0),
        )

    def _reference(self, condition: str, item: int, path: Path) -> str:
        file = self._prompts_dir / f"{condition}.jsonl"
        if condition not in self._references:
            self._references[condition] = {prompt.item: prompt.reference for prompt in iter_rows(file, Prompt)}
        if item not in self._references[condition]:
            raise CardproofError(f"{path}: item {item} is not in {file}.", "give the prompts that these rollouts were sampled on.")
        return self._references[condition][item]

    def _value(self, answer: str, reference: str) -> float | None:
        if (answer, reference) not in self._known:
            self._known[answer, reference] = self._rouge(answer, reference)
        return self._known[answer, reference]

    def _compare(self, where: str, found: float, value: float, gold: float) -> None:
        if not abs(found - value) <= ROUNDING:
            raise CardproofError(
                f"{where}: field 'rouge_l': found {found!r}, but {version()} computes {value!r}.",
                "score this arm again; where that gives the same, please report it: the fast ROUGE-L is wrong for this answer.",
            )
        if gold != float(value >= self._threshold):
            raise CardproofError(
                f"{where}: field 'gold_rouge': found {gold:g}, but ROUGE-L is {value:.4f} and scoring.rouge_threshold {self._threshold:g}.",
                "score this arm again with this configuration.",
            )
