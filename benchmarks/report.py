"""The reviewer's page with 10,000 rollouts: its size, and the time to write it, open it, go to another item and search.

    python benchmarks/report.py                   140 items, three arms, three conditions, eight rollouts each
    python benchmarks/report.py --items 50        the published run's 50 items
    python benchmarks/report.py --keep FOLDER     write the page there, to look at it
    python benchmarks/report.py --beside FOLDER   open the page of another version in turn with this one, and give the ratios

The rollouts are invented. The prompts are the embedded benchmark's, with the stress condition's distractors. Replies quote their passages,
sometimes altered, misattributed or invented, and are scored like those of any run. Chromium opens the page from its folder.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ITEMS, N, MOVES = 140, 8, 20
"""Items; rollouts of each item, arm and condition; and how often the benchmark moves to the next item."""
STRICT = {"base": 0.6, "hybrid": 0.65, "grounded": 0.93}
"""Share of an arm's quotes that stay unaltered."""


def reply(draw: random.Random, prompt: Any, others: list[str], strict: float) -> str:
    """A reply to a prompt: one to three quotes and an answer, or only the answer if the prompt is free-form."""
    document = draw.choice(prompt.documents)
    sentences = [s.strip() for s in document.text.split(". ") if len(s.split()) > 6] or [document.text]
    answer = f"{draw.choice(sentences)[:400]} [{document.id}]"
    if not prompt.contract:
        return answer
    lines = []
    for _ in range(draw.choice((1, 1, 2, 3))):
        text, cited = draw.choice(sentences), document.id
        if draw.random() > strict:
            change = draw.choice(("case", "dash", "other", "invented"))
            if change == "case":
                text = text.capitalize().replace(",", "")
            elif change == "dash":
                text = text.replace(" ", "  ", 1).replace("the", "The", 1)
            elif change == "other" and len(prompt.documents) > 1:
                cited = draw.choice([d.id for d in prompt.documents if d.id != document.id])
            else:
                text = " ".join(draw.sample(draw.choice(others).split(), 8))
        text = " ".join(text.split()).replace('"', "'")
        lines.append(f'[{cited}] "{text}"')
    return "EVIDENCE:\n" + "\n".join(lines) + f"\nANSWER: {answer}"


