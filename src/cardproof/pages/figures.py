"""The figures of a run: each is plain data first (`figures/NAME.json`), and the drawing shows that data and nothing else.

A figure is a pair of functions: one takes the run's results and returns the data, one draws the data. Colours are Okabe and Ito's,
told apart by marker and label as well. The same data gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cardproof.config import reading, settings
from cardproof.errors import CardproofError
from cardproof.evaluation.axes import AXIS_NAMES
from cardproof.files import atomic, read_json, write_json
from cardproof.pages.drawing import (
    DPI,
    STYLE,
    WIDTH,
    Data,
    draw_compute_curve,
    draw_forest,
    draw_near_miss,
    draw_published,
    draw_training_loss,
    frame,
)

# --- entry ------------------------------------------------------------------------------------------------------------


def draw(run_dir: Path, out_dir: Path) -> list[Path]:
    """Draw every figure of a run: `NAME.json` (the plotted numbers), `NAME.svg` and `NAME.png` in `out_dir`; returns the paths.

    Raises CardproofError where a result file is missing or lacks what a figure shows.
    """
    results = Results(Path(run_dir))
    written = []
    for name, (collect, _) in FIGURES.items():
        try:
            data = {"figure": name, "run": results.config.run, "scale": results.config.scale, **collect(results)}
        except KeyError as e:
            raise CardproofError(
                f"figure {name}: the results in {run_dir} have no {e.args[0]!r}.", "they were made by another version: evaluate again."
            ) from None
        write_json(Path(out_dir) / f"{name}.json", data)
        written += [Path(out_dir) / f"{name}.json", *render(data, Path(out_dir))]
    return written


def render(data: Data, out_dir: Path) -> list[Path]:
    """Draw one figure from its data (the content of `NAME.json`) as SVG and as PNG; returns both paths."""
    import matplotlib
    from matplotlib.figure import Figure

    paths = [out_dir / f"{data['figure']}.{kind}" for kind in ("svg", "png")]
    with matplotlib.rc_context():
        # A matplotlibrc of the user's must not change what is published.
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        # A Figure without pyplot draws with Agg, whatever the display.
        fig = Figure(figsize=(WIDTH, 4.0), facecolor="white")
        FIGURES[data["figure"]][1](fig, data)
        frame(fig, data)
        for path, metadata in zip(paths, ({"Date": None, "Creator": None, "Title": data["title"]}, {"Software": None}), strict=True):
            with atomic(path) as tmp:
                fig.savefig(tmp, format=path.suffix[1:], dpi=DPI, metadata=metadata)
    return paths


class Results:
    """The result files of a run, each read when first asked for."""

    def __init__(self, run_dir: Path) -> None:
        self.folder = run_dir
        self.config = reading.load(run_dir / "config.yaml")
        self._read: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """The content of `evaluation/NAME.json`."""
        if name not in self._read:
            self._read[name] = read_json(self.folder / "evaluation" / f"{name}.json")
        return self._read[name]

    def claims(self) -> Any:
        """The content of `claims.json`; CardproofError where the claims are not judged yet."""
        path = self.folder / "claims.json"
        if not path.is_file():
            raise CardproofError(f"{path} does not exist.", "judge the claims first: `cardproof claims`.")
        return read_json(path)

    def training(self) -> dict[str, Any]:
        """Variant -> metrics, for every variant that an arm uses or that was trained besides."""
        used = {arm.variant for arm in self.config.sampled_arms.values() if arm.adapter == "trained"}
        paths = {name: self.folder / "training" / name / "metrics.json" for name in self.config.training_runs}
        return {name: read_json(path) for name, path in paths.items() if name in used or path.is_file()}


def _interval(estimate: Mapping[str, Any] | None) -> Data:
    return {key: None if estimate is None else estimate[key] for key in ("value", "n", "low", "high", "level")}


# --- training loss ----------------------------------------------------------------------------------------------------


def training_loss(results: Results) -> Data:
    """Loss of every optimizer step, a line per variant."""
    return {
        "title": "Training loss at every optimizer step",
        "source": "training/{variant}/metrics.json#/loss_per_step",
        "arms": list(results.config.arms),
        "variants": {name: metrics["loss_per_step"] for name, metrics in results.training().items()},
    }


# --- axes and stress: dots with intervals -----------------------------------------------------------------------------


def axes(results: Results) -> Data:
    """Every axis of every arm with its interval, clean prompts."""
    found = results["axes"]
    return {
        "title": f"Axes by arm, clean prompts, best of {found['best_of']}",
        "source": "evaluation/axes.json#/arms/{arm}/{axis}",
        "items": found["items"],
        "groups": [
            {"name": name, "rows": [{"arm": arm, "label": arm, **_interval(values[axis])} for arm, values in found["arms"].items()]}
            for axis, name in AXIS_NAMES.items()
        ],
    }


def stress(results: Results) -> Data:
    """Strict verbatim grounding of every arm, clean against stress."""
    tables = {name: results[table] for name, table in (("clean", "axes"), ("stress", "stress"))}
    return {
        "title": "Strict verbatim grounding, clean and under stress",
        "source": "evaluation/{axes,stress}.json#/arms/{arm}/strict",
        "items": tables["stress"]["items"],
        "groups": [
            {
                "name": arm,
                "rows": [
                    {
                        "arm": arm,
                        "label": f"{name}, best of {table['best_of']}",
                        "hollow": name == "stress",
                        **_interval(table["arms"][arm]["strict"]),
                    }
                    for name, table in tables.items()
                ],
            }
            for arm in tables["clean"]["arms"]
        ],
    }


# --- near misses ------------------------------------------------------------------------------------------------------


def near_miss(results: Results) -> Data:
    """Shares of the kinds of quotes per condition and arm, picked and all candidates, and the ladder steps that repair the near misses."""
    found = results["mechanism"]["conditions"]

    def part(condition: str, arm: str, name: str) -> Data:
        entry = found[condition][arm]
        source = entry if name == "picked" else entry["candidates"]
        ladder = source["ladder"]
        # A repair without a step is Unicode normalisation alone, which comes before the ladder.
        unicode = sum(repair["count"] for repair in ladder["repairs"] if not repair["steps"])
        steps = {"Unicode alone": unicode, **{step: entry["count"] for step, entry in ladder["involves"].items()}}
        return {
            "condition": condition,
            "arm": arm,
            "quotes": source["quotes"],
            "kinds": source["kinds"],
            "near_misses": ladder["near_misses"],
            "steps": steps,
        }

    pairs = [(condition, arm) for condition, arms in found.items() for arm in arms]
    return {
        "title": "What becomes of the quotes",
        "source": "evaluation/mechanism.json#/conditions/{condition}/{arm}",
        "panels": {name: [part(*pair, name) for pair in pairs] for name in ("picked", "candidates")},
    }


# --- compute ----------------------------------------------------------------------------------------------------------


def compute_curve(results: Results) -> Data:
    """Composite at every N with its interval, and where the reference meets each arm's single draw."""
    found = results["compute"]
    keys = ("target", "n_equivalent", "reason", "low", "high")
    return {
        "title": "Composite of best-of-N",
        "source": "evaluation/compute.json#/arms/{arm}/composite",
        "metric": found["metric"],
        "reference": settings.REFERENCE,
        "n": list(range(1, found["max_n"] + 1)),
        "arms": {arm: [_interval(point) for point in curves["composite"]] for arm, curves in found["arms"].items()},
        "equivalence": {arm: {key: entry[key] for key in keys} for arm, entry in found["equivalence"].items()},
    }


# --- printed and regenerated -------------------------------------------------------------------------------------------


def published(results: Results) -> Data:
    """Every share and score that the card prints or the run has, side by side; verdicts where both are of the published scale."""
    found = results.claims()
    rows = [
        {
            "claim": row["id"],
            "label": row["text"],
            "arm": row["arm"],
            "printed": row["published"],
            "verdict": row["verdict"].replace("_", " ") if found["comparable"] else None,
            **_interval(row["regenerated"]),
        }
        for row in found["claims"]
        if row["unit"] in ("share", "score") and row["kind"] not in ("setting", "predicate")
    ]
    return {
        "title": "The published card's numbers beside this run's",
        "source": "claims.json#/claims/{row}/{published,regenerated}",
        "comparable": found["comparable"],
        "rows": rows,
    }


# --- common -----------------------------------------------------------------------------------------------------------


FIGURES: dict[str, tuple[Callable[[Results], Data], Callable[[Any, Data], None]]] = {
    "training_loss": (training_loss, draw_training_loss),
    "axes": (axes, draw_forest),
    "stress": (stress, draw_forest),
    "near_miss": (near_miss, draw_near_miss),
    "compute_curve": (compute_curve, draw_compute_curve),
    "published": (published, draw_published),
}
"""Name -> (data from results, drawing from data), in the order of the card."""
