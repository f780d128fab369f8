"""How far every axis moves from one training seed to the next, beside the interval over items that a single seed allows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, stdev

import polars as pl

from cardproof.evaluation.axes import AXES
from cardproof.evaluation.evaluate import values
from cardproof.evaluation.picked_rouge import PickedRouge
from cardproof.evaluation.rerank import aligned
from cardproof.evaluation.results import Axes, Spread, Stress
from cardproof.files import read_json, write_json
from cardproof.scoring.frames import read_scores

FILES: dict[str, tuple[str, type[Axes | Stress]]] = {"clean": ("axes.json", Axes), "stress": ("stress.json", Stress)}


def spread(values: Mapping[int, float | None]) -> Spread:
    """Between-seed spread of one number: its values by seed, and their mean, standard deviation (n - 1), least and greatest.

    Seeds for which the number is undefined (None) stay in `values` and count nowhere else; fewer than two others have no `sd`.
    """
    found = [value for value in values.values() if value is not None]
    return Spread(
        values={str(seed): value for seed, value in values.items()},
        n=len(found),
        mean=fmean(found) if found else None,
        sd=stdev(found) if len(found) > 1 else None,
        low=min(found, default=None),
        high=max(found, default=None),
    )


def axes_between_seeds(frames: Mapping[int, pl.DataFrame]) -> dict[str, Spread]:
    """Axis -> `spread` over the training seeds of one arm; `frames` maps each seed to the arm's Score rows under one condition."""
    tables = aligned({str(seed): frame for seed, frame in frames.items()})
    return {axis.name: spread({int(seed): values(table, axis).mean for seed, table in tables.items()}) for axis in AXES}


def add(scores_dir: Path, out_dir: Path, replicas: Mapping[str, Mapping[int, str]], rouge: PickedRouge | None = None) -> None:
    """Add `seeds` (arm -> axis -> spread) to axes.json and stress.json in `out_dir`.

    `replicas` is arm -> seed -> name of the arm trained with that seed, the folder of its scores; `rouge` checks their ROUGE-L. Raises
    CardproofError as `frames.read_scores` and `rerank.aligned` do.
    """
    read = rouge.read if rouge else read_scores
    for condition, (name, model) in FILES.items():
        found = {
            arm: axes_between_seeds({seed: read(scores_dir, copy, condition) for seed, copy in by_seed.items()})
            for arm, by_seed in replicas.items()
        }
        table = model.model_validate(read_json(out_dir / name))
        checked = {"rouge_check": rouge.of(condition)} if rouge else {}
        write_json(out_dir / name, table.model_copy(update={"seeds": found, **checked}))
