"""From a printed number to the quotes behind it, in a real browser: the per-item table, its downloads, addresses, Back, keys and print."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cardproof.claims.audit import run_audit, to_json
from cardproof.claims.claims import judge
from cardproof.config.settings import CONDITIONS
from cardproof.files import read_json, read_rows, write_json, write_rows
from cardproof.pages import figures, report
from cardproof.records import Prompt
from cardproof.runs import prompts
from helpers.chromium import BROWSER
from helpers.opened import Opened
from helpers.places import ROOT
from helpers.rendered_card import CLAIMS
from helpers.synthetic_run import ARMS, record_all, write_run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="there is no Chromium to open the page with; make test-browser installs it"),
]
REFUSING = {name: profile._replace(refusal=0.5) for name, profile in ARMS.items()}
FORMULA = '=HYPERLINK("https://example.org"),\n"<b>1</b>" \u202eesrever'
"""A question that a spreadsheet would run, and that is no markup either."""
A4 = 703
"""Pixels of an A4 page between margins of 12 mm."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_run(tmp_path_factory.mktemp("rows") / "run", scale="published", items=16, n=4, arms=REFUSING)
    for condition in CONDITIONS:
        asked = read_rows(folder / prompts(condition), Prompt)
        write_rows(folder / prompts(condition), [p.model_copy(update={"question": FORMULA}) if p.item == 3 else p for p in asked])
    write_json(folder / "audit.json", to_json(run_audit(CLAIMS, count_parameters=False)))
    write_json(folder / "claims.json", judge(folder, CLAIMS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "DPI", 40)
        figures.draw(folder, folder / "figures")
    record_all(folder)
    report.write(folder, folder / "report", ROOT / "report")
    report.write(folder, folder / "split", ROOT / "report", max_inline=1000)
    return folder


@pytest.fixture
def it(chromium: Any, run: Path) -> Iterator[Opened]:
    with Opened(chromium, run / "report/index.html") as found:
        yield found
        found.quiet()


def counted(run: Path, file: str, pointer: str) -> list[str]:
    """The items that a number is over, by the result file's own list of what each item adds."""
    weights = read_json(run / file)["per_item"][pointer]["weights"]
    items = sorted(pl.read_parquet(run / "scores/base/clean.parquet")["item"].unique())
    return [str(item) for item, weight in zip(items, weights, strict=True) if weight > 0]


def best(run: Path, arm: str, condition: str) -> dict[int, pl.DataFrame]:
    """The candidates of each item that best-of-N picks."""
    scores = pl.read_parquet(run / f"scores/{arm}/{condition}.parquet")
    return {
        item[0]: rows.filter(pl.col("composite") >= rows["composite"].max() - 1e-9)
        for item, rows in scores.group_by("item", maintain_order=True)
    }


def listed(it: Opened) -> list[str]:
    return it.page.locator("#rows-box table").first.locator("tbody th a").all_inner_texts()


def column(it: Opened, title: str, arm: str) -> list[str]:
    """The cells of an arm under an axis."""
    return it.page.evaluate(
        """([title, arm]) => {
          const [top, below] = document.querySelector('#rows-box thead').rows;
          let at = 1;
          for (const th of [...top.cells].slice(1)) {
            if (th.textContent === title) {
              const offset = [...below.cells].slice(at - 1, at - 1 + th.colSpan).findIndex((c) => c.textContent.startsWith(arm));
              return [...document.querySelectorAll('#rows-box tbody tr')].map((row) => row.cells[at + offset].textContent);
            }
            at += th.colSpan;
          }
        }""",
        [title, arm],
    )


# --- two clicks -------------------------------------------------------------------------------------------------------

LINKS = [
    (".central tbody tr:nth-child(1) td:nth-child(2) a", "evaluation/axes.json", "/arms/grounded/strict"),
    (".central tbody tr:nth-child(2) td:nth-child(3) a", "evaluation/stress.json", "/arms/grounded/strict"),
    (".central tbody tr:nth-child(3) td:nth-child(3) a", "evaluation/mechanism.json", "/conditions/clean/grounded/gap"),
    (".central tbody tr:nth-child(4) td:nth-child(3) a", "evaluation/axes.json", "/arms/grounded/support"),
    (".central tbody tr:nth-child(5) td:nth-child(2) a", "evaluation/compute.json", "/arms/grounded/composite/0"),
    ("#claim-strict\\.base td.printed a", "evaluation/axes.json", "/arms/base/strict"),
    ("#claim-content\\.hybrid a.from", "evaluation/axes.json", "/arms/hybrid/content"),
    ("#claim-refusals\\.base td[data-label=n] a", "evaluation/axes.json", "/arms/base/false_refusals"),
    ("#claim-freeform\\.base a.from", "evaluation/format_lock.json", "/arms/base/support"),
    ("#claim-gap\\.stress\\.base td.printed a", "evaluation/mechanism.json", "/conditions/stress/base/gap"),
    ("#claim-composite\\.base_n2 a.from", "evaluation/compute.json", "/arms/base/composite/1"),
    ("#claim-residual\\.attribution td[data-label=n] a", "evaluation/stress.json", "/residual/grounded/attribution"),
]


@pytest.mark.parametrize(("link", "file", "pointer"), LINKS, ids=[pointer for _, _, pointer in LINKS])
@pytest.mark.parametrize("kind", ["report", "split"])
def test_two_clicks_from_a_printed_number_to_the_quotes(chromium: Any, run: Path, kind: str, link: str, file: str, pointer: str) -> None:
    with Opened(chromium, run / kind / "index.html") as it:
        it.page.locator(link).click()
        it.until("!document.getElementById('number').hidden")
        panel = it.page.inner_text("#number")
        for word in (f"{file}#{pointer}", f"provenance/files/{file}.json", "command"):
            assert word in panel
        wanted = counted(run, file, pointer)
        assert listed(it) == wanted, "exactly the rows that the number is over"
        value = read_json(run / file)
        for part in pointer.strip("/").split("/"):
            value = value[int(part)] if isinstance(value, list) else value[part]
        assert f"{value['value']:.3f}" in panel and f"mean is {value['value']:.3f}." in panel
        arm = next(name for name in ARMS if f"/{name}/" in pointer)
        it.page.locator("#rows-box tbody th a").nth(1).click()
        it.until("document.querySelector('#item .quotes, #item .panes') && location.hash.startsWith('#item=')")
        it.until(f"new URLSearchParams(location.hash.slice(1)).get('item') === '{wanted[1]}'")
        it.until(f"new URLSearchParams(location.hash.slice(1)).get('arm') === '{arm}'")
        it.until(f"document.querySelectorAll('#item .tabs [aria-pressed=true]')[1].innerText === '{arm}'")
        box = it.page.locator("#item").bounding_box()
        assert box["y"] < 900 and box["y"] + box["height"] > 0
        assert it.page.locator("#item h3", has_text="Quotes").count() == 1
        it.quiet()


def test_numbers_of_the_figures_and_of_the_card_lead_to_rows(it: Opened, run: Path) -> None:
    it.page.evaluate("document.querySelectorAll('#figures details').forEach((d) => (d.open = true))")
    links = it.page.locator("#figures td a.to")
    assert links.count() > 100
    for i in (0, 30, 60, links.count() - 1):
        links.nth(i).click()
        it.until("!document.getElementById('number').hidden")
        assert listed(it) and not it.page.locator("#wrong").is_visible()


def test_every_link_to_rows_on_the_page_opens(it: Opened) -> None:
    known = it.page.evaluate("Object.keys(JSON.parse(document.getElementById('table-data').textContent).numbers)")
    links = it.page.evaluate(
        "[...document.querySelectorAll('a[href^=\"#rows=\"]')].map((a) => a.getAttribute('href').slice('#rows='.length))"
    )
    assert len(links) > 200
    assert not set(links) - set(known)
    claims = it.page.evaluate("[...document.querySelectorAll('a.from, a.to')].map((a) => a.hash).filter((h) => h.startsWith('#claim='))")
    assert all(it.page.evaluate("(h) => document.getElementById(`claim-${h.slice(7)}`) !== null", hash) for hash in claims)


# --- sort, filter, download -------------------------------------------------------------------------------------------


def test_columns_are_sorted_both_ways(it: Opened, run: Path) -> None:
    it.page.evaluate("location.hash = '#rows'")
    button = it.page.locator('#rows-box [data-sort="rouge_l.base"]')
    it.until("document.querySelector('#rows-box table') !== null")
    everything = listed(it)
    for way in ("ascending", "descending"):
        button.click()
        assert it.page.locator(f'#rows-box th[aria-sort="{way}"]').inner_text().startswith("base")
        found = column(it, "ROUGE-L", "base")
        numbers = [float(x) for x in found if x != "–"]
        assert numbers == sorted(numbers, reverse=way == "descending") and len(set(numbers)) > 3
        assert found == [*found[: len(numbers)], *["–"] * (len(found) - len(numbers))], "what has no value is last"
        assert sorted(listed(it), key=int) == everything
    assert it.address() == {"rows": "", "condition": "clean", "sort": "rouge_l.base", "down": ""}


@pytest.mark.parametrize("condition", ["clean", "stress", "freeform"])
@pytest.mark.parametrize(("fails", "holds"), [("base", "grounded"), ("grounded", "base")])
def test_items_that_an_arm_fails_and_another_holds(it: Opened, run: Path, condition: str, fails: str, holds: str) -> None:
    axis = "gold_rouge" if condition == "freeform" else "strict"
    it.page.evaluate("location.hash = '#rows'")
    it.page.select_option("#rows-condition", condition)
    it.page.select_option("#rows-axis", axis)
    it.page.select_option("#rows-show", label=f"{fails} fails, {holds} holds")
    left, right = best(run, fails, condition), best(run, holds, condition)

    def score(rows: pl.DataFrame) -> float | None:
        return rows.filter(~pl.col("refusal"))[axis].mean()

    scores = {item: (score(left[item]), score(right[item])) for item in left}
    wanted = [str(item) for item, (a, b) in sorted(scores.items()) if a is not None and b is not None and a < 1 - 1e-9 <= b]
    assert listed(it) == wanted
    assert it.page.inner_text("#rows-count").startswith(f"{len(wanted)} of 16 items")
    assert {"fails": fails, "holds": holds, "condition": condition}.items() <= it.address().items()


def test_an_axis_without_a_full_score_is_compared(it: Opened, run: Path) -> None:
    it.page.evaluate("location.hash = '#rows&axis=rouge_l&fails=base&holds=hybrid'")
    it.until("document.querySelectorAll('#rows-box tbody tr').length > 0 && document.getElementById('rows-show').value !== ''")
    assert it.page.locator("#rows-show option:checked").inner_text() == "base lower, hybrid higher"
    pairs = list(zip(column(it, "ROUGE-L", "base"), column(it, "ROUGE-L", "hybrid"), strict=True))
    assert pairs and all(float(a) <= float(b) for a, b in pairs)


def test_the_downloads_hold_the_rows(it: Opened, run: Path, tmp_path: Path) -> None:
    it.page.evaluate("location.hash = '#rows&condition=stress&sort=strict.base&down'")
    it.until("document.getElementById('rows-condition').value === 'stress'")
    with it.page.expect_download() as got:
        it.page.click("#rows-csv")
    assert got.value.suggested_filename == "published-items.csv"
    got.value.save_as(tmp_path / "items.csv")
    with (tmp_path / "items.csv").open(newline="", encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    assert [row["item"] for row in rows] == listed(it), "the rows that are shown, in their order"
    with it.page.expect_download() as got:
        it.page.click("#rows-parquet")
    assert got.value.suggested_filename == "published-items.parquet"
    got.value.save_as(tmp_path / "items.parquet")
    frame = pl.read_parquet(tmp_path / "items.parquet")
    assert list(rows[0]) == frame.columns
    assert FORMULA in frame["question"].to_list() and f"'{FORMULA}" in [row["question"] for row in rows]
    assert "U+202E" in it.page.inner_text("#rows-box") and not it.page.locator("#rows-box b").count()
    assert frame.height == 3 * 16
    whole = {(row["condition"], str(row["item"])): row for row in frame.iter_rows(named=True)}
    for row in rows:
        same = whole[row["condition"], row["item"]]
        for name, text in row.items():
            value = same[name]
            if isinstance(value, float):
                assert float(text) == pytest.approx(value, abs=1e-6)
            else:
                told = " ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
                told = f"'{told}" if told == FORMULA else told
                assert text == (told.lower() if isinstance(value, bool) else told)
    assert len(it.requests) == 1 or all(url.startswith(("file:", "blob:", "data:")) for url in it.requests)


# --- addresses --------------------------------------------------------------------------------------------------------


def test_back_returns_to_where_the_reader_was(it: Opened) -> None:
    it.page.locator(".central a.from").first.click()
    it.until("location.hash.startsWith('#rows=')")
    it.page.wait_for_timeout(200)
    at_rows = it.page.evaluate("scrollY")
    it.page.locator("#rows-box tbody th a").nth(2).click()
    it.until("location.hash.startsWith('#item=')")
    it.page.go_back()
    it.until("location.hash.startsWith('#rows=')")
    it.until(f"Math.abs(scrollY - {at_rows}) < 60")
    it.page.go_back()
    it.until("location.hash === ''")
    it.until("scrollY < 5")
    assert not it.page.locator("#number").is_visible()
    it.page.go_forward()
    it.until("!document.getElementById('number').hidden")


def test_opening_a_claim_or_a_filter_changes_the_address_and_back_undoes_it(it: Opened, run: Path) -> None:
    claims = read_json(run / "claims.json")["claims"]
    shown = it.page.locator("#verdict-table tbody[id]:visible")
    it.page.select_option("#filter-verdict", "not_comparable")
    assert it.address() == {"verdicts": "", "verdict": "not_comparable"}
    some = shown.count()
    assert 0 < some < len(claims)
    it.page.locator("#claim-strict\\.base button[aria-controls]").click()
    assert it.address() == {"claim": "strict.base", "verdict": "not_comparable"}
    it.page.go_back()
    it.until("document.querySelectorAll('.why:not([hidden])').length === 0")
    assert shown.count() == some
    it.page.go_back()
    it.until("location.hash === ''")
    assert shown.count() == len(claims)
    it.page.locator("#filter-text").press_sequentially("strict")
    it.until("location.hash === '#verdicts&text=strict'")
    it.page.go_back()
    it.until("location.hash === ''")
    assert it.page.input_value("#filter-text") == "", "what is typed is one step"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("#claim=no.such", "the claim “no.such”"),
        ("#claim=strict.base&verdict=wrong", "the verdict “wrong”"),
        ("#verdicts&section=nowhere", "the section “nowhere”"),
        ("#item=999", "the item “999”"),
        ("#item=3&arm=nobody", "the arm “nobody”"),
        ("#item=3&condition=rain&k=77", "the condition “rain” and the rollout “77”"),
        ("#item=3&k=first", "the rollout “first”"),
        ("#items&mark=pretty", "the kind of reply “pretty”"),
        ("#rows=training/grounded/metrics.json/train_loss", "the number “training/grounded/metrics.json/train_loss”"),
        ("#rows&condition=rain", "the condition “rain”"),
        ("#rows&fails=nobody&holds=base", "the arm “nobody”"),
        ("#rows&sort=strict.nobody", "the column “strict.nobody”"),
        ("#rows&colour=red", "the key “colour”"),
        ("#nowhere", "the place “nowhere”"),
        ("#<img src=x onerror=alert(1)>", "this page does not have it"),
        ("#claim=%E0%A4%A", "the claim"),
    ],
)
def test_a_wrong_address_says_so(chromium: Any, run: Path, address: str, said: str) -> None:
    with Opened(chromium, run / "report/index.html", address) as it:
        it.until("!document.getElementById('wrong').hidden")
        assert said in it.page.inner_text("#wrong-text")
        it.until("document.querySelector('#item .panes') !== null")  # the rest of the page is there
        it.page.click("#wrong-close")
        assert not it.page.locator("#wrong").is_visible()
        it.quiet()


