"""The reviewer's page of a run: verdicts with their evidence, the audit, figures, every rollout, what was assumed and spent.

One file that needs no network and works from a folder. If the rollouts are many, each item's are in a file beside it, loaded when the item
is opened (a script, since a page opened from a folder may not fetch). What a model wrote is data in the page, never markup.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import math
import re
import shutil
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from cardproof import outside, runs
from cardproof.claims.audit import Audit
from cardproof.claims.comparable import against
from cardproof.claims.verdicts import VERDICTS, Judgement, Verdicts, verdicts_of
from cardproof.config import settings, texts
from cardproof.config.places import without_places
from cardproof.errors import CardproofError, of_template
from cardproof.evaluation.axes import TITLES
from cardproof.evaluation.of_run import Evaluation
from cardproof.evidence import sidecars
from cardproof.evidence.provenance import STEPS
from cardproof.evidence.verify import Files, check
from cardproof.files import write_text
from cardproof.pages import card, diff, formats
from cardproof.pages import items as report_items
from cardproof.pages.definitions import DEFINITIONS
from cardproof.pages.inline_figures import figures, letters
from cardproof.pages.over import numbers, over
from cardproof.pages.per_item import per_item
from cardproof.runs import AUDIT, EVALUATION, Run, evaluation

MAX_INLINE = 1_600_000
"""Characters of rollouts in the page itself; more are split into a file for each item."""
SELF = ("report",)
ITEMS = "items"
"""Folder of the files for each item, empty if the rollouts are in the page."""
SYNTHETIC = "**Synthetic.** Every number here is made up. No model ran."
SCRIPTS = ("common.js", "verdicts.js", "table.js", "items.js", "address.js")
"""The parts of the page's script, in their order."""


def write(run_dir: Path, out: Path, templates: Path, max_inline: int = MAX_INLINE) -> list[Path]:
    """Write `index.html`, `diff.html` and `diff.md` into the folder `out`, and into `items/` if the rollouts are many; returns the paths.

    Raises CardproofError if a result is missing.
    """
    run, out, templates = Run(run_dir), Path(out), Path(templates)
    chain = check(run.folder, skip=SELF)
    claims = verdicts_of(run)
    items = report_items.items(run)
    explorer, parts = _explorer(items, report_items.factors(run.config), max_inline)
    by_id = {row.id: row for row in claims.claims}
    arms = list(Evaluation.of(run).axes.arms)
    table = per_item(run, arms)
    drawings = figures(run)
    outlines = letters(drawings)
    script = "".join((templates / "page" / name).read_text(encoding="utf-8") for name in SCRIPTS)

    def rows_at(file: str | None, pointer: str | None) -> str | None:
        found = over(file, pointer, arms, settings.REFERENCE)
        return found.address if found else None

    common = {"run": run.config, "claims": claims, "heading": diff.heading(claims), "warning": diff.warning(claims)}
    page = {
        **common,
        "chain": chain,
        "problem": formats.first_problem(chain, run.folder),
        "verdicts": [(row, _record(run, row)) for row in claims.claims],
        "central": [by_id[name] for name in claims.central],
        "tone": tone(claims),
        "definitions": {TITLES.get(axis, "near-miss gap"): meaning for axis, meaning in DEFINITIONS.items()},
        "rows_at": rows_at,
        "rows_of": lambda row: rows_at(row.chain.file, row.chain.pointer) or f"#claim={row.id}",
        "over_items": lambda row: rows_at(row.chain.file, row.chain.pointer) is not None,
        "sections": list(dict.fromkeys(map(diff.section, claims.claims))),
        "verdict_names": VERDICTS,
        "audit": run.read(AUDIT, Audit) if run.has(AUDIT) else None,
        "differing": against(claims.compared),
        "marks": report_items.MARKS,
        "figures": [{**figure, "caption": _caption(templates, run, claims, figure["name"])} for figure in drawings],
        "letters": Markup(outlines),
        "assumptions": texts.assumptions(without_places(run.config)) if run.config.of_the_subject else [],
        "unpinned": run.unpinned(),
        "environment": [(name, ", ".join(found)) for name, found in versions(run).items()],
        "costs": costs(run.folder),
        "spent": report_items.spent(items),
        "explorer": Markup(explorer),  # escaped by `to_json`
        "table": Markup(report_items.to_json({**table.data, "numbers": _numbers(run, arms), "records": _records(run)})),
        "per_condition": max(len(entry["items"]) for entry in table.data["conditions"].values()),
        "parquet": base64.b64encode(table.parquet).decode(),
        "script": Markup(script),
        "script_hash": _hash(script),
        "split": bool(parts),
        "count": len(items),
    }
    env = environment(templates / "page")
    files = {
        "index.html": filled(env, templates / "page", "index.html.j2", page),
        "diff.html": filled(env, templates / "page", "diff.html.j2", {**common, "groups": diff.by_section(diff.rows(claims))}),
        "diff.md": (f"> {SYNTHETIC}\n\n" if run.config.synthetic else "") + diff.markdown(claims),
        **parts,
    }
    shutil.rmtree(out / ITEMS, ignore_errors=True)
    (out / ITEMS).mkdir(parents=True)
    for name, text in files.items():
        write_text(out / name, text)
    return [out / name for name in files]


