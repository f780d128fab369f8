"""The model card of a run: numbers from its results, words from templates, and no number from anywhere else.

Templates print numbers through the filters here and nothing but them, and say with `source(...)` which file and JSON pointer a
number is from; the marks become the card's footnotes. Sentences that claim something hang on `stance` and its like.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from pydantic import ValidationError

from cardproof.claims.claims import judge
from cardproof.claims.reconcile import conclusion
from cardproof.config import texts
from cardproof.config.settings import REFERENCE, Config
from cardproof.errors import CardproofError, of_template
from cardproof.evaluation.axes import AXIS_NAMES
from cardproof.evidence.verify import check
from cardproof.files import read_json, write_text
from cardproof.pages import card_metadata
from cardproof.pages.figures import FIGURES, Results
from cardproof.pages.formats import (
    above_chance,
    bounds,
    called,
    cell,
    change,
    code,
    estimate,
    held_in,
    interval,
    number,
    p_value,
    percent,
    place,
    pluck,
    published,
    regenerated,
    remark,
    saves,
    seed_name,
    seed_spread,
    setting,
    short,
    stance,
    value,
    within,
    words,
)

SUBJECT = "grounded"
PLACES = ("benchmark.path", "verifier.ragtruth")
"""Settings that are paths on the machine of the run."""
PACKAGES = ("torch", "transformers", "peft", "bitsandbytes")


def render(run_dir: Path, templates_dir: Path, out_path: Path, published_claims: Path | None = None) -> None:
    """Render `card.md.j2` of `templates_dir` with the results in `run_dir` and write the card to `out_path`.

    The table published | this run comes from the run's `claims.json`, else is judged anew from `published_claims`; without either it
    is left out, and so are the audit's findings without `audit.json`. Figures are linked relative to the card. A run on a data set of the
    Hub's also writes `.eval_results/` beside the card. Raises CardproofError where a result, a figure or a template is missing or lacks
    what the card says.
    """
    context = collect(Path(run_dir), Path(out_path), published_claims)
    text, entries = fill(Path(templates_dir), context), context["eval_results"]
    card_metadata.check(text, entries)
    write_text(Path(out_path), text)
    if entries is not None:
        write_text(Path(out_path).parent / card_metadata.EVAL_RESULTS, entries)


def fill(templates_dir: Path, context: Mapping[str, Any]) -> str:
    """The card's text from its templates and the content of a run."""
    sources = Sources()
    try:
        text = environment(templates_dir).get_template("card.md.j2").render(**context, source=sources.mark, sources=sources.notes)
    except jinja2.TemplateError as e:
        raise of_template(e, templates_dir, "card.md.j2", "the run lacks this result: evaluate again, or correct the template.") from None
    except ValidationError as e:
        error = e.errors()[0]
        raise CardproofError(
            f"A result is no {e.title}: {'.'.join(map(str, error['loc']))}: {error['msg'].lower()}.",
            "it was made by another version: evaluate again.",
        ) from None
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


