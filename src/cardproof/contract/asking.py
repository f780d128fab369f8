"""How documents and a question are put to a model: templates, and worked examples as earlier turns."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import jinja2
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from cardproof import outside
from cardproof.config.reading import read_yaml
from cardproof.contract.form import HEADINGS, REFUSAL_PHRASES, format_reply
from cardproof.errors import CardproofError, of_template, of_validation
from cardproof.records import Document, Message


class _Demonstration(BaseModel):
    """One worked example (an entry of a file such as `demonstrations.yaml`), shown as an earlier turn."""

    model_config = ConfigDict(extra="forbid")

    documents: dict[str, str]
    question: str
    quotes: list[tuple[str, str]]
    answer: str


def render(
    question: str,
    documents: Sequence[Document],
    contract: bool,
    templates_dir: Path,
    demonstrations: str | None = None,
    refusal_phrase: str = REFUSAL_PHRASES[0],
    headings: tuple[str, str] = HEADINGS,
) -> list[Message]:
    """The conversation that puts a question: a system and a user turn, and between them the worked examples of the file `demonstrations`.

    Documents are shown as `[doc_id] text`, their text unchanged: a passage that imitates `[doc_id]` forges nothing, since quotes and
    citations are later checked against the documents themselves. CardproofError names a template that is missing, broken or asks for an
    unknown variable.
    """
    templates_dir = Path(templates_dir)
    kind = "contract" if contract else "freeform"
    terms = {"refusal_phrase": refusal_phrase, "evidence": headings[0], "answer": headings[1]}
    messages = [Message(role="system", content=_fill(templates_dir, f"{kind}_system.j2", **terms))]
    if demonstrations is not None:
        for example in _demonstrations(templates_dir / f"{demonstrations}.yaml"):
            shown = [Document(id=i, text=t, role="oracle") for i, t in example.documents.items()]
            reply = format_reply(example.quotes, example.answer, headings) if contract else example.answer
            asked = _fill(templates_dir, f"{kind}_user.j2", question=example.question, documents=shown)
            messages += [Message(role="user", content=asked), Message(role="assistant", content=reply)]
    messages.append(Message(role="user", content=_fill(templates_dir, f"{kind}_user.j2", question=question, documents=documents)))
    return messages


@lru_cache(maxsize=8)
def _environment(templates_dir: Path) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_dir),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # prompts are plain text
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _fill(templates_dir: Path, name: str, **values: object) -> str:
    try:
        return _environment(templates_dir).get_template(name).render(values).strip()
    except jinja2.TemplateError as e:
        raise of_template(e, templates_dir, name, f"this template is given: {', '.join(values)}.") from None


@lru_cache(maxsize=8)
def _demonstrations(path: Path) -> tuple[_Demonstration, ...]:
    try:
        return TypeAdapter(tuple[_Demonstration, ...]).validate_python(read_yaml(outside.read_bytes(path, outside.MOST_YAML), str(path)))
    except FileNotFoundError:
        raise CardproofError(
            f"{path} does not exist.", "correct contract.demonstrations, or set contract.demonstration to false."
        ) from None
    except ValidationError as e:
        raise of_validation(e, str(path), _Demonstration, hint="each example has documents, question, quotes and answer.") from None
