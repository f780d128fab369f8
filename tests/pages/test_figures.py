"""Figures: the data beside each is what it shows, the bytes depend on that data alone, and odd runs are drawn, too."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardproof import runs
from cardproof.claims.claims import judge
from cardproof.errors import CardproofError
from cardproof.evaluation.axes import LABELS
from cardproof.files import read_json, write_json
from cardproof.pages import drawing, figures
from cardproof.runs import Run
from helpers.places import ROOT
from helpers.synthetic_run import ARMS, Profile, write_run


def judged(folder):
    write_json(folder / "claims.json", judge(folder, ROOT / "published" / "claims.yaml"))
    return folder


@pytest.fixture(scope="module", autouse=True)
def coarse():
    """Pixels are what takes the time, and no test but one is about them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "DPI", 60)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory, coarse):
    folder = judged(write_run(tmp_path_factory.mktemp("figures") / "run"))
    figures.draw(folder, folder / "figures")
    return folder


def test_every_figure_has_data_svg_and_png(run):
    for name in figures.FIGURES:
        data = read_json(run / "figures" / f"{name}.json")
        assert (data["figure"], data["run"], data["scale"]) == (name, "demo", "embedded")
        assert (run / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert ET.parse(run / "figures" / f"{name}.svg").getroot().tag.endswith("svg")


def test_the_data_file_holds_the_results_unchanged(run):
    axes = read_json(run / "evaluation" / "axes.json")
    drawn = read_json(run / "figures" / "axes.json")
    strict = {row["arm"]: row for row in drawn["groups"][0]["rows"]}
    for arm, found in axes["arms"].items():
        result = f"evaluation/axes.json#/arms/{arm}/strict"
        assert strict[arm] == {
            "arm": arm,
            "label": arm,
            "result": result,
            **{key: found["strict"][key] for key in ("value", "n", "low", "high", "level")},
        }
    losses = read_json(run / "training" / "hybrid" / "metrics.json")["loss_per_step"]
    assert read_json(run / "figures" / "training_loss.json")["variants"]["hybrid"] == losses
    curve = read_json(run / "evaluation" / "compute.json")["arms"]["base"]["composite"]
    assert [p["value"] for p in read_json(run / "figures" / "compute_curve.json")["arms"]["base"]] == [p["value"] for p in curve]


def test_the_same_data_gives_the_same_bytes_whatever_the_users_style(run, tmp_path):
    import matplotlib

    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "none", "axes.grid": True}):
        written = figures.draw(run, tmp_path)
    for path in written:
        assert path.read_bytes() == (run / "figures" / path.name).read_bytes(), path.name


def test_a_figure_is_drawn_from_its_data_file_alone(run, tmp_path):
    data = json.loads((run / "figures" / "stress.json").read_text())
    figures.render(data, tmp_path)
    assert (tmp_path / "stress.svg").read_bytes() == (run / "figures" / "stress.svg").read_bytes()


def test_other_data_gives_another_picture(run, tmp_path):
    data = read_json(run / "figures" / "stress.json")
    data["groups"][0]["rows"][0]["value"] += 0.01
    figures.render(data, tmp_path)
    assert (tmp_path / "stress.png").read_bytes() != (run / "figures" / "stress.png").read_bytes()


