"""A model's tokenizer, and a conversation as token ids."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from cardproof.contract import reasoning
from cardproof.errors import CardproofError
from cardproof.records import Message


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model folder; CardproofError if it has no chat template."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    if not tokenizer.chat_template:
        raise CardproofError(f"{folder}: the tokenizer has no chat template.", "use an instruction-tuned model.")
    return tokenizer


def opened_reasoning(tokenizer: Any, messages: list[Message], thinking: bool) -> str:
    """The opening of a reasoning block that the chat template writes at the reply's place, so that a reply begins inside it; else empty."""
    turns = [m.model_dump() for m in messages]
    text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False, enable_thinking=thinking)
    opening = re.search(rf"(?:{reasoning.OPENS})\s*$", text[-100:])
    return opening[0] if opening else ""


def prompt_ids(tokenizer: Any, messages: list[Message], reply_prefix: str, thinking: bool) -> tuple[list[int], int]:
    """Token ids of a conversation up to the start of the reply, and how many of them belong to the turns before the last.

    The second number is 0 if the template does not render the earlier turns as a prefix of the whole.
    """
    turns = [m.model_dump() for m in messages]
    options = {"tokenize": False, "enable_thinking": thinking}
    text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, **options) + reply_prefix
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    common = 0
    if len(turns) > 1:
        head = tokenizer(tokenizer.apply_chat_template(turns[:-1], **options), add_special_tokens=False)["input_ids"]
        if ids[: len(head)] == head and len(head) < len(ids):
            common = len(head)
    return ids, common
