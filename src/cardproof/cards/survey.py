"""The audit of thousands of cards: parallel, resumable, with a time limit for each card; and a summary by kind of relation."""

from __future__ import annotations

import html
import json
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cardproof.cards.audit_card import audit_text
from cardproof.cards.finding import SEVERITIES
from cardproof.cards.source import cards_below, read_text
from cardproof.errors import CardproofError
from cardproof.files import sha256_text, write_json, write_text

SECONDS = 10
"""Most seconds for one card."""
AT_ONCE = 64
"""Cards given to a worker together."""
EXAMPLES = 3


@dataclass
class Kind:
    """The findings of one kind of relation."""

    checked: int = 0
    """Cards in which the relation could be checked."""
    worst: Counter[str] = field(default_factory=Counter)
    """The same cards, by their worst finding."""
    findings: Counter[str] = field(default_factory=Counter)
    """Findings by severity."""
    examples: list[dict[str, Any]] = field(default_factory=list)


class _TooLong(Exception):
    pass


def _late(signum: int, frame: object) -> None:
    raise _TooLong


def audit_one(folder: str, name: str) -> dict[str, Any]:
    """One card as a row of the findings. No card stops the survey."""
    row: dict[str, Any] = {"card": name}
    before = signal.signal(signal.SIGALRM, _late)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        text = read_text(Path(folder) / name)
        row["sha256"] = sha256_text(text)
        audit = audit_text(text, name)
        counts: dict[str, Counter[str]] = {}
        for f in audit.findings:
            counts.setdefault(f.kind, Counter())[f.severity] += 1
        row |= {
            "relations": {k: dict(c) for k, c in counts.items()},
            "findings": [f.row() for f in audit.findings if f.severity in {"error", "warning"}],
            "unread": len(audit.unread),
        }
    except _TooLong:
        row["failed"] = f"took more than {SECONDS} seconds"
    except CardproofError as e:
        row["failed"] = e.sentence
    except Exception as e:
        row["failed"] = f"{type(e).__name__}: {e}"[:200]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return row


def _audit_some(folder: str, names: list[str]) -> list[dict[str, Any]]:
    return [audit_one(folder, name) for name in names]


def survey(folder: Path, out: Path, jobs: int = 0, examples: int = EXAMPLES) -> dict[str, Any]:
    """Audit every card below a folder into a JSON Lines file, and write the summary beside it. A second call continues an interrupted one.

    Writes `out` (a row for each card) and, beside it, `.summary.json`, `.summary.md` and `.summary.html`.
    """
    if not folder.is_dir():
        raise CardproofError(f"{folder} is not a folder.", "give a folder of model cards.")
    names = [str(p.relative_to(folder)) for p in cards_below(folder)]
    if not names:
        raise CardproofError(f"{folder} has no Markdown file.", "give a folder with model cards (*.md).")
    out.parent.mkdir(parents=True, exist_ok=True)
    done = _done(out)
    left = [n for n in names if n not in done]
    jobs = jobs or len(os.sched_getaffinity(0))
    batches = [left[i : i + AT_ONCE] for i in range(0, len(left), AT_ONCE)]
    with open(out, "a", encoding="utf-8", newline="\n") as f:
        for rows in _results(str(folder), batches, jobs):
            f.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            f.flush()
    summary = summarise(out, set(names), examples)
    base = out.with_suffix("")
    write_json(base.with_name(base.name + ".summary.json"), summary)
    write_text(base.with_name(base.name + ".summary.md"), markdown(summary))
    write_text(base.with_name(base.name + ".summary.html"), page(summary))
    return summary


def _results(folder: str, batches: list[list[str]], jobs: int) -> Iterator[list[dict[str, Any]]]:
    if jobs == 1 or len(batches) < 2:
        for names in batches:
            yield _audit_some(folder, names)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_audit_some, [folder] * len(batches), batches)


def _done(out: Path) -> set[str]:
    """The cards that an earlier call finished; an incomplete last line is removed."""
    if not out.exists():
        return set()
    raw = out.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    if whole != raw:
        out.write_bytes(whole)
    cards = set()
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            cards.add(str(json.loads(line)["card"]))
        except (ValueError, KeyError, TypeError):
            raise CardproofError(f"{out}, line {number}: not a row of findings.", "give a new file, or remove this one.") from None
    return cards


