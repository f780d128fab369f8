"""Does this machine have what a run needs? The checks take seconds, and come before anything is fetched or computed."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from cardproof.acquire import hub
from cardproof.acquire.sources import hub_sources
from cardproof.config.settings import Config
from cardproof.contract import asking
from cardproof.errors import CardproofError
from cardproof.files import existing
from cardproof.machine import containers, gpus
from cardproof.machine.plan import GB, BeyondContext, Figure, disk_need, peak, requirements, with_margin
from cardproof.machine.threads import processors, too_many

INSIDE = ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER")
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH")
DEMO = "`make demo` runs the whole method on a CPU, on embedded data and models, in minutes"


@dataclass(frozen=True)
class Check:
    """One thing that was checked."""

    name: str
    status: Literal["ok", "warning", "failed"]
    found: str
    """What is there: the end of a sentence."""
    needed: str = ""
    """What the run would need instead."""


@dataclass(frozen=True)
class Gpu:
    """A device: its name, and its memory in bytes."""

    name: str
    memory: int
    free: int


def preflight(config: Config, run_dir: Path, templates: Path, claims: Path) -> list[Check]:
    """Every check of a machine for one run. It writes nothing, fetches nothing and prints no token."""
    figures, unknown = _requirements(config, run_dir, templates, claims)
    checks = [*_versions(), _memory(config), _threads(config), *([unknown] if unknown else [])]
    if config.runtime.gpus:
        checks = [*_gpus(config, with_margin(peak(figures)) if figures else None), *checks]
    checks += [
        _disk(run_dir, figures),
        *_folders(config),
        *_prompts(config, templates),
        *_engine(config),
        *_revisions(config),
        *_cache(config, run_dir, figures),
        *_container(),
    ]
    return checks


def _prompts(config: Config, templates: Path) -> list[Check]:
    """Whether a question can be put at all: with these templates, and with the worked examples that the configuration names."""
    try:
        for contract in (True, False):
            asking.render("", [], contract, templates, config.contract.examples(candidates=True))
    except CardproofError as e:
        return [Check("prompts", "failed", e.sentence.rstrip("."), e.hint.rstrip("."))]
    return []


def _requirements(config: Config, run_dir: Path, templates: Path, claims: Path) -> tuple[list[Figure], Check | None]:
    try:
        return requirements(config, run_dir, templates, claims), None
    except BeyondContext as e:
        return [], Check("context", "failed", e.sentence.rstrip("."), e.hint.rstrip("."))
    except CardproofError as e:
        return [], Check("plan", "warning", f"the memory and disk that the run needs are unknown: {e.sentence}", e.hint)


def _gpus(config: Config, need: float | None) -> list[Check]:
    """The GPUs: first NVIDIA's driver, because asking torch takes seconds; then those that torch can use."""
    size = f" with {need / GB:.0f} GB of free memory (estimated, with a tenth to spare; `cardproof plan` shows how)" if need else ""
    wanted = f"{_several(config.runtime.gpus, 'NVIDIA GPU')}{size}"
    inside = any(os.environ.get(name) for name in INSIDE)
    if not shutil.which("nvidia-smi") and not Path("/dev/nvidiactl").exists():
        more = "; in a container, Apptainer's option --nv (snakemake --apptainer-args=--nv)" if inside else ""
        return [Check("gpu", "failed", "there is no NVIDIA GPU", wanted + more)]
    try:
        import torch
    except ImportError:
        return [Check("gpu", "failed", "torch is not installed", "`make setup TORCH=cuda`")]
    if torch.version.cuda is None:
        return [Check("gpu", "failed", f"torch {torch.__version__} is a build without CUDA", "`make setup TORCH=cuda`")]
    try:
        old = judge_driver(gpus.cards(), torch.version.cuda)
    except CardproofError as e:
        return [Check("gpu", "failed", e.sentence.rstrip("."), e.hint)]
    if old is not None:
        return [old]
    seen = []
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        seen.append(Gpu(torch.cuda.get_device_name(number), total, free))
    return [judge_gpus(seen, config.runtime.gpus, need, wanted, torch.version.cuda)]


def judge_driver(cards: Sequence[gpus.Card], cuda: str) -> Check | None:
    """The failed check of a driver that is too old for torch's version of CUDA, with both numbers; None if it will do."""
    needed = gpus.needed_driver(cuda)
    old = next((c.driver for c in cards if needed and c.driver.split(".")[0].isdigit() and int(c.driver.split(".")[0]) < needed), None)
    if old is None:
        return None
    return Check("gpu", "failed", f"NVIDIA's driver is version {old}, and torch's CUDA {cuda} needs R{needed} or newer", "a newer driver")


