"""The model card of a run: its numbers come from results, its words from templates.

Templates print numbers only through the filters here, and say with `source(...)` which file and JSON pointer a number is from; the marks
are comments in the Markdown, and the card lists them at its end. A sentence that claims something depends on `stance` and its like.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2

from cardproof.claims.audit import Audit
from cardproof.claims.claims import judge
from cardproof.claims.comparable import against
from cardproof.claims.reconcile import Reconciliation, conclusion
from cardproof.claims.verdicts import Verdicts, verdicts_of
from cardproof.config import texts
from cardproof.config.places import without_places
from cardproof.config.settings import REFERENCE, Config
from cardproof.errors import CardproofError, of_template
from cardproof.evaluation.axes import STRESS_TITLES, TITLES
from cardproof.evaluation.of_run import Evaluation
from cardproof.evaluation.printed import DASH, stance
from cardproof.evidence.verify import check
from cardproof.files import write_json, write_text
from cardproof.pages import card_metadata
from cardproof.pages.base_card import base_of
from cardproof.pages.definitions import DEFINITIONS
from cardproof.pages.formats import (
    above_chance,
    apart,
    bounds,
    called,
    cell,
    change,
    chosen,
    code,
    counted,
    estimate,
    fenced,
    first_problem,
    held_in,
    interval,
    moved,
    noticed,
    number,
    p_value,
    percent,
    place,
    pluck,
    pluck_axis,
    published,
    ranged,
    regenerated,
    rejection,
    remark,
    saves,
    seed_name,
    seed_spread,
    setting,
    short,
    value,
    words,
)
from cardproof.pages.over import over
from cardproof.pages.usage import told_adapter, usage
from cardproof.records import Estimate
from cardproof.runs import AUDIT, CLAIMS, EVAL_RESULTS, LEAKAGE, PROMPT, RECONCILE, SELECTION, VERIFIER, Run, figure, figures_of
from cardproof.training.results import TrainingMetrics
from cardproof.verifier.results import VerifierMetrics

PAGE = "../report/index.html"
"""The reviewer's page, as the card links it."""
PACKAGES = ("torch", "transformers", "peft", "bitsandbytes")


def render(run_dir: Path, templates_dir: Path, out_path: Path, published_claims: Path | None = None) -> None:
    """Render `card.md.j2` of `templates_dir` with the results in `run_dir` and write the card to `out_path`.

    The table published | this run comes from the run's `claims.json`; without it, `published_claims` are judged here; without either, the
    table is left out. Without `audit.json` the audit's findings are left out. Figures are linked relative to the card. Beside the card it
    writes `prompt.json`, which the card's code reads, and `.eval_results/` where the configuration names the data set's tasks. Raises
    CardproofError if a result, a figure or a template is missing or lacks what the card says.
    """
    context = collect(Path(run_dir), Path(out_path), published_claims)
    text, entries = fill(Path(templates_dir), context), context["eval_results"]
    card_metadata.check(text, entries)
    write_text(Path(out_path), text)
    write_json(Path(out_path).parent / PROMPT, context["usage"].prompt)
    if entries is not None:
        write_text(Path(out_path).parent / EVAL_RESULTS, entries)


def fill(templates_dir: Path, context: Mapping[str, Any]) -> str:
    """The card's text from its templates and the content of a run."""
    sources = Sources()
    marks = {"source": sources.mark, "sources": sources.files, "rows": Rows(context["arms"]).link}
    return filled(templates_dir, "card.md.j2", {**context, **marks})


def filled(templates_dir: Path, name: str, context: Mapping[str, Any]) -> str:
    """The text of one template; CardproofError if it is missing, or asks for what `context` lacks."""
    try:
        text = environment(templates_dir).get_template(name).render(**context)
    except jinja2.TemplateError as e:
        raise of_template(e, templates_dir, name, "the run lacks this result: evaluate again, or correct the template.") from None
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
    run = Run(run_dir)
    config, subject = run.config, subject_of(run.config)
    results, trained = Evaluation.of(run), run.training(TrainingMetrics)
    claims = _claims(run, published_claims)
    chain = check(run_dir, skip=("card/", "report"))
    compares = claims is not None and claims.comparable
    withheld = chain.withholds(compares)
    carded = claims.card is not None if claims else config.published is not None
    reproduction = compares and not withheld and not config.synthetic
    published = reproduction if carded or config.synthetic else None
    base = base_of(run)
    by_id = {row.id: row for row in claims.claims} if claims else {}
    name = str(claims.card) if claims and reproduction else config.header.title or f"cardproof-{config.run}-{subject}"
    return {
        "run": config,
        "chain": chain,
        "problem": first_problem(chain, run_dir),
        "withheld": withheld,
        "reproduction": reproduction,
        "carded": carded,
        "differing": against(claims.compared) if claims else [],
        "base": base,
        "metadata": card_metadata.header(config, base, results, subject, name, published),
        "eval_results": card_metadata.eval_results(config, results, subject, published),
        "subject": subject,
        "reference": REFERENCE,
        "pair": f"{subject}-{REFERENCE}",
        "arms": list(results.axes.arms),
        "usage": usage(run, base, subject),
        "adapter": told_adapter(run, subject),
        "first_point": 0,  # where a curve over N begins
        "definitions": DEFINITIONS,
        "titles": TITLES,
        "stress_titles": STRESS_TITLES,
        **results._asdict(),
        **_training(run, trained),
        **_verifier(run),
        "claims": claims,
        "central": [by_id[name] for name in claims.central] if claims else [],
        "judged_before": run.has(CLAIMS),
        "audit": run.read(AUDIT, Audit) if run.has(AUDIT) else None,
        "unpinned": run.unpinned(),
        "adapter_notes": run.adapter_notes(),
        # What is assumed is assumed of the card that the project is about; another card has its own assumptions in its claims file.
        "assumptions": texts.assumptions(without_places(config)) if config.of_the_subject else [],
        "figures": _figures(run, out_path),
    }


