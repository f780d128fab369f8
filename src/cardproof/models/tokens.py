"""A model's tokenizer, from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cardproof.errors import CardproofError, brief


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model folder; CardproofError if it cannot be loaded, asks for code of its own, or has no chat template."""
    from transformers import AutoTokenizer

    if not folder.is_dir():
        raise CardproofError(f"{folder} is not a folder.", "give the path of a model folder.")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as e:  # transformers and its parsers raise any kind of error over a broken file
        raise CardproofError(
            f"{folder}: the tokenizer cannot be loaded ({brief(e)}).",
            "it needs tokenizer.json and tokenizer_config.json, as transformers writes them; code that comes with a model is never run.",
        ) from None
    if not tokenizer.chat_template:
        raise CardproofError(f"{folder}: the tokenizer has no chat template.", "use an instruction-tuned model.")
    return tokenizer