def judge_gpus(seen: Sequence[Gpu], count: int, need: float | None, wanted: str, cuda: str) -> Check:
    """Whether torch sees enough GPUs; `need`: bytes of free memory on each, None if unknown."""
    names = ", ".join(f"{g.name} with {g.free / GB:.0f} of {g.memory / GB:.0f} GB free" for g in seen) or "none"
    large = [g for g in seen if need is None or g.free >= need]
    if len(large) >= count:
        return Check("gpu", "ok", f"{names} (CUDA {cuda})")
    short = "torch sees no GPU (CUDA_VISIBLE_DEVICES, driver)" if not seen else f"the GPUs are too few or too small: {names}"
    return Check("gpu", "failed", short, f"{wanted}; smaller sampling.rows and training.max_tokens need less")


def _memory(config: Config) -> Check:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    need = config.runtime.memory_gb
    status: Literal["ok", "warning"] = "ok" if total >= need * GB else "warning"
    return Check("memory", status, f"the machine has {total / GB:.0f} GB of memory", f"model steps ask for {need} GB (runtime.memory_gb)")


def _threads(config: Config) -> Check:
    wrong = too_many(config.runtime.threads)
    if wrong:
        return Check("threads", "warning", *wrong)
    return Check("threads", "ok", f"each model step runs {config.runtime.threads} threads of {processors()} processors")


def _disk(run_dir: Path, figures: Sequence[Figure]) -> Check:
    there = existing(run_dir)
    free, need = shutil.disk_usage(there).free, disk_need(figures)
    if not os.access(there, os.W_OK):
        return Check("disk", "failed", f"{there} cannot be written to", "a folder of your own to run in (snakemake --directory)")
    status: Literal["ok", "failed"] = "ok" if free >= need else "failed"
    return Check(
        "disk",
        status,
        f"{free / GB:.0f} GB are free for {run_dir}",
        f"{need / GB:.0f} GB for weights, adapters and checkpoints (`cardproof plan` shows each)",
    )


def _folders(config: Config) -> list[Check]:
    """Whether the local folders that the configuration names exist."""
    named: dict[str, tuple[str, str | None]] = {
        "benchmark.path": (config.benchmark.source, config.benchmark.path),
        "model.id": (config.model.source, config.model.id),
        "verifier.id": (config.verifier.source, config.verifier.id),
        **{f"arms.{name}.id": (arm.adapter, arm.id) for name, arm in config.arms.items()},
        "verifier.ragtruth": ("folder" if config.verifier.ragtruth else "none", config.verifier.ragtruth),
    }
    local = {setting: Path(str(place)) for setting, (source, place) in named.items() if source == "folder"}
    missing = [f"{setting} {place}" for setting, place in local.items() if not place.is_dir()]
    if missing:
        return [
            Check(
                "folders",
                "failed",
                f"these folders do not exist: {', '.join(missing)}",
                "folders that exist, relative to where the run starts",
            )
        ]
    return [Check("folders", "ok", f"all {len(local)} that the configuration names exist")] if local else []


def _engine(config: Config) -> list[Check]:
    """Whether vLLM, if it samples the replies, is installed for its interpreter. It is looked up, because importing takes seconds."""
    if config.sampling.backend != "vllm":
        return []
    python = shutil.which(config.sampling.python or sys.executable)
    needed = "vLLM for that interpreter: `make setup-vllm`, with sampling.python .venv-vllm/bin/python; or sampling.backend: transformers"
    if python is None:
        return [Check("vllm", "failed", f"sampling.python: the interpreter {config.sampling.python} does not exist", needed)]
    look = "import importlib.util as u, sys; sys.exit(u.find_spec('vllm') is None or u.find_spec('cardproof') is None)"
    if subprocess.run([python, "-c", look], check=False).returncode:
        return [Check("vllm", "failed", f"{python} lacks vLLM or cardproof", needed)]
    return [Check("vllm", "ok", f"installed for {python}")]


def _revisions(config: Config) -> list[Check]:
    sources = hub_sources(config)
    loose = [f"{name}.revision" for name, (_, revision) in sources.items() if not hub.pinned(revision)]
    if "benchmark.revision" in loose:
        needed = "a commit, the 40 hexadecimal digits that the data set's page on the Hub shows"
        return [Check("revisions", "failed", f"benchmark.revision is {config.benchmark.revision!r:.80}, not a commit", needed)]
    if loose:
        return [
            Check(
                "revisions",
                "warning",
                f"not pinned: {', '.join(loose)}",
                "a commit for each; without one the run takes the newest and records it",
            )
        ]
    return [Check("revisions", "ok", f"all {len(sources)} pinned")] if sources else []


