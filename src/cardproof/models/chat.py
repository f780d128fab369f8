"""A conversation as a model's own chat template writes it: token ids, what ends a turn, and the text of a reply."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cardproof.acquire.beside import add_tokens
from cardproof.config.settings import Model
from cardproof.contract import reasoning
from cardproof.errors import CardproofError
from cardproof.files import read_json, sha256_text
from cardproof.models.templates import HINT, Refused, Template
from cardproof.models.tokens import load_tokenizer
from cardproof.records import Message

SYSTEM, ASKED, SAID, AGAIN = "cardproofrules", "cardproofasks", "cardproofsays", "cardproofgoeson"
"""Words of a conversation that tries a template. No template has them, and each stays whole whatever surrounds it."""
OTHER_DAY = datetime.date(1999, 12, 31)


@dataclass(frozen=True)
class Ending:
    """What ends an assistant's turn."""

    ids: tuple[int, ...]
    """Tokens that the template writes after a reply, up to the one that ends it: training teaches them."""
    stops: tuple[int, ...]
    """Tokens that end a reply: that one, and those that the model's files name."""
    text: str
    """Where the template ends a turn with ordinary text: that text. It ends a reply as well."""
    how: str
    """For the record."""


@dataclass(frozen=True)
class Encoded:
    """A prompt as the model reads it."""

    ids: list[int]
    common: int
    """How many of them belong to the turns before the last; 0 if the template does not render these as a prefix of the whole."""
    opened: str
    """The opening of a reasoning block that the template writes at the reply's place, so that a reply begins inside it; else empty."""

    @property
    def digest(self) -> str:
        """sha256 over the token ids."""
        return sha256_text(json.dumps(self.ids))


