"""Can this base model do what the run asks of it? Checked when it is acquired, from its files, before anything is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cardproof.config.settings import Config
from cardproof.errors import CardproofError
from cardproof.models.architecture import check_weights, context_of, load_config
from cardproof.models.chat import ASKED, SYSTEM, Chat
from cardproof.models.device import quiet
from cardproof.models.layers import without_weights
from cardproof.models.loading import check_complete
from cardproof.models.lora import with_lora
from cardproof.records import Message
from cardproof.sampling.kinds import kind_of


def check_model(folder: Path, config: Config | None) -> dict[str, Any]:
    """How a base model will be used in this run, for its record; without one, by the published settings.

    Of the weights, only the headers are read. CardproofError if its architecture, weights, tokenizer or chat template cannot serve.
    """
    quiet()
    settings = config or Config()
    values = load_config(folder)
    check_weights(folder)
    check_complete(folder)
    chat = Chat(folder, settings.model, bool(settings.contract.demonstration))
    context = context_of(values, chat.tokenizer)
    _check_tokens(folder, chat, values.get_text_config().vocab_size)
    if config is not None:
        _check_room(folder, config, context)
        if config.training_runs:
            with_lora(without_weights(values), config.training)
    opened = chat.prompt([Message(role="user", content=ASKED)]).opened
    if opened and settings.contract.reply_prefix.strip():
        raise CardproofError(
            f"{folder}: the chat template opens a block of reasoning ({opened.strip()}) where contract.reply_prefix begins the reply.",
            "set contract.reply_prefix to an empty text, or model.thinking to false if the template then leaves the block out.",
        )
    return {**chat.in_words(), "date": _date(chat, settings), "context": context, "decoder": kind_of(values).in_words()}


def _check_tokens(folder: Path, chat: Chat, known: int) -> None:
    used = [*chat.prompt([Message(role="system", content=SYSTEM), Message(role="user", content=ASKED)]).ids, *chat.ending.ids]
    if max(used) >= known:
        raise CardproofError(
            f"{folder}: the chat template writes the token {chat.tokenizer.decode([max(used)])!r} ({max(used)}), but the model has only"
            f" {known}.",
            "the folder's tokenizer is of another model: copy or fetch both again.",
        )


def _check_room(folder: Path, config: Config, context: int | None) -> None:
    if context is not None and config.sampling.max_new_tokens >= context:
        raise CardproofError(
            f"{folder}: the model takes {context} tokens, and a reply alone may have {config.sampling.max_new_tokens}.",
            "lower sampling.max_new_tokens, or take a model with a longer context.",
        )


def _date(chat: Chat, config: Config) -> str | None:
    """The day that the template is told; None if it does not ask."""
    return config.model.date if chat.asks_for_date() else None
