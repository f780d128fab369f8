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
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cardproof import outside
from cardproof.errors import CardproofError, of_validation
from cardproof.files import existing, read_json, sha256_file, write_json

T = TypeVar("T")
Kind = Literal["model", "dataset"]

# Weights, configuration and tokenizer, and the model's own card; nothing that can run code.
PATTERNS: dict[Kind, list[str]] = {
    "model": ["*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.model", "*.jinja", "README.md"],
    "dataset": ["*.jsonl", "*.parquet", "*.csv"],
}
COMMIT = re.compile(r"[0-9a-f]{40}")
HUB_ID = re.compile(r"(?:[A-Za-z0-9_][\w.-]{0,95}/)?[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
FILL = "fill it with `cardproof acquire --mirror` on a machine with a network."
FORGED = "take the mirror from where it was filled, or fill another."
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
    check_id(name)
    if pinned(revision):
        return str(revision), True
    path = record / f"{name.replace('/', '--')}.json" if record else None
    if path and path.is_file():
        known = read_json(path)
        if isinstance(known, dict) and known.get("asked") == revision and isinstance(known.get("revision"), str):
            return known["revision"], False
    if mirror := mirrored(name, None, kind):
        newest = from_mirror(mirror).revision
    else:
        from huggingface_hub import HfApi

        newest = str(asking(name, lambda: HfApi().repo_info(name, repo_type=kind, revision=revision).sha))
    if path:
        write_json(path, {"name": name, "kind": kind, "asked": revision, "revision": newest, "pinned": False})
    return newest, False


def check_id(name: str) -> None:
    """CardproofError if a name is not a repository's on the hub: it becomes part of addresses and paths."""
    if not HUB_ID.fullmatch(name) or ".." in name:
        raise CardproofError(
            f"{name!r:.120} is not the id of a repository on the hub.",
            "write it as OWNER/NAME; for a local folder, set the source to `folder`.",
        )


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

    files = [f for f in asking(name, ask) if wanted(f.path, kind)]
    for f in files:
        if why := outside.unsafe(f.path):
            raise CardproofError(
                f"{name!r} at revision {revision}: the file {f.path!r:.200} {why}.", "name another repository or revision."
            )
    if kind == "model" and not any(f.path.endswith(".safetensors") for f in files):
        raise CardproofError(
            f"{name!r} at revision {revision} has no *.safetensors file.",
            "pickled weights (*.bin, *.pt) are refused because loading them can run code; name another repository or revision.",
        )
    return Repository(kind, name, revision, pinned, sorted(files))


def wanted(path: str, kind: Kind) -> bool:
    """Whether a file of a repository is fetched: weights, configuration, tokenizer or rows, and nothing that can run code."""
    return any(fnmatch(path, pattern) for pattern in PATTERNS[kind])


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
    for file in repository.files:
        path = outside.inside(folder, file.path, repository.name, "run again: what arrived is kept.")
        if not path.is_file():
            raise CardproofError(f"{repository.name}: {file.path} did not arrive.", "run again: what arrived is kept.")
        if wrong := _wrong(file, path):
            path.unlink()
            raise CardproofError(f"{repository.name}: {file.path} {wrong}.", "the file was removed; run again to fetch it.")


def _wrong(file: RemoteFile, path: Path) -> str:
    """How a file differs from what its repository announced, in words that go on from its name; empty if it does not."""
    expected = file.sha256 or file.blob
    actual = sha256_file(path) if file.sha256 else git_blob(path)
    return f"has the hash {actual}, but the hub says {expected}" if expected and actual != expected else ""


def git_blob(path: Path) -> str:
    """Git's name for a file's content: sha1 over `blob SIZE`, a zero byte and the content."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with outside.opened(path) as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


# --- a mirror ---------------------------------------------------------------------------------------------------------


def place(mirror: Path, name: str, kind: Kind) -> Path:
    """The folder where a mirror keeps a repository."""
    check_id(name)
    return mirror / f"{kind}s" / name


def room_for(repository: Repository, mirror: Path) -> None:
    """Raise CardproofError if the disk of a mirror lacks room for what a repository still has to bring there."""
    folder = place(mirror, repository.name, repository.kind)
    have = sum((folder / f.path).stat().st_size for f in repository.files if (folder / f.path).is_file())
    need = sum(f.size for f in repository.files) - have
    free = shutil.disk_usage(existing(mirror)).free
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


class _File(BaseModel):
    """A file as a mirror's list has it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    path: str
    size: int = Field(ge=0)
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None
    blob: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None


class _Listing(BaseModel):
    """A mirror's list of the files of one repository."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Kind
    name: str
    revision: str
    pinned: bool
    files: list[_File] = Field(min_length=1)


def from_mirror(folder: Path) -> Repository:
    """The repository in a folder of a mirror; CardproofError if its list is not one, or names a file that is not a plain one."""
    path = outside.inside(folder, LISTING, str(folder), FORGED)
    try:
        found = _Listing.model_validate(read_json(path, FILL))
    except ValidationError as e:
        raise of_validation(e, str(path), _Listing, hint=FORGED) from None
    names = outside.Collisions()
    for file in found.files:
        if why := outside.unsafe(file.path) or outside.linked(folder, file.path) or names.add(file.path):
            raise CardproofError(f"{path}: {file.path!r:.200} {why}.", FORGED)
        if file.sha256 is None and file.blob is None:
            raise CardproofError(f"{path}: {file.path!r} has no hash.", FORGED)
        if not wanted(file.path, found.kind):
            raise CardproofError(f"{path}: {file.path!r} is not weights, configuration, tokenizer or rows.", FORGED)
    return Repository(found.kind, found.name, found.revision, found.pinned, [RemoteFile(**f.model_dump()) for f in found.files])


def copy_from_mirror(folder: Path, out: Path) -> Repository:
    """Copy what a mirror's list names into `out`, each file checked; returns the repository. The mirror is only read.

    CardproofError names the first file that is missing or not what the list says; then nothing is left in `out`.
    """
    repository = from_mirror(folder)
    copy_listed(folder, repository, out)
    return repository


def copy_listed(folder: Path, repository: Repository, out: Path) -> None:
    """Copy a repository's files, each checked, from a folder that has them: a mirror's, or one of the hub library's cache."""
    shutil.rmtree(out, ignore_errors=True)
    above = [folder for folder in out.parents if not folder.exists()]
    try:
        for file in repository.files:
            source, target = folder / file.path, out / file.path
            if not source.is_file():
                raise CardproofError(f"{folder}: {file.path} is in {LISTING}, but not there.", FORGED)
            target.parent.mkdir(parents=True, exist_ok=True)
            with outside.opened(source) as f, open(target, "wb") as to:
                shutil.copyfileobj(f, to, 1 << 22)
            if wrong := _wrong(file, target):
                raise CardproofError(f"{folder}: {file.path} {wrong}.", FORGED)
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        with suppress(OSError):  # something else is in the folder by now
            for made in above:
                made.rmdir()
        raise


class Cached(NamedTuple):
    """A repository as the hub library's own cache has it."""

    folder: Path
    repository: Repository


def from_cache(name: str, revision: str, kind: Kind) -> Cached | None:
    """What the hub library fetched before of a commit, for a machine that is offline now (HF_HUB_OFFLINE); None without either.

    The cache names each content by its hash, so a copy is checked like a download. CardproofError if a file there is not such a content.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    check_id(name)
    if not constants.HF_HUB_OFFLINE:
        return None
    try:
        folder = Path(snapshot_download(name, repo_type=kind, revision=revision, local_files_only=True, allow_patterns=PATTERNS[kind]))
    except LocalEntryNotFoundError:
        return None
    files = []
    for path in sorted(p for p in folder.rglob("*") if wanted(p.name, kind) and not p.is_dir()):
        content = path.resolve()
        digest = content.name
        if content.parent != folder.parent.parent.resolve() / "blobs" or not re.fullmatch(r"[0-9a-f]{40}(?:[0-9a-f]{24})?", digest):
            raise CardproofError(f"{path} is not a link to a content of the hub's cache.", "fetch the data set again.")
        sha256, blob = (digest, None) if len(digest) == 64 else (None, digest)
        files.append(RemoteFile(path.relative_to(folder).as_posix(), content.stat().st_size, sha256, blob))
    return Cached(folder, Repository(kind, name, revision, True, files)) if files else None


def entry(repository: Repository) -> dict[str, Any]:
    """A repository as a manifest lists it."""
    return {**repository._asdict(), "files": [f._asdict() for f in repository.files]}


def mirrored(name: str, revision: str | None, kind: Kind) -> Path | None:
    """The mirror's folder of a repository, or None without a mirror; CardproofError if the mirror lacks the repository or revision."""
    where = os.environ.get(MIRROR)
    if not where:
        return None
    folder = place(Path(where), name, kind)
    if why := outside.linked(Path(where), PurePosixPath(f"{kind}s", name, LISTING).as_posix()):
        raise CardproofError(f"The mirror {where}: the list of files of {name!r} {why}.", FORGED)
    if not (folder / LISTING).is_file():
        raise CardproofError(f"The mirror {where} ({MIRROR}) does not have the {kind} {name!r}.", FILL)
    found = from_mirror(folder)
    if (found.name, found.kind) != (name, kind):
        raise CardproofError(f"The mirror {where} has the {found.kind} {found.name!r} in the place of the {kind} {name!r}.", FILL)
    if revision and found.revision != revision:
        raise CardproofError(f"The mirror {where} has {name!r} at revision {found.revision}, not {revision}.", FILL)
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
