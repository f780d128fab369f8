"""Publishing a finished run on the Hub: the adapter it trained, its card, and every file that the card names as a source.

Nothing is sent unless asked for. A run whose chain of records is broken is refused. A run that is not a reproduction cannot use the
published card's name. The token comes from the environment and goes nowhere else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from cardproof import outside
from cardproof.claims.verdicts import verdicts_of
from cardproof.config.places import published
from cardproof.errors import CardproofError, shown
from cardproof.evidence.verify import AGAIN, Files, check
from cardproof.files import sha256_file
from cardproof.pages import card_metadata
from cardproof.pages.card import subject_of
from cardproof.runs import CARD, CLAIMS, CONFIG, EVAL_RESULTS, Run, adapter

TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_NOTE = re.compile(r"^\[\^[^\]]+\]: `([^`#]+)#", re.MULTILINE)
_PUBLIC = re.compile(
    r"(?:evaluation|verifier|distill|split|provenance)/[\w.-]+\.json|training/[\w.-]+/(?:metrics|cost)\.json|figures/[\w.-]+\.(?:json|svg|png)"
    r"|(?:claims|audit)\.json|config\.yaml|(?:models|adapters)/[\w.-]+/source\.json|revisions/[\w.-]+\.json"
)
"""What a card may name as a source: results and figures, and nothing that holds passages or weights."""
_LINK = re.compile(r"\]\(\.\./(figures/[\w./-]+)\)")


class Upload(NamedTuple):
    """The content of a repository."""

    repository: str
    """OWNER/NAME."""
    files: dict[str, Path | bytes]
    """Path in the repository -> file, or its content if that is not a file's."""
    adapter: str | None
    """The training run whose adapter is among the files; None if the arm's adapter is somebody else's."""
    reproduction: bool
    """True if the run is at the published scale."""


def prepare(folder: Path, repository: str) -> Upload:
    """What publishing the run would send; CardproofError if it must not be published, or lacks a file."""
    run = Run(folder)
    chain = check(run.folder)
    if chain.state != "whole":
        problem = chain.problems[0].sentence if chain.problems else f"{run.folder} has no record of how its results were made."
        raise CardproofError(f"Not to be published: {problem}", AGAIN)
    _check_name(repository, run)
    if not run.has(CARD):
        raise CardproofError(f"{run.path(CARD)} does not exist.", "render the card first: run the workflow.")
    listed = Files(run.folder)
    text = outside.read_text(run.path(CARD))
    entries = run.path((PurePosixPath(CARD).parent / EVAL_RESULTS).as_posix())
    card_metadata.check(text, outside.read_text(entries) if entries.is_file() else None)
    # In the repository the card is beside the figures' folder, not in a folder of its own.
    files: dict[str, Path | bytes] = {"README.md": _LINK.sub(r"](\1)", text).encode()}
    if entries.is_file():
        files[EVAL_RESULTS] = entries
    for name in sorted({*_NOTE.findall(text), *_LINK.findall(text), CLAIMS}):
        files |= {found: run.path(found) for found in _named(name, listed)}
    files[CONFIG] = published(outside.read_bytes(run.path(CONFIG), outside.MOST_YAML), str(run.path(CONFIG)))
    arm = run.config.arms[subject_of(run.config)]
    variant = arm.variant if arm.adapter == "trained" else None
    if variant:
        weights = [name for name in listed.below(adapter(variant)) if name.endswith((".safetensors", ".json"))]
        files |= {PurePosixPath(name).name: run.path(name) for name in weights if PurePosixPath(name).parent.as_posix() == adapter(variant)}
    return Upload(repository, files, variant, run.comparable)


def _named(name: str, listed: Files) -> list[str]:
    """The files of a run that a footnote or a link of its card names; `{variant}` and its like mean every column of a table.

    CardproofError if it names anything but results and figures: the card may be anyone's, and passages are not to be published.
    """
    pattern = re.sub(r"\\\{\w+\\\}", r"[\\w.-]+", re.escape(name))
    if outside.unsafe(name) or not _PUBLIC.fullmatch(re.sub(r"\{\w+\}", "x", name)):
        raise CardproofError(f"Not to be published: the card names {name!r:.200}, which is not a result.", "render the card again.")
    return [found for found in listed.plain if re.fullmatch(pattern, found)]


def push(upload: Upload, private: bool, message: str, environment: Mapping[str, str] = os.environ) -> str:
    """Send everything in one commit, and make the repository if there is none; returns the commit's address.

    Raises CardproofError without a token, if a file has it in it, and if the Hub refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    from cardproof.acquire.hub import asking

    token = next((environment[name] for name in TOKENS if environment.get(name)), None)
    if token is None:
        raise CardproofError("There is no token to publish with.", f"set {TOKENS[0]} to one that may write to {upload.repository}.")
    for name, content in upload.files.items():
        if token.encode() in (content if isinstance(content, bytes) else content.read_bytes()):
            raise CardproofError(f"{name} has the token itself in it.", "make a new token, and find out how this one got there.")
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
        digest = "changed here" if isinstance(content, bytes) else sha256_file(content)[:12]
        lines.append(f"  {size:>12,}  {digest:<13}  {shown(name)}")
    return "\n".join(lines)


def _check_name(repository: str, run: Run) -> None:
    """Refuse an invalid repository name, or the published model's own."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise CardproofError(f"{repository!r} is not a repository of the Hub.", "name it OWNER/NAME.")
    taken = verdicts_of(run).card
    if not run.comparable and repository.endswith(f"/{taken}"):
        raise CardproofError(
            f"{taken!r} is the published model's name, and the run {run.config.run!r} is not a reproduction of it.",
            "publish under a name of your own.",
        )
