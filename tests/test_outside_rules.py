"""The rules for what comes from outside, each on its own: names, JSON, YAML, drawings, messages, and what leaves the machine."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cardproof import outside
from cardproof.config import places, reading, texts
from cardproof.errors import CardproofError, shown
from cardproof.files import parse_json
from cardproof.pages import inline_figures
from helpers.places import ROOT

# --- names -------------------------------------------------------------------------------------------------------------

PARTS = st.sampled_from(["a", "b.json", "..", ".", "", "~", "\u202e", "a\n", "c\\d", "x" * 300, "\0", "\ud800", "..a", "a b[1]{x}*'\""])


@given(st.lists(PARTS, min_size=1, max_size=4), st.booleans())
def test_a_safe_name_stays_below_its_folder(parts: list[str], absolute: bool) -> None:
    """Held against the system's own arithmetic of paths."""
    name = ("/" if absolute else "") + "/".join(parts)
    if outside.unsafe(name) is None:
        assert os.path.normpath(os.path.join("/any/run", name)).startswith("/any/run/")  # noqa: PTH118
        assert os.path.normpath(name) == name
        assert name.isprintable()


@pytest.mark.parametrize("name", ["a", "a/b.json", "samples/base/clean.jsonl", "a b[1]{x}*'\".json", "..a", "Caf\u00e9", "\u6cd5\u5f8b"])
def test_names_of_real_files_are_safe(name: str) -> None:
    assert outside.unsafe(name) is None


def test_a_link_anywhere_below_the_root_is_seen_and_one_above_is_not(tmp_path: Path) -> None:
    (tmp_path / "real/run/a").mkdir(parents=True)
    (tmp_path / "real/run/a/x").write_text("x")
    (tmp_path / "real/run/b").symlink_to("a")
    (tmp_path / "run").symlink_to("real/run")
    assert outside.linked(tmp_path / "run", "a/x") is None
    assert outside.linked(tmp_path / "run", "b/x") == "lies behind 'b', which is a link"
    assert outside.linked(tmp_path / "run", "b") == "is a link"
    assert outside.linked(tmp_path / "run", "gone/x") is None


# --- JSON and YAML -----------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_sound_json_is_read_as_python_reads_it(value: Any, ascii_only: bool) -> None:
    raw = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        text = json.dumps(json.loads(raw), ensure_ascii=False)
        text.encode()
    except (UnicodeError, ValueError):
        with pytest.raises(CardproofError):
            parse_json(raw, "x")
    else:
        assert parse_json(raw, "x") == json.loads(raw)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), VALUES, min_size=1, max_size=5), st.data())
def test_a_repeated_key_is_found_on_its_line_however_deep(value: dict[str, Any], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(value)))
    lines = [f" {json.dumps(name)}: {json.dumps(part, ensure_ascii=True)}" for name, part in value.items()]
    lines.append(f" {json.dumps(key)}: 0")
    raw = ("[{\n" + ",\n".join(lines) + "\n}]").encode()
    with pytest.raises(CardproofError, match=r"given twice|half of a character") as error:
        parse_json(raw, "x.json")
    if "given twice" in error.value.sentence:
        assert f"x.json, line {len(lines) + 1}: " in error.value.sentence


def test_an_alias_counts_as_what_it_stands_for() -> None:
    shared = "base: &a {x: [1, 2, 3]}\none: *a\ntwo: {<<: *a, y: 4}\n"
    assert reading.read_yaml(shared.encode(), "x") == yaml.safe_load(shared)
    many = "base: &a [" + "0, " * 999 + "0]\n" + "".join(f"k{i}: *a\n" for i in range(150))
    with pytest.raises(CardproofError, match="more than 100,000 values"):
        reading.read_yaml(many.encode(), "x")


def test_settings_that_snakemake_read_are_bounded_too() -> None:
    """It reads a configuration file itself, and hands over what came of it."""
    value: list[Any] = ["z"] * 9
    for _ in range(8):
        value = [value] * 9
    with pytest.raises(CardproofError, match="more than 100,000 values"):
        reading.validate({"seed": value})


# --- what is shown ------------------------------------------------------------------------------------------------------


@given(st.text())
def test_a_sentence_is_one_printable_line(text: str) -> None:
    error = CardproofError(f"{text}.", f"{text}.")
    assert error.sentence.replace("\xa0", " ").isprintable()
    error.sentence.encode()
    assert len(error.sentence) <= 10 * 2_100


def test_plain_text_is_shown_as_it_is() -> None:
    assert shown("a 'b' \u00e9 \u6cd5") == "a 'b' \u00e9 \u6cd5"
    assert shown("a\nb\x1b[2J\u202e\ud800") == "a\\nb\\x1b[2J\\u202e\\ud800"


SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="1" height="1">{}</svg>'


