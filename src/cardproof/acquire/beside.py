"""What is beside an adapter and may differ from what a run uses: the base it names, a tokenizer, a chat template.

A run asks all its arms with the base's chat template and the base's tokens. Only tokens that the adapter adds are its own, because it
brings embeddings for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from cardproof import outside
from cardproof.acquire.lora import WEIGHTS, Lora
from cardproof.errors import CardproofError
from cardproof.files import read_json

TOKENIZER = "tokenizer.json"
OTHER_FORMS = ("tokenizer.model", "spm.model", "vocab.json", "vocab.txt", "added_tokens.json")


def beside(adapter: Path, base: Path, lora: Lora, rows: int, grown: bool) -> Iterator[str]:
    """A sentence for each thing beside the adapter that differs from what a run with this base uses.

    `rows`: how many embeddings the adapted model has; `grown`: more than the base. CardproofError if nothing says which tokens these are.
    """
    yield from _other_base(base, lora)
    tokenizer = _base_tokenizer(base)
    if tokenizer is not None:
        yield from _other_template(adapter, tokenizer)
        yield from _other_tokens(adapter, tokenizer, rows, grown)
    others = sorted(p.name for p in adapter.glob("*.safetensors") if p.name != WEIGHTS)
    if others:
        yield f"Other weights beside the adapter are not used: {', '.join(others)[:200]}."


def added_tokens(adapter: Path, vocabulary: Mapping[str, int]) -> dict[int, Any]:
    """Id -> token (of the tokenizers library) that the adapter's tokenizer has beyond the base's vocabulary; empty if it has none.

    Empty as well if it is another tokenizer altogether: one that lacks or renumbers a token of the base, or has more that were not added.
    """
    own = _tokenizer(adapter)
    if own is None:
        return {}
    found = own.get_vocab(with_added_tokens=True)
    if any(found.get(token) != number for token, number in vocabulary.items()):
        return {}
    new = set(found.values()) - set(vocabulary.values())
    known = own.get_added_tokens_decoder()
    return {number: known[number] for number in sorted(new)} if new <= known.keys() else {}


def add_tokens(tokenizer: Any, adapter: Path) -> list[int]:
    """Give the base's tokenizer the tokens that the adapter adds, and return their numbers, which are the adapter's.

    CardproofError if these do not follow on the base's.
    """
    new = added_tokens(adapter, tokenizer.get_vocab())
    for number, token in new.items():
        tokenizer.add_tokens([token], special_tokens=token.special)
        if tokenizer.convert_tokens_to_ids(token.content) != number:
            raise CardproofError(
                f"{adapter / TOKENIZER}: the added token {token.content!r:.40} has the number {number}, and the base's end elsewhere.",
                "give the adapter the tokenizer it was trained with, or merge it into its base and give that as a model.",
            )
    return list(new)


# --- the parts --------------------------------------------------------------------------------------------------------


def _other_base(base: Path, lora: Lora) -> Iterator[str]:
    source = read_json(base / "source.json") if (base / "source.json").is_file() else {}
    own, theirs = str(source.get("name") or base.resolve().name), lora.base_model_name_or_path
    if not theirs:
        return
    if _last(theirs).casefold() != _last(own).casefold():
        yield f"The adapter says that it was made for {_shown(theirs)}; this run's base is {_shown(own)}."
    elif lora.revision and source.get("revision") and lora.revision != source["revision"]:
        yield f"The adapter says that it was made for revision {lora.revision!r:.60} of its base; this run has {source['revision']}."


def _last(name: str) -> str:
    return PurePath(name.replace("\\", "/")).name


def _shown(name: str) -> str:
    """A Hub id as it is; of a path only its end, which says nothing of anybody's machine."""
    is_id = name.count("/") == 1 and not name.startswith((".", "/", "~"))
    return repr(name if is_id else _last(name))[:120]


def _base_tokenizer(base: Path) -> Any:
    """The base's tokenizer; None if it has none, which is said where the base is asked."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(base, trust_remote_code=False)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError):
        return None


def _other_template(adapter: Path, tokenizer: Any) -> Iterator[str]:
    file, settings = adapter / "chat_template.jinja", adapter / "tokenizer_config.json"
    if file.is_file():
        theirs: Any = file.read_text(encoding="utf-8", errors="replace")
    else:
        content = read_json(settings) if settings.is_file() else {}
        theirs = content.get("chat_template") if isinstance(content, dict) else None
    if isinstance(theirs, list):
        theirs = next((t.get("template") for t in theirs if isinstance(t, dict) and t.get("name") == "default"), None)
    own = tokenizer.chat_template
    own = own.get("default") if isinstance(own, dict) else own
    if theirs and theirs != own:
        yield "The chat template beside the adapter is not the base's; this run asks all arms with the base's."


def _other_tokens(adapter: Path, tokenizer: Any, rows: int, grown: bool) -> Iterator[str]:
    """How the adapter's tokens differ. CardproofError if it has embeddings for tokens that nothing names, or the other way round."""
    its_own = "give the adapter the tokenizer it was trained with, and save it with save_embedding_layers=True."
    vocabulary = tokenizer.get_vocab()
    own = _tokenizer(adapter)
    new = added_tokens(adapter, vocabulary)
    found = own.get_vocab(with_added_tokens=True) if own is not None else None
    if grown and not new and found != vocabulary:
        raise CardproofError(
            f"{adapter / WEIGHTS} has embeddings for added tokens, but no {TOKENIZER} beside it has the base's tokens and these.", its_own
        )
    if (highest := max([*new, *vocabulary.values()])) >= rows:
        where = adapter / TOKENIZER if new else f"{adapter / WEIGHTS}, with the base's tokenizer"
        raise CardproofError(f"{where}: a token has the number {highest}, but the adapted model has only {rows} embeddings.", its_own)
    if new:
        add_tokens(tokenizer, adapter)
        names = ", ".join(repr(token.content)[:40] for token in list(new.values())[:4])
        yield f"The adapter adds {len(new)} tokens ({names}{', ...' if len(new) > 4 else ''}); its arm is asked and read with them."
    elif found is not None and found != vocabulary:
        other = sum(found.get(token) != number for token, number in vocabulary.items())
        yield f"The tokenizer beside the adapter is not the base's ({other} tokens are missing or renumbered); this run uses the base's."
    elif own is None and (forms := [name for name in OTHER_FORMS if (adapter / name).is_file()]):
        yield f"Beside the adapter is a tokenizer ({', '.join(forms)}) without {TOKENIZER}: nothing was compared; this run uses the base's."


def _tokenizer(adapter: Path) -> Any:
    """The tokenizer in an adapter's folder, or None; CardproofError if its file is broken."""
    from tokenizers import Tokenizer

    file = adapter / TOKENIZER
    if not file.is_file():
        return None
    outside.check_size(file, file.stat(), outside.MOST_MODEL_FILE)
    try:
        return Tokenizer.from_file(str(file))
    except Exception as e:  # the library raises plain Exception
        raise CardproofError(f"{file} is not a tokenizer: {' '.join(str(e).split())[:120]}.", "copy or fetch it again.") from None
