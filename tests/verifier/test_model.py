"""The verifier's model: its labels, its scores, and support computed from them."""

from __future__ import annotations

import json
import random
import shutil

import pytest

from cardproof.benchmark.embedded import load_embedded
from cardproof.errors import CardproofError
from cardproof.verifier.model import Label, Verifier, resolve_label
from cardproof.verifier.pairs import build_pairs
from helpers.tiny_deberta import write_tiny_deberta
from helpers.verifiers import reopen


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
def test_unclear_labels_are_listed(names):
    with pytest.raises(CardproofError) as e:
        resolve_label(dict(enumerate(names)))
    assert all(repr(n) in e.value.sentence for n in names) and "verifier.entailment_label" in e.value.hint


def test_a_named_label_wins():
    assert resolve_label({0: "LABEL_0", 1: "LABEL_1"}, "label_1") == Label(1, False)
    assert resolve_label({0: "LABEL_0", 1: "LABEL_1"}, "0") == Label(0, False)
    with pytest.raises(CardproofError, match="entailed") as e:
        resolve_label({0: "refuted", 1: "entailed"}, "entailled")
    assert "'entailed'" in e.value.hint


def test_reloading_gives_identical_probabilities(trained):
    pairs = [(p.premise, p.claim) for p in build_pairs(load_embedded()[0][:40], 20, 0)]
    assert reopen(trained).score(pairs) == reopen(trained).score(pairs)


def test_scores_do_not_depend_on_other_pairs(trained):
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
    # The part cut off the premise does not matter; the hypothesis still counts.
    assert verifier.support("You may sell it.", [long]).support == verifier.support("You may sell it.", [long + "Never sell it."]).support
    assert verifier.support("You may sell it.", [long]).support != verifier.support("You may not sell it at all.", [long]).support
    assert verifier.support(long, [long]).truncated == 1  # neither fits, so both are cut, without an error
    assert reopen(trained, granularity="sentence", max_tokens=16).support(long, [long]).truncated == 0


@pytest.fixture(scope="module")
def deberta(tmp_path_factory):
    """The published verifier's architecture with its own tokenizer type, tiny."""
    return write_tiny_deberta(tmp_path_factory.mktemp("deberta"))


def deberta_at(folder, max_tokens=64):
    return Verifier(folder, granularity="passage", max_tokens=max_tokens, threads=1)


def test_the_label_is_read_off_debertas_own_config(deberta, tmp_path):
    """Swapping the names of the labels swaps the probabilities."""
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


def test_deberta_loses_only_the_end_of_a_long_premise(deberta):
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
    assert verifier.support("", ["Something."]) == verifier.support("...", ["Something."]) == verifier.support("It is.", []) == (0.0, 0, 0)


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