def make_run(folder: Path, items: int) -> int:
    """Write a run of invented rollouts into `folder`; returns how many."""
    sys.path.insert(0, str(ROOT / "tests"))
    from cardproof.benchmark.embedded import load_embedded
    from cardproof.benchmark.prompts import prompts_of
    from cardproof.claims import audit, claims
    from cardproof.config import reading
    from cardproof.config import settings as config
    from cardproof.files import write_json, write_rows
    from cardproof.pages import figures
    from cardproof.records import Rollout, Support
    from cardproof.scoring.score import score_files
    from cardproof.scoring.table import write_scores
    from helpers.synthetic_run import write_run

    write_run(folder)
    settings = reading.load(folder / "config.yaml")
    passages, questions = load_embedded()
    texts = [p.text for p in passages if len(p.text.split()) > 20]
    asked = [questions[i % len(questions)].model_copy(update={"id": i}) for i in range(items)]
    count = 0
    for condition in config.CONDITIONS:
        prompts, _ = prompts_of(settings, condition, passages, asked, ROOT / "prompts")
        write_rows(folder / "prompts" / f"{condition}.jsonl", prompts)
        for arm in settings.sampled_arms:
            draw = random.Random(f"{arm}/{condition}")
            rows = []
            for prompt in prompts:
                for k in range(N):
                    text = reply(draw, prompt, texts, STRICT[arm])
                    values: dict[str, Any] = {"item": prompt.item, "k": k, "arm": arm, "condition": condition, "seed": 0, "text": text}
                    values |= {"prompt_tokens": 1000, "completion_tokens": len(text) // 4, "finish_reason": "stop", "model": "invented"}
                    rows.append(Rollout(**values, model_hash="", adapter_hash=None, prompt_hash=prompt.prompt_hash))
            judged = [Support(item=r.item, k=r.k, support=round(draw.random(), 3), premises=[], pairs=1, truncated=0) for r in rows]
            samples, support = (folder / kind / arm / f"{condition}.jsonl" for kind in ("samples", "support"))
            write_rows(samples, rows)
            write_rows(support, judged)
            scores = score_files(
                folder / "prompts" / f"{condition}.jsonl",
                samples,
                support,
                settings.scoring,
                settings.contract.refusal_phrases,
                settings.sampled_arms,
                dict.fromkeys(config.CONDITIONS, N),
            )
            write_scores(folder / "scores" / arm / f"{condition}.parquet", scores)
            count += len(rows)
    write_json(folder / "audit.json", audit.to_json(audit.run_audit(claims.CLAIMS_PATH, count_parameters=False)))
    write_json(folder / "claims.json", claims.judge(folder))
    figures.draw(folder, folder / "figures")
    return count


def opened(page_folder: Path) -> dict[str, Any]:
    """Seconds in a fresh browser until the page loads, shows an item, shows the next one, and has search results; and its heap (MB)."""
    from playwright.sync_api import sync_playwright

    # The page's policy allows only its own scripts, so nothing here waits inside the page.
    browser_path = next(p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--enable-precise-memory-info"])
        page = browser.new_page()
        start = time.perf_counter()
        page.goto(f"file://{page_folder}/index.html")
        there = time.perf_counter() - start
        page.wait_for_selector("#item .panes")
        first = time.perf_counter() - start
        page.evaluate("location.hash = '#items'")  # keys act in the part that is in view
        moves = list(_moves(page))
        start = time.perf_counter()
        page.fill("#item-search", "copyright")
        page.inner_text("#item-count")
        search = time.perf_counter() - start
        everything = None
        if page.locator("#search-all").count() and page.locator("#search-all").is_visible():
            start = time.perf_counter()
            page.check("#search-all")
            while page.inner_text("#item-count").startswith("loading"):
                page.wait_for_timeout(10)
            everything = time.perf_counter() - start
        heap = page.evaluate("performance.memory.usedJSHeapSize")
        browser.close()
    return {
        "load_seconds": there,
        "first_item_seconds": first,
        "next_item_seconds": {"median": statistics.median(moves), "most": max(moves), "of": len(moves)},
        "search_questions_seconds": search,
        "search_everything_seconds": everything,
        "heap_mb": heap / 1e6,
    }


def _moves(page: Any) -> Iterator[float]:
    for id in page.evaluate("JSON.parse(document.getElementById('data').textContent).items.map((item) => item.id)")[1 : MOVES + 1]:
        start = time.perf_counter()
        page.keyboard.press("j")
        page.wait_for_selector(f'#item-list [data-id="{id}"][aria-current]')
        yield time.perf_counter() - start


TIMES = ("load_seconds", "first_item_seconds", "next_item_seconds", "search_questions_seconds", "search_everything_seconds")
ROUNDS = 7


def beside(ours: Path, theirs: Path) -> dict[str, Any]:
    """The times of two pages, opened in turn as the machine may be slower at one time than at another: medians, and ours over theirs."""
    found: dict[str, list[dict[str, Any]]] = {"ours": [], "theirs": []}
    for _ in range(ROUNDS):
        for name, folder in (("ours", ours), ("theirs", theirs)):
            times = opened(folder)
            found[name].append({**times, "next_item_seconds": times["next_item_seconds"]["median"]})
    medians = {name: {key: statistics.median(run[key] or 0 for run in runs) for key in TIMES} for name, runs in found.items()}
    ratios = {key: medians["ours"][key] / medians["theirs"][key] for key in TIMES if medians["theirs"][key]}
    return {"rounds": ROUNDS, **medians, "ratios": ratios}


def main() -> None:
    """Run the benchmark and print its result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=ITEMS, help=f"questions (default {ITEMS})")
    parser.add_argument("--keep", type=Path, help="folder to write the page into")
    parser.add_argument("--beside", type=Path, help="folder of a page that another version wrote of the same run")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from benchmarks.common import machine, write
    from cardproof.pages import report

    before = machine()
    with tempfile.TemporaryDirectory() as scratch:
        run, out = Path(scratch, "run"), (arguments.keep or Path(scratch, "report")).resolve()
        rollouts = make_run(run, arguments.items)
        start = time.perf_counter()
        pages = report.write(run, out, ROOT / "report")
        seconds = time.perf_counter() - start
        sizes = {p: p.stat().st_size for p in pages}
        parts = [size for p, size in sizes.items() if p.parent.name == "items"]
        result = {
            "rollouts": rollouts,
            "write_seconds": seconds,
            "index_mb": sizes[out / "index.html"] / 1e6,
            "item_files": len(parts),
            "item_files_mb": sum(parts) / 1e6,
            "largest_item_kb": max(parts, default=0) / 1e3,
            **opened(out),
        }
        if arguments.beside:
            result["beside"] = beside(out, arguments.beside.resolve())
    write("report", {"machine": before, **result})
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
