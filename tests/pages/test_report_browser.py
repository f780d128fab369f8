"""The reviewer's page in a real browser: from a folder, by hand and by keyboard, light and dark, wide and narrow, and under attack."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cardproof.files import read_json, read_rows, write_rows
from cardproof.pages import report
from cardproof.pages.figures import FIGURES
from cardproof.records import Rollout, Support
from cardproof.runs import Run
from helpers.chromium import BROWSER
from helpers.opened import SHOTS, Opened
from helpers.places import ROOT
from helpers.workflow import PATIENCE, RUN

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        BROWSER is None, reason="there is no Chromium to open the page with; make test-browser installs it and runs this test"
    ),
]
TEMPLATES = ROOT / "report"
TOKEN = "x" * 100_000
HOSTILE = [
    "<script>globalThis.harmed = 1</script><img src=x onerror='globalThis.harmed = 2'>",
    'EVIDENCE:\n["><svg onload=globalThis.harmed=3>] "<b>bold</b> </script><script>globalThis.harmed=4</script>"\n'
    "ANSWER: \u202eesrever\u202c \u2066x\u2069",
    f'EVIDENCE:\n[a] "{TOKEN}"\nANSWER: {TOKEN}',
    "\x00\x07\ud7ff\ufeff\u200b {{ 7 * 7 }} ${7*7} <!-- --> ]]> &lt;i&gt; javascript:alert(1)",
]


@pytest.fixture(scope="module")
def pages(ci_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pages")
    report.write(ci_run / RUN, out / "whole", TEMPLATES)
    report.write(ci_run / RUN, out / "split", TEMPLATES, max_inline=1000)
    report.write(hostile(ci_run, out), out / "hostile", TEMPLATES)
    return out


def hostile(ci_run: Path, out: Path) -> Path:
    """A copy of the run in which a model wrote what does harm where it is taken for markup; scored anew."""
    shutil.copytree(ci_run, out / "attacked", ignore=shutil.ignore_patterns(".snakemake", "models", "store", "logs", "report"))
    run = out / "attacked" / RUN
    samples = run / "samples/grounded/clean.jsonl"
    rows = read_rows(samples, Rollout)
    rows = [r.model_copy(update={"text": HOSTILE[i % len(HOSTILE)]}) for i, r in enumerate(rows)]
    write_rows(samples, rows)
    support = run / "support/grounded/clean.jsonl"
    write_rows(support, [s.model_copy(update={"support": 0.5, "pairs": 1}) for s in read_rows(support, Support)])
    command = [
        sys.executable,
        "-m",
        "cardproof",
        "score",
        "--config",
        str(run / "config.yaml"),
        "--out",
        str(run / "scores/grounded/clean.parquet"),
    ]
    command += ["--prompts", str(run / "prompts/clean.jsonl"), "--samples", str(samples), "--support", str(support)]
    subprocess.run(command, check=True, timeout=PATIENCE, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
    return run


def first_items(pages: Path) -> list[dict[str, Any]]:
    from helpers.page import data_of

    return data_of(pages / "whole/index.html")["items"]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_from_a_folder_without_a_network(chromium: Any, pages: Path, width: int, scheme: str) -> None:
    with Opened(chromium, pages / "whole/index.html", width=width, scheme=scheme) as it:
        it.quiet()
        assert len(it.requests) == 1
        assert it.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page itself never scrolls sideways"
        paper = it.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
        ink = it.page.evaluate("getComputedStyle(document.querySelector('.drawing svg')).fill")
        assert ink != paper
        assert it.page.evaluate("scrollY") == 0, "a reader begins at the top"
        it.shoot(f"top-{width}-{scheme}")
        for section in ("figures", "items"):
            it.page.evaluate(f"document.getElementById('{section}').scrollIntoView()")
            it.shoot(f"{section}-{width}-{scheme}")


def test_the_first_screen_has_the_answer(chromium: Any, pages: Path, ci_run: Path) -> None:
    """Without scrolling, at 1280 by 900: the answer, the central claims and what the card contradicts by itself; hashes below them."""
    claims = read_json(ci_run / RUN / "claims.json")
    with Opened(chromium, pages / "whole/index.html") as it:
        boxes = {name: it.page.locator(name).bounding_box() for name in (".lead", ".alone", ".central", ".facts")}
        assert max(boxes[name]["y"] + boxes[name]["height"] for name in (".lead", ".alone", ".central")) < 900
        assert boxes[".lead"]["y"] < boxes[".alone"]["y"] < boxes[".central"]["y"] < boxes[".facts"]["y"]
        assert it.page.inner_text(".lead") == claims["answer"]["lead"]
        assert it.page.inner_text(".lead") == "This run cannot say whether the card holds: it used another model and other data."
        for title in claims["answer"]["contradictions"]:
            assert title.rstrip(".") in it.page.inner_text(".alone")
        rows = {row["id"]: row for row in claims["claims"]}
        shown = it.page.locator(".central tbody tr")
        assert shown.count() == len(claims["central"]) == 5
        for i, name in enumerate(claims["central"]):
            cells = shown.nth(i).locator("th, td").all_inner_texts()
            assert cells[:2] == [rows[name]["text"], rows[name]["published"]]
            assert cells[2].startswith(f"{rows[name]['regenerated_printed']} [")
        assert it.page.locator(".central th").all_inner_texts()[:3] == ["claim", "printed", "this run"], "nothing compares, so no verdict"
        shown.first.locator("th a").click()
        it.until(f"document.activeElement.closest('tbody')?.id === 'claim-{claims['central'][0]}'")
        it.quiet()
    with Opened(chromium, pages / "whole/index.html", width=390) as it:
        assert it.page.locator(".alone").bounding_box()["y"] < 900


def test_every_number_of_the_run_names_its_result(chromium: Any, pages: Path, ci_run: Path) -> None:
    with Opened(chromium, pages / "whole/index.html") as it:
        marked = it.page.evaluate("[...document.querySelectorAll('.from')].map((n) => ({...n.dataset, text: n.textContent}))")
    run = Run(ci_run / RUN)
    assert len(marked) > 50
    for number in marked:
        if number["text"] != "–":
            run.at(number["file"], number["pointer"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_figures_fit_a_narrow_screen(chromium: Any, pages: Path, scheme: str) -> None:
    """Each has a drawing of its own there, as wide as the screen at most and with print of 10 pixels at least."""
    with Opened(chromium, pages / "whole/index.html", width=390, scheme=scheme) as it:
        drawings = it.page.locator(".drawing svg:visible")
        assert drawings.count() == len(FIGURES)
        for i in range(drawings.count()):
            box = drawings.nth(i).bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= 390
            points = float(drawings.nth(i).get_attribute("viewBox").split()[2])
            assert 8 * box["width"] / points >= 10
            if SHOTS:
                drawings.nth(i).screenshot(path=f"{SHOTS}/figure-{i}-{scheme}.png")
    with Opened(chromium, pages / "whole/index.html", scheme=scheme) as it:
        assert it.page.locator(".drawing svg:visible").count() == len(FIGURES)


def test_verdicts_are_filtered_and_opened(chromium: Any, pages: Path, ci_run: Path) -> None:
    claims = read_json(ci_run / RUN / "claims.json")["claims"]
    with Opened(chromium, pages / "whole/index.html") as it:
        shown = it.page.locator("#verdict-table tbody:visible")
        assert shown.count() == len(claims)
        it.page.select_option("#filter-verdict", "inconsistent_as_published")
        wanted = [c for c in claims if c["verdict"] == "inconsistent_as_published"]
        assert shown.count() == len(wanted) > 0
        it.page.select_option("#filter-verdict", "")
        it.page.select_option("#filter-section", "training")
        assert shown.count() == sum(c["where"].startswith("training:") for c in claims)
        it.page.fill("#filter-text", "0.362")
        assert shown.count() == 1
        assert it.page.inner_text("#filter-count") == f"1 of {len(claims)} claims"
        assert not it.page.locator(".why:visible").count()
        shown.locator("button[aria-controls]").press("Enter")
        why = it.page.locator(".why:visible")
        loss = next(c for c in claims if c["id"] == "training.loss")
        assert loss["chain"]["sha256"] in why.inner_text()
        assert "training/grounded/metrics.json#/train_loss" in why.inner_text()
        it.quiet()


def test_a_deep_link_opens_its_rollout_and_the_address_follows(chromium: Any, pages: Path) -> None:
    item = first_items(pages)[-1]
    link = f"#item={item['id']}&arm=hybrid&condition=stress&k=1"
    with Opened(chromium, pages / "whole/index.html", link) as it:
        pressed = it.page.locator("#item .tabs button[aria-pressed=true]").all_inner_texts()
        assert pressed[:2] == ["stress", "hybrid"]
        assert pressed[2].removeprefix("★ ").startswith("1 ·")
        text = item["conditions"]["stress"]["arms"]["hybrid"][1]["text"]
        assert it.page.locator("#item .panes > div:nth-child(2) .text").inner_text().split() == text.split()
        it.page.locator("#item .tabs button", has_text="grounded").click()
        assert "arm=grounded" in it.page.evaluate("location.hash")
        it.quiet()
    with Opened(chromium, pages / "whole/index.html", link, width=390) as it:
        it.until("Math.abs(document.querySelector('#item').getBoundingClientRect().top) < 100")


def test_the_keyboard_goes_everywhere(chromium: Any, pages: Path) -> None:
    items = first_items(pages)
    with Opened(chromium, pages / "whole/index.html", f"#item={items[0]['id']}&arm=base&condition=clean&k=0") as it:
        state = it.address
        it.page.keyboard.press("j")
        assert state()["item"] == str(items[1]["id"])
        it.page.keyboard.press("k")
        assert state()["item"] == str(items[0]["id"])
        before = state()["k"]
        it.page.keyboard.press("n")
        assert state()["k"] != before
        it.page.keyboard.press("p")
        assert state()["k"] == before
        it.page.keyboard.press("a")
        assert state()["arm"] == "hybrid"
        it.page.keyboard.press("c")
        assert state()["condition"] == "stress"
        it.page.keyboard.press("/")
        assert it.page.evaluate("document.activeElement.id") == "item-search"
        it.page.keyboard.type("jjj")  # typed, not taken for keys
        assert state()["item"] == str(items[0]["id"])
        it.page.keyboard.press("Escape")
        it.page.keyboard.press("?")
        assert it.page.locator("#help").is_visible()
        it.page.keyboard.press("Escape")
        assert not it.page.locator("#help").is_visible()
        it.quiet()


def test_the_search_finds_words_of_replies(chromium: Any, pages: Path) -> None:
    items = first_items(pages)
    reply = items[1]["conditions"]["clean"]["arms"]["base"][0]["text"]
    phrase = " ".join(reply.split("\n")[-1].split()[:6])
    with Opened(chromium, pages / "whole/index.html") as it:
        it.page.fill("#item-search", phrase)
        found = it.page.locator("#item-list button").all_inner_texts()
        assert any(text.startswith(f"{items[1]['id']} ·") for text in found)
        it.page.fill("#item-search", "no text has these words in this order")
        assert it.page.locator("#item-list button").count() == 0
        assert it.page.inner_text("#item-count").startswith("0 of")


def test_split_items_are_loaded_when_opened(chromium: Any, pages: Path) -> None:
    items = first_items(pages)
    with Opened(chromium, pages / "split/index.html", f"#item={items[2]['id']}&arm=base&condition=clean&k=1") as it:
        it.page.wait_for_selector("#item .panes")
        assert it.page.locator("#item .question").inner_text() == items[2]["question"]
        assert [url.rpartition("/")[2] for url in it.requests[1:]] == ["00002.js"]
        it.page.keyboard.press("k")
        it.until(f"document.querySelector('#item .question')?.textContent === {json.dumps(items[1]['question'])}")
        reply = items[0]["conditions"]["stress"]["arms"]["base"][0]["text"]
        it.page.fill("#item-search", " ".join(reply.split("\n")[-1].split()[:6]))
        assert not it.page.locator("#item-list button", has_text=items[0]["question"][:40]).count(), "it is in no question"
        it.page.check("#search-all")
        it.until("!document.getElementById('item-count').textContent.startsWith('loading')")
        assert it.page.locator("#item-list button", has_text=items[0]["question"][:40]).count()
        assert len(it.requests) == 1 + len(items), "each item is loaded once"
        it.quiet()


def test_a_missing_file_of_an_item_is_named(chromium: Any, pages: Path, tmp_path: Path) -> None:
    shutil.copytree(pages / "split", tmp_path / "split")
    (tmp_path / "split/items/00001.js").unlink()
    items = first_items(pages)
    with Opened(chromium, tmp_path / "split/index.html") as it:
        it.page.evaluate(f"location.hash = '#item={items[1]['id']}'")
        it.page.wait_for_selector("#item .broken")
        assert it.page.inner_text("#item .broken") == "items/00001.js is missing beside this page."


MARKED = {
    "near_miss": lambda rollout: any(q["kind"] == "near_miss" for q in rollout["quotes"]),
    "misattributed": lambda rollout: any(q["kind"] == "misattributed" for q in rollout["quotes"]),
    "fabricated": lambda rollout: any(q["kind"] == "fabricated" for q in rollout["quotes"]),
    "refusal": lambda rollout: rollout["refusal"],
    "defect": lambda rollout: bool(rollout["defects"]),
    "cut": lambda rollout: rollout["finish"] == "length",
}


@pytest.mark.parametrize("kind", ["whole", "split"])
def test_replies_of_a_kind_are_found_one_after_another(chromium: Any, pages: Path, kind: str) -> None:
    items = first_items(pages)
    seen = 0
    with Opened(chromium, pages / kind / "index.html") as it:
        for mark, bears in MARKED.items():
            wanted = [
                {"item": str(item["id"]), "arm": arm, "condition": condition, "k": str(rollout["k"])}
                for item in items
                for condition, shown in item["conditions"].items()
                for arm, rollouts in shown["arms"].items()
                for rollout in rollouts
                if bears(rollout)
            ]
            it.page.select_option("#item-mark", "")
            it.page.select_option("#item-mark", mark)
            count = len({place["item"] for place in wanted})
            none = "" if wanted else ": no match"
            assert it.page.inner_text("#item-count") == f"{count} of {len(items)} items, {len(wanted)} replies{none}"
            assert it.page.locator("#item-next").is_visible() == bool(wanted)
            found = []
            for _ in wanted[:12]:
                it.until("document.querySelector('#item .panes') !== null")
                found.append({name: value for name, value in it.address().items() if name != "mark"})
                before = it.page.evaluate("location.hash")
                it.page.click("#item-next")
                if len(wanted) > 1:
                    it.until(f"location.hash !== {json.dumps(before)}")
            assert all(place in wanted for place in found)
            assert len({json.dumps(place, sort_keys=True) for place in found}) == len(found)
            seen += len(found)
        assert seen
        it.quiet()


def test_links_lead_from_findings_to_claims_and_from_claims_to_replies(chromium: Any, pages: Path) -> None:
    with Opened(chromium, pages / "whole/index.html", "#claim=strict.base") as it:
        why = it.page.locator(".why:visible")
        assert why.count() == 1
        assert "strict.base" in why.inner_text()
        why.locator("a", has_text="the items").click()
        it.until("!document.getElementById('number').hidden")
        it.page.locator("#rows-box tbody th a").first.click()
        it.until("location.hash.includes('arm=base')")
        it.until("[...document.querySelectorAll('#item .tabs [aria-pressed=true]')].slice(0, 2).map((b) => b.innerText) == 'clean,base'")
        it.page.fill("#filter-text", "no claim says this")
        it.page.locator(".finding.error .ids a").first.click()
        it.until("document.querySelectorAll('.why:not([hidden])').length === 2")
        assert it.page.input_value("#filter-text") == "", "a link leads to a row that a filter hides"
        it.page.click(".counts .inconsistent_as_published")
        assert it.page.input_value("#filter-verdict") == "inconsistent_as_published"
        it.page.click(".counts .inconsistent_as_published")
        assert it.page.input_value("#filter-verdict") == ""
        it.quiet()


def test_what_a_model_wrote_is_shown_and_does_nothing(chromium: Any, pages: Path) -> None:
    for width in (1280, 390):
        with Opened(chromium, pages / "hostile/index.html", width=width) as it:
            item = it.page.evaluate("JSON.parse(document.getElementById('data').textContent).items[0].id")
            for k, text in enumerate(HOSTILE):
                it.page.evaluate(f"location.hash = '#item={item}&arm=grounded&condition=clean&k={k}'")
                it.until(f"/^(★ )?{k} ·/.test(document.querySelectorAll('#item [aria-pressed=true]')[2].textContent)")
                shown = it.page.locator("#item .panes > div:nth-child(2) .text")
                if k == 0:
                    assert shown.inner_text() == text
                if k == 1:
                    assert "U+202E" in shown.inner_text() and "<svg onload" in shown.inner_text()
                if k == 3:
                    assert "U+0000" in shown.inner_text() and "{{ 7 * 7 }}" in shown.inner_text()
                assert it.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
                assert not it.page.locator("#item script, #item img, #item .panes svg, #item b, #item i").count()
                it.shoot(f"hostile-{width}-{k}")
            assert it.page.evaluate("globalThis.harmed") is None
            it.quiet()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index.html", "diff.html"])
def test_axe_finds_no_serious_violation(chromium: Any, pages: Path, name: str, scheme: str, width: int) -> None:
    from axe_playwright_python.sync_playwright import Axe

    with Opened(chromium, pages / "whole" / name, scheme=scheme, width=width) as it:
        if name == "index.html":
            it.page.locator("#verdict-table button").first.click()
        it.page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
        response = Axe().run(it.page).response
        found = response["violations"]
        by_impact = {impact: sum(v["impact"] == impact for v in found) for impact in ("critical", "serious", "moderate", "minor")}
        print(f"{name}, {scheme}, {width} px: {len(response['passes'])} rules hold; violations: {by_impact} {[v['id'] for v in found]}")
        serious = [f"{v['id']}: {v['nodes'][0]['html'][:160]}" for v in found if v["impact"] in ("serious", "critical")]
        assert not serious