def test_the_png_is_fit_to_print(run, tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.setattr(figures, "DPI", 300)
    figures.render(read_json(run / "figures" / "stress.json"), tmp_path)
    with Image.open(tmp_path / "stress.png") as image:
        assert image.width == 2100
        assert round(image.info["dpi"][0]) == 300


def test_the_svg_stands_alone(run):
    text = (run / "figures" / "axes.svg").read_text()
    assert "<title>Axes by arm" in text
    assert "<text" not in text  # letters are outlines, so no font is needed
    assert "<dc:date>" not in text
    assert "Matplotlib v" not in text


@pytest.mark.parametrize(
    ("arms", "items", "n"),
    [
        pytest.param({arm: profile._replace(refusal=1.0) for arm, profile in ARMS.items()}, 3, 2, id="everything refused"),
        pytest.param({"base": Profile(0, 0, 0, 1), "grounded": Profile(1, 0, 0, 0)}, 2, 1, id="one candidate, no near miss"),
    ],
)
def test_odd_runs_are_drawn(tmp_path, arms, items, n):
    folder = judged(write_run(tmp_path / "run", arms=arms, items=items, n=n))
    assert len(figures.draw(folder, folder / "figures")) == 3 * len(figures.FIGURES)


def test_printed_numbers_are_the_claims_and_verdicts_are_at_published_scale_alone(run, tmp_path):
    drawn = {row["claim"]: row for row in read_json(run / "figures" / "published.json")["rows"]}
    for claim in read_json(run / "claims.json")["claims"]:
        share = claim["unit"] in ("share", "score") and claim["kind"] not in ("setting", "predicate")
        assert (claim["id"] in drawn) == share
        if share:
            row = drawn[claim["id"]]
            assert (row["printed"], row["value"]) == (claim["published"], claim["regenerated"]["value"])
            assert row["verdict"] is None, "another model's numbers have none"
    same = judged(write_run(tmp_path / "run", scale="published", items=50))
    figures.draw(same, same / "figures")
    verdicts = {row["claim"]: row["verdict"] for row in read_json(same / "figures" / "published.json")["rows"]}
    assert verdicts == {c["id"]: c["verdict"].replace("_", " ") for c in read_json(same / "claims.json")["claims"] if c["id"] in drawn}
    assert len(verdicts) > 20


def test_unjudged_claims_are_said(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    (folder / "claims.json").unlink()
    with pytest.raises(CardproofError, match=r"claims\.json does not exist") as caught:
        figures.draw(folder, tmp_path / "out")
    assert "cardproof claims" in caught.value.hint


def test_a_run_without_training_says_so_in_the_figure(run, tmp_path):
    data = read_json(run / "figures" / "training_loss.json")
    assert figures.render({**data, "variants": {}}, tmp_path)


def test_a_missing_result_is_named(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    (folder / "evaluation" / "mechanism.json").unlink()
    with pytest.raises(CardproofError, match=r"mechanism\.json does not exist"):
        figures.draw(folder, tmp_path / "out")


def test_a_result_of_another_shape_is_named(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    (folder / "evaluation" / "compute.json").write_text("{}")
    with pytest.raises(CardproofError, match=r"compute\.json: the key 'condition' is missing"):
        figures.draw(folder, tmp_path / "out")


def test_arms_look_the_same_whatever_else_is_shown():
    assert drawing.palette(["base", "hybrid", "grounded"])["grounded"] == drawing.palette(["grounded"])["grounded"]
    looks = drawing.palette(["base", "a", "b", "c", "d", "e", "f"])
    assert len(set(looks.values())) == 7
    arms = ["base", "hybrid", "grounded"]
    with_readings = drawing.palette(["b14x2", "b7x1", "grounded", "hybrid"], arms)
    assert {name: with_readings[name] for name in arms[1:]} == {name: drawing.palette(arms)[name] for name in arms[1:]}
    assert len(set(with_readings.values())) == 4


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_words_can_be_read():
    """WCAG's ratio for small print, against paper and against the bars they stand on."""
    for colour in (*drawing.LETTERS.values(), drawing.INK, drawing.MUTED):
        assert contrast(colour, "#ffffff") >= 4.5, colour
    for kind, colour in drawing.KINDS.items():
        assert contrast("#ffffff" if kind == "fabricated" else drawing.ON_BAR, colour) >= 4.5, kind


def texts(fig):
    """Every piece of print in a figure with the box it takes, in points."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    fig.set_dpi(72)
    canvas, drawn = FigureCanvasAgg(fig), []
    with pytest.MonkeyPatch.context() as patch:
        draw = Text.draw
        # Ticks outside the axes have texts, too, which are never drawn.
        patch.setattr(Text, "draw", lambda text, renderer: (drawn.append(text), draw(text, renderer)))
        canvas.draw()
    return [(t.get_text(), t.get_window_extent(canvas.get_renderer())) for t in drawn if t.get_text().strip() and t.get_visible()]


def collisions(fig):
    """Pairs of texts that overlap by more than half a point, and texts that leave the sheet."""
    boxes, edge = texts(fig), fig.bbox
    pairs = [
        (one, other)
        for i, (one, a) in enumerate(boxes)
        for other, b in boxes[i + 1 :]
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 0.5 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1.5
    ]
    outside = [t for t, b in boxes if b.x0 < edge.x0 - 0.5 or b.x1 > edge.x1 + 0.5 or b.y0 < edge.y0 - 0.5 or b.y1 > edge.y1 + 0.5]
    return pairs, outside


MANY = {
    "base": ARMS["base"],
    "a-name-of-thirty-letters-at-most": ARMS["hybrid"],
    **{f"lora-r{2**i}": ARMS["grounded"] for i in range(3, 8)},
}
RUNS = {
    "as published": ("published", ARMS, 50, 8),
    "an embedded demo": ("embedded", ARMS, 12, 8),
    "another model": ("benchmark", ARMS, 12, 4),
    "many arms": ("published", ARMS | MANY, 50, 8),
    "no gap at all": ("published", {arm: profile._replace(near_miss=0, fabricated=0) for arm, profile in ARMS.items()}, 50, 8),
    "all the same": ("published", {arm: Profile(1, 0, 0, 0, refusal=0, valid=1) for arm in ARMS}, 50, 8),
    "refusals alone": ("published", {arm: profile._replace(refusal=1.0) for arm, profile in ARMS.items()}, 6, 8),
    "one candidate": ("embedded", {"base": Profile(0, 0, 0, 1), "grounded": Profile(1, 0, 0, 0)}, 4, 1),
}
"""What a run may look like: scale, arms, items, rollouts per item."""


@pytest.fixture(scope="module", params=RUNS)
def seen(request, tmp_path_factory):
    """Every figure's data for one kind of run."""
    scale, arms, items, n = RUNS[request.param]
    folder = judged(write_run(tmp_path_factory.mktemp("seen") / "run", scale=scale, arms=arms, items=items, n=n))
    results = figures.Results.of(Run(folder))
    which = {"run": results.config.run, "scale": results.config.scale, "synthetic": True}
    return {name: {"figure": name, **which, **collect(results)} for name, (collect, _) in figures.FIGURES.items()}


@pytest.mark.parametrize("narrow", [False, True], ids=["wide", "narrow"])
@pytest.mark.parametrize("name", figures.FIGURES)
def test_no_print_overlaps_or_leaves_the_sheet(seen, name, narrow):
    with figures.styled():
        fig = figures.compose(seen[name], narrow)
        assert collisions(fig) == ([], [])
        assert fig.get_size_inches()[0] == (drawing.NARROW if narrow else drawing.WIDTH)


@pytest.mark.parametrize("narrow", [False, True], ids=["wide", "narrow"])
def test_what_a_row_must_say(seen, narrow):
    """Arm names and n stay on the sheet, no zero is labelled, and every figure says that its run is made up."""
    with figures.styled():
        for name, data in seen.items():
            said = [text for text, _ in texts(figures.compose(data, narrow))]
            assert "made-up results" in " ".join(said)
            assert not [text for text in said if text.startswith("0 ")], name
            if name in ("axes", "stress"):
                rows = [row for group in data["groups"] for row in group["rows"]]
                assert [t for t in said if t.startswith("n ")] == [f"n {row['n']}" for row in rows]
                assert sum(t == drawing._short(rows[0]["label"], 17) for t in said) >= 1
            if name == "published":
                counts = [drawing._count(row["n"]) for row in data["rows"]]
                assert all(said.count(n) >= counts.count(n) for n in set(counts))


def test_every_axis_is_drawn(seen):
    assert [group["name"] for group in seen["axes"]["groups"]] == list(LABELS.values())
    assert "ROUGE-L" in LABELS.values()


def drawn_lines(ax, horizontal=True):
    """Ends of the straight lines without marks: intervals."""
    for line in ax.lines:
        (x, y) = (list(map(float, line.get_xdata())), list(map(float, line.get_ydata())))
        if len(x) == 2 and y[0] == y[1] and line.get_marker() in ("None", "") and line.get_linestyle() == "-":
            yield tuple(x)


@pytest.mark.parametrize("narrow", [False, True], ids=["wide", "narrow"])
def test_every_interval_that_is_promised_is_drawn(seen, narrow):
    with figures.styled():
        for name in ("axes", "stress", "published"):
            data = seen[name]
            rows = data["rows"] if name == "published" else [row for group in data["groups"] for row in group["rows"]]
            lines = list(drawn_lines(figures.compose(data, narrow).axes[0]))
            for row in rows:
                if row["value"] is not None:
                    assert row["low"] is not None, row
                    assert (row["low"], row["high"]) in lines
        data = seen["compute_curve"]
        spans = list(drawn_lines(figures.compose(data, narrow).axes[1]))
        known = [e for e in data["equivalence"].values() if (e["n_equivalent"], e["low"], e["high"]) != (None, None, None)]
        assert len(spans) == len(known)


def test_the_printed_number_is_a_hollow_diamond(seen):
    with figures.styled():
        ax = figures.compose(seen["published"]).axes[0]
    diamonds = [line for line in ax.lines if line.get_marker() == "D"]
    assert [float(d.get_xdata()[0]) for d in diamonds] == [float(r["printed"]) for r in seen["published"]["rows"] if r["printed"]]
    assert {d.get_markerfacecolor() for d in diamonds} == {"none"}
    assert "D" not in drawing.MARKERS


def test_panels_side_by_side_have_one_scale(seen):
    with figures.styled():
        axes = figures.compose(seen["near_miss"]).axes
    assert len({ax.get_xlim() for ax in axes[:2]}) == 1
    assert len({ax.get_xlim() for ax in axes[2:]}) == 1


@given(st.lists(st.floats(0, 10), min_size=1, max_size=8), st.floats(0.01, 1))
def test_labels_stay_beside_the_axes_if_there_is_room(values, pitch):
    moved = drawing.spread(values, pitch, 0, 10)
    assert min(moved) >= -1e-9
    assert max(moved) <= 10 + 1e-9


@pytest.mark.parametrize(
    ("low", "high", "said"), [(1.5, 4.0, " [1.50, 4.00]"), (None, 4.0, " [< 1, 4.00]"), (1.5, None, " [1.50, > 8]"), (None, None, "")]
)
def test_the_equivalent_n_has_its_interval(low, high, said):
    assert drawing._open_interval({"low": low, "high": high}, 8) == said


@given(st.lists(st.floats(0, 10), max_size=8), st.floats(0.01, 1))
def test_labels_are_spread_and_keep_their_order(values, pitch):
    moved = drawing.spread(values, pitch)
    order = sorted(range(len(values)), key=lambda i: (values[i], i))
    for before, after in pairwise(order):
        assert moved[after] - moved[before] >= pitch - 1e-9


def test_the_figures_drawn_are_those_that_the_workflow_expects() -> None:
    assert tuple(figures.FIGURES) == runs.FIGURES
