"""A verifier of the published architecture, tiny and random: DeBERTa-v3's attention and tokenizer type, and a two-label head."""

from __future__ import annotations

from pathlib import Path

from cardproof.benchmark.embedded import load_embedded
from cardproof.rehearsal.judge import write_unigram


def write_tiny_deberta(folder: Path, seed: int = 0) -> Path:
    """Write a DebertaV2ForSequenceClassification of two narrow layers and its unigram tokenizer into `folder`; returns the folder."""
    import torch
    from transformers import DebertaV2Config, DebertaV2ForSequenceClassification

    tokenizer = write_unigram(folder, (passage.text for passage in load_embedded()[0]))
    torch.manual_seed(seed)
    config = DebertaV2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        # What makes it version 3: relative positions alone, in buckets, with shared keys, and no token types.
        relative_attention=True,
        position_buckets=32,
        pos_att_type=["p2c", "c2p"],
        share_att_key=True,
        norm_rel_ebd="layer_norm",
        position_biased_input=False,
        type_vocab_size=0,
        max_position_embeddings=512,
        id2label={0: "hallucinated", 1: "supported"},
        label2id={"hallucinated": 0, "supported": 1},
    )
    DebertaV2ForSequenceClassification(config).save_pretrained(folder, safe_serialization=True)
    return folder
