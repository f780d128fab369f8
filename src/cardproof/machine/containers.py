"""Containers: the image that jobs run in, what they see of the machine there, and the errors for a missing image or Apptainer.

Snakemake writes the `apptainer exec` line. What this line needs from the machine (GPU, hub cache, folders that the configuration names)
goes into Apptainer's environment variables. They are set whenever the workflow is read, so on every node of a cluster as well.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from cardproof.config.settings import Config
from cardproof.errors import CardproofError
from cardproof.files import sha256_file, write_json

ASKED = "CARDPROOF_CONTAINER"
"""Set if the user asked for containers."""
PASSED = (
    "CARDPROOF_DEBUG",
    "CARDPROOF_MIRROR",
    "CUDA_VISIBLE_DEVICES",
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
    "HF_TOKEN",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)
"""Variables that jobs need even if the profile cleans the environment (--cleanenv)."""
NVIDIA = Path("/dev/nvidiactl")
"""Exists if an NVIDIA driver is loaded."""


def image(config: Config, project: Path) -> str:
    """The image of `runtime.image`: a URI as it is, a file by its absolute path; by default the project's image for CPU or GPU.

    Snakemake refuses a path with whitespace even without containers, so whitespace is replaced here. With containers, `prepare` refuses it.
    """
    return re.sub(r"\s", "_", _named(config, project))


def _named(config: Config, project: Path) -> str:
    name = config.runtime.image or f"containers/{'gpu' if config.runtime.gpus else 'cpu'}.sif"
    return name if "://" in name else str(project / name)


def identity(name: str) -> str:
    """What pins an image: the sha256 of a file, or a URI as it is (with its digest, if it has one).

    Hashing gigabytes takes seconds, and each job of a cluster reads the workflow again. So the hash is kept beside the image, with the
    image's size and time. Raises CardproofError if the file is missing or cannot be read.
    """
    if "://" in name:
        return name
    path = Path(name)
    if path.is_dir():  # a sandbox: an unpacked image, for building and debugging
        return f"folder {path}"
    try:
        stat = path.stat()
    except OSError:
        raise CardproofError(
            f"runtime.image: {name} does not exist.",
            f"build it: make container{' IMAGE=gpu' if path.name.startswith('gpu') else ''}; or name another in runtime.image.",
        ) from None
    now = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    kept = path.with_name(f"{path.name}.json")
    try:
        row = json.loads(kept.read_text())
        if {key: row[key] for key in now} == now:
            return f"sha256:{row['sha256']}"
    except (OSError, ValueError, KeyError, TypeError):
        pass
    digest = sha256_file(path)
    if os.access(path.parent, os.W_OK):
        write_json(kept, {"sha256": digest, **now})
    return f"sha256:{digest}"


def prepare(config: Config, project: Path, environment: MutableMapping[str, str] | None = None) -> str:
    """Prepare `environment` (by default this process's) for jobs in containers, and return the image's identity.

    Raises CardproofError if the image or the command apptainer (or singularity) is missing.
    """
    environment = os.environ if environment is None else environment
    if not any(shutil.which(name, path=environment.get("PATH")) for name in ("apptainer", "singularity")):
        raise CardproofError(
            "You asked for containers, but neither apptainer nor singularity is on PATH.",
            "install Apptainer (on Debian: tools/install-apptainer.sh), or run without --use-apptainer in the environment of `make setup`.",
        )
    named = _named(config, project)
    if re.search(r"\s", named):
        raise CardproofError(
            f"runtime.image: the path {named!r} contains whitespace, which Snakemake cannot pass to Apptainer.",
            "move the image (or the checkout, for the project's own image) to a path without whitespace.",
        )
    pinned = identity(named)
    cache = Path(environment.get("HF_HOME") or Path.home() / ".cache" / "huggingface").absolute()
    cache.mkdir(parents=True, exist_ok=True)
    inside = {
        ASKED: "1",
        "HF_HOME": str(cache),
        # The checkout's code runs in the image's environment, so what runs is what the rules' fingerprints cover.
        "PYTHONPATH": str(project / "src"),
        **{name: environment[name] for name in PASSED if environment.get(name)},
    }
    environment[ASKED] = "1"
    environment.update({f"APPTAINERENV_{name}": value for name, value in inside.items()})
    binds = [part for part in environment.get("APPTAINER_BIND", "").split(",") if part]
    mirror = Path(environment.get("CARDPROOF_MIRROR", ""))
    shared = [mirror] if mirror.is_absolute() and mirror.exists() else []
    wanted = [str(path) for path in (project.absolute(), cache, *shared, *_folders(config))]
    environment["APPTAINER_BIND"] = ",".join(dict.fromkeys([*binds, *wanted]))
    if NVIDIA.exists():
        environment["APPTAINER_NV"] = "1"
    return pinned


def _folders(config: Config) -> Iterator[Path]:
    """Folders outside the project that the configuration names, if they exist; of a replay, whose settings may be anyone's, its archive."""
    if config.replay:
        return iter([Path(config.replay).absolute()])
    named = [config.benchmark.path if config.benchmark.source == "folder" else None, config.verifier.ragtruth]
    named += [source.id for source in (config.model, config.verifier) if source.source == "folder"]
    named += [arm.id for arm in config.arms.values() if arm.adapter == "folder"]
    return (Path(name).absolute() for name in named if name and Path(name).exists())