@pytest.mark.parametrize(
    "inside",
    [
        "<script>x</script>",
        "<SCRIPT>x</SCRIPT>",
        "<foreignObject><p/></foreignObject>",
        '<g onload="x"/>',
        '<g onclick = "x"/>',
        '<a href="javascript:x"><text>y</text></a>',
        '<image href="http://example.org/x.png"/>',
        '<use xlink:href="http://example.org/x.svg#a"/>',
        '<use href="data:image/svg+xml,x"/>',
        '<set attributeName="href" to="javascript:x"/>',
        '<animate attributeName="href" values="javascript:x"/>',
        "<style>@import url(http://example.org/x.css);</style>",
        "<style>g{fill:url(http://example.org/x)}</style>",
        '<g style="background:url(//example.org/x)"/>',
        "<!--><script>x</script>-->",
        "<style><![CDATA[</style><script>x</script>]]></style>",
        "<iframe/>",
        '<p xmlns="http://www.w3.org/1999/xhtml">x</p>',
        "<title></svg><script>x</script></title>",
        "<g",
        "<?xml-stylesheet href='x'?>",
        "&x;",
    ],
)
def test_a_drawing_with_more_than_shapes_is_refused_or_loses_it(inside: str) -> None:
    try:
        found = inline_figures.inline(SVG.format(inside), "axes", "f0")
    except CardproofError as e:
        assert "is not a plain drawing" in e.sentence
    else:
        assert inside.startswith("<!--") and "script" not in found


def test_a_drawing_of_shapes_is_taken() -> None:
    inside = (
        '<defs><clipPath id="c"><rect/></clipPath></defs><g clip-path="url(#c)" style="fill: #000000"><use xlink:href="#c"/></g><!-- a -->'
    )
    found = inline_figures.inline(SVG.format(inside), "axes", "f0")
    assert "url(#f0-c)" in found and 'href="#f0-c"' in found and "<!--" not in found


# --- what leaves the machine ----------------------------------------------------------------------------------------------

HOME = "/people/somebody"
LOCAL = {
    "benchmark": {"source": "folder", "path": f"{HOME}/data/legal_rag_bench"},
    "model": {"source": "folder", "id": f"{HOME}/models/mine", "revision": None},
    "verifier": {"source": "folder", "id": "../../somebody/verifier", "ragtruth": f"{HOME}/ragtruth/"},
    "sampling": {"python": f"{HOME}/venv/bin/python"},
    "runtime": {"image": f"{HOME}/images/cpu.sif"},
    "arms": {"hybrid": {"adapter": "folder", "id": f"{HOME}/adapters/hybrid"}},
    "replay": f"{HOME}/runs/other.tar.zst",
}


def test_a_published_configuration_has_the_names_alone() -> None:
    config = reading.load(ROOT / "config.yaml", overrides=LOCAL)
    text = places.published(texts.to_yaml(config).encode(), "config.yaml")
    assert b"somebody" not in text and b"/venv" not in text
    clean = reading.validate(reading.parse(text, "x"))
    assert (clean.benchmark.path, clean.model.id, clean.verifier.id, clean.verifier.ragtruth) == (
        *("legal_rag_bench", "mine", "verifier", "ragtruth"),
    )
    assert (clean.arms["hybrid"].id, clean.sampling.python, clean.runtime.image, clean.replay) == (
        *("hybrid", "python", "cpu.sif", "other.tar.zst"),
    )
    assert places.published(text, "config.yaml") == text, "publishing again changes nothing"


@pytest.mark.parametrize("name", ["demo", "ci", "legal-cpu"])
def test_a_configuration_without_places_is_published_byte_by_byte(name: str) -> None:
    over = {"benchmark": {"path": "legal"}} if name == "legal-cpu" else {}
    config = reading.load(ROOT / "config.yaml", ROOT / f"config/{name}.yaml", overrides=over)
    text = texts.to_yaml(config).encode()
    assert places.published(text, "config.yaml") == text


def test_every_setting_that_names_a_place_is_known() -> None:
    """A new setting that is a path must be told by name alone as well: its text says folder, file or interpreter."""
    config = reading.load(ROOT / "config.yaml", overrides=LOCAL)
    clean = dict(places.without_places(config).values_at(key for key, _, _ in texts.described(config) if "arms." not in key))
    named = {key for key, value, _ in texts.described(config) if isinstance(value, str) and "/" in value and "arms." not in key}
    assert {key for key in named if "/" in str(clean[key])} == {"published"}, "the project's own file keeps its slash"


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("/somewhere/run/samples/x", "{run}/samples/x"),
        ("/people/somebody/models/mine", "{outside}/mine"),
        ("--id=/people/somebody/models/mine", "--id={outside}/mine"),
        ("../../somebody/mine", "{outside}/mine"),
        ("team/model", "team/model"),
        ("0/1", "0/1"),
        ("--condition", "--condition"),
        ("/", "{outside}/folder"),
    ],
)
def test_a_recorded_command_has_the_names_alone(argument: str, told: str) -> None:
    assert places.command_without_places([argument], {"/somewhere/run": "{run}"}) == [told]


# --- what is documented ----------------------------------------------------------------------------------------------------


def test_every_limit_is_documented() -> None:
    from cardproof.evidence import archive

    text = (ROOT / "docs/trust.md").read_text()
    limits = {
        name: value for module in (outside, archive) for name, value in vars(module).items() if isinstance(value, int) and name.isupper()
    }
    assert len(limits) >= 15
    for name, value in limits.items():
        assert name in ("LEVEL", "_HOLES") or f"{value:,}" in text, f"{name} = {value:,} is not in docs/trust.md"
