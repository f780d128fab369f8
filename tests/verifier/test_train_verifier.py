"""Training of the embedded verifier, with its real encoder and few pairs."""

from __future__ import annotations

import json

import pytest

from cardproof.benchmark.embedded import load_embedded
from cardproof.errors import CardproofError
from cardproof.files import sha256_file
from cardproof.verifier.train_verifier import load_encoder, train
from helpers.verifiers import training


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

    model, tokenizer = load_encoder(trained[0] / "encoder")
    bert = AutoModel.from_pretrained(trained[0] / "encoder").eval()
    inputs = tokenizer(["You may copy it."], ["You may copy."], return_tensors="pt")
    with torch.no_grad():
        ours, theirs = model.eval().deberta(**inputs).last_hidden_state, bert(**inputs).last_hidden_state
    assert torch.allclose(ours, theirs, atol=1e-5)  # measured 1.5e-6


def test_training_twice_gives_the_same_weights(trained, tmp_path):
    passages = load_embedded()[0]
    train(training(), trained[0] / "encoder", passages[:60], passages[60:75], tmp_path / "out")
    assert sha256_file(tmp_path / "out" / "model.safetensors") == sha256_file(trained[0] / "out" / "model.safetensors")


def test_training_refuses_what_it_cannot_use(trained, tmp_path):
    with pytest.raises(CardproofError, match="training pairs"):
        train(training(), trained[0] / "encoder", [], [], tmp_path / "o")
    with pytest.raises(CardproofError, match="of type 'deberta-v2'"):
        train(training(pairs=40), trained[0] / "out", load_embedded()[0][:40], [], tmp_path / "o")
    assert not (tmp_path / "o").exists()
