"""Passages in German and Japanese, from a Parquet file to prompts, scores and the page's items."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cardproof.benchmark.folder import load_folder
from cardproof.benchmark.prompts import prompts_of
from cardproof.config.reading import load
from cardproof.config.settings import CONDITIONS
from cardproof.files import read_rows, write_rows
from cardproof.pages import items
from cardproof.records import Prompt, Rollout, Support
from cardproof.runs import Run, prompts, samples, scores
from cardproof.scoring.score import score_files
from cardproof.scoring.table import write_scores
from helpers.places import ROOT
from helpers.rows import rollout

PASSAGES = {
    "StVO#12": "Das Halten ist *unzulässig* an engen und an unübersichtlichen Straßenstellen;\nParken „vor Bordsteinen“ ebenso.",
    "民法#605": "不動産の賃貸借は、これを登記したときは、「その不動産」について物権を取得した者に対抗することができる。",
    "Σ#1": "Η μίσθωση λήγει με την πάροδο του συμφωνημένου χρόνου. 😀",
}
QUESTIONS = {
    "q-de": ("Wo darf man nicht halten?", "An engen und unübersichtlichen Straßenstellen.", "StVO#12"),
    "q-ja": ("賃貸借はいつ対抗できるか。", "登記したとき。", "民法#605"),
    "q-el": ("Πότε λήγει η μίσθωση;", "Με την πάροδο του συμφωνημένου χρόνου.", "Σ#1"),
}
REPLIES = {
    "q-de": (
        'EVIDENCE:\n[StVO#12] "an engen und an unübersichtlichen Straßenstellen"\nANSWER: An engen, unübersichtlichen Stellen [StVO#12].',
        'EVIDENCE:\n[StVO#12] "Das Halten ist unzulässig an engen"\nANSWER: An engen und unübersichtlichen Straßenstellen [StVO#12].',
    ),
    "q-ja": (
        'EVIDENCE:\n[民法#605] "これを登記したときは"\nANSWER: 登記したとき [民法#605]。',
        'EVIDENCE:\n[民法#605] "これを登録したときは"\nANSWER: 登録したとき [民法#605]。',
    ),
    "q-el": (
        'EVIDENCE:\n[Σ#1] "του συμφωνημένου χρόνου. 😀"\nANSWER: Με την πάροδο του χρόνου [Σ#1].',
        'EVIDENCE:\n[Σ#1] "Η ΜΙΣΘΩΣΗ ΛΗΓΕΙ"\nANSWER: Ποτέ [Σ#1].',
    ),
}
KINDS = {"q-de": ["strict", "near_miss"], "q-ja": ["strict", "fabricated"], "q-el": ["strict", "fabricated"]}
"""Of the two quotes. The Greek capitals have no accents, which no step of the ladder adds."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("languages")
    pq.write_table(pa.table({"id": list(PASSAGES), "title": ["t"] * 3, "text": list(PASSAGES.values())}), folder / "corpus.parquet")
    columns = dict(zip(("question", "answer", "relevant_passage_id"), map(list, zip(*QUESTIONS.values(), strict=True)), strict=True))
    pq.write_table(pa.table({"id": list(QUESTIONS), **columns}), folder / "qa.parquet")
    (folder / "config.yaml").write_text(
        "scale: own\npublished: null\nbenchmark: {source: folder, path: data}\nmodel: {source: embedded, id: smollm2-135m}\n"
        "arms: {base: {adapter: none}}\nconditions: {clean: {n: 2}, stress: {n: 2, distractors: 2}, freeform: {n: 2, contract: false}}\n"
    )
    config = load(folder / "config.yaml")
    passages, questions = load_folder(folder)
    for condition in CONDITIONS:
        asked, _ = prompts_of(config, condition, passages, questions, ROOT / "prompts", [])
        write_rows(folder / prompts(condition), asked)
        rows = [
            rollout(text, k, p.prompt_hash, p.item).model_copy(update={"condition": condition})
            for p in asked
            for k, text in enumerate(REPLIES[str(p.name)])
        ]
        write_rows(folder / samples("base", condition), rows)
        told = [Support(item=r.item, k=r.k, support=0.5, premises=[], pairs=1, truncated=0) for r in rows]
        write_rows(folder / "support.jsonl", told)
        files = (folder / prompts(condition), folder / samples("base", condition), folder / "support.jsonl")
        found = score_files(*files, config.scoring, config.contract.refusal_phrases, ["base"], config.rollouts)
        write_scores(folder / scores("base", condition), found)
    return Run(folder)


def test_prompts_show_the_passages_as_they_are(run: Run) -> None:
    for prompt in read_rows(run.path(prompts("clean")), Prompt):
        assert [d.text for d in prompt.documents] == [PASSAGES[prompt.oracle_id]]
        assert f"[{prompt.oracle_id}] {PASSAGES[prompt.oracle_id]}" in prompt.messages[-1].content


def test_quotes_citations_and_rouge_of_other_languages(run: Run) -> None:
    for item in items.items(run):
        first, second = item["conditions"]["clean"]["arms"]["base"]
        assert [r["quotes"][0]["kind"] for r in (first, second)] == KINDS[item["name"]]
        assert first["scores"]["citation_validity"] == 1 and first["citations"] == [QUESTIONS[item["name"]][2]]
        better, worse = (first, second) if item["name"] != "q-de" else (second, first)
        assert better["scores"]["rouge_l"] > worse["scores"]["rouge_l"]
        assert better["scores"]["gold_rouge"] == 1


def test_the_page_marks_quotes_in_units_of_a_browser(run: Run) -> None:
    found = json.loads(items.to_json(items.items(run)))
    assert [item["name"] for item in found] == list(QUESTIONS)
    replies = {(r.item, r.k): r.text for r in read_rows(run.path(samples("base", "stress")), Rollout)}
    spans = 0
    for item in found:
        shown = item["conditions"]["stress"]
        documents = {d["id"]: d["text"] for d in shown["documents"]}
        for reply in shown["arms"]["base"]:
            assert reply["text"] == replies[item["id"], reply["k"]]
            for quote in reply["quotes"]:
                assert in_units(reply["text"], *quote["at"]) == quote["text"]
                if quote["kind"] == "strict":
                    assert in_units(documents[quote["doc"]], *quote["span"]) == quote["text"]
                    spans += 1
    assert spans == sum(kinds.count("strict") for item, kinds in KINDS.items() if shown_oracle(found, item))


def shown_oracle(found: list[dict[str, object]], name: str) -> bool:
    item = next(item for item in found if item["name"] == name)
    return bool(item["conditions"]["stress"]["oracle_present"])  # type: ignore[index]


def in_units(text: str, start: int, end: int) -> str:
    return text.encode("utf-16-le")[2 * start : 2 * end].decode("utf-16-le")
