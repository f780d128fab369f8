"""Fetching from the Hugging Face hub: one commit, every hash checked, safetensors only, no remote code, resumable.

The hub's library takes a token from the environment; cardproof never writes it anywhere. Without a network, files come from a mirror: a
folder that `cardproof acquire --mirror` filled elsewhere. The environment variable CARDPROOF_MIRROR names it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from cardproof.errors import CardproofError
from cardproof.files import read_json, sha256_file, write_json

T = TypeVar("T")
Kind = Literal["model", "dataset"]

# Weights, configuration and tokenizer, and the model's own card; nothing that can run code.
PATTERNS: dict[Kind, list[str]] = {
    "model": ["*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.model", "*.jinja", "README.md"],
    "dataset": ["*.jsonl"],
}
COMMIT = re.compile(r"[0-9a-f]{40}")
MIRROR = "CARDPROOF_MIRROR"
LISTING = "files.json"


class RemoteFile(NamedTuple):
    """One file of a repository at one commit. Of its two hashes, large files have `sha256` (of the content), others `blob` (git's sha1)."""

    path: str
    size: int
    sha256: str | None
    blob: str | None


class Repository(NamedTuple):
    """A repository on the hub at one commit; `pinned` is False if the commit was looked up, not asked for."""

    kind: Kind
    name: str
    revision: str
    pinned: bool
    files: list[RemoteFile]


def resolve(name: str, revision: str | None, kind: Kind = "model", record: Path | None = None) -> tuple[str, bool]:
    """The commit to fetch, and whether `revision` pinned it. Branches and tags pin nothing.

    If `revision` is not a commit, the newest commit (of that branch) is looked up and recorded in the folder `record`; later calls take it
    from there, so a run keeps the commit it started with. Raises CardproofError if the hub cannot be asked.
    """
    if pinned(revision):
        return str(revision), True
    path = record / f"{name.replace('/', '--')}.json" if record else None
    if path and path.is_file() and (known := read_json(path)).get("asked") == revision:
        return str(known["revision"]), False
    if mirror := mirrored(name, None, kind):
        newest = str(read_json(mirror / LISTING)["revision"])
    else:
        from huggingface_hub import HfApi

        newest = str(asking(name, lambda: HfApi().repo_info(name, repo_type=kind, revision=revision).sha))
    if path:
        write_json(path, {"name": name, "kind": kind, "asked": revision, "revision": newest, "pinned": False})
    return newest, False


def pinned(revision: str | None) -> bool:
    """Whether a revision is a commit. A commit always has the same files."""
    return bool(revision and COMMIT.fullmatch(revision))


def listing(name: str, revision: str, pinned: bool, kind: Kind = "model") -> Repository:
    """The files of a repository that a fetch would bring, with sizes and hashes; raises CardproofError as `resolve` does."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    def ask() -> list[RemoteFile]:
        tree = HfApi().list_repo_tree(name, recursive=True, revision=revision, repo_type=kind)
        return [RemoteFile(f.path, f.size, f.lfs.sha256 if f.lfs else None, f.blob_id) for f in tree if isinstance(f, RepoFile)]

    files = [f for f in asking(name, ask) if any(fnmatch(f.path, pattern) for pattern in PATTERNS[kind])]
    if kind == "model" and not any(f.path.endswith(".safetensors") for f in files):
        raise CardproofError(
            f"{name!r} at revision {revision} has no *.safetensors file.",
            "pickled weights (*.bin, *.pt) are refused because loading them can run code; name another repository or revision.",
        )
    return Repository(kind, name, revision, pinned, sorted(files))


def fetch(repository: Repository, folder: Path) -> None:
    """Download a repository's files into `folder` and check each one's hash. A broken download resumes where it stopped.

    Raises CardproofError if the hub fails or a file's hash is wrong. The wrong file is removed; the rest is kept.
    """
    from huggingface_hub import snapshot_download

    wanted = [f.path for f in repository.files]
    asking(
        repository.name,
        lambda: snapshot_download(
            repository.name, repo_type=repository.kind, revision=repository.revision, local_dir=folder, allow_patterns=wanted
        ),
    )
    check(repository, folder)


def check(repository: Repository, folder: Path) -> None:
    """Raise CardproofError if a file of the repository is missing from `folder` or has the wrong hash; the wrong file is removed."""
    for file in repository.files:
        path = folder / file.path
        if not path.is_file():
            raise CardproofError(f"{repository.name}: {file.path} did not arrive.", "run again: what arrived is kept.")
        expected = file.sha256 or file.blob
        actual = sha256_file(path) if file.sha256 else git_blob(path)
        if expected and actual != expected:
            path.unlink()
            raise CardproofError(
                f"{repository.name}: {file.path} has the hash {actual}, but the hub says {expected}.",
                "the file was removed; run again to fetch it.",
            )


def git_blob(path: Path) -> str:
    """Git's name for a file's content: sha1 over `blob SIZE`, a zero byte and the content."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


# --- a mirror ---------------------------------------------------------------------------------------------------------


def place(mirror: Path, name: str, kind: Kind) -> Path:
    """The folder where a mirror keeps a repository."""
    return mirror / f"{kind}s" / name


def room_for(repository: Repository, mirror: Path) -> None:
    """Raise CardproofError if the disk of a mirror lacks room for what a repository still has to bring there."""
    folder = place(mirror, repository.name, repository.kind)
    have = sum((folder / f.path).stat().st_size for f in repository.files if (folder / f.path).is_file())
    need = sum(f.size for f in repository.files) - have
    there = next(p for p in (mirror.absolute(), *mirror.absolute().parents) if p.exists())
    free = shutil.disk_usage(there).free
    if need > free:
        raise CardproofError(
            f"{repository.name!r} needs {need / 1e9:.1f} GB more in the mirror {mirror}, but its disk has {free / 1e9:.1f} GB free.",
            "free some, or name a mirror on another disk. A run copies from the mirror, so it needs as much again where it runs.",
        )


def to_mirror(repository: Repository, mirror: Path) -> Path:
    """Fetch a repository and the list of its files into a mirror; returns its folder there."""
    folder = place(mirror, repository.name, repository.kind)
    fetch(repository, folder)
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    write_json(folder / LISTING, entry(repository))
    return folder


def from_mirror(folder: Path) -> Repository:
    """The repository in a folder of a mirror."""
    listed = read_json(folder / LISTING)
    files = [RemoteFile(f["path"], f["size"], f["sha256"], f["blob"]) for f in listed["files"]]
    return Repository(listed["kind"], listed["name"], listed["revision"], listed["pinned"], files)


def entry(repository: Repository) -> dict[str, Any]:
    """A repository as a manifest lists it."""
    return {**repository._asdict(), "files": [f._asdict() for f in repository.files]}


def mirrored(name: str, revision: str | None, kind: Kind) -> Path | None:
    """The mirror's folder of a repository, or None without a mirror; CardproofError if the mirror lacks the repository or revision."""
    where = os.environ.get(MIRROR)
    if not where:
        return None
    folder = place(Path(where), name, kind)
    fill = "fill it with `cardproof acquire --mirror` on a machine with a network."
    if not (folder / LISTING).is_file():
        raise CardproofError(f"The mirror {where} ({MIRROR}) does not have the {kind} {name!r}.", fill)
    held = read_json(folder / LISTING)["revision"]
    if revision and held != revision:
        raise CardproofError(f"The mirror {where} has {name!r} at revision {held}, not {revision}.", fill)
    return folder


def in_mirror(name: str, revision: str | None, kind: Kind) -> Path | None:
    """The mirror's folder of a repository, or None where there is no mirror or it lacks the repository: to look without taking."""
    try:
        return mirrored(name, revision if pinned(revision) else None, kind)
    except CardproofError:
        return None


# --- failures ---------------------------------------------------------------------------------------------------------


def asking(name: str, ask: Callable[[], T], writing: bool = False) -> T:
    """The hub's answer. A failure becomes a CardproofError; `writing` says that the request was to write, not to read."""
    import httpx2 as httpx
    from huggingface_hub import errors

    do = "write to" if writing else "read"
    token = f"set HF_TOKEN to a token that may {do} it."
    try:
        return ask()
    except errors.RevisionNotFoundError:
        raise CardproofError(f"The hub does not know that revision of {name!r}.", "check the revision.") from None
    except errors.GatedRepoError:
        raise CardproofError(f"The hub asks you to accept the terms of {name!r}.", "accept them on its page and set HF_TOKEN.") from None
    except errors.RepositoryNotFoundError:
        raise CardproofError(
            f"The hub does not know {name!r}, or not with this token.", f"check the id; for a private one {token}"
        ) from None
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError, httpx.HTTPError, errors.HfHubHTTPError, OSError) as e:
        status = _status(e)
        if status in (401, 403):
            raise CardproofError(f"The hub answers {status} for {name!r}: this token may not {do} it.", token) from None
        if status == 429:
            raise CardproofError(
                f"The hub answers 429 for {name!r}: too many requests.", "wait some minutes and run again: what arrived is kept."
            ) from None
        reason = " ".join(str(e).split())[:160]
        if writing:
            raise CardproofError(f"{name!r} cannot be published on the hub: {reason}", "check the network, and publish again.") from None
        raise CardproofError(
            f"{name!r} cannot be fetched from the hub: {reason}",
            f"check the network and HF_HUB_OFFLINE, name a mirror ({MIRROR}), or give a local folder; `make demo` needs no network.",
        ) from None


def _status(error: BaseException | None) -> int | None:
    """The HTTP status behind an error, if there is one."""
    while error is not None:
        if (response := getattr(error, "response", None)) is not None:
            return int(response.status_code)
        error = error.__cause__
    return None