def _cache(config: Config, run_dir: Path, figures: Sequence[Figure]) -> list[Check]:
    """What the run still has to take from the hub or a mirror, whether it can, and whether there is a token (but never which)."""
    places = {"benchmark": run_dir / "benchmark" / "corpus.jsonl", "model": run_dir / "models" / "base"}
    places["verifier"] = run_dir / "models" / "verifier"
    places |= {f"arms.{name}": run_dir / "adapters" / name for name in config.arms}
    missing = {name: source for name, source in hub_sources(config).items() if not places[name].exists()}
    size = next((f" ({f.value / GB:.0f} GB)" for f in figures if f.section == "downloads" and f.name == "all"), "")
    if not missing:
        return [Check("cache", "ok", "the run has nothing to fetch")]
    if mirror := os.environ.get(hub.MIRROR):
        return [_mirror(mirror, missing, size)]
    what = f"the run fetches from the hub: {', '.join(missing)}{size}"
    if os.environ.get("HF_HUB_OFFLINE", "").strip().upper() in {"1", "ON", "YES", "TRUE"}:
        name, revision = missing.get("benchmark", ("", None))
        if missing.keys() == {"benchmark"} and hub.from_cache(name, str(revision), "dataset"):
            return [Check("cache", "ok", "the run takes the benchmark from the hub library's cache")]
        needed = f"the network (unset HF_HUB_OFFLINE), a mirror ({hub.MIRROR}), or local folders"
        allowed = Check("cache", "failed", f"{what}, but HF_HUB_OFFLINE is set", needed)
    else:
        allowed = Check("cache", "ok", what)
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    token = any(os.environ.get(name) for name in TOKENS) or (home / "token").is_file()
    return [allowed, Check("token", "ok", "present" if token else "none: only gated or private repositories need one")]


def _mirror(mirror: str, missing: dict[str, tuple[str, str | None]], size: str) -> Check:
    """Whether a mirror has all that the run still has to take; then neither network nor token is needed."""
    for setting, (name, revision) in missing.items():
        try:
            hub.mirrored(name, revision if hub.pinned(revision) else None, "dataset" if setting == "benchmark" else "model")
        except CardproofError as e:
            return Check("cache", "failed", f"{setting}: {e.sentence.rstrip('.')}", e.hint.rstrip("."))
    return Check("cache", "ok", f"the run copies from the mirror {mirror}: {', '.join(missing)}{size}")


def _container() -> list[Check]:
    if not os.environ.get(containers.ASKED):
        return []
    inside = next((os.environ[name] for name in INSIDE if os.environ.get(name)), None)
    if inside:
        return [Check("container", "ok", f"running in {Path(inside).name}")]
    runtime = shutil.which("apptainer") or shutil.which("singularity")
    if not runtime:
        return [Check("container", "failed", "you asked for containers, but Apptainer is missing", "Apptainer, or no --use-apptainer")]
    said = subprocess.run([runtime, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    return [Check("container", "ok", said or runtime)]


def _versions() -> Iterable[Check]:
    """Compare the installed packages, including those of the model steps, with the project's pins."""
    pins = {}
    try:
        declared = importlib.metadata.requires("cardproof") or []
    except importlib.metadata.PackageNotFoundError:
        yield Check(
            "versions", "warning", "cardproof is not installed as a package, so its pins are unknown", "`pip install --no-deps -e .`"
        )
        return
    for requirement in declared:
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;]+)(?:\s*;\s*extra == [\"']([^\"']+)[\"'])?", requirement)
        if match and match[3] in {None, "cpu", "report"}:
            pins[match[1]] = match[2]
    missing, other = [], []
    for name, pin in pins.items():
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
            continue
        if version.split("+")[0] != pin:
            other.append(f"{name} {version} (pinned: {pin})")
    if missing:
        yield Check("versions", "failed", f"not installed: {', '.join(missing)}", "`make setup`, or the packages of envs/lock-project.txt")
    elif other:
        yield Check(
            "versions",
            "warning",
            f"versions differ from the pins: {', '.join(other)}",
            "`make setup`; results may differ in their last digits",
        )
    else:
        yield Check("versions", "ok", f"Python {platform.python_version()} and {len(pins)} packages as pinned")


def raise_for(config: Config, checks: Sequence[Check]) -> None:
    """CardproofError if a check failed: one sentence that says what is wrong, and what the run would need instead."""
    failed = [c for c in checks if c.status == "failed"]
    if not failed:
        return
    without_gpu = f". Without a GPU: {DEMO}." if any(c.name == "gpu" for c in failed) else "."
    raise CardproofError(
        f"this machine cannot do the run {config.run!r}: {'; '.join(c.found for c in failed)}.",
        f"it would need {'; and '.join(c.needed for c in failed)}{without_gpu}",
    )


def as_json(config: Config, checks: Sequence[Check]) -> dict[str, Any]:
    """The checks as JSON values."""
    passed = not any(c.status == "failed" for c in checks)
    return {"run": config.run, "scale": config.scale, "passed": passed, "checks": [asdict(c) for c in checks]}


def as_text(checks: Sequence[Check]) -> str:
    """The checks for a terminal, one per line."""
    return "\n".join(f"{c.status:<8} {c.name:<10} {c.found}" + (f" [{c.needed}]" if c.needed else "") for c in checks)


def warn(checks: Sequence[Check]) -> None:
    """Print the warnings to stderr."""
    for c in checks:
        if c.status == "warning":
            print(f"cardproof: warning: {c.name}: {c.found}. Better: {c.needed}.", file=sys.stderr)


def _several(number: int, what: str) -> str:
    return f"one {what}" if number == 1 else f"{number} {what}s"
