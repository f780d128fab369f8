"""How to use the model, as the card says it: the code runs and prints a reply under the contract, and no text is shown that may not be."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardproof.config import reading, texts
from cardproof.contract.reading import Terms, parse
from cardproof.files import read_json, read_rows, write_text
from cardproof.pages import usage
from cardproof.pages.base_card import base_of
from cardproof.records import Prompt
from cardproof.runs import Run
from helpers.rendered_card import rendered, with_figures
from helpers.synthetic_run import write_run
from helpers.workflow import PATIENCE, RUN


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return with_figures(write_run(tmp_path_factory.mktemp("usage") / "run", items=4, n=2))


def code_of(card: str) -> str:
    found = re.search(r"^```python\n(.*?)^```$", card, re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


@pytest.mark.slow
def test_the_cards_code_runs_and_prints_a_reply_under_the_contract(ci_run: Path, tmp_path: Path) -> None:
    """On a CPU, with the smallest run's own adapter; only the two places that a hub would serve are replaced by folders."""
    run = ci_run / RUN
    card = (run / "card/README.md").read_text(encoding="utf-8")
    repository = tmp_path / "repository"
    shutil.copytree(run / "training/grounded/adapter", repository)
    shutil.copy(run / "card/prompt.json", repository)
    base = base_of(Run(run)).id
    code = (
        code_of(card)
        .replace(f'snapshot_download("{usage.HERE}")', repr(str(repository)))
        .replace(f'"{base}"', repr(str(run / "models/base")))
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    asked = next(
        p for p in read_rows(run / "prompts/clean.jsonl", Prompt) if p.item == usage.usage(Run(run), base_of(Run(run)), "grounded").item
    )
    reply = parse(done.stdout, Terms.of(asked))
    assert not {"no_evidence_section", "no_answer_section", "empty_evidence", "empty_answer"} & set(reply.defects), done.stdout
    assert reply.quotes and reply.answer


def test_the_example_is_the_runs_own(demo: Path) -> None:
    text = rendered(demo)
    found = usage.usage(Run(demo), base_of(Run(demo)), "grounded")
    assert found.reply is not None and found.reply in text
    asked = next(p for p in read_rows(demo / "prompts/clean.jsonl", Prompt) if p.item == found.item)
    assert parse(found.reply, Terms.of(asked)).quotes
    assert f"(item {found.item} under clean prompts)" in text
    assert read_json(demo / "card/prompt.json") == found.prompt
    assert found.question in "".join(ast.literal_eval(s) for s in re.findall(r"^question = (.*)$", code_of(text), re.MULTILINE))


def test_texts_of_other_data_are_not_shown(demo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(demo, folder)
    settings = reading.load(folder / "config.yaml").model_dump(mode="json")
    for allowed in (False, True):
        settings |= {"benchmark": {**settings["benchmark"], "source": "folder", "path": "far/away"}, "header": {"texts": allowed}}
        write_text(folder / "config.yaml", texts.to_yaml(reading.validate(settings)))
        text = rendered(folder)
        assert ("The tenant keeps the" in text) == allowed
        assert ("synthetic lease" in text) == allowed
        assert ("are invented, because the licence" in text) != allowed
        assert json.dumps(read_json(folder / "card/prompt.json")).count("tenant") == 0


def test_what_the_base_is_held_in_is_in_the_code(tmp_path: Path) -> None:
    text = rendered(with_figures(write_run(tmp_path / "run", scale="published", items=4, n=2)))
    code = code_of(text)
    assert "BitsAndBytesConfig(load_in_4bit=True" in code and "quantization_config=nf4" in code
    assert '"Qwen/Qwen3-14B"' in code and "enable_thinking=False" in code
    compile(code, "card", "exec")
    assert max(map(len, code.splitlines())) <= 140


@given(st.text(alphabet=st.characters(codec="utf-8")), st.sampled_from([0, 4]))
def test_any_text_is_written_as_a_literal_of_itself(text: str, indent: int) -> None:
    written = usage._text(text, indent)
    assert ast.literal_eval(written) == text
    assert not any(line.lstrip().startswith("```") for line in written.splitlines()), "nothing ends the block of code"
