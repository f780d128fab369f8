"""A verifier of the published architecture, tiny and random: DeBERTa-v3's attention and tokenizer type, and a two-label head."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cardproof.benchmark.embedded import load_embedded
from cardproof.rehearsal.judge import SPECIAL, write_unigram


def write_tiny_deberta(folder: Path, seed: int = 0, labels: Sequence[str] = ("hallucinated", "supported"), **settings: Any) -> Path:
    """Write a DebertaV2ForSequenceClassification of two narrow layers and its unigram tokenizer into `folder`; returns the folder.

    `settings` replace those of its configuration, which is version 3's.
    """
    import torch
    from transformers import DebertaV2Config, DebertaV2ForSequenceClassification

    tokenizer = write_unigram(folder, (passage.text for passage in load_embedded()[0]))
    torch.manual_seed(seed)
    version_3 = {
        # Relative positions alone, in buckets, with shared keys, and no token types.
        "relative_attention": True,
        "position_buckets": 32,
        "pos_att_type": ["p2c", "c2p"],
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
        "position_biased_input": False,
        "type_vocab_size": 0,
        "max_position_embeddings": 512,
    }
    config = DebertaV2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        **{**version_3, **settings},
    )
    DebertaV2ForSequenceClassification(config).save_pretrained(folder, safe_serialization=True)
    return folder


def write_tiny_deberta_v1(folder: Path, labels: Sequence[str]) -> Path:
    """Write a version 1: byte-level BPE in two tables, token types, and absolute positions beside the relative ones; returns the folder."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import DebertaConfig, DebertaForSequenceClassification

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator((passage.text for passage in load_embedded()[0]), trainer)
    folder.mkdir(parents=True)
    tokenizer.model.save(str(folder))
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False, "vocab_type": "gpt2"}))
    torch.manual_seed(0)
    config = DebertaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        relative_attention=True,
        pos_att_type=["c2p", "p2c"],
        type_vocab_size=2,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )
    DebertaForSequenceClassification(config).save_pretrained(folder)
    return folder


def only_sentencepiece(folder: Path) -> Any:
    """Replace a model's tokenizer by a SentencePiece file alone, as the published DeBERTa-v3 models ship it; returns its processor."""
    import sentencepiece

    for file in folder.glob("*token*"):
        file.unlink()
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(" ".join(passage.text.split()) for passage in load_embedded()[0]),
        model_writer=model,
        vocab_size=790,
        max_sentence_length=100_000,
        minloglevel=2,
        **{f"{name}_id": number for number, name in enumerate(("pad", "bos", "eos", "unk"))},
        **{f"{name}_piece": SPECIAL[number] for number, name in enumerate(("pad", "bos", "eos", "unk"))},
    )
    (folder / "spm.model").write_bytes(model.getvalue())
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False, "vocab_type": "spm"}))
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
