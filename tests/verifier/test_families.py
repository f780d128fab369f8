"""Verifiers as people publish them: every family of DeBERTa, its labels and tokenizer files, and what is broken or missing, by name."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cardproof.config import reading, texts
from cardproof.errors import CardproofError
from cardproof.models import tokenizer_files
from cardproof.verifier.model import Label, Verifier, resolve_label
from helpers.places import ROOT
from helpers.refusals import call, refusal, tree
from helpers.tiny_deberta import only_sentencepiece, write_tiny_deberta, write_tiny_deberta_v1

PAIR = ("You may copy the work.", "Copying isn't allowed.")
NLI = ("contradiction", "entailment", "neutral")

PUBLISHED = {
    "cross-encoder/nli-deberta-v3-base": (("contradiction", "entailment", "neutral"), Label(1, False)),
    "microsoft/deberta-v2-xlarge-mnli": (("CONTRADICTION", "NEUTRAL", "ENTAILMENT"), Label(2, False)),
    "MoritzLaurer/DeBERTa-v3-base-mnli-fever-anli": (("entailment", "neutral", "contradiction"), Label(0, False)),
    "MoritzLaurer/deberta-v3-large-zeroshot-v2.0": (("entailment", "not_entailment"), Label(0, False)),
    "a head of two, the other way round": (("not_entailment", "entailment"), Label(1, False)),
    "FEVER's words": (("SUPPORTS", "REFUTES", "NOT ENOUGH INFO"), Label(0, False)),
    "AIS": (("not attributable", "Not_Supported", "Supported"), Label(2, False)),
    "a detector": (("factual", "hallucination"), Label(0, False)),
    "a detector of one word": (("ok", "HALLUCINATED"), Label(1, True)),
    "a single output": (("entailment",), Label(0, False)),
}
MEANINGLESS = (
    ("LABEL_0", "LABEL_1", "LABEL_2"),
    ("LABEL_0",),
    ("0", "1"),
    ("yes", "no"),
    ("entailment", "ENTAILED"),
    ("neutral", "not_entailment", "other"),
)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_labels_of_published_verifiers_are_read(name: str) -> None:
    labels, expected = PUBLISHED[name]
    assert resolve_label(dict(enumerate(labels))) == expected


@pytest.mark.parametrize("labels", MEANINGLESS, ids=", ".join)
def test_labels_that_do_not_say_which_one_means_entailed_are_refused_with_the_setting(labels: tuple[str, ...]) -> None:
    with pytest.raises(CardproofError) as e:
        resolve_label(dict(enumerate(labels)))
    assert all(repr(label) in e.value.sentence for label in labels) and "verifier.entailment_label" in e.value.hint


FAMILIES: dict[str, Callable[[Path], Any]] = {
    "v3": lambda folder: write_tiny_deberta(folder, labels=NLI),
    "v3 with spm.model alone": lambda folder: only_sentencepiece(write_tiny_deberta(folder, labels=NLI)),
    # Version 2's extra-large models have a convolution beside the first layer.
    "v2 xlarge": lambda folder: write_tiny_deberta(folder, labels=NLI, conv_kernel_size=3, conv_act="gelu", attention_head_size=32),
    "v2 xlarge with spm.model alone": lambda folder: only_sentencepiece(write_tiny_deberta(folder, labels=NLI, conv_kernel_size=3)),
    "v1": lambda folder: write_tiny_deberta_v1(folder, NLI),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_scores_as_transformers_does(family: str, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = tmp_path / "verifier"
    FAMILIES[family](folder)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        expected = model(**tokenizer(*PAIR, return_tensors="pt")).logits.softmax(-1)[0, 1].item()
    verifier = Verifier(folder, max_tokens=64, threads=1)
    assert verifier.label == Label(1, False)
    assert verifier.score([PAIR])[0] == pytest.approx(expected, abs=1e-5) != pytest.approx(1 / 3, abs=1e-6)


def test_a_sentencepiece_file_alone_gives_sentencepieces_own_tokens(tmp_path: Path) -> None:
    folder = write_tiny_deberta(tmp_path / "verifier")
    pieces = only_sentencepiece(folder)
    (encoded, cut), *_ = Verifier(folder, max_tokens=64, threads=1)._encode([PAIR])
    assert encoded["input_ids"] == [1, *pieces.encode(PAIR[0]), 2, *pieces.encode(PAIR[1]), 2] and not cut


def test_outputs_that_do_not_exclude_one_another_are_not_put_through_a_softmax(tmp_path: Path) -> None:
    import torch

    folder = write_tiny_deberta(tmp_path / "verifier", labels=NLI, problem_type="multi_label_classification")
    verifier = Verifier(folder, max_tokens=64, threads=1)
    with torch.inference_mode():
        logit = verifier.model(**verifier.tokenizer(*PAIR, return_tensors="pt")).logits[0, 1]
    assert verifier.score([PAIR])[0] == pytest.approx(logit.sigmoid().item(), abs=1e-5)


# --- what is refused --------------------------------------------------------------------------------------------------


def settings(**changes: Any) -> Callable[[Path], Any]:
    def apply(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return apply


def weights(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], Any]:
    def apply(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return apply


def write(name: str, content: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_text(content)


def without(pattern: str) -> Callable[[Path], Any]:
    return lambda folder: [p.unlink() for p in folder.glob(pattern)] and None


def a_piece_that_is_none(folder: Path) -> None:
    without("*token*")(folder)
    (folder / "spm.model").write_bytes(b"not a model")


def tokens_without_embeddings(folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(folder)


NEUTRAL = {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}
THREE = {"id2label": dict(enumerate(NLI)), "label2id": {name: i for i, name in enumerate(NLI)}}
BROKEN: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "labels without meaning": (settings(**NEUTRAL), "LABEL_0", "verifier.entailment_label"),
    "an unknown architecture": (settings(model_type="deberta-v9"), "deberta-v9", "sequence-classification"),
    "another number of labels": (settings(**THREE), "cannot be loaded", "sequence-classification"),
    "a broken configuration": (write("config.json", "{"), "config.json is not valid JSON", "again"),
    "no configuration": (without("config.json"), "cannot be loaded", "sequence-classification"),
    "pickled weights": (
        lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
        "no *.safetensors",
        "pickled weights",
    ),
    "no head": (
        weights(lambda t: [t.pop(n) for n in list(t) if n.startswith("classifier")]),
        "lacks weights: classifier",
        "random",
    ),
    "no tokenizer": (without("*token*"), "has no tokenizer", "spm.model"),
    "a broken tokenizer": (write("tokenizer.json", "{}"), "The tokenizer of the verifier", "fetch its files again"),
    "a SentencePiece file that is none": (a_piece_that_is_none, "The tokenizer of the verifier", "fetch its files again"),
    "a token without embedding": (tokens_without_embeddings, "its tokenizer has a token with the number", "trained with"),
    "weights that are no numbers": (weights(lambda t: t["classifier.bias"].fill_(float("nan"))), "is not a number", "broken"),
    "a head of infinite weights": (weights(lambda t: t["classifier.weight"].fill_(float("inf"))), "is not a number", "broken"),
}


@pytest.fixture(scope="module")
def deberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_deberta(tmp_path_factory.mktemp("verifier") / "deberta")


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_verifier_is_refused_in_a_sentence_when_it_is_fetched(
    name: str, deberta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, sentence, hint = BROKEN[name]
    shutil.copytree(deberta, tmp_path / "verifier")
    damage(tmp_path / "verifier")
    loaded = reading.load(ROOT / "config.yaml", ROOT / "config/ci.yaml")
    (tmp_path / "config.yaml").write_text(texts.to_yaml(loaded))
    monkeypatch.chdir(tmp_path)
    before, started = tree(tmp_path), time.monotonic()
    named = ["--source", "folder", "--id", "verifier", "--verifier-of", "config.yaml"]
    assert call(["acquire-model", *named, "--out", "out/verifier"], monkeypatch) == 2
    assert time.monotonic() - started < 10
    error, advice = refusal(capsys.readouterr().err)
    assert sentence in error and hint in advice
    assert tree(tmp_path) == before, "something was half-written"


@pytest.mark.parametrize("missing", [("sentencepiece",), ("google.protobuf",), ("sentencepiece", "google.protobuf")], ids=" and ".join)
def test_the_package_that_reads_a_sentencepiece_file_is_named(
    missing: tuple[str, ...], deberta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers asks for tiktoken instead."""
    shutil.copytree(deberta, tmp_path / "verifier")
    only_sentencepiece(tmp_path / "verifier")
    monkeypatch.setattr(tokenizer_files, "_installed", lambda module: module not in missing)
    with pytest.raises(CardproofError) as e:
        Verifier(tmp_path / "verifier")
    names = [tokenizer_files.READS_SENTENCEPIECE[module] for module in missing]
    assert f"spm.model needs {' and '.join(names)}" in e.value.sentence
    assert "make setup" in e.value.hint and "tiktoken" not in str(e.value)


def test_a_package_that_is_really_missing_is_seen() -> None:
    assert tokenizer_files._installed("sentencepiece") and tokenizer_files._installed("google.protobuf")
    assert not tokenizer_files._installed("no_such_package") and not tokenizer_files._installed("no_such_package.part")
