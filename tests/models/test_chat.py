"""Conversations as chat templates write them: what is rendered, what ends a turn, and what of a reply is its text."""

from __future__ import annotations

import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import transformers.utils.chat_template_utils as theirs

from cardproof.config.settings import Model
from cardproof.contract.reasoning import after_reasoning
from cardproof.errors import CardproofError
from cardproof.models.chat import Chat
from cardproof.models.templates import Refused, Template
from cardproof.records import Message, Turn
from cardproof.training.train import tokenise
from helpers import tiny_chat
from helpers.tiny_chat import write_tokenizer

TRL = find_spec("trl")
TEMPLATES = sorted((Path(str(TRL.origin)).parent / "chat_templates").glob("*.jinja")) if TRL else []
"""Chat templates of published models, from a wheel."""
DAY = datetime.date(2026, 1, 1)
ASKED = [Message(role="user", content="May a loan be renewed?")]
TURNS = [
    Message(role="system", content="Answer."),
    *ASKED,
    Message(role="assistant", content="Yes."),
    Message(role="user", content="Twice?"),
]


def chat(folder: Path, template: str = tiny_chat.PLAIN, turns: bool = True, thinking: bool = False, **options: Any) -> Chat:
    write_tokenizer(folder, template, **options)
    return Chat(folder, Model(thinking=thinking, date=DAY.isoformat()), turns)


# --- rendering --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not TEMPLATES, reason="the data wheel trl is not installed: make setup")
def test_published_templates_are_rendered_as_transformers_does(monkeypatch: pytest.MonkeyPatch, record_property: Any) -> None:
    class Then(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return cls(DAY.year, DAY.month, DAY.day)

    monkeypatch.setattr(theirs, "datetime", Then)
    names = {"bos_token": "<s>", "eos_token": "<e>", "pad_token": "<p>"}
    rendered = 0
    for path in TEMPLATES:
        text = path.read_text(encoding="utf-8")
        template = Template(text, names, DAY, path.name)
        for messages in (ASKED, TURNS, TURNS[:3]):
            for reply, thinking in ((True, False), (True, True), (False, False)):
                turns = [m.model_dump() for m in messages]
                try:
                    [expected], _ = theirs.render_jinja_template(
                        [turns], chat_template=text, add_generation_prompt=reply, enable_thinking=thinking, **names
                    )
                except Exception:
                    with pytest.raises(Refused):
                        template.render(messages, reply, thinking)
                    continue
                assert template.render(messages, reply, thinking) == expected, path.name
                rendered += 1
    record_property("conversations rendered by published chat templates", rendered)
    assert rendered > 300


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "more than 2 s"),
        ("{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}", "nested too deeply"),
        ("{{ 'x' * 10 ** 10 }}", "too much memory"),
        ("{{ 10 ** (10 ** 9) }}", "more than 2 s"),
        ("{% for i in range(90000) %}{{ 'x' * 1000 }}{% endfor %}", "characters"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("{% if %}", "TemplateSyntaxError"),
        ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", ""),
        ("{{ raise_exception('no\nmore') }}", "no more"),
        ("x" * 600_000, "600,000 characters"),
    ],
)
def test_a_hostile_template_is_refused_in_one_sentence(template: str, found: str, tmp_path: Path) -> None:
    with pytest.raises(CardproofError) as error:
        chat(tmp_path, template)
    assert found in error.value.sentence
    assert "\n" not in error.value.sentence and len(error.value.sentence) < 600


def test_the_date_is_the_configured_one_and_no_drawing_differs(tmp_path: Path) -> None:
    template = tiny_chat.DATED.replace("Today", "{{ [1, 2, 3, 4, 5, 6, 7] | random }}{{ lipsum(n=1) | length }} Today")
    write_tokenizer(tmp_path, template)
    first, again, other = (Chat(tmp_path, Model(date=day)) for day in ("2026-01-01", "2026-01-01", "2024-02-29"))
    texts = [c.tokenizer.decode(c.prompt(ASKED).ids) for c in (first, again, other)]
    assert "Today is 01 January 2026" in texts[0] and "Today is 29 February 2024" in texts[2]
    assert texts[0] == texts[1]
    assert first.prompt(ASKED).digest == again.prompt(ASKED).digest != other.prompt(ASKED).digest
    assert first.asks_for_date()
    assert not chat(tmp_path / "plain").asks_for_date()


