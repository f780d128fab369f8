"""Model folders: links to a local one, and the refusal of code that comes with a model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from cardproof import outside
from cardproof.acquire.hub import PATTERNS
from cardproof.acquire.model_hash import fingerprint
from cardproof.acquire.weights import shapes
from cardproof.config.places import name_of
from cardproof.errors import CardproofError
from cardproof.files import read_json, write_json

USED = (*PATTERNS["model"], "*.tiktoken", "*.spm", "*.bpe")
"""Files of a local model that are used: what is fetched of one on the hub, and the tokenizers that older models have."""


def link(folder: Path, out: Path, check: Callable[[Path], Any] = lambda folder: None) -> None:
    """Make `out` a folder of links to a local model's files: weights, configuration and tokenizer, and nothing that can run code.

    Raises CardproofError if the model has no safetensors, a cut file, code of its own or a file that is not a plain one, and whatever
    `check` raises.
    """
    if not folder.is_dir():
        raise CardproofError(f"{folder} is not a folder.", "give the path of a local model folder.")
    files = plain_files(folder)
    digest = fingerprint(folder)
    for file in files:
        if file.suffix == ".safetensors":
            shapes(file)  # raises if the file is cut
    refuse_remote_code(folder)
    use = check(folder)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for file in files:
        (out / file.name).symlink_to(file.resolve())
    write_json(out / "source.json", {"name": name_of(str(folder)), "package": None, "sha256": None, "model_hash": digest, "use": use})


def plain_files(folder: Path) -> list[Path]:
    """The files of a model's folder that are used, sorted; CardproofError if one of them is not a plain file, or larger than any such file.

    Links stay in the folder, or lead to the files of the hub's own cache or, for weights, to weights on another disk: a folder that
    somebody else made must not pass on whatever it points to.
    """
    files = sorted(p for p in folder.iterdir() if p.name != "source.json" and any(fnmatch(p.name, pattern) for pattern in USED))
    root = folder.resolve()
    blobs = root.parent.parent / "blobs"
    for file in files:
        target = file.resolve()
        weights = file.suffix == ".safetensors"
        if file.is_symlink() and not (target.is_relative_to(root) or target.parent == blobs or (weights and target.suffix == file.suffix)):
            hint = "give the folder that has the file itself, or copy it there."
            raise CardproofError(f"{file} is a link that leads out of its folder.", hint)
        try:
            found = file.stat()
        except FileNotFoundError:
            raise CardproofError(f"{file} is a link to a file that does not exist.", "fetch or copy the model again.") from None
        if not file.is_file():
            raise CardproofError(f"{file} is {outside.kind_of(found.st_mode)}, not a plain file.", "give a folder of a model's files.")
        outside.check_size(file, found, outside.MOST_WEIGHTS if weights else outside.MOST_MODEL_FILE)
    return files


def refuse_remote_code(folder: Path) -> None:
    """CardproofError if a model folder needs code of its own. Only architectures and tokenizers that transformers itself has are run.

    A folder may name code beside an architecture that transformers has; then transformers' own is used.
    """
    import transformers

    file = folder / "config.json"
    config = _object(file)
    kind = config.get("model_type")
    if "auto_map" in config and not _has_model(kind):
        raise CardproofError(
            f"{file}: field 'auto_map': the architecture {kind!r:.80} needs code that comes with the model, which cardproof never runs.",
            "use a model whose architecture is part of transformers.",
        )
    file = folder / "tokenizer_config.json"
    config = _object(file)
    name = config.get("tokenizer_class")
    if "auto_map" in config and not (isinstance(name, str) and name.isidentifier() and hasattr(transformers, name)):
        raise CardproofError(
            f"{file}: field 'auto_map': the tokenizer {name!r:.80} needs code that comes with the model, which cardproof never runs.",
            "use a model whose tokenizer is part of transformers.",
        )


def _has_model(kind: object) -> bool:
    """Whether transformers has the architecture itself, as a language model or as a classifier."""
    from transformers import CONFIG_MAPPING
    from transformers.models.auto import modeling_auto

    models = (modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES)
    return isinstance(kind, str) and kind in CONFIG_MAPPING and any(kind in names for names in models)


def _object(file: Path) -> dict[str, Any]:
    """The content of a JSON file of a model; empty if there is none, CardproofError if it is not an object."""
    content = read_json(file, "fetch or copy the model again.") if file.is_file() else {}
    if not isinstance(content, dict):
        raise CardproofError(f"{file} is not a JSON object.", "give the folder of a transformers model.")
    return content