def environment(folder: Path) -> jinja2.Environment:
    """The Jinja environment of the pages: strict, everything escaped, style and script put in as they are."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=True
    )
    filters = (formats.published, formats.regenerated, formats.apart, formats.noticed, formats.remark)
    env.filters |= {f.__name__: f for f in (*filters, formats.words, formats.number, formats.setting, formats.counted)}
    env.filters |= {"section": diff.section, "over": diff.count, "code_spans": _code_spans, "duration": _duration}
    env.globals["part"] = lambda name: Markup((folder / name).read_text(encoding="utf-8"))
    return env


def tone(claims: Verdicts) -> str:
    """The colour of the answer, as a class of the page: `good`, `bad`, or `doubt` where little or nothing can be said."""
    answer = claims.answer
    if claims.comparable and (answer.differ or answer.refuted):
        return "bad"
    return "good" if claims.comparable and answer.measured and answer.agree == answer.measured else "doubt"


def costs(run_dir: Path) -> list[dict[str, Any]]:
    """Jobs, seconds and peak memory (MB) of every stage, from Snakemake's own measurements in `cost/`; of a resumed job, its last try."""
    stages: dict[str, dict[str, Any]] = {}
    for job in jobs(run_dir):
        entry = stages.setdefault(job.step, {"stage": job.step, "jobs": 0, "seconds": 0.0, "memory": 0.0})
        entry["jobs"] += 1
        entry["seconds"] += job.seconds
        entry["memory"] = max(entry["memory"], job.memory)
    return sorted(stages.values(), key=lambda e: -e["seconds"])


class Job(NamedTuple):
    """What Snakemake measured of one job."""

    step: str
    file: Path
    """Written when the job ended."""
    seconds: float
    memory: float
    """Its peak, in MB."""


def jobs(run_dir: Path) -> Iterator[Job]:
    """Every job of a run that has ended, by Snakemake's own measurements in `cost/`; of a resumed one, its last try."""
    for path in sorted((run_dir / "cost").glob("*.tsv")):
        step = max((s for s in STEPS if path.stem.startswith(s)), key=len, default=path.stem)
        file = outside.inside(run_dir, f"cost/{path.name}", str(run_dir), outside.PLAIN)
        with io.StringIO(outside.read_text(file)) as f:
            for row in csv.DictReader(f, delimiter="\t"):
                yield Job(step, path, _float(row.get("s")), _float(row.get("max_rss")))


def _float(text: str | None) -> float:
    """A measurement; 0 if Snakemake had no time to make one."""
    try:
        value = float(text or "")
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0


def _explorer(items: list[report_items.Item], factors: dict[str, list[str]], max_inline: int) -> tuple[str, dict[str, str]]:
    """The explorer's data inside the page, and the files beside it: either all items, or a list of them and a file for each."""
    marked = [{**item, "marks": report_items.marks(item)} for item in items]
    whole = report_items.to_json({"factors": factors, "items": marked})
    if len(whole) <= max_inline:
        return whole, {}
    listed = [
        {key: item[key] for key in ("id", "name", "question", "marks") if key in item} | {"file": f"{ITEMS}/{i:05}.js"}
        for i, item in enumerate(marked)
    ]
    parts = {entry["file"]: f"cardproofItem({report_items.to_json(item)});\n" for entry, item in zip(listed, items, strict=True)}
    return report_items.to_json({"factors": factors, "items": listed}), parts


def _numbers(run: Run, arms: list[str]) -> dict[str, list[Any]]:
    """Every number that the table opens at its rows: FILE/POINTER -> what the page needs to know of it."""
    found = numbers(run, arms, settings.REFERENCE).values()
    return {f"{o.file}{o.pointer}": [o.condition, o.arms, o.column, o.draws, o.counts, o.kind, o.title, said] for o, said in found}


def _records(run: Run) -> dict[str, dict[str, str]]:
    """Result file -> its record and the command that made it; left out where there is no record, or it was changed."""
    found = {}
    for file in map(evaluation, EVALUATION):
        place = f"{runs.RECORDS}/{file}.json"
        record = read_record(run, place)
        if record is not None:
            found[file] = {"record": place, "command": " ".join(record.command), "sha256": record.digest}
    return found


def filled(env: jinja2.Environment, folder: Path, name: str, context: Mapping[str, Any]) -> str:
    """A page from its template; CardproofError if the template lacks something or is broken."""
    try:
        return env.get_template(name).render(context)
    except jinja2.TemplateError as e:
        raise of_template(e, folder, name, "run the workflow again, or correct the template.") from None


def _caption(templates: Path, run: Run, claims: Verdicts, name: str) -> str:
    """A figure's caption as the card has it, without its footnotes."""
    context = {**Evaluation.of(run)._asdict(), "claims": claims, "run": run.config, "reference": settings.REFERENCE}
    return card.environment(templates).get_template(f"captions/{name}.md.j2").render(**context, source=lambda *_: "")


def _code_spans(text: str) -> Markup:
    """Text with Markdown's code spans as elements, everything else escaped."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(Markup.escape(text))))


def _record(run: Run, row: Judgement) -> Any:
    """The record of a claim's result; None if there is none, or it was changed."""
    return read_record(run, f"{runs.RECORDS}/{row.chain.file}.json") if row.chain.file else None


def read_record(run: Run, file: str) -> sidecars.Record | None:
    """A record of a run; None if there is none, or it was changed."""
    try:
        return sidecars.read(run.path(file)) if run.has(file) else None
    except CardproofError:  # the page says that the chain is broken
        return None


def versions(run: Run) -> dict[str, list[str]]:
    """Package -> every version of it that the records name; several if steps ran in different environments."""
    packages: dict[str, dict[str, None]] = {}
    for file in Files(run.folder).below(runs.RECORDS):
        record = read_record(run, file)
        for name, version in (record.environment if record else {}).items():
            packages.setdefault(name, {})[version] = None
    return {name: list(found) for name, found in sorted(packages.items())}


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{seconds:.1f} s"


@lru_cache
def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