# --- system turns -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (tiny_chat.REFUSES_SYSTEM, "it says 'System role not supported'"),
        (tiny_chat.DROPS_SYSTEM, "it leaves out the system turn"),
        (tiny_chat.ALTERNATES, "it says 'Roles must alternate'"),
    ],
)
def test_a_system_turn_that_the_template_does_not_take_goes_before_the_first_question(template: str, why: str, tmp_path: Path) -> None:
    made = chat(tmp_path, template)
    assert (made.folded, made.why) == (True, why)
    text = made.tokenizer.decode(made.prompt(TURNS).ids)
    assert "<turn>user\nAnswer.\n\nMay a loan be renewed?<eot>" in text
    assert made.in_words()["system_turn"] == f"put before the first question: {why}"
    asked = made.prompt(TURNS)
    assert 0 < asked.common < len(asked.ids)


def test_a_template_that_takes_system_turns_gets_them(tmp_path: Path) -> None:
    made = chat(tmp_path)
    assert not made.folded
    assert made.tokenizer.decode(made.prompt(TURNS).ids).startswith("<s><turn>system\nAnswer.<eot>\n<turn>user")


@pytest.mark.parametrize(
    ("template", "found", "hint"),
    [
        (tiny_chat.PLAIN.replace("in messages", "in messages[-1:]"), "no conversation of several turns", "contract.demonstration"),
        ("{{ raise_exception('tools only') }}", "it says 'tools only'", "publisher"),
        ("<s>{% if add_generation_prompt %}<turn>assistant\n{% endif %}", "it leaves out the", "publisher"),
    ],
)
def test_a_template_that_renders_no_such_conversation_is_refused(template: str, found: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(CardproofError, match=found) as error:
        chat(tmp_path, template)
    assert hint in error.value.hint


def test_a_template_of_one_question_serves_where_the_run_shows_no_examples(tmp_path: Path) -> None:
    assert chat(tmp_path, tiny_chat.DROPS_SYSTEM.replace("in messages if", "in messages[-1:] if"), turns=False).folded


# --- the end of a turn ------------------------------------------------------------------------------------------------


def ending(
    folder: Path, template: str, configured: list[int] | int | None = None, eos: str | None = "<eot>"
) -> tuple[list[str], list[str], str]:
    """What is taught after a reply, what ends one, and the text that does."""
    folder.mkdir(exist_ok=True)
    if configured is not None:
        (folder / "generation_config.json").write_text(f'{{"eos_token_id": {configured}}}')
    made = chat(folder, template, eos=eos)
    names = made.tokenizer.convert_ids_to_tokens
    return names(list(made.ending.ids)), names(list(made.ending.stops)), made.ending.text


NOTHING = tiny_chat.PLAIN.replace("<eot>\n", "{% if m.role == 'user' %}<eot>{% endif %}")


@pytest.mark.parametrize(
    ("template", "eos", "taught", "stops"),
    [
        (tiny_chat.PLAIN, "<eot>", ["<eot>"], ["<eot>"]),
        (tiny_chat.PLAIN, "<end>", ["<eot>"], ["<end>", "<eot>"]),
        (tiny_chat.PLAIN, None, ["<eot>"], ["<eot>"]),
        (tiny_chat.PLAIN.replace("<eot>\n", " <eot>\n"), "<end>", ["Ġ", "<eot>"], ["<end>", "<eot>"]),
        # Nothing after a reply, and a control token before the next turn.
        (NOTHING, "<end>", ["<end>"], ["<end>", "<turn>"]),
        # Only after the last reply.
        (NOTHING + "{% if not add_generation_prompt %}<end>{% endif %}", "<end>", ["<end>"], ["<end>"]),
    ],
)
def test_a_turn_ends_with_what_the_template_writes(
    template: str, eos: str | None, taught: list[str], stops: list[str], tmp_path: Path
) -> None:
    assert ending(tmp_path, template, eos=eos) == (taught, stops, "")


def test_a_turn_may_end_with_ordinary_text(tmp_path: Path) -> None:
    made = chat(tmp_path, tiny_chat.PLAIN.replace("<eot>\n", "\n[OVER]\n"), eos="<end>")
    assert made.ending.text == "[OVER]"
    assert made.tokenizer.decode(made.ending.ids) == "\n[OVER]\n"
    said = made.encode("ANSWER: yes\n[OVER]\n")
    assert [made.ended(said[: i + 1]) for i in range(len(said))].index(True) >= len(made.encode("ANSWER: yes\n[OVER"))
    assert made.reply(said) == "ANSWER: yes\n"


def test_configured_ends_count_where_they_are_control_tokens(tmp_path: Path) -> None:
    made = chat(tmp_path / "first", eos="<end>")
    ids = {token: made.tokenizer.convert_tokens_to_ids(token) for token in ("<end>", "<eot>", "<turn>", "a")}
    _, stops, _ = ending(tmp_path / "a", tiny_chat.PLAIN, [ids["<turn>"], ids["a"], 99999], eos=None)
    assert stops == ["<eot>", "<turn>"], "an ordinary letter, or a token that is none, would cut replies"


def test_where_nothing_ends_a_reply_the_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CardproofError, match="nothing ends a reply"):
        chat(tmp_path, NOTHING, eos=None)


