"""How one reply is read, for whoever debugs a model under the contract: quotes, citations, answer, refusal and departures, each shown."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from cardproof.contract.citing import citation_validity
from cardproof.contract.grounding import MAX_DIFF, match, near_miss_diff
from cardproof.contract.reading import Terms, read
from cardproof.errors import CardproofError
from cardproof.files import read_rows

MAX_REPLY = 2_000_000
"""Longest reply that is read, in bytes."""

Style = Callable[[str, str], str]
"""A text in the style of a kind of quote, of a difference (`quote`, `document`) or of a `heading`."""


class Source(BaseModel):
    """One document that a reply was to quote from; other fields of its row are ignored, so a corpus will do."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str
    text: str


def read_reply(path: str) -> str:
    """The reply in a file, or on standard input for `-`; CardproofError where it is missing, too long or not UTF-8."""
    where = "standard input" if path == "-" else path
    try:
        if path == "-":
            raw = sys.stdin.buffer.read(MAX_REPLY + 1)
        else:
            with open(path, "rb") as f:
                raw = f.read(MAX_REPLY + 1)
    except FileNotFoundError:
        raise CardproofError(f"{path} does not exist.", "give the file of the reply, or - to read it from standard input.") from None
    if len(raw) > MAX_REPLY:
        raise CardproofError(f"{where} has more than {MAX_REPLY:,} bytes.", "give one reply.")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as e:
        raise CardproofError(f"{where}: byte {e.start + 1} is not UTF-8.", "save the reply as UTF-8.") from None


def read_documents(path: Path) -> list[tuple[str, str]]:
    """(id, text) of the documents in a file of JSON Lines; CardproofError names the row at fault or an id given twice."""
    documents = [(row.id, row.text) for row in read_rows(path, Source)]
    seen: set[str] = set()
    for number, (doc_id, _) in enumerate(documents, 1):
        if doc_id in seen:
            raise CardproofError(f"{path}, row {number}: field 'id': {doc_id!r} is given twice.", "ids tell documents apart.")
        seen.add(doc_id)
    return documents


def explain(reply: str, documents: Sequence[tuple[str, str]], terms: Terms) -> dict[str, Any]:
    """A reply as JSON types. Of each quote: text, cited id, kind, steps that repair it, the document it was found in, its span there.

    A near miss also has `diff`, letter by letter: [op, in the quote, in the document].
    """
    found = read(reply, terms)
    texts = dict(documents)
    quotes = []
    for text, doc_id, _, _ in found.quotes:
        m = match(text, doc_id, documents)
        quote: dict[str, Any] = {"text": text, "cited": m.cited_id, "kind": m.kind, "steps": list(m.steps)}
        quote |= {"document": m.doc_id, "start": m.start, "end": m.end}
        if m.kind == "near_miss" and m.doc_id is not None and len(text) <= MAX_DIFF:
            quote["diff"] = [list(part) for part in near_miss_diff(text, texts[m.doc_id][m.start : m.end])]
        quotes.append(quote)
    return {
        "quotes": quotes,
        "citations": found.citations,
        "citation_validity": citation_validity(found.citations, terms.ids.provided),
        "answer": found.answer,
        "refusal": found.refusal,
        "defects": list(found.defects),
    }


def as_text(told: dict[str, Any], documents: Sequence[tuple[str, str]], style: Style, width: int) -> str:
    """The same for a reader, at most `width` columns wide."""
    shown = {doc_id for doc_id, _ in documents}
    cited = [doc_id if doc_id in shown else f"{doc_id} (not shown)" for doc_id in told["citations"]]
    lines = [style("Quotes", "heading")]
    for number, quote in enumerate(told["quotes"], 1):
        lines += ["", *_quote(number, quote, style, width)]
    lines += [] if told["quotes"] else ["None."]
    facts = {
        "Citations": ", ".join(map(plain, cited)) or "none",
        "Citation validity": f"{told['citation_validity']:.0f}",
        "Answer": plain(told["answer"]) or "none",
        "Refusal": "yes" if told["refusal"] else "no",
        "Departs from the contract": ", ".join(d.replace("_", " ") for d in told["defects"]) or "no",
    }
    for name, value in facts.items():
        lines += ["", style(name, "heading"), *_wrapped(value, width)]
    return "\n".join(lines) + "\n"


def _quote(number: int, quote: dict[str, Any], style: Style, width: int) -> list[str]:
    kind = str(quote["kind"])
    said = [f"cites {plain(quote['cited']) if quote['cited'] is not None else 'nothing'}"]
    if kind == "near_miss":
        said.append(f"repaired by {', '.join(quote['steps']) or 'Unicode normalisation alone'}")
    if quote["document"] is not None:
        said.append(f"in {plain(quote['document'])}, characters {quote['start']} to {quote['end']}")
    lines = [f"{number}. {style(kind.replace('_', ' '), kind)} {'; '.join(said)}"]
    if "diff" not in quote:
        return [*lines, *_wrapped(plain(quote["text"]), width)]
    key = f"   Letter by letter: {style('[-in the quote-]', 'quote')} {style('{+in the document+}', 'document')}"
    changed = ""
    for op, ours, theirs in quote["diff"]:
        if op == "equal":
            changed += plain(ours)
            continue
        changed += style(f"[-{_visible(ours)}-]", "quote") if ours else ""
        changed += style(f"{{+{_visible(theirs)}+}}", "document") if theirs else ""
    return [*lines, key, *(f"   {line}" for line in changed.split("\n"))]


def _wrapped(text: str, width: int) -> list[str]:
    return [line for part in text.split("\n") for line in textwrap.wrap(part, width, initial_indent="   ", subsequent_indent="   ") or [""]]


def plain(text: str) -> str:
    """Text that a terminal shows and does not obey: signs without a shape of their own by their numbers, line ends as they are."""
    return "".join(ch if ch == "\n" or ch.isprintable() else f"<U+{ord(ch):04X}>" for ch in text)


def _visible(text: str) -> str:
    """An altered space or line end has no shape of its own."""
    return plain(text).replace(" ", "\u00b7").replace("\n", "\u23ce")