def _training(run: Run, trained: Mapping[str, TrainingMetrics]) -> dict[str, Any]:
    """What the card says of training data and recipe."""
    config = run.config
    variants = {name: metrics for name, metrics in trained.items() if name in config.training.variants}
    return {
        "variants": variants,
        "packages": _packages(variants),
        "replicas": {
            arm: {seed: trained[str(config.sampled_arms[copy].variant)] for seed, copy in copies.items()}
            for arm, copies in config.replicas.items()
        },
        "readings": run.read(RECONCILE, Reconciliation) if config.reading_runs else None,
        # A run whose adapters all come from elsewhere has no training data of its own.
        "selection": run.json_if(bool(variants), SELECTION),
        "leakage": run.json_if(bool(variants), LEAKAGE),
    }


def _verifier(run: Run) -> dict[str, Any]:
    """What the card says of the verifier; a run may leave one taken from elsewhere unmeasured."""
    measured = run.config.verifier.source == "embedded" or run.has(VERIFIER)
    metrics = run.read(VERIFIER, VerifierMetrics) if measured else None
    return {"verifier": metrics, "aucs": _aucs(metrics) if metrics else []}


def subject_of(run: Config) -> str:
    """The arm the card is about; CardproofError if no arm has an adapter."""
    if run.subject_arm is None:
        raise CardproofError("The run has no arm with an adapter, so there is no model to write a card about.", "add one under `arms`.")
    return run.subject_arm


def _claims(run: Run, published_claims: Path | None) -> Verdicts | None:
    """The verdicts on every claim; None if nothing says what was published."""
    if run.has(CLAIMS):
        return verdicts_of(run)
    return judge(run.folder, published_claims) if published_claims is not None else None


def _aucs(verifier: VerifierMetrics) -> list[dict[str, Any]]:
    """Every AUC of the verifier but those by kind of error: name in words, JSON pointer, estimate."""
    aucs = []
    for name, auc in verifier.auc.items():
        parts = {"": auc} if isinstance(auc, Estimate) else {"all": auc.all, "planted": auc.planted}
        for part, part_auc in parts.items():
            path = [name, part] if part else [name]
            aucs.append({"name": ", ".join(map(words, path)), "pointer": "/" + "/".join(["auc", *path]), "estimate": part_auc})
    return aucs


def _packages(variants: Mapping[str, TrainingMetrics]) -> dict[str, str]:
    """Versions of the packages that trained, from the first variant: all are trained in one environment."""
    versions = next(iter(variants.values())).environment if variants else {}
    return {name: versions[name] for name in PACKAGES if name in versions}


def _figures(run: Run, out_path: Path) -> dict[str, str]:
    links = {}
    for name in figures_of(run.config):
        path = run.path(figure(name, "png"))
        if not path.is_file():
            raise CardproofError(f"{path} does not exist.", "draw the figures first: `cardproof figures`.")
        links[name] = Path(os.path.relpath(path, out_path.parent)).as_posix()
    return links


class Sources:
    """Where a card's numbers are from, each place once."""

    def __init__(self) -> None:
        self._pointers: dict[str, dict[str, None]] = {}

    def mark(self, file: str, pointer: str) -> str:
        """A comment that names a file of the run and a JSON pointer; `{arm}` and its like mean every column or row of a table."""
        self._pointers.setdefault(file, {})[pointer] = None
        return f"<!-- {file}#{pointer} -->"

    def files(self) -> list[tuple[str, list[str]]]:
        """Every file marked so far with its pointers, in order of first use."""
        return [(file, [pointer for pointer in pointers if pointer]) for file, pointers in self._pointers.items()]


class Rows:
    """Links from a card's numbers to the items that they are over, on the reviewer's page."""

    def __init__(self, arms: Sequence[str]) -> None:
        self._arms = arms

    def link(self, text: str, file: str | None, pointer: str | None) -> str:
        """A number as a link to its rows; its interval and n stay as they are, and so does a number that is not over items."""
        found = over(file, pointer, self._arms, REFERENCE)
        number = re.split(r"<br>| ", text, maxsplit=1)[0]
        return f"[{number}]({PAGE}{found.address}){text[len(number) :]}" if found and not number.startswith(DASH) else text


FILTERS = (
    *(estimate, ranged, moved, value, interval, change, p_value, number, short, percent, bounds, seed_spread, seed_name),
    *(stance, above_chance, saves),
    *(setting, code, cell, fenced, words, counted, rejection, pluck, pluck_axis, called, held_in, conclusion),
    *(published, regenerated, apart, noticed, chosen, remark, place),
)