@pytest.mark.parametrize(
    "address", ["", "#audit", "#claim=strict.base", "#verdicts&verdict=not_comparable", "#rows", "#items", "#item=3&arm=base&k=1"]
)
def test_a_right_address_says_nothing(chromium: Any, run: Path, address: str) -> None:
    with Opened(chromium, run / "report/index.html", address) as it:
        it.page.wait_for_timeout(100)
        assert not it.page.locator("#wrong").is_visible()
        it.quiet()


def test_links_are_copied(chromium: Any, run: Path) -> None:
    with Opened(chromium, run / "report/index.html") as it:
        it.context.grant_permissions(["clipboard-read", "clipboard-write"])
        start = it.page.evaluate("location.href")
        copied = "navigator.clipboard.readText()"
        it.page.locator("#audit-title + .copy").click()
        it.until("document.getElementById('said').textContent === 'Link copied'")
        assert it.page.evaluate(copied) == f"{start}#audit"
        it.page.evaluate("location.hash = '#claim=strict.base'")
        it.page.locator("#claim-strict\\.base .copy").click()
        it.until(f"{copied}.then((text) => text.endsWith('#claim=strict.base'))")
        it.page.evaluate("location.hash = '#item=3&arm=base&condition=stress&k=1'")
        it.until("document.querySelectorAll('#item [aria-pressed=true]')[0]?.textContent === 'stress'")
        it.page.locator("#item .copy").click()
        it.until(f"{copied}.then((text) => text.endsWith('#item=3&arm=base&condition=stress&k=1'))")
        it.page.evaluate("location.hash = '#rows&condition=stress&sort=item&down'")
        it.until("document.getElementById('rows-condition').value === 'stress'")
        it.page.locator("#rows-title + .copy").click()
        it.until(f"{copied}.then((text) => text.endsWith('#rows&condition=stress&sort=item&down'))")
        it.quiet()