class Chat:
    """A model's tokenizer and chat template, tried once with a conversation as the run has it."""

    def __init__(self, folder: Path, settings: Model, turns: bool = True, adapter: Path | None = None) -> None:
        """`turns`: whether the run shows worked examples as earlier turns; `adapter`: a folder whose tokenizer may add tokens.

        CardproofError if the tokenizer cannot be loaded, the template renders no such conversation, or nothing would ever end a reply.
        """
        self.folder, self.thinking = folder, settings.thinking
        self.tokenizer = load_tokenizer(folder)
        self.new = add_tokens(self.tokenizer, adapter) if adapter is not None else []
        self.added = {int(i): str(token) for i, token in self.tokenizer.added_tokens_decoder.items()}
        self._marks = frozenset(i for i, text in self.added.items() if reasoning.is_mark(text))
        # What decoding leaves out.
        self._special = frozenset(i for i, token in self.tokenizer.added_tokens_decoder.items() if token.special)
        day = datetime.date.fromisoformat(settings.date)
        self.template = Template(_text_of(folder, self.tokenizer), self.tokenizer.special_tokens_map, day, str(folder))
        self.folded, self.why = self._system(turns)
        self.ending = self._ending(_configured(folder))

    def prompt(self, messages: Sequence[Message], reply_prefix: str = "") -> Encoded:
        """A conversation up to the start of the reply. CardproofError if the template refuses it."""
        turns = self._turns(messages)
        text = self._render(turns, True)
        opening = re.search(rf"(?:{reasoning.OPENS})\s*$", text[-100:])
        ids = self.encode(text + reply_prefix)
        common = 0
        if len(turns) > 1:
            head = self.encode(self._tried(turns[:-1], False) or "")
            if head and ids[: len(head)] == head and len(head) < len(ids):
                common = len(head)
        return Encoded(ids, common, opening[0] if opening else "")

    def encode(self, text: str) -> list[int]:
        """Token ids of a text in which the template has written all control tokens itself."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def reply(self, ids: Sequence[int]) -> str:
        """The text of sampled tokens, without special ones, except for those that open or close a block of reasoning."""
        kept = [at for at, token in enumerate(ids) if token in self._marks and token in self._special]
        if not kept:
            text = self._decode(ids)
        else:
            text = self._decode(ids[: kept[0]])
            for at, following in zip(kept, [*kept[1:], len(ids)], strict=True):
                mark = self.added[ids[at]]
                if re.fullmatch(reasoning.OPENS, mark) and text and not text.endswith("\n"):
                    mark = f"\n{mark}"  # a block opens at the start of a line
                text += mark + self._decode(ids[at + 1 : following])
        return text.split(self.ending.text)[0] if self.ending.text else text

    def ended(self, ids: Sequence[int]) -> bool:
        """Whether a reply's tokens end with the text that ends a turn."""
        return self.ending.text in self._decode(ids[-len(self.ending.ids) - 8 :])

    def asks_for_date(self) -> bool:
        """Whether what the template writes depends on the day."""
        other = Template(self.template.text, self.tokenizer.special_tokens_map, OTHER_DAY, str(self.folder))
        asked = [Message(role="user", content=ASKED)]
        return other.render(asked, True, self.thinking) != self.template.render(asked, True, self.thinking)

    def in_words(self) -> dict[str, Any]:
        """What a record of this model says about its conversations."""
        return {
            "system_turn": f"put before the first question: {self.why}" if self.folded else "as the template writes it",
            "end_of_turn": self.ending.how,
            "stops": [self.added.get(i, str(i)) for i in self.ending.stops],
            "reasoning_opened_by_template": self.prompt([Message(role="user", content=ASKED)]).opened.strip(),
        }

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def _turns(self, messages: Sequence[Message]) -> list[Message]:
        """The conversation as this template takes it."""
        if not self.folded or not messages or messages[0].role != "system":
            return list(messages)
        system, first, *rest = messages
        return [Message(role="user", content=f"{system.content}\n\n{first.content}"), *rest]

    def _render(self, turns: Sequence[Message], reply: bool) -> str:
        try:
            return self.template.render(turns, reply, self.thinking)
        except Refused as e:
            raise CardproofError(f"{self.folder}: the chat template refuses a conversation of this run: {e}.", HINT) from None

    def _tried(self, turns: Sequence[Message], reply: bool) -> str | None:
        try:
            return self.template.render(turns, reply, self.thinking)
        except Refused:
            return None

    def _system(self, turns: bool) -> tuple[bool, str]:
        """Whether system turns are put into the first question, and why."""
        asked = [Message(role="user", content=ASKED)]
        if turns:
            asked += [Message(role="assistant", content=SAID), Message(role="user", content=AGAIN)]
        messages = [Message(role="system", content=SYSTEM), *asked]
        refused = self._lacks(messages)
        if not refused:
            return False, ""
        self.folded = True
        still = self._lacks(self._turns(messages))
        if not still:
            return True, refused
        if turns and not self._lacks(self._turns(messages[:2])):
            raise CardproofError(
                f"{self.folder}: the chat template renders no conversation of several turns: {still}.",
                "set contract.demonstration to false, so that a prompt is one question; or take another model.",
            )
        raise CardproofError(f"{self.folder}: the chat template renders no conversation of this run: {still}.", HINT)

    def _lacks(self, messages: Sequence[Message]) -> str:
        """What the template says against a conversation, or which turn it leaves out; empty if all is well."""
        try:
            text = self.template.render(messages, True, self.thinking)
        except Refused as e:
            return f"it says {str(e)!r}"
        lost = [m.role for m in messages if any(word not in text for word in m.content.split())]
        return f"it leaves out the {lost[0]} turn" if lost else ""

    def _ending(self, configured: Sequence[int]) -> Ending:
        """What the template writes after an assistant's message, up to where the next turn begins."""
        messages = [Message(role="user", content=ASKED), Message(role="assistant", content=SAID)]
        whole = self._render(messages, False)
        if SAID not in whole:
            raise CardproofError(f"{self.folder}: the chat template leaves out the assistant's turn.", HINT)
        tail = self._after(whole)
        own = self.tokenizer.eos_token_id
        named = {i for i in [*configured, own] if i in self.added and i not in self._marks}
        ends = [at for at, token in enumerate(tail) if self._ends(token)]
        if ends:
            ids = tuple(tail[: ends[0] + 1])
            return Ending(ids, tuple(sorted({ids[-1], *named})), "", f"{self.tokenizer.decode(ids)!r}, as the chat template writes it")
        text = whole[whole.rindex(SAID) + len(SAID) :].strip()
        if text:
            return Ending(tuple(tail), tuple(sorted(named)), text, f"the text {text!r}, as the chat template writes it")
        if own is None:
            raise CardproofError(
                f"{self.folder}: nothing ends a reply: the chat template writes nothing after one, and the tokenizer has no eos_token.",
                "name the tokenizer's eos_token in tokenizer_config.json.",
            )
        return Ending(
            (own,),
            tuple(sorted({own, *named, *self._next(messages)})),
            "",
            f"the tokenizer's {self.tokenizer.eos_token!r}: the chat template writes nothing there",
        )

    def _ends(self, token: int) -> bool:
        return token in self.added and token not in self._marks and bool(self.added[token].strip())

    def _next(self, messages: Sequence[Message]) -> list[int]:
        """The control token that begins the next turn, if one does: a model trained on such turns writes it when a reply is over."""
        following = self._tried([*messages, Message(role="user", content=AGAIN)], False)
        if following is None or SAID not in following:
            return []
        return [token for token in self._after(following)[:1] if self._ends(token)]

    def _after(self, text: str) -> list[int]:
        """Token ids of what is written after the assistant's word."""
        end = text.rindex(SAID) + len(SAID)
        if not self.tokenizer.is_fast:
            return self.encode(text[end:])
        found = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return [
            token for token, (start, stop) in zip(found["input_ids"], found["offset_mapping"], strict=True) if start >= end and stop > start
        ]


def _text_of(folder: Path, tokenizer: Any) -> str:
    try:
        text = tokenizer.get_chat_template()
    except ValueError:
        names = ", ".join(sorted(tokenizer.chat_template)) if isinstance(tokenizer.chat_template, dict) else "unnamed"
        raise CardproofError(f"{folder}: none of its chat templates ({names[:200]}) is the default.", HINT) from None
    if not isinstance(text, str):
        raise CardproofError(f"{folder}: the chat template is not text.", HINT)
    return text


def _configured(folder: Path) -> list[int]:
    """The end-of-sequence tokens that a model's files name."""
    for name in ("generation_config.json", "config.json"):
        if (folder / name).is_file():
            values = read_json(folder / name)
            named: Any = values.get("eos_token_id") if isinstance(values, Mapping) else None
            if named is not None:
                return [i for i in (named if isinstance(named, list) else [named]) if isinstance(i, int)]
    return []
