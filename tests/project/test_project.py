"""The project's own files agree with one another: locks, environments, generated files, rules, style."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.utils import canonicalize_name

import cardproof
from cardproof.acquire.wheels import WHEELS
from cardproof.config import reading, texts
from helpers.places import ROOT

BIN = Path(sys.executable).parent
ENVS = ROOT / "envs"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
GENERATED = "they differ; `make generated` writes it again"
LOCK = "`make lock` resolves the lock files"

PIN = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[a-z,]+\])?==([A-Za-z0-9.+]+)")
LOCKS = sorted((ROOT / "envs").glob("lock-*.txt"))
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
# The one index that is named: PyPI has no build of torch for CPUs.
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
RULE = re.compile(r"^(?:rule|checkpoint) (\w+):$", re.MULTILINE)
# Where packages and images are fetched from is each machine's own affair, and its paths are nobody else's.
INSTALLING = ("pyproject.toml", "Makefile", ".ci/", ".pre-commit-config.yaml", "containers/", "envs/", "tools/", "docs/environments.md")
HOST = re.compile(r"\w+://|--(?:extra-)?index-url|--find-links|^\s*(?:BASE=|From: *)[\w.-]+\.[\w.-]+/", re.MULTILINE)
MACHINE_PATH = re.compile(r"(?<![\w.}/:-])/(?:work|tmp|home|root|mnt|scratch|Users)/\w")


def pins(requirements: list[str]) -> dict[str, str]:
    """Canonical name -> version of requirements; every one must be an exact pin."""
    found = {}
    for requirement in requirements:
        if requirement.startswith("cardproof["):
            continue
        match = PIN.fullmatch(requirement)
        assert match, f"{requirement!r} is no exact pin (name==version)"
        found[canonicalize_name(match[1])] = match[2]
    return found


def lock_lines(name: str) -> list[str]:
    """The requirements of a file in envs/, without hashes and comments."""
    lines = (ENVS / name).read_text().replace("\\\n", "").splitlines()
    return [line.split(" --hash=")[0].strip() for line in lines if line and not line.startswith("#")]


def locked(name: str) -> dict[str, str]:
    return pins(lock_lines(name))


def tracked() -> list[Path]:
    """Files that git tracks: a user's own overlay or archive in the checkout is none of the project's."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def text_of(path: Path) -> str | None:
    """The text of a file, or None where it is binary."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


# --- dependencies -----------------------------------------------------------------------------------------------------


def test_the_locks_hold_what_pyproject_pins() -> None:
    lines = [*lock_lines("lock-project.txt"), *lock_lines("lock-torch-cuda.txt")]
    found = pins(lines)
    assert len(found) == len(lines), f"a package is named twice; {LOCK}"
    wanted = pins([*PROJECT["dependencies"], *(requirement for extra in EXTRAS.values() for requirement in extra)])
    assert {name: found.get(name) for name in wanted} == wanted, f"envs/ is not what pyproject.toml pins; {LOCK}"
    assert locked("lock-torch-cpu.txt") == {"torch": f"{wanted['torch']}+cpu"}, LOCK


def test_the_lock_is_what_is_installed() -> None:
    """`make setup` installed the lock, so the tests test those versions."""
    installed = {canonicalize_name(d.name): d.version for d in importlib.metadata.distributions()}
    wrong = {name: (version, installed.get(name)) for name, version in locked("lock-project.txt").items() if installed.get(name) != version}
    assert not wrong, f"(locked, installed): {wrong}; `make setup` installs the lock"
    assert installed["torch"].split("+")[0] == locked("lock-torch-cuda.txt")["torch"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_every_package_of_a_lock_has_hashes(lock: Path) -> None:
    requirements = [line for line in lock.read_text().replace("\\\n", "").splitlines() if line and not line.startswith("#")]
    assert requirements and all(HASH.search(line) and "==" in line for line in requirements), LOCK


def test_what_installs_compares_hashes() -> None:
    """Everything is installed by envs/install.sh; `pip install` elsewhere is for the project itself."""
    assert "--no-deps --require-hashes" in (ENVS / "install.sh").read_text()
    for name in ("Makefile", "containers/cpu.def", "containers/gpu.def", "tools/container.sh"):
        text = (ROOT / name).read_text()
        assert re.search(r"envs/install\.sh \S+,project,data |envs/install\.sh \"\S+,project,data\" ", text), name
        plain = [line.strip() for line in re.findall(r"^.*pip (?:install|wheel).*$", text, re.MULTILINE) if "envs/install.sh" not in line]
        assert all("--no-deps" in line and ("-e ." in line or "--no-index" in line) for line in plain), (name, plain)


def test_data_wheels_are_those_the_code_names() -> None:
    assert sorted(lock_lines("lock-data.txt")) == sorted(lock_lines("data.in")), LOCK
    named = set(lock_lines("lock-data.txt"))
    assert {requirement for _, _, _, requirement in WHEELS.values()} < named
    in_extras = pins([r for extra in EXTRAS.values() for r in extra] + PROJECT["dependencies"])
    assert not set(in_extras) & set(pins(sorted(named))), "the data wheels' own requirements must not be resolved"


@pytest.mark.parametrize("build", ["cpu", "gpu"])
def test_an_environment_with_vllm_has_the_projects_versions(build: str) -> None:
    """Except for the few of which vLLM requires older ones: samples of both engines are read and written by the same packages."""
    held, found = locked("lock-project.txt"), locked("lock-vllm.txt" if build == "cpu" else "lock-vllm-gpu.txt")
    ((name, version),) = pins([line for line in lock_lines(f"vllm-{build}.in") if "==" in line]).items()
    assert found[name] == version
    assert {"transformers", "bitsandbytes", "pydantic"} <= found.keys()
    assert {k for k in found.keys() & held.keys() if found[k] != held[k]} <= set(lock_lines("vllm-older.txt")), LOCK
    with_torch = {k for k in found if k.startswith(("torch", "nvidia", "triton"))}
    assert found["torch"] == locked("lock-torch-cuda.txt")["torch"] if build == "gpu" else not with_torch, LOCK


@pytest.mark.parametrize(("kind", "torch"), [("cpu", "torch-cpu"), ("gpu", "torch-cuda")])
def test_conda_files_and_containers_install_the_lock(kind: str, torch: str) -> None:
    environment = yaml.safe_load((ENVS / f"{kind}.yaml").read_text())
    python, _ = environment["dependencies"]
    assert f'envs/install.sh" {torch},project,data pip' in (ENVS / f"{kind}.post-deploy.sh").read_text()
    locks = b"".join((ENVS / f"lock-{name}.txt").read_bytes() for name in (torch, "project", "data"))
    assert f"# locks sha256 {hashlib.sha256(locks).hexdigest()}\n" in (ENVS / f"{kind}.yaml").read_text(), LOCK
    version = python.removeprefix("python=")
    assert PROJECT["requires-python"].startswith(f">={version},")
    definition = (ROOT / "containers" / f"{kind}.def").read_text()
    assert f"BASE=python:{version}." in definition
    assert f"envs/install.sh {torch},project,data" in definition
    assert f"VERSION={cardproof.__version__}\n" in definition


def test_the_citation_names_the_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    deposit = json.loads((ROOT / ".zenodo.json").read_text())
    assert citation["version"] == deposit["version"] == cardproof.__version__
    assert [author["name"] for author in citation["authors"]] == [creator["name"] for creator in deposit["creators"]]
    for of_citation, of_deposit in (("title", "title"), ("license", "license"), ("keywords", "keywords")):
        assert citation[of_citation] == deposit[of_deposit]


# --- generated files --------------------------------------------------------------------------------------------------


def verb(*arguments: str) -> str:
    return subprocess.run([BIN / "cardproof", *arguments], check=True, capture_output=True, text=True).stdout


def test_config_yaml_is_in_sync() -> None:
    assert (ROOT / "config.yaml").read_text() == verb("config", "--defaults"), f"config.yaml and the model's defaults: {GENERATED}"


def test_config_schema_is_in_sync() -> None:
    stored = json.loads((ROOT / "schemas/config.schema.json").read_text())
    assert stored == texts.schema(), f"schemas/config.schema.json and the model: {GENERATED}"


def test_config_page_is_in_sync() -> None:
    page = subprocess.run([sys.executable, ROOT / "tools/config_doc.py"], check=True, capture_output=True, text=True).stdout
    assert (ROOT / "docs/config.md").read_text() == page, f"docs/config.md and the model: {GENERATED}"


OVERLAYS = sorted(
    p.name for p in (tracked() if (ROOT / ".git").exists() else (ROOT / "config").glob("*.yaml")) if p.parent.name == "config"
)


@pytest.mark.parametrize("overlay", [name for name in OVERLAYS if name.endswith(".yaml")])
def test_overlays_are_valid(overlay: str) -> None:
    reading.load(ROOT / "config.yaml", ROOT / "config" / overlay)


# --- rules ------------------------------------------------------------------------------------------------------------


def rules() -> list[tuple[str, str]]:
    """(file: rule, its text) of every rule under rules/."""
    found = []
    for path in sorted((ROOT / "rules").glob("*.smk")):
        text = path.read_text()
        starts = [*RULE.finditer(text)]
        for start, after in zip(starts, [*starts[1:], None][: len(starts)], strict=True):
            found.append((f"{path.name}: {start[1]}", text[start.end() : after.start() if after else len(text)]))
    return found


def test_every_rule_logs_says_what_it_does_and_runs_one_command() -> None:
    assert len(rules()) > 15
    for name, text in rules():
        given = set(re.findall(r"^    (\w+):", text, re.MULTILINE))
        assert {"output", "log", "message", "shell"} <= given, f"{name} lacks {{'output', 'log', 'message', 'shell'}} - {given}"
        if not text.startswith("with:"):
            assert "conda" in given, f"{name} names no environment for --sdm conda"
        assert not given & {"run", "script", "notebook", "wrapper", "template_engine"}, f"{name} does not use `shell: cardproof VERB`"


# --- text and style ---------------------------------------------------------------------------------------------------


def found_in_tracked(pattern: re.Pattern[str], under: tuple[str, ...] = ("",)) -> list[str]:
    """`file: match` for every match in a tracked text file below one of the given paths."""
    names = [(path.relative_to(ROOT).as_posix(), text_of(path)) for path in tracked()]
    return [f"{name}: {m[0]!r}" for name, text in names if text and name.startswith(under) for m in pattern.finditer(text)]


def test_what_installs_names_no_registry_host() -> None:
    found = found_in_tracked(HOST, INSTALLING)
    assert found == ["envs/install.sh: 'https://'"]
    assert found_in_tracked(re.compile(r"https://[^\s'\"`]+"), ("envs/",)) == [f"envs/install.sh: {CPU_INDEX!r}"]


def test_no_path_of_one_machine_is_written_down() -> None:
    assert not found_in_tracked(MACHINE_PATH)


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("mypy",),
        ("snakefmt", "--check", "Snakefile", "rules", "workflow"),
        (
            "shellcheck",
            "-x",
            ".ci/run",
            *(f"{p.parent.name}/{p.name}" for folder in ("tools", "envs") for p in sorted((ROOT / folder).glob("*.sh"))),
        ),
        ("reuse", "lint"),
    ],
    ids=lambda command: command[0] if command[0] != "ruff" else " ".join(command),
)
def test_style(command: tuple[str, ...]) -> None:
    done = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"`make lint` shows it:\n{done.stdout}{done.stderr}"


def test_make_lists_its_targets() -> None:
    shown = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    targets = set(re.findall(r"^  make ([\w-]+) +\S", shown, re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony and targets == set(phony[1].split())


def test_hosted_ci_runs_what_ci_runs() -> None:
    """Each command of .ci/run, and the style checks."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    hosted = {step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step}
    commands = [line.split(" ||")[0] for line in (ROOT / ".ci/run").read_text().splitlines() if line.startswith(("make ", "tools/"))]
    assert len(commands) >= 4
    assert all(any(run.startswith(command) for run in hosted) for command in [*commands, "make lint"])
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 90
        assert all(re.search(r"@[0-9a-f]{40}$", step["uses"]) for step in job["steps"] if "uses" in step), "actions are pinned by commit"
