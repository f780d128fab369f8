"""The card: no number of its own, a source beside every number, and sentences that turn with the results."""

from __future__ import annotations

import copy
import functools
import re
import shutil
from itertools import pairwise
from pathlib import Path

import jinja2
import pytest

from cardproof.claims.audit import run_audit, to_json
from cardproof.claims.claims import judge
from cardproof.config import reading, texts
from cardproof.errors import CardproofError
from cardproof.evaluation.results import EquivalentN
from cardproof.files import read_json, write_json, write_text
from cardproof.pages import card, formats
from cardproof.records import Comparison, Estimate
from helpers.rendered_card import CLAIMS, NUMBER_WORDS, REPORT, rendered, unlinked, with_figures
from helpers.synthetic_run import ARMS, record_all, write_run

TEMPLATES = sorted(p for p in REPORT.rglob("*.j2") if p.parent.name != "page")
"""The card's and its captions'; the pages have a test of their own."""
NAMES = ("strict_n1", "text_sha256")
"""Keys of result files that hold a digit."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return with_figures(write_run(tmp_path_factory.mktemp("card") / "run"))


@pytest.fixture
def run(made, tmp_path):
    """A copy of the synthetic run, to be changed."""
    shutil.copytree(made, tmp_path / "run", ignore=shutil.ignore_patterns("card"))
    return tmp_path / "run"


def change(folder, name, edit):
    """Edit one JSON file of a run in place."""
    content = read_json(folder / name)
    edit(content)
    write_json(folder / name, content)


def compared(difference, p, low=None, high=None):
    """A Comparison, with an interval that agrees with p where none is given."""
    reach = abs(difference) * (0.5 if p < 0.05 else 1.5) or 0.001
    return {
        "difference": difference,
        "n": 20,
        "low": difference - reach if low is None else low,
        "high": difference + reach if high is None else high,
        "level": 0.95,
        "p": p,
        "p_holm": p,
        "method": "a test",
    }


# --- templates hold no number -----------------------------------------------------------------------------------------


def literals(node):
    """Constants a template could print; an index into a list and the name of another template are none."""
    for child in node.iter_child_nodes():
        named = isinstance(node, jinja2.nodes.Include | jinja2.nodes.FromImport) and child is node.template
        if named or (isinstance(node, jinja2.nodes.Getitem) and child is node.arg):
            continue
        if isinstance(child, jinja2.nodes.TemplateData | jinja2.nodes.Const):
            text = str(child.data if isinstance(child, jinja2.nodes.TemplateData) else child.value)
            yield functools.reduce(lambda t, name: t.replace(name, ""), NAMES, text)
        yield from literals(child)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.relative_to(REPORT).as_posix())
def test_no_template_holds_a_number(path):
    tree = jinja2.Environment().parse(path.read_text(encoding="utf-8"))
    found = [text for text in literals(tree) if re.search(r"\d", text) or re.search(NUMBER_WORDS, text, re.IGNORECASE)]
    assert not found, f"{path.name} prints {found}: every number must come from a result, through a filter"


@pytest.mark.parametrize("text", ["0.824", "{{ 14 }}", "{{ 'loss 0.362' }}", "{% set n = 50 %}{{ n }}", "{{ x|round(3) }}", "two epochs"])
def test_the_check_itself_finds_numbers(text):
    found = list(literals(jinja2.Environment().parse(text)))
    assert any(re.search(r"\d", t) or re.search(NUMBER_WORDS, t) for t in found)


# --- every number has a source ----------------------------------------------------------------------------------------


def body(text):
    """The card without its YAML header, blocks of code and its list of sources."""
    text = text.split("---\n", 2)[2].split("<details><summary><strong>Sources")[0]
    return re.sub(r"^(```+).*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)


def part(text, name):
    """A folded part of the card, by the name in its summary."""
    return unlinked(text).split(f"<summary><strong>{name}</strong>")[1].split("</details>")[0]


MARK = re.compile(r"<!-- (\S+)#(\S*) -->")


def test_every_line_with_a_number_names_a_source(made):
    text = body(rendered(made, CLAIMS))
    sourced = False
    before, assumed = text.split("<details><summary><strong>Assumptions")
    for line in before.splitlines():
        bare = re.sub(r"<!-- .*? -->|!\[.*\)|\[[^]]+\]\(https://\S+\)", "", line)
        # A table names its source in each row, or once in the first cell of its head.
        sourced = "<!-- " in line or "#/" in line or (line.startswith("|") and sourced) or line.endswith(("` |", "`"))
        assert sourced or not re.search(r"\d", bare), line
    for line in assumed.splitlines()[1:]:
        assert not re.search(r"\d", line) or line.startswith("| `"), line


def test_every_source_leads_to_a_number(made):
    text = rendered(made, CLAIMS)
    marks = set(MARK.findall(text))
    listed = part(text, "Sources")
    assert len(marks) > 90
    config = reading.load(made / "config.yaml")
    for file, pointer in marks:
        assert f"- `{file}`: " in listed and (not pointer or f"`{pointer}`" in listed)
        place = f"{file}#{pointer}"
        names = {"{variant}": "grounded", "{arm}": "base", "{axis}": "strict", "{condition}": "clean"}
        for name, example in names.items():
            place = place.replace(name, example)
        file, pointer = place.split("#")
        if not pointer:
            assert (made / file).is_file()
            continue
        found = config.model_dump(mode="json") if file == "config.yaml" else read_json(made / file)
        for key in filter(None, pointer.split("/")):
            assert key in found, place
            found = found[key]


def test_numbers_follow_the_results(run):
    before = rendered(run)
    change(run, "evaluation/axes.json", lambda axes: axes["arms"]["base"]["strict"].update(value=0.123456, low=0.1, high=0.2))
    after = rendered(run)
    assert "| 0.123<br><sub>[0.100,&nbsp;0.200]</sub> |" in unlinked(after)
    assert "0.123" not in before


# --- what kind of card ------------------------------------------------------------------------------------------------


def test_a_demo_says_it_is_no_reproduction(made):
    text = rendered(made, CLAIMS)
    assert "# cardproof demo card — not a reproduction of the published card" in text
    assert "say nothing about whether the published ones hold" in text
    table = part(text, "The published card beside this run")
    assert text.count("</strong>: not comparable</summary>") == 1, "once, in the heading"
    head, *rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert head == "| claim | published | this run | from |"
    assert len(rows) > 40
    assert not re.search(r"\| (agrees|differs|not resolved|shown|refuted) \|", table)
    assert not re.search(r"\| (exact|consistent|differs)", text)


def test_at_published_scale_it_is_the_models_card(tmp_path):
    folder = record_all(with_figures(write_run(tmp_path / "run", scale="published", items=50)))
    text = rendered(folder, CLAIMS)
    assert "# coordinator-qwen3-14b-qlora-grounded, regenerated" in text
    assert "base_model: Qwen/Qwen3-14B" in text
    assert "isaacus/legal-rag-bench" in text.split("---\n")[1]
    assert "not a reproduction" not in text
    assert re.search(r"\| (exact|consistent|differs) \|", text)
    assert "safeguard-deberta-ragtruth" in part(text, "Verifier")


def summary(text):
    return unlinked(text).split("## Answer")[1].split("## Results")[0]


def test_the_summary_counts_verdicts_at_published_scale_alone(tmp_path, made):
    folder = with_figures(write_run(tmp_path / "run", scale="published", items=50))
    found = judge(folder, CLAIMS)
    write_json(folder / "claims.json", found)
    text = summary(rendered(record_all(folder)))
    assert f"All {len(found.claims)} claims by verdict: " in text
    assert f"**{formats.cell(found.answer.lead)}**" in text
    central = {row.id: row for row in found.claims}
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| claim")]
    assert len(rows) == len(found.central) == 5
    for name, line in zip(found.central, rows, strict=True):
        row = central[name]
        assert f"| {row.published} | {formats.regenerated(row)} | {formats.apart(row)} | {row.verdict.replace('_', ' ')} |" in line
    for verdict, count in found.counts.items():
        assert (f"{verdict.replace('_', ' ')} {count}" in text) == (count > 0)
    assert "by verdict" not in summary(rendered(made, CLAIMS))


@pytest.mark.parametrize("scale", ["published", "embedded"])
def test_a_broken_chain_is_said_and_no_verdict_given(tmp_path, scale):
    folder = record_all(with_figures(write_run(tmp_path / "run", scale=scale)))
    file = folder / "evaluation" / "axes.json"
    file.write_text(file.read_text().replace("1", "2", 1))
    text = rendered(folder, CLAIMS)
    assert "The chain of evidence of this run is broken" in text
    assert "axes.json was changed" in text
    assert "The published card beside this run" not in text
    assert ", regenerated" not in text
    assert "not-a-reproduction" in text.split("---\n")[1]


def test_without_records_a_published_run_is_no_reproduction(tmp_path):
    text = rendered(with_figures(write_run(tmp_path / "run", scale="published", items=50)), CLAIMS)
    assert "has no record of how its results were made" in text
    assert "# cardproof card — not a reproduction" in text
    assert "The published card beside this run" not in text


def test_on_the_cards_benchmark_with_another_model(tmp_path):
    text = rendered(with_figures(write_run(tmp_path / "run", scale="benchmark")), CLAIMS)
    assert "# cardproof benchmark card — not a reproduction of the published card" in text
    assert text.count("</strong>: not comparable</summary>") == 1


def test_layout_survives_markdown(made):
    text = rendered(made, CLAIMS)
    lines = text.splitlines()
    assert not re.search(r"\n{3,}", text)
    for before, line in pairwise(lines):
        if line.startswith("#") or line.startswith("<details>"):
            assert before == "", line
        if line.startswith("|---") or (before.startswith("|") and line.startswith("|")):
            # Bars inside code or escaped ones do not part cells.
            count = [len(re.findall(r"(?<!\\)\|", row)) for row in (before, line)]
            assert count[0] == count[1], line
    assert "{{" not in text
    assert "None" not in text.split("<summary><strong>Assumptions")[0]


def test_verdicts_come_from_the_runs_claims_where_it_has_them(run):
    found = judge(run, CLAIMS)
    changed = {"text": "a | claim with a bar", "verdict": "not_run", "regenerated_printed": None}
    write_json(run / "claims.json", found.model_copy(update={"claims": [found.claims[0].model_copy(update=changed), *found.claims[1:]]}))
    text = rendered(run)
    assert "| a \\| claim with a bar | 98 | – | `training/grounded/metrics.json#/examples` |" in text
    (run / "claims.json").unlink()
    assert "The published card beside this run" not in rendered(run)


def test_the_audits_findings_are_told(run):
    assert "say about each other" not in rendered(run)
    assert "Audit" not in summary(rendered(run))
    write_json(run / "audit.json", to_json(run_audit(CLAIMS, count_parameters=False)))
    section = part(rendered(run), "Audit of the published card")
    assert "- **error**:" in section
    assert "<!-- audit.json#" in section
    errors, warnings = (read_json(run / "audit.json")["counts"][severity] for severity in ("error", "warning"))
    counted = f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)} (under *Audit* below)"
    assert counted in summary(rendered(run))
    assert "contradicts itself: The printed recipe makes 28 optimizer steps, not 14." in summary(rendered(run))


# --- sentences follow from results ------------------------------------------------------------------------------------

PAIR = "grounded-base"


def strict_row(text):
    """The row of strict verbatim grounding in the table of results."""
    return next(line for line in unlinked(text).split("## Results")[1].splitlines() if line.startswith("| strict verbatim grounding<br>"))


@pytest.mark.parametrize(
    ("difference", "p", "said", "bold"),
    [
        (0.2, 0.01, "**grounded beats base** on strict verbatim grounding:", True),
        (0.2, 0.2, "**grounded is not shown to beat base** on strict verbatim grounding:", False),
        (0.0, 1.0, "**grounded does not beat base** on strict verbatim grounding: there is no difference", False),
        (-0.1, 0.3, "**grounded does not beat base** on strict verbatim grounding: it comes out worse, though", False),
        (-0.2, 0.01, "**grounded does not beat base** on strict verbatim grounding: it is worse", True),
    ],
)
def test_strict_grounding(run, difference, p, said, bold):
    change(run, "evaluation/axes.json", lambda axes: axes["paired"][PAIR].update(strict=compared(difference, p)))
    text = rendered(run)
    assert said in summary(text)
    assert text.count("beat base**") + text.count("beats base**") == 2, "clean and stress, once each"
    assert strict_row(text).split(" | ")[-1].startswith("**") == bold


def test_what_cannot_be_compared_is_a_dash_in_the_table_of_differences(run):
    change(run, "evaluation/axes.json", lambda axes: axes["paired"][PAIR]["strict"].update(difference=None, p=None, p_holm=None))
    text = rendered(run)
    assert "| – (" in next(line for line in part(text, "Evaluation").splitlines() if line.startswith("| strict"))
    assert "**" not in strict_row(text).split(" | ")[-1]


@pytest.mark.parametrize(
    ("difference", "p", "said"),
    [
        (-0.1, 0.01, "- **Clean: the near-miss gap falls**"),
        (-0.1, 0.2, "- **Clean: the near-miss gap is not shown to fall.**"),
        (0.0, 1.0, "- **Clean: the near-miss gap does not fall**"),
        (0.1, 0.2, "- **Clean: the near-miss gap does not fall**"),
        (0.1, 0.01, "- **Clean: the near-miss gap rises**"),
    ],
)
def test_mechanism(run, difference, p, said):
    change(run, "evaluation/mechanism.json", lambda found: found["paired"]["clean"].update({PAIR: compared(difference, p)}))
    assert rendered(run).count("- **Clean: the near-miss gap") == 1
    assert said in rendered(run)


def test_a_near_miss_is_only_gone_where_none_is_left(run):
    def edit(misses):
        def inner(found):
            found["paired"]["clean"][PAIR] = compared(-0.1, 0.01)
            found["conditions"]["clean"]["grounded"]["ladder"]["near_misses"] = misses

        return inner

    change(run, "evaluation/mechanism.json", edit(0))
    assert "No near miss is left" in rendered(run)
    change(run, "evaluation/mechanism.json", edit(1))
    assert "No near miss is left" not in rendered(run)


def flat(low, high):
    """An equivalence test of support, of the primary family."""
    tested = {"difference": (low + high) / 2, "n": 20, "margin": 0.05, "low": low, "high": high, "level": 0.9, "p": 0.02, "p_holm": 0.04}
    return {**tested, "equivalent": low > -0.05 and high < 0.05, "method": "a test"}


@pytest.mark.parametrize(
    ("low", "high", "p", "said"),
    [
        (-0.03, 0.02, 0.7, "Verifier support is flat"),
        (-0.03, 0.09, 0.4, "neither shown to differ nor, within ±0.050, shown to be the same"),
        (0.06, 0.2, 0.01, "Verifier support is higher for grounded"),
        (-0.2, -0.06, 0.01, "Verifier support is lower for grounded"),
    ],
)
def test_support(run, low, high, p, said):
    def edit(axes):
        axes["paired"][PAIR].update(support=compared((low + high) / 2, p, low, high))
        axes["primary"][PAIR].update(support_equivalence=flat(low, high))

    change(run, "evaluation/axes.json", edit)
    assert said in rendered(run)


def test_the_answer_comes_first(run):
    found = judge(run, CLAIMS)
    write_json(run / "claims.json", found)
    said = summary(rendered(run)).strip()
    assert said.startswith(f"**{formats.cell(found.answer.lead)}**<!-- claims.json#/answer/lead -->")
    assert found.answer.lead == "This run cannot say whether the card holds: it used another model and other data."
    assert found.answer.sentence.startswith("This run cannot say whether the card holds: scale, model, data, verifier")


def test_a_difference_is_printed_with_the_interval_that_goes_with_its_p(run):
    corrected = compared(0.2, 0.01) | {"p_holm": 0.06, "low_holm": -0.01, "high_holm": 0.41}
    change(run, "evaluation/axes.json", lambda axes: axes["paired"][PAIR].update(strict=corrected))
    text = rendered(run)
    assert "+0.200 [-0.010, +0.410], n = 20, p = 0.060 (Holm)" in summary(text)
    assert "| +0.200 [-0.010, +0.410] | 20 | p = 0.060 (Holm) |" in part(text, "Evaluation")
    assert "**grounded is not shown to beat base** on strict verbatim grounding" in text


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"n_equivalent": 2.5, "low": 1.5, "high": 4.0, "doublings": 1.32}, "training is worth 1.32 doublings"),
        ({"n_equivalent": 1.2, "low": None, "high": 1.8, "share_below": 0.3, "doublings": 0.26}, "does not show that training saves"),
        (
            {"n_equivalent": None, "reason": "below N=1", "low": None, "high": None, "share_below": 0.99},
            "training is worth no inference compute",
        ),
        ({"n_equivalent": None, "reason": "above N=8", "low": 6.0, "high": None, "share_above": 0.9}, "does not reach within N = 8"),
    ],
)
def test_compute(run, entry, said):
    neutral = {"reason": None, "share_below": 0.0, "share_above": 0.0, "doublings": None}
    change(run, "evaluation/compute.json", lambda found: found["equivalence"]["grounded"].update(neutral | entry))
    assert said in part(rendered(run), "Compute")


@pytest.mark.parametrize(
    ("equivalent", "improves", "said", "locked"),
    [
        (True, True, "**Format-locked**", True),
        (True, False, "there is nothing to call format-locked", False),
        (False, True, "This run does not support the statement", False),
        (False, False, "This run does not support the statement", False),
    ],
)
def test_format_lock(run, equivalent, improves, said, locked):
    change(run, "evaluation/format_lock.json", lambda found: found["equivalence"][PAIR].update(equivalent=equivalent))
    change(run, "evaluation/axes.json", lambda axes: axes["paired"][PAIR].update(strict=compared(0.2, 0.01 if improves else 0.5)))
    section = part(rendered(run), "Format lock")
    assert said in section
    assert ("**Format-locked**" in section) is locked
    limitations = rendered(run).split("## Intended use and limitations")[1].split("## Training")[0]
    assert ("- Format-locked: the improvement is shown under the contract alone" in limitations) is locked


@pytest.mark.parametrize(
    ("demonstration", "each_prompt", "candidates"), [("true", True, False), ("candidates", False, True), ("false", False, False)]
)
def test_the_card_says_who_was_shown_worked_examples(run, demonstration, each_prompt, candidates):
    config = run / "config.yaml"
    text, replaced = re.subn(
        r"(?m)^  demonstration: true", f"  demonstration: {demonstration}", config.read_text(encoding="utf-8"), count=1
    )
    assert replaced == 1
    config.write_text(text, encoding="utf-8")
    card = rendered(run)
    assert ("Each prompt includes worked examples" in card) is each_prompt
    assert ("the worked examples that the evaluation showed" in card) is each_prompt
    assert ("The evaluation shows none to any arm" in card) is candidates


def test_stress_slips(run):
    change(run, "evaluation/stress.json", lambda found: found["residual"]["grounded"].update(slips=2))
    assert "cite the wrong document: 2 of" in rendered(run)
    change(run, "evaluation/stress.json", lambda found: found["residual"]["grounded"].update(slips=0))
    assert "cite the wrong document" not in rendered(run)


def test_a_verifier_no_better_than_chance_is_named(run):
    def planted(**fields):
        change(run, "verifier/metrics.json", lambda found: found["auc"]["planted_answers"].update(fields))
        return rendered(run)

    text = rendered(run)
    mark = "<!-- verifier/metrics.json#/auc/{}/all -->"
    assert f"| seen templates, all{mark.format('seen_templates')} | 0.970<br><sub>[0.940,&nbsp;0.990]</sub> | 200 |" in text
    assert f"| unseen templates, all{mark.format('unseen_templates')} |" in text
    assert "negation" not in text
    assert "**On “planted answers” it is not shown to be better than chance** (0.550 [0.410, 0.690])" in text
    assert "better than chance" not in planted(value=0.8, low=0.7, high=0.9)
    assert "| – (too few) |" in planted(value=None, low=None, high=None, method="too few")


def test_a_loss_that_did_not_fall_is_told(run):
    assert "did not fall" not in rendered(run)
    change(run, "training/hybrid/metrics.json", lambda metrics: metrics.update(loss_per_step=[1.0, 1.5], last_loss=1.5))
    assert "**The loss of hybrid did not fall**" in rendered(run)


def test_undefined_values_are_a_dash_and_a_reason(tmp_path):
    refusing = {arm: profile._replace(refusal=1.0) for arm, profile in ARMS.items()}
    text = rendered(with_figures(write_run(tmp_path / "run", arms=refusing, items=4, n=2)))
    assert strict_row(text).count("| – (no items) ") == 3
    assert "cannot be compared on strict verbatim grounding" in text
    assert "the near-miss gaps cannot be compared" in text


# --- filters ----------------------------------------------------------------------------------------------------------


def test_numbers_as_printed():
    one = Estimate(value=0.5, n=1, low=None, high=None, method="no interval: one item")
    assert formats.estimate(one) == "0.500, n = 1"
    assert formats.estimate(one.model_copy(update={"value": None, "n": 0, "method": "mean: no items"})) == "– (mean: no items)"
    assert (
        formats.change(Comparison.model_validate(compared(-0.1, 0.0004, -0.2, -0.05)))
        == "-0.100 [-0.200, -0.050], n = 20, p < 0.001 (Holm)"
    )
    assert (formats.number(9_768_960), formats.number(0.36249), formats.number(None)) == ("9,768,960", "0.362", "–")
    assert (formats.percent(0.95), formats.percent(0.008623), formats.percent(1.0)) == ("95%", "0.86%", "100%")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"low": 1.5, "high": 4.0, "share_below": 0.0, "share_above": 0.0}, "95% interval 1.50 to 4.00"),
        ({"low": None, "high": 4.0, "share_below": 0.2, "share_above": 0.0}, "95% interval below N = 1 to 4.00"),
        ({"low": 6.0, "high": None, "share_below": 0.0, "share_above": 0.4}, "95% interval 6.00 to above N = 8"),
        ({"low": None, "high": None, "share_below": 1.0, "share_above": 0.0}, "95% interval below N = 1 to below N = 1"),
        ({"low": None, "high": None, "share_below": 0.0, "share_above": 1.0}, "95% interval above N = 8 to above N = 8"),
        ({"low": None, "high": None, "share_below": 0.0, "share_above": 0.0}, "no interval"),
    ],
)
def test_bounds_beyond_the_curve_are_said_to_be_there(entry, said):
    assert formats.bounds(EquivalentN.model_construct(level=0.95, **entry), 8) == said


def test_hostile_text_stays_text():
    assert formats.code("a`b|c\n<script>") == "``a`b\\|c <script>``"
    assert formats.cell("<b>[x](y)|*z*\n") == "\\<b\\>\\[x\\](y)\\|\\*z\\*"


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "config.yaml",
        "evaluation/axes.json",
        "evaluation/format_lock.json",
        "training/grounded/metrics.json",
        "distill/selection.json",
        "split/leakage.json",
        "verifier/metrics.json",
        "figures/axes.png",
    ],
)
def test_a_missing_file_is_named(run, name):
    (run / name).unlink()
    with pytest.raises(CardproofError, match=re.escape(name) + " does not exist") as error:
        rendered(run)
    assert error.value.hint
    assert not (run / "card").exists()


def test_a_result_of_another_version_is_one_sentence(run):
    change(run, "evaluation/axes.json", lambda axes: axes["paired"].pop(PAIR))
    with pytest.raises(CardproofError, match=r"card\.md\.j2 asks for a value that it is not given.*grounded-base"):
        rendered(run)


def test_a_result_that_is_no_estimate_is_one_sentence(run):
    change(run, "evaluation/axes.json", lambda axes: axes["arms"]["base"].update(strict={"value": 1.0}))
    with pytest.raises(CardproofError, match=r"axes\.json: the key 'arms\.base\.strict\.n' is missing"):
        rendered(run)


def test_templates_in_the_wrong_place(made, tmp_path):
    with pytest.raises(CardproofError, match=r"card\.md\.j2 does not exist"):
        card.render(made, tmp_path, tmp_path / "README.md", None)


def test_a_run_without_adapters_has_no_card(made):
    run = reading.load(made / "config.yaml")
    bare = run.model_copy(update={"arms": {"base": copy.copy(run.arms["base"])}})
    with pytest.raises(CardproofError, match="no arm with an adapter"):
        card.subject_of(bare)


def test_a_model_from_a_folder_is_named_and_its_place_is_not(run):
    settings = reading.load(run / "config.yaml").model_dump(mode="json")
    settings["verifier"] |= {"source": "folder", "id": "/far/away/deberta", "ragtruth": "/far/away/ragtruth"}
    settings["model"] |= {"source": "folder", "id": "/far/away/qwen3"}
    settings["benchmark"] |= {"source": "folder", "path": "/far/away/bench"}
    write_text(run / "config.yaml", texts.to_yaml(reading.validate(settings)))
    metrics = read_json(run / "verifier" / "metrics.json")
    kept = ("auc", "planted", "ragtruth", "coverage")
    write_json(run / "verifier" / "metrics.json", {name: metrics[name] for name in kept})
    text = rendered(run, CLAIMS)
    assert "model `qwen3`, verifier `deberta`, and benchmark `bench`" in text
    assert "`deberta`, used unchanged." in text
    assert "trained in the run" not in text
    assert "/far/away" not in text


def test_a_revision_nobody_pinned_is_told(run):
    for folder, pinned in (("models/base", True), ("models/verifier", False), ("adapters/hybrid", False)):
        write_json(run / folder / "source.json", {"name": f"team/{Path(folder).name}", "revision": "a" * 40, "pinned": pinned})
    text = rendered(run, CLAIMS)
    assert f"- `team/verifier` was taken at its newest revision, `{'a' * 40}`: the configuration does not pin one." in text
    assert "<!-- adapters/hybrid/source.json#/revision -->" in text
    assert "team/base" not in text


def test_what_was_noted_of_an_adapter_is_on_the_card(run):
    note = "The adapter says that it was made for 'team/other'; this run's base is 'team/base' | <b>."
    write_json(run / "adapters/hybrid/source.json", {"name": "team/a", "use": {"notes": [note, "Another."]}})
    text = rendered(run, CLAIMS)
    assert (
        "- The adapter of hybrid: The adapter says that it was made for 'team/other'; this run's base is 'team/base' \\| \\<b\\>." in text
    )
    assert "- The adapter of hybrid: Another." in text
    assert "<!-- adapters/hybrid/source.json#/use/notes -->" in text
