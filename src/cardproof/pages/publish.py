"""Publishing a finished run on the Hub: the adapter it trained, its card, and every file the card names as a source.

Nothing is sent unless asked for. A run whose chain of records is broken is not published, and one that is no reproduction not under the
published card's own name. The token comes from the environment and goes nowhere else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from cardproof.config.reading import load
from cardproof.config.settings import Config
from cardproof.errors import CardproofError
from cardproof.evidence.verify import AGAIN, check
from cardproof.files import read_json, sha256_file
from cardproof.pages import card_metadata
from cardproof.pages.card import subject_of

CARD = "card/README.md"
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_NOTE = re.compile(r"^\[\^[^\]]+\]: `([^`#]+)#", re.MULTILINE)
_LINK = re.compile(r"\]\(\.\./(figures/[\w./-]+)\)")


class Upload(NamedTuple):
    """What a repository will hold."""

    repository: str
    """OWNER/NAME."""
    files: dict[str, Path | bytes]
    """Path in the repository -> file, or its content where that is not a file's."""
    adapter: str | None
    """The training run whose adapter is among the files; None where the arm's adapter is somebody else's."""
    reproduction: bool
    """True where the run is of published scale."""


def prepare(run: Path, repository: str) -> Upload:
    """What publishing the run would send; CardproofError where it is not to be published, or lacks a file."""
    run = Path(run)
    chain = check(run)
    if chain.state != "whole":
        found = chain.problems[0].sentence if chain.problems else f"{run} holds no record of how its results were made."
        raise CardproofError(f"Not to be published: {found}", AGAIN)
    config = load(run / "config.yaml")
    _named(repository, run, config)
    if not (run / CARD).is_file():
        raise CardproofError(f"{run / CARD} does not exist.", "render the card first: run the workflow.")
    text = (run / CARD).read_text(encoding="utf-8")
    entries = run / "card" / card_metadata.EVAL_RESULTS
    card_metadata.check(text, entries.read_text(encoding="utf-8") if entries.is_file() else None)
    # In the repository the card stands beside the figures' folder, not in a folder of its own.
    files: dict[str, Path | bytes] = {"README.md": _LINK.sub(r"](\1)", text).encode()}
    if entries.is_file():
        files[card_metadata.EVAL_RESULTS] = entries
    for name in sorted({*_NOTE.findall(text), *_LINK.findall(text), "claims.json", "config.yaml"}):
        # `{variant}` and the like stand for a table's columns.
        for path in sorted(run.glob(re.sub(r"\{\w+\}", "*", name))):
            files[path.relative_to(run).as_posix()] = path
    arm = config.arms[subject_of(config)]
    variant = arm.variant if arm.adapter == "trained" else None
    if variant:
        adapter = run / "training" / variant / "adapter"
        files |= {path.name: path for path in sorted(adapter.iterdir()) if path.suffix in (".safetensors", ".json")}
    return Upload(repository, files, variant, config.scale == "published")


def push(upload: Upload, private: bool, message: str, environment: Mapping[str, str] = os.environ) -> str:
    """Send everything in one commit, making the repository where there is none; returns the commit's address.

    Raises CardproofError without a token, where a file holds it, and where the Hub refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    from cardproof.acquire.hub import asking

    token = next((environment[name] for name in TOKENS if environment.get(name)), None)
    if token is None:
        raise CardproofError("There is no token to publish with.", f"set {TOKENS[0]} to one that may write to {upload.repository}.")
    for name, content in upload.files.items():
        if token.encode() in (content if isinstance(content, bytes) else content.read_bytes()):
            raise CardproofError(f"{name} holds the token itself.", "make a new token, and find out how this one came there.")
    operations = [CommitOperationAdd(name, content) for name, content in upload.files.items()]
    api = HfApi(token=token)

    def send() -> str:
        api.create_repo(upload.repository, private=private, exist_ok=True)
        return str(api.create_commit(upload.repository, operations, commit_message=message).commit_url)

    return asking(upload.repository, send, writing=True)


def render_text(upload: Upload) -> str:
    """What would be sent, a line for each file: size, sha256, path."""
    kind = "a reproduction" if upload.reproduction else "not a reproduction, and its card says so"
    lines = [f"{upload.repository}: {len(upload.files)} files ({kind})"]
    if upload.adapter is None:
        lines.append("  no adapter: the one the card is about was not trained in this run")
    for name, content in upload.files.items():
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        digest = "changed links" if isinstance(content, bytes) else sha256_file(content)[:12]
        lines.append(f"  {size:>12,}  {digest:<13}  {name}")
    return "\n".join(lines)


def _named(repository: str, run: Path, config: Config) -> None:
    """CardproofError where the repository's name is none, or one that this run must not take."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise CardproofError(f"{repository!r} is no repository of the Hub.", "name it OWNER/NAME.")
    taken = read_json(run / "claims.json")["card"]
    if config.scale != "published" and repository.endswith(f"/{taken}"):
        raise CardproofError(
            f"{taken!r} is the published model's name, and the run {config.run!r} is no reproduction of it.",
            "publish under a name of your own.",
        )
