"""Which files a tokenizer is read from, and which packages that takes: transformers names the wrong one."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from cardproof.errors import CardproofError

WHOLE = ("tokenizer.json",)
SENTENCEPIECE = ("spm.model", "spiece.model", "tokenizer.model", "sentencepiece.bpe.model")
TABLES = ("vocab.txt", "vocab.json")
READS_SENTENCEPIECE = {"sentencepiece": "sentencepiece", "google.protobuf": "protobuf"}
"""Module -> package that reads a SentencePiece file."""


def check_tokenizer_files(folder: Path) -> None:
    """CardproofError if a model folder has no tokenizer, or one in a format that needs a package which is not installed."""
    if any((folder / name).is_file() for name in WHOLE):
        return
    piece = next((name for name in SENTENCEPIECE if (folder / name).is_file()), None)
    if piece is not None:
        missing = [package for module, package in READS_SENTENCEPIECE.items() if not _installed(module)]
        if missing:
            raise CardproofError(
                f"{folder}: the tokenizer {piece} needs {' and '.join(missing)}, which this environment does not have.",
                f"install the locked versions again (`make setup`), or {', '.join(missing)} alone.",
            )
    elif not any((folder / name).is_file() for name in TABLES):
        raise CardproofError(
            f"{folder} has no tokenizer.", f"copy its file there as well: {', '.join((*WHOLE, *SENTENCEPIECE[:1], *TABLES))}."
        )


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that the module is in
        return False
