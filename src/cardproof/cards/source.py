"""Where a card comes from: a file, a folder of cards, or the Hub."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from cardproof.errors import CardproofError

LARGEST = 2_000_000
"""Most bytes of a card that is read."""
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
CARD_NAMES = (".md", ".markdown")


def read_text(path: Path) -> str:
    """The text of a card; CardproofError if it cannot be read or is too large. Bytes that are not UTF-8 are replaced."""
    try:
        with open(path, "rb") as f:
            raw = f.read(LARGEST + 1)
    except FileNotFoundError:
        raise CardproofError(f"{path} does not exist.", "give a model card (a Markdown file), a folder of cards, or a Hub id.") from None
    except IsADirectoryError:
        raise CardproofError(f"{path} is a folder.", "give the card inside it.") from None
    except OSError as e:
        raise CardproofError(f"{path} cannot be read: {e.strerror}.", "check that the file may be read.") from None
    if len(raw) > LARGEST:
        raise CardproofError(f"{path} has more than {LARGEST:,} bytes.", "a model card is a short text; give the card alone.")
    return raw.decode("utf-8-sig", errors="replace").replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


def cards_below(folder: Path) -> Iterator[Path]:
    """Every Markdown file below a folder, sorted by path; links that lead out of the folder, pipes and devices are left out."""
    root = Path(os.path.realpath(folder))
    for here, folders, files in os.walk(folder):
        folders.sort()
        folders[:] = [f for f in folders if not f.startswith(".")]
        for name in sorted(files):
            path = Path(here) / name
            if name.lower().endswith(CARD_NAMES) and path.is_file() and Path(os.path.realpath(path)).is_relative_to(root):
                yield path


def is_hub_id(name: str) -> bool:
    """Whether a word looks like the id of a model on the Hub (`owner/name`) and is not a file here."""
    return bool(HUB_ID.fullmatch(name)) and not Path(name).exists() and not name.lower().endswith(CARD_NAMES)


def fetch_card(hub_id: str, into: Path) -> Path:
    """Fetch a model's card from the Hub into a folder; CardproofError without a network, permission or a card."""
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils import logging
    except ImportError:
        raise CardproofError(
            f"{hub_id} is on the Hub, and huggingface_hub is not installed.", "install cardproof[cpu], or give a file."
        ) from None
    logging.set_verbosity_error()
    try:
        return Path(hf_hub_download(hub_id, "README.md", local_dir=into))
    except Exception as e:
        first = str(e).strip().splitlines()[0][:200] if str(e).strip() else type(e).__name__
        raise CardproofError(
            f"the card of {hub_id} cannot be fetched: {first}", "check the id and the network, or give the card as a file."
        ) from None
