"""A verifier of DeBERTa-v3-large's sizes, all zeros: it takes the memory and time of a real one, and gives every pair the same word."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cardproof.rehearsal.shapes import Judge
from cardproof.rehearsal.sparse import Tensor, write_model

SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")
LABELS = {0: "not_entailment", 1: "entailment"}
LENGTH = 512


def write_unigram(folder: Path, texts: Iterable[str], size: int = 800) -> Any:
    """Train a unigram tokenizer of DeBERTa-v3's kind on `texts` and save it; returns it."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=size, special_tokens=list(SPECIAL), unk_token="[UNK]", show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=LENGTH, **names)
    made.save_pretrained(folder)
    return made


def write_judge(folder: Path, sizes: Judge, texts: Iterable[str], shard: int) -> Path:
    """Write the verifier to `folder`, in float32; returns the folder. `shard`: bytes in one file."""
    import torch
    from transformers import DebertaV2Config, DebertaV2ForSequenceClassification

    folder.mkdir(parents=True, exist_ok=True)
    write_unigram(folder, texts, min(4000, sizes.vocab_size))
    version_3: dict[str, Any] = {
        "relative_attention": True,
        "max_relative_positions": -1,
        "pos_att_type": ["p2c", "c2p"],
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
        "position_biased_input": False,
        "type_vocab_size": 0,
        "max_position_embeddings": LENGTH,
        "pooler_hidden_size": sizes.hidden_size,
    }
    labels: dict[str, Any] = {"id2label": LABELS, "label2id": {name: number for number, name in LABELS.items()}}
    config = DebertaV2Config(**asdict(sizes), **version_3, **labels, architectures=["DebertaV2ForSequenceClassification"])
    with torch.device("meta"):
        model = DebertaV2ForSequenceClassification(config)
    config.save_pretrained(folder)
    write_model(folder, [Tensor(name, tuple(p.shape)) for name, p in model.named_parameters()], "F32", shard)
    return folder