def test_keys_act_where_the_reader_is(it: Opened) -> None:
    item = it.page.evaluate("document.querySelector('#item-list [aria-current]').dataset.id")
    focus = "document.activeElement"
    it.page.keyboard.press("j")
    assert it.page.evaluate("document.querySelector('#item-list [aria-current]').dataset.id") == item, "at the top no item is in view"
    it.page.evaluate("location.hash = '#verdicts'")
    it.page.keyboard.press("j")
    assert it.page.evaluate(f"{focus}.closest('#verdict-table') !== null")
    first = it.page.evaluate(f"{focus}.closest('tbody').id")
    it.page.keyboard.press("j")
    assert it.page.evaluate(f"{focus}.closest('tbody').id") != first
    it.page.keyboard.press("k")
    assert it.page.evaluate(f"{focus}.closest('tbody').id") == first
    it.page.keyboard.press("/")
    assert it.page.evaluate(f"{focus}.id") == "filter-text"
    it.page.keyboard.press("Escape")
    it.page.evaluate("location.hash = '#rows'")
    it.until("document.querySelector('#rows-box table') !== null")
    it.page.keyboard.press("j")
    it.page.keyboard.press("j")
    assert it.page.evaluate(f"{focus}.textContent") == listed(it)[1]
    it.page.keyboard.press("Enter")
    it.until(f"location.hash.startsWith('#item={listed(it)[1]}&')")
    it.page.evaluate("document.activeElement.blur()")
    it.page.keyboard.press("j")
    it.until(f"location.hash.startsWith('#item={listed(it)[2]}&')")
    it.page.evaluate("location.hash = '#audit'")
    it.page.wait_for_timeout(100)
    before = it.page.evaluate("location.hash")
    it.page.keyboard.press("j")
    assert it.page.evaluate("location.hash") == before, "the audit has nothing to step through"