@lru_cache
def environment(templates_dir: Path) -> jinja2.Environment:
    """The Jinja environment of the card: strict, and with the filters that print numbers."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_dir),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Markdown: `cell` and `code` escape what a model or a user wrote
    )
    env.filters.update({function.__name__: function for function in FILTERS})
    return env


# --- what the templates see -------------------------------------------------------------------------------------------


def collect(run_dir: Path, out_path: Path, published_claims: Path | None) -> dict[str, Any]:
    """Everything the templates may use, read from the run."""
    results = Results(run_dir)
    run = results.config
    claims = _claims(run_dir, published_claims)
    subject = subject_of(run)
    trained = results.training()
    chain = check(run_dir, skip=("card/", "report"))
    # Without a whole chain nobody can say that these results were computed from these inputs; at published scale that is the card's point.
    withheld = chain.state == "broken" or (chain.state == "unrecorded" and run.scale == "published")
    published = run.scale == "published" and not withheld
    name = claims["card"] if claims and published else f"cardproof-{run.run}-{subject}"
    evaluated = {name: results[name] for name in ("axes", "stress", "mechanism", "compute", "format_lock")}
    variants = {name: found for name, found in trained.items() if name in run.training.variants}
    verifier = _read(run_dir / "verifier" / "metrics.json", required=run.verifier.source == "embedded")
    return {
        "run": run,
        "chain": chain,
        "withheld": withheld,
        "metadata": card_metadata.header(run, evaluated, subject, name, published),
        "eval_results": card_metadata.eval_results(run, evaluated, subject, published),
        "subject": subject,
        "reference": REFERENCE,
        "pair": f"{subject}-{REFERENCE}",
        "arms": list(results["axes"]["arms"]),
        "axis_names": AXIS_NAMES,
        **evaluated,
        "variants": variants,
        "packages": _packages(variants),
        "replicas": {
            arm: {seed: trained[str(run.sampled_arms[copy].variant)] for seed, copy in found.items()} for arm, found in run.replicas.items()
        },
        "readings": _read(run_dir / "evaluation" / "reconcile.json", required=bool(run.reading_runs)) if run.reading_runs else None,
        # A run whose adapters all come from elsewhere has no training data of its own.
        "selection": _read(run_dir / "distill" / "selection.json", required=bool(variants)),
        "leakage": _read(run_dir / "split" / "leakage.json", required=bool(variants)),
        "verifier": verifier,
        "aucs": _aucs(verifier),
        "claims": claims,
        "judged_before": (run_dir / "claims.json").is_file(),
        "audit": _read(run_dir / "audit.json", required=False),
        "unpinned": unpinned(run_dir),
        "assumptions": [_without_folders(entry) for entry in texts.assumptions(run)],
        "figures": _figures(run_dir, out_path),
    }


def subject_of(run: Config) -> str:
    """The arm the card is about: `grounded`, else the first one with an adapter; CardproofError where there is none."""
    adapted = [name for name, arm in run.arms.items() if arm.adapter != "none"]
    if not adapted:
        raise CardproofError("The run has no arm with an adapter, so there is no model to write a card about.", "add one under `arms`.")
    return SUBJECT if SUBJECT in adapted else adapted[0]


def _claims(run_dir: Path, published_claims: Path | None) -> Any:
    """The verdicts on every claim, as `claims.json` holds them; None where nothing says what was published."""
    if (run_dir / "claims.json").is_file():
        return read_json(run_dir / "claims.json")
    return judge(run_dir, published_claims) if published_claims is not None else None


def _read(path: Path, required: bool) -> Any:
    return read_json(path) if required or path.is_file() else None


def unpinned(run_dir: Path) -> list[dict[str, str]]:
    """What was taken from the hub at a revision that nobody pinned: file of the run that says so, name, revision."""
    found = []
    for path in sorted(
        p for pattern in ("models/*/source.json", "adapters/*/source.json", "revisions/*.json") for p in run_dir.glob(pattern)
    ):
        source = read_json(path)
        # Of models and adapters their own folders tell; what else was looked up is a benchmark.
        if source.get("pinned") is False and source.get("kind") != "model":
            file = path.relative_to(run_dir).as_posix()
            found.append({"file": file, "name": source["name"], "revision": source["revision"]})
    return found


def _without_folders(entry: dict[str, Any]) -> dict[str, Any]:
    """An assumption whose value is a place on someone's machine, with the name alone."""
    return {**entry, "value": Path(entry["value"]).name} if entry["key"] in PLACES and entry["value"] else entry


def _aucs(verifier: Any) -> list[dict[str, Any]]:
    """Every estimate under `auc` of the verifier's metrics but those by kind of error: name (its path in words), pointer, estimate."""
    found: list[dict[str, Any]] = []

    def walk(tree: Any, path: list[str]) -> None:
        if not isinstance(tree, dict):
            return
        if {"value", "n", "low", "high"} <= tree.keys():
            name = ", ".join(words(part) for part in path if part != "auc")
            found.append({"name": name, "pointer": "/" + "/".join(path), "estimate": tree})
            return
        for key, below in tree.items():
            if key != "by_kind":
                walk(below, [*path, key])

    walk({} if verifier is None else verifier["auc"], ["auc"])
    return found


def _packages(variants: Mapping[str, Any]) -> dict[str, str]:
    """Versions of the packages that trained, from the first variant: all are trained in one environment."""
    found = next(iter(variants.values()))["environment"] if variants else {}
    return {name: found[name] for name in PACKAGES if name in found}


def _figures(run_dir: Path, out_path: Path) -> dict[str, str]:
    links = {}
    for name in FIGURES:
        path = run_dir / "figures" / f"{name}.png"
        if not path.is_file():
            raise CardproofError(f"{path} does not exist.", "draw the figures first: `cardproof figures`.")
        links[name] = Path(os.path.relpath(path, out_path.parent)).as_posix()
    return links


class Sources:
    """The footnotes of a card: where its numbers are from, each place once."""

    def __init__(self) -> None:
        self._labels: dict[str, str] = {}

    def mark(self, file: str, pointer: str) -> str:
        """A footnote mark for a file of the run and a JSON pointer; `{arm}` and the like in it stand for a table's columns or rows."""
        place = f"{file}#{pointer}"
        if place not in self._labels:
            parts = [part for part in pointer.split("/") if part not in ("", "arms", "{arm}")]
            # `metrics` and its like name several files; their folders tell them apart.
            stem = Path(file).stem if file.startswith(("evaluation/", "config")) else Path(file).parts[0]
            label = re.sub(r"[^a-z0-9]+", "-", "-".join([stem, *parts]).lower()).strip("-")
            while label in self._labels.values():
                label += "-also"
            self._labels[place] = label
        return f"[^{self._labels[place]}]"

    def notes(self) -> list[tuple[str, str]]:
        """Label and place of every mark used so far, in order of first use."""
        return [(label, place) for place, label in self._labels.items()]


# --- filters: rows of claims.json -------------------------------------------------------------------------------------


FILTERS = (
    *(estimate, value, interval, change, p_value, number, short, percent, bounds, seed_spread, seed_name),
    *(stance, within, above_chance, saves),
    *(setting, code, cell, words, pluck, called, held_in, conclusion),
    *(published, regenerated, remark, place),
)
