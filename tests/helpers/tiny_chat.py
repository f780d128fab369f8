"""Tiny random language models with the chat templates, control tokens and configurations that people's models have."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CONTROL = ("<s>", "<end>", "<eot>", "<turn>", "<pad>")
PLAIN = (
    "<s>{% for m in messages %}<turn>{{ m.role }}\n{{ m.content | trim }}<eot>\n{% endfor %}"
    "{% if add_generation_prompt %}<turn>assistant\n{% endif %}"
)
DATED = "<s><turn>system\nToday is {{ strftime_now('%d %B %Y') }}.<eot>\n" + PLAIN.removeprefix("<s>")
REFUSES_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + PLAIN
DROPS_SYSTEM = PLAIN.replace("{% for m in messages %}", "{% for m in messages if m.role != 'system' %}")
ALTERNATES = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}"
    "{% endfor %}" + PLAIN
)
THINKS = PLAIN.replace("<turn>assistant\n", "<turn>assistant\n<think>\n")


def write_tokenizer(
    folder: Path, template: str | None = PLAIN, eos: str | None = "<eot>", special: Sequence[str] = CONTROL, **more: Any
) -> Any:
    """Byte-level BPE with the given control tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    words = ["a loan of a book may be renewed twice EVIDENCE ANSWER"]
    tokenizer.train_from_iterator(words, trainers.BpeTrainer(vocab_size=290, initial_alphabet=alphabet, show_progress=False))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    names = {"eos_token": eos} if eos else {}
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", chat_template=template, clean_up_tokenization_spaces=False, **names, **more
    )
    made.save_pretrained(folder)
    return made


def write_model(
    folder: Path,
    template: str | None = PLAIN,
    eos: str | None = "<eot>",
    stops: Sequence[str] = ("<end>",),
    context: int = 2048,
    **more: Any,
) -> Path:
    """A llama of two layers whose generation config stops at `stops`."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    tokenizer = write_tokenizer(folder, template, eos, **more)
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    model = AutoModelForCausalLM.from_config(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=context, **sizes))
    model.generation_config.eos_token_id = [tokenizer.convert_tokens_to_ids(token) for token in stops] or None
    model.config.eos_token_id = None
    model.save_pretrained(folder)
    return folder


def change(file: Path, **fields: Any) -> None:
    """Replace fields of a JSON file; `...` takes one away."""
    values = {**json.loads(file.read_text()), **fields}
    file.write_text(json.dumps({key: value for key, value in values.items() if value is not ...}))
