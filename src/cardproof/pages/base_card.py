"""What a card's header says of the base model: its id on the Hub, licence and languages, by the configuration or the base's own card.

The base's own card comes with it from the Hub, or lies in its folder. It is outside text, so each value must look like what it should be.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from cardproof.acquire.sources import HUB_IDS, hub_id
from cardproof.cards.front_matter import LARGEST, split_front_matter
from cardproof.config.reading import read_yaml
from cardproof.errors import CardproofError
from cardproof.runs import BASE_CARD, Run

LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]{0,60}")
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z]{2,4})?")
NAME = re.compile(r"[\w.-]{1,96}")
HUB_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
LINK = re.compile(r"https://[\w./~%#-]{1,300}")


class Base(NamedTuple):
    """The base model, as the Hub knows it. None or empty: nobody says."""

    id: str | None
    """Its id on the Hub."""
    license: str | None
    license_name: str | None
    """Name of a licence that the Hub calls `other`."""
    license_link: str | None
    """Where that licence is."""
    language: list[str]
    """Codes of its languages."""


EMBEDDED = {"smollm2-135m": Base(HUB_IDS["smollm2-135m"], "apache-2.0", None, None, ["en"])}
"""Embedded models have no card in their wheel: what the Hub's says."""
NOBODY = Base(None, None, None, None, [])


def base_of(run: Run) -> Base:
    """The base model of a run; the configuration's `header` comes first, then the base's own card."""
    header, model = run.config.header, run.config.model
    own = EMBEDDED.get(model.id, NOBODY) if model.source == "embedded" else stated(run.path(BASE_CARD))
    if header.license:
        own = own._replace(license=header.license, license_name=None, license_link=None)
    return own._replace(id=header.base_model or hub_id(run.config), language=header.language or own.language)


def stated(card: Path) -> Base:
    """What a base model's own card says; what is missing, or is not what it should be, is left out."""
    try:
        lines = card.read_bytes()[: 4 * LARGEST].decode("utf-8", "replace")[:LARGEST].splitlines()
        first, last = split_front_matter(lines)
        content = read_yaml("\n".join(lines[first:last]).encode(), str(card)) if last else {}
    except (OSError, CardproofError):
        return NOBODY
    if not isinstance(content, dict):
        return NOBODY
    license = _one(content.get("license"), LICENSE)
    named = _one(content.get("license_name"), NAME), _one(content.get("license_link"), LINK)
    return Base(None, license, *(named if license == "other" else (None, None)), _several(content.get("language"), LANGUAGE))


def _one(value: Any, form: re.Pattern[str]) -> str | None:
    """A text of that form; of a list, its only one."""
    values = _several(value, form)
    return values[0] if len(values) == 1 else None


def _several(value: Any, form: re.Pattern[str]) -> list[str]:
    values = value if isinstance(value, list) else [value]
    # YAML takes the code of Norwegian for a truth value.
    texts = ["no" if v is False else v for v in values]
    return [text for text in texts if isinstance(text, str) and form.fullmatch(text)]
