"""Fetching from the Hugging Face hub: pinned revisions, safetensors only, no remote code, resumable.

A token is taken from the environment by the library itself and never written anywhere.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cardproof.benchmark import Benchmark as Rows
from cardproof.benchmark import load_folder
from cardproof.config import Benchmark
from cardproof.errors import CardproofError
from cardproof.files import write_json
from cardproof.models import fingerprint

T = TypeVar("T")

# Weights, configuration and tokenizer; nothing that can run code.
MODEL_FILES = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.model", "*.jinja"]


def fetch_model(name: str, revision: str | None, out: Path) -> None:
    """Fetch a model or adapter into the folder `out`; without `revision` the newest is resolved and recorded in `source.json`.

    A broken download goes on where it stopped when it is started again. Raises CardproofError where the hub cannot be reached, does not
    know the model or revision, or holds no safetensors.
    """
    from huggingface_hub import HfApi, snapshot_download

    pinned = revision is not None
    resolved = revision or _asking(name, lambda: HfApi().model_info(name).sha)
    partial = out.with_name(f".{out.name}.partial")
    _asking(name, lambda: snapshot_download(name, revision=resolved, local_dir=partial, allow_patterns=MODEL_FILES))
    digest = fingerprint(partial)
    write_json(
        partial / "source.json",
        {"name": name, "revision": resolved, "pinned": pinned, "package": None, "sha256": None, "model_hash": digest},
    )
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)


def load_benchmark(settings: Benchmark) -> Rows:
    """Passages and questions of the benchmark at its pinned revision, hashes checked; raises CardproofError as `fetch_model` does."""
    from huggingface_hub import snapshot_download

    folder = _asking(
        settings.id,
        lambda: snapshot_download(settings.id, repo_type="dataset", revision=settings.revision, allow_patterns=["*.jsonl"]),
    )
    found = {path.name: path for path in sorted(Path(folder).rglob("*.jsonl"))}
    missing = [name for name in settings.sha256 if name not in found]
    if missing:
        raise CardproofError(
            f"{settings.id} at revision {settings.revision} holds no {missing[0]}, but {', '.join(found) or 'no *.jsonl'}.",
            "check benchmark.revision and benchmark.sha256.",
        )
    if len({path.parent for path in found.values()}) == 1:
        return load_folder(next(iter(found.values())).parent, pins=settings.sha256)
    # The data set keeps corpus and questions in folders of their own.
    together = Path(folder).with_name(f"{Path(folder).name}-flat")
    together.mkdir(exist_ok=True)
    for name, path in found.items():
        shutil.copyfile(path, together / name)
    return load_folder(together, pins=settings.sha256)


def _asking(name: str, ask: Callable[[], T]) -> T:
    """The hub's answer; its failures as one sentence."""
    import httpx2 as httpx
    from huggingface_hub import errors

    try:
        return ask()
    except errors.RevisionNotFoundError:
        raise CardproofError(f"The hub does not know that revision of {name!r}.", "check the revision.") from None
    except errors.GatedRepoError:
        raise CardproofError(f"The hub wants its terms accepted for {name!r}.", "accept them on its page and set HF_TOKEN.") from None
    except errors.RepositoryNotFoundError:
        raise CardproofError(
            f"The hub does not know {name!r}, or not with this token.", "check the id; set HF_TOKEN for a private one."
        ) from None
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError, httpx.HTTPError, errors.HfHubHTTPError, OSError) as e:
        reason = " ".join(str(e).split())[:160]
        raise CardproofError(
            f"{name!r} cannot be fetched from the hub: {reason}",
            "check the network and HF_HUB_OFFLINE, or give a local folder (source: folder); `make demo` needs no network.",
        ) from None