def summarise(out: Path, names: set[str], examples: int = EXAMPLES) -> dict[str, Any]:
    """The counts of a file of findings, over these cards."""
    kinds: dict[str, Kind] = {}
    cards = failed = any_checked = with_error = with_warning = unread = 0
    reasons: Counter[str] = Counter()
    with open(out, encoding="utf-8") as f:
        for line in f:
            row = json.loads(line)
            if row["card"] not in names:
                continue
            cards += 1
            if "failed" in row:
                failed += 1
                reasons[row["failed"].replace(row["card"], "the card")[:80]] += 1
                continue
            unread += row["unread"] > 0
            any_checked += bool(row["relations"])
            severities = {s for c in row["relations"].values() for s in c}
            with_error += "error" in severities
            with_warning += "warning" in severities
            for name, counts in row["relations"].items():
                kind = kinds.setdefault(name, Kind())
                kind.checked += 1
                kind.worst[next(s for s in SEVERITIES if s in counts)] += 1
                kind.findings.update(counts)
            for entry in row["findings"]:
                kind = kinds[entry["kind"]]
                if len(kind.examples) < examples:
                    kind.examples.append(
                        {"card": row["card"], "severity": entry["severity"], "title": entry["title"], "arithmetic": entry["arithmetic"]}
                    )
    return {
        "cards": cards,
        "failed": failed,
        "failures": dict(reasons.most_common(10)),
        "cards_with_a_relation": any_checked,
        "cards_with_an_error": with_error,
        "cards_with_a_warning": with_warning,
        "cards_not_read_whole": unread,
        "kinds": {
            name: {
                "cards_checked": k.checked,
                **{f"cards_{s}": k.worst[s] for s in SEVERITIES},
                **{f"findings_{s}": k.findings[s] for s in SEVERITIES},
                "examples": k.examples,
            }
            for name, k in sorted(kinds.items(), key=lambda item: -item[1].checked)
        },
    }


HEAD = ("relation", "cards checked", "worst: error", "worst: warning", "worst: note", "all ok", "errors", "warnings")


def _table_rows(summary: dict[str, Any]) -> list[list[str]]:
    keys = ("cards_checked", "cards_error", "cards_warning", "cards_note", "cards_ok", "findings_error", "findings_warning")
    return [[name, *(f"{k[key]:,}" for key in keys)] for name, k in summary["kinds"].items()]


def _sentence(summary: dict[str, Any]) -> str:
    s = summary
    return (
        f"{s['cards']:,} cards, of which {s['failed']:,} could not be audited; {s['cards_with_a_relation']:,} have a relation that can be "
        f"checked, {s['cards_with_an_error']:,} an error, {s['cards_with_a_warning']:,} a warning."
    )


def markdown(summary: dict[str, Any]) -> str:
    """The summary as Markdown."""
    lines = ["# Survey of model cards", "", _sentence(summary), "", "| " + " | ".join(HEAD) + " |", "|---|" + "---:|" * (len(HEAD) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in _table_rows(summary)]
    for name, kind in summary["kinds"].items():
        if kind["examples"]:
            lines += ["", f"## {name}", ""]
            lines += [
                f"- `{e['card'].replace('`', '')}` ({e['severity']}): {_flat(e['title'])} {_flat(e['arithmetic'])}"
                for e in kind["examples"]
            ]
    return "\n".join(lines) + "\n"


def _flat(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ").replace("<", "‹").replace("`", "'")


def page(summary: dict[str, Any]) -> str:
    """The summary as one HTML page without scripts."""
    head = "".join(f"<th scope=col>{html.escape(h)}</th>" for h in HEAD)
    rows = "".join(
        f"<tr><th scope=row>{html.escape(r[0])}</th>" + "".join(f"<td>{html.escape(c)}</td>" for c in r[1:]) + "</tr>\n"
        for r in _table_rows(summary)
    )
    examples = "".join(
        f"<h2>{html.escape(name)}</h2>\n<ul>\n"
        + "".join(
            f"<li><code>{html.escape(e['card'])}</code> ({e['severity']}): {html.escape(e['title'])} {html.escape(e['arithmetic'])}</li>\n"
            for e in kind["examples"]
        )
        + "</ul>\n"
        for name, kind in summary["kinds"].items()
        if kind["examples"]
    )
    return PAGE.format(sentence=html.escape(_sentence(summary)), head=head, rows=rows, examples=examples)


PAGE = """<!doctype html>
<html lang=en>
<meta charset=utf-8>
<meta name=viewport content="width=device-width">
<title>Survey of model cards</title>
<style>
body {{ font: 16px/1.5 sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse; display: block; overflow-x: auto }}
th, td {{ padding: .3rem .6rem; border-bottom: 1px solid #777; text-align: right }}
th:first-child {{ text-align: left }}
code {{ overflow-wrap: anywhere }}
</style>
<main>
<h1>Survey of model cards</h1>
<p>{sentence}</p>
<table>
<thead><tr>{head}</tr></thead>
<tbody>
{rows}</tbody>
</table>
{examples}</main>
</html>
"""