def test_training_teaches_the_reply_and_that_end(tmp_path: Path) -> None:
    made = chat(tmp_path, eos="<end>")
    row = tokenise(made, Turn(messages=TURNS, reply="ANSWER: yes"), 200, "x")
    taught = [i for i, label in zip(row["input_ids"], row["labels"], strict=True) if label != -100]
    assert made.tokenizer.decode(taught) == "ANSWER: yes<eot>"
    with pytest.raises(CardproofError, match=r"example item 3 has \d+ tokens and does not fit the model's 50 together with a reply of \d+"):
        tokenise(made, Turn(messages=TURNS, reply="ANSWER: yes"), 200, "item 3", context=50)


# --- reasoning --------------------------------------------------------------------------------------------------------

MARKS = ("<think>", "</think>")
DRAFT, REPLY = "EVIDENCE: a draft", "ANSWER: yes"


@pytest.mark.parametrize("special", [True, False])
def test_marks_of_reasoning_stay_in_the_text_even_if_they_are_special_tokens(special: bool, tmp_path: Path) -> None:
    made = chat(tmp_path, special=(*tiny_chat.CONTROL, *MARKS) if special else tiny_chat.CONTROL)
    text = made.reply(made.encode(f"<think>\n{DRAFT}\n</think>\n{REPLY}<eot>"))
    begin, cut = after_reasoning(text)
    assert (text[begin:].strip(), cut) == (REPLY, False)
    cut_off = made.reply(made.encode(f"<think>\n{DRAFT}"))
    assert after_reasoning(cut_off) == (len(cut_off), True)
    midway = made.reply(made.encode(f"Well. <think>{DRAFT}"))
    assert after_reasoning(midway)[1] == special, "a special token opens a block wherever it is"


@pytest.mark.parametrize("special", [True, False])
def test_what_the_template_opens_begins_the_reply(special: bool, tmp_path: Path) -> None:
    made = chat(tmp_path, tiny_chat.THINKS, special=(*tiny_chat.CONTROL, *MARKS) if special else tiny_chat.CONTROL)
    opened = made.prompt(TURNS).opened
    assert opened == "<think>\n"
    for drawn, left in ((f"{DRAFT}</think>{REPLY}<eot>", REPLY), (DRAFT, "")):
        text = opened + made.reply(made.encode(drawn))
        begin, cut = after_reasoning(text)
        assert (text[begin:], cut) == (left, not left)
    row = tokenise(made, Turn(messages=ASKED, reply=f"<think>\nhm</think>\n{REPLY}"), 200, "x")
    assert made.tokenizer.decode(row["input_ids"]).endswith(f"<turn>assistant\n<think>\nhm</think>\n{REPLY}<eot>")


@pytest.mark.parametrize(
    ("opening", "expected"), [("<think>", "<think>"), ("<think>\n\n</think>\n\n", ""), ("[THINK]", "[THINK]"), ("", "")]
)
def test_only_a_block_left_open_counts(opening: str, expected: str, tmp_path: Path) -> None:
    made = chat(tmp_path, tiny_chat.PLAIN.replace("<turn>assistant\n", f"<turn>assistant\n{opening}"))
    assert made.prompt([Message(role="user", content="<think> about it")]).opened == expected