def test_empty_results_say_no_match(it: Opened) -> None:
    it.page.fill("#filter-text", "no claim has these words")
    assert it.page.locator("#filter-none").inner_text() == "No match."
    assert it.page.inner_text("#filter-count").endswith("no match")
    it.page.fill("#item-search", "no reply has these words")
    assert it.page.inner_text("#item-list") == "No match."
    it.page.evaluate("location.hash = '#rows'")
    it.page.fill("#rows-words", "no question has these words")
    assert it.page.locator("#rows-box tbody").inner_text() == "No match."
    assert it.page.inner_text("#rows-count").endswith("no match")


# --- print, axe -------------------------------------------------------------------------------------------------------

PAST = """(width) => [...document.querySelectorAll('table th, table td')]
  .filter((cell) => cell.getClientRects().length && cell.getBoundingClientRect().right > width + 1).map((cell) => cell.textContent)"""
CUT = """() => [...document.querySelectorAll('.wide, .box')]
  .filter((box) => box.getClientRects().length && getComputedStyle(box).overflowX !== 'visible').length"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_print_on_a4_loses_no_column_and_is_light(chromium: Any, run: Path, scheme: str, tmp_path: Path) -> None:
    with Opened(chromium, run / "report/index.html", "#rows", width=A4, scheme=scheme) as it:
        it.until("document.querySelector('#rows-box table') !== null")
        on_screen = it.page.locator("#rows-box thead tr:first-child th").all_inner_texts()
        columns = it.page.locator("#verdict-table thead th").all_inner_texts()
        it.page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
        it.page.emulate_media(media="print")
        it.until("document.querySelectorAll('#rows-box table').length > 1")
        printed = it.page.locator("#rows-box thead tr:first-child th").all_inner_texts()
        assert [title for title in printed if title != "item"] == [title for title in on_screen if title != "item"]
        assert it.page.locator("#rows-box tbody tr").count() == it.page.locator("#rows-box table").count() * 16
        assert it.page.locator("#verdict-table thead th:visible").all_inner_texts() == columns
        assert it.page.evaluate(PAST, A4) == []
        assert it.page.evaluate(CUT) == 0
        assert it.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert it.page.evaluate("getComputedStyle(document.querySelector('.grid th')).color") != "rgb(255, 255, 255)"
        it.page.pdf(path=tmp_path / "page.pdf", format="A4", print_background=True)
        assert (tmp_path / "page.pdf").read_bytes().count(b"/Type /Page\n") > 5
        it.page.emulate_media(media="screen")
        it.until("document.querySelectorAll('#rows-box table').length === 1")
        it.quiet()


def test_a_table_of_many_arms_fits_the_paper(chromium: Any, tmp_path: Path) -> None:
    arms = {**ARMS, **{f"lora-r{2**i}": ARMS["grounded"] for i in range(3, 7)}}
    folder = write_run(tmp_path / "run", scale="published", items=4, n=2, arms=arms)
    write_json(folder / "audit.json", to_json(run_audit(CLAIMS, count_parameters=False)))
    write_json(folder / "claims.json", judge(folder, CLAIMS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "DPI", 40)
        figures.draw(folder, folder / "figures")
    report.write(folder, folder / "report", ROOT / "report")
    with Opened(chromium, folder / "report/index.html", "#rows=evaluation/axes.json/paired/lora-r8-base/strict", width=A4) as it:
        it.until("!document.getElementById('number').hidden")
        assert "lora-r8 minus base" in it.page.inner_text("#number")
        it.page.emulate_media(media="print")
        it.until("document.querySelectorAll('#rows-box table').length > 2")
        assert it.page.evaluate(PAST, A4) == []
        it.quiet()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_the_table_and_the_number(chromium: Any, run: Path, scheme: str, width: int) -> None:
    from axe_playwright_python.sync_playwright import Axe

    address = "#rows=evaluation/stress.json/arms/base/strict&sort=strict.base"
    with Opened(chromium, run / "report/index.html", address, width=width, scheme=scheme) as it:
        it.until("!document.getElementById('number').hidden")
        assert it.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        it.page.wait_for_timeout(200)
        it.shoot(f"rows-{width}-{scheme}")
        found = Axe().run(it.page).response["violations"]
        assert [f"{v['id']}: {v['nodes'][0]['html'][:160]}" for v in found if v["impact"] in ("serious", "critical")] == []
        it.page.evaluate("location.hash = '#nowhere'")
        it.until("!document.getElementById('wrong').hidden")
        found = Axe().run(it.page).response["violations"]
        assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []
