"""The figures of a run: each is plain data first (`figures/NAME.json`), and the drawing shows that data and nothing else.

A figure is a pair of functions: one takes the run's results and returns the data, one draws the data. Colours are Okabe and Ito's;
markers and labels tell them apart as well. The same data gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from cardproof.claims.verdicts import Verdicts, verdicts_of
from cardproof.config import settings
from cardproof.evaluation.axes import LABELS
from cardproof.evaluation.of_run import Evaluation
from cardproof.evaluation.results import QuoteCounts
from cardproof.files import atomic, write_json
from cardproof.pages.drawing import (
    DPI,
    STYLE,
    Data,
    Sheet,
    draw_compute_curve,
    draw_forest,
    draw_near_miss,
    draw_published,
    draw_training_loss,
    sheet,
)
from cardproof.records import Estimate
from cardproof.runs import CLAIMS, Run, evaluation, figures_of, metrics
from cardproof.training.results import TrainingMetrics

# --- entry ------------------------------------------------------------------------------------------------------------


def draw(run_dir: Path, out_dir: Path) -> list[Path]:
    """Draw every figure of a run: `NAME.json` (the plotted numbers), `NAME.svg` and `NAME.png` in `out_dir`; returns the paths.

    Raises CardproofError if a result file is missing or lacks a value.
    """
    results = Results.of(Run(run_dir))
    written = []
    card = results.claims.card
    which = {"run": results.config.run, "scale": results.config.scale, "synthetic": results.config.synthetic}
    which |= {"reproduction": results.claims.comparable} if card is not None else {}
    for name in figures_of(results.config):
        data = {"figure": name, **which, **FIGURES[name][0](results)}
        write_json(Path(out_dir) / f"{name}.json", data)
        written += [Path(out_dir) / f"{name}.json", *render(data, Path(out_dir))]
    return written


def render(data: Data, out_dir: Path) -> list[Path]:
    """Draw one figure from its data (the content of `NAME.json`) as SVG and as PNG; returns both paths."""
    paths = [out_dir / f"{data['figure']}.{kind}" for kind in ("svg", "png")]
    with styled():
        fig = compose(data)
        for path, metadata in zip(paths, ({**OF_SVG, "Title": data["title"]}, {"Software": None}), strict=True):
            with atomic(path) as tmp:
                fig.savefig(tmp, format=path.suffix[1:], dpi=DPI, metadata=metadata)
    return paths


def narrow(data: Data) -> str:
    """The SVG of one figure for a narrow screen, from its data."""
    out = StringIO()
    with styled():
        compose(data, narrow=True).savefig(out, format="svg", metadata={**OF_SVG, "Title": data["title"]})
    return out.getvalue()


def compose(data: Data, narrow: bool = False) -> Any:
    """One figure of matplotlib's from its data; call it within `styled`."""
    from matplotlib.figure import Figure

    # A Figure without pyplot draws with Agg, whatever the display.
    fig = Figure(facecolor="white")
    FIGURES[data["figure"]][1](fig, data, sheet(data, narrow))
    return fig


@contextmanager
def styled() -> Iterator[None]:
    """The figures' own style: a matplotlibrc of the user's must not change what is published."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


OF_SVG = {"Date": None, "Creator": None}
"""What an SVG file would say of itself, and must not: the same data gives the same bytes."""


class Results(NamedTuple):
    """What the figures of a run show."""

    config: settings.Config
    evaluation: Evaluation
    claims: Verdicts
    training: Mapping[str, TrainingMetrics]
    """Training run -> its metrics."""

    @classmethod
    def of(cls, run: Run) -> Results:
        """The results of a run; CardproofError names the file that is missing, or the file and key that do not fit."""
        return cls(run.config, Evaluation.of(run), verdicts_of(run), run.training(TrainingMetrics))


def _interval(estimate: Estimate | None) -> Data:
    return {key: None if estimate is None else getattr(estimate, key) for key in ("value", "n", "low", "high", "level")}


# --- training loss ----------------------------------------------------------------------------------------------------


def training_loss(results: Results) -> Data:
    """Loss of every optimizer step, a line per variant."""
    return {
        "title": "Training loss at every optimizer step",
        "source": f"{metrics('{variant}')}#/loss_per_step",
        "arms": list(results.config.arms),
        "variants": {name: run_metrics.loss_per_step for name, run_metrics in results.training.items()},
    }


# --- axes and stress: dots with intervals -----------------------------------------------------------------------------


def axes(results: Results) -> Data:
    """Every axis of every arm with its interval, clean prompts."""
    table = results.evaluation.axes
    return {
        "title": f"Axes by arm, clean prompts, best of {table.best_of}",
        "source": f"{evaluation('axes')}#/arms/{{arm}}/{{axis}}",
        "items": table.items,
        "groups": [
            {
                "name": name,
                "rows": [
                    {"arm": arm, "label": arm, "result": f"{evaluation('axes')}#/arms/{arm}/{axis}", **_interval(getattr(values, axis))}
                    for arm, values in table.arms.items()
                ],
            }
            for axis, name in LABELS.items()
        ],
    }


def stress(results: Results) -> Data:
    """Strict verbatim grounding of every arm, clean against stress."""
    tables = {"clean": results.evaluation.axes, "stress": results.evaluation.stress}
    return {
        "title": "Strict verbatim grounding, clean and under stress",
        "source": f"{evaluation('{axes,stress}')}#/arms/{{arm}}/strict",
        "items": tables["stress"].items,
        "groups": [
            {
                "name": arm,
                "rows": [
                    {
                        "arm": arm,
                        "label": f"{name}, best of {table.best_of}",
                        "hollow": name == "stress",
                        "result": f"{evaluation(file)}#/arms/{arm}/strict",
                        **_interval(table.arms[arm].strict),
                    }
                    for (name, table), file in zip(tables.items(), ("axes", "stress"), strict=True)
                ],
            }
            for arm in tables["clean"].arms
        ],
    }


# --- near misses ------------------------------------------------------------------------------------------------------


def near_miss(results: Results) -> Data:
    """Shares of the kinds of quotes per condition and arm, picked and all candidates, and the ladder steps that repair the near misses."""
    conditions = results.evaluation.mechanism.conditions

    def part(condition: str, arm: str, counts: QuoteCounts, below: str = "") -> Data:
        ladder = counts.ladder
        # A repair without a step is Unicode normalisation alone, which comes before the ladder.
        unicode = sum(repair.count for repair in ladder.repairs if not repair.steps)
        return {
            "condition": condition,
            "arm": arm,
            "result": f"{evaluation('mechanism')}#/conditions/{condition}/{arm}{below}",
            "quotes": counts.quotes,
            "kinds": {kind: share.model_dump() for kind, share in counts.kinds.items()},
            "near_misses": ladder.near_misses,
            "steps": {"Unicode alone": unicode, **{step: entry.count for step, entry in ladder.involves.items()}},
        }

    entries = [(condition, arm, entry) for condition, arms in conditions.items() for arm, entry in arms.items()]
    return {
        "title": "What becomes of the quotes",
        "source": f"{evaluation('mechanism')}#/conditions/{{condition}}/{{arm}}",
        "panels": {
            "picked": [part(condition, arm, entry) for condition, arm, entry in entries],
            "candidates": [part(condition, arm, entry.candidates, "/candidates") for condition, arm, entry in entries],
        },
    }


# --- compute ----------------------------------------------------------------------------------------------------------


def compute_curve(results: Results) -> Data:
    """Composite at every N with its interval, and where the reference meets each arm's single draw."""
    compute = results.evaluation.compute
    keys = ("target", "n_equivalent", "reason", "low", "high")
    return {
        "title": "Composite of best-of-N",
        "source": f"{evaluation('compute')}#/arms/{{arm}}/composite",
        "metric": compute.metric,
        "reference": settings.REFERENCE,
        "n": list(range(1, compute.max_n + 1)),
        "arms": {arm: [_interval(point) for point in curves.composite] for arm, curves in compute.arms.items()},
        "equivalence": {arm: {key: getattr(entry, key) for key in keys} for arm, entry in compute.equivalence.items()},
    }


# --- printed and regenerated -------------------------------------------------------------------------------------------


def published(results: Results) -> Data:
    """Every share and score that the card prints or the run has, side by side; with verdicts if the run compares with the card."""
    claims = results.claims
    rows = [
        {
            "claim": row.id,
            "label": row.text,
            "arm": row.arm,
            "result": f"{row.chain.file}#{row.chain.pointer}" if row.chain.file else None,
            "printed": row.published,
            "verdict": row.verdict.replace("_", " ") if claims.comparable else None,
            **_interval(row.regenerated),
        }
        for row in claims.claims
        if row.unit in ("share", "score") and row.kind not in ("setting", "predicate")
    ]
    return {
        "title": "The published card's numbers beside this run's",
        "source": f"{CLAIMS}#/claims/{{row}}/{{published,regenerated}}",
        "comparable": claims.comparable,
        "rows": rows,
    }


# --- common -----------------------------------------------------------------------------------------------------------


FIGURES: dict[str, tuple[Callable[[Results], Data], Callable[[Any, Data, Sheet], None]]] = {
    "training_loss": (training_loss, draw_training_loss),
    "axes": (axes, draw_forest),
    "stress": (stress, draw_forest),
    "near_miss": (near_miss, draw_near_miss),
    "compute_curve": (compute_curve, draw_compute_curve),
    "published": (published, draw_published),
}
"""Name -> (data from results, drawing from data), in the order of the card."""
