"""The project's own files agree with one another: locks, environments, generated files, rules, style."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import cardproof
from cardproof.acquire.wheels import WHEELS
from cardproof.config import reading, texts
from helpers.places import ROOT

BIN = Path(sys.executable).parent
ENVS = ROOT / "envs"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
GENERATED = "they differ; `make generated` writes it again"
LOCK = "`make lock` resolves the lock files anew"

PIN = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[a-z,]+\])?==([A-Za-z0-9.]+)")
RULE = re.compile(r"^(?:rule|checkpoint) (\w+):$", re.MULTILINE)
# Where packages and images are fetched from is each machine's own affair, and its paths are nobody else's.
INSTALLING = ("pyproject.toml", "Makefile", ".ci/", ".pre-commit-config.yaml", "containers/", "envs/", "tools/", "docs/environments.md")
HOST = re.compile(r"\w+://|--(?:extra-)?index-url|--find-links|^\s*(?:BASE=|From: *)[\w.-]+\.[\w.-]+/", re.MULTILINE)
MACHINE_PATH = re.compile(r"(?<![\w.}/:-])/(?:work|tmp|home|root|mnt|scratch|Users)/\w")


def tool(name: str) -> ModuleType:
    """A script of tools/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


lock = tool("lock")


def pins(requirements: list[str]) -> dict[str, str]:
    """Canonical name -> version of requirements; every one must be an exact pin."""
    found = {}
    for requirement in requirements:
        if requirement.startswith("cardproof["):
            continue
        match = PIN.fullmatch(requirement)
        assert match, f"{requirement!r} is no exact pin (name==version)"
        found[lock.canonical(match[1])] = match[2]
    return found


def lock_lines(name: str) -> list[str]:
    return [line for line in (ENVS / name).read_text().splitlines() if line and not line.startswith("#")]


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


@pytest.mark.parametrize(
    ("file", "extras"), [("lock-cpu.txt", ("cpu", "report", "slurm", "dev")), ("lock-gpu.txt", ("cpu", "gpu", "report", "slurm", "dev"))]
)
def test_a_lock_holds_what_pyproject_pins(file: str, extras: tuple[str, ...]) -> None:
    lines = lock_lines(file)
    if "-r lock-cpu.txt" in lines:
        lines = [*lock_lines("lock-cpu.txt"), *(line for line in lines if line != "-r lock-cpu.txt")]
    locked = pins(lines)
    assert len(locked) == len(lines), f"envs/{file} names a package twice; {LOCK}"
    wanted = pins([*PROJECT["dependencies"], *(requirement for extra in extras for requirement in EXTRAS[extra])])
    found = {name: locked.get(name) for name in wanted}
    assert found == wanted, f"envs/{file} is not what pyproject.toml pins; {LOCK}"


def test_the_lock_is_what_is_installed() -> None:
    """`make setup` installed the lock, so the tests test those versions."""
    locked = pins(lock_lines("lock-cpu.txt"))
    installed = {lock.canonical(d.name): d.version.partition("+")[0] for d in importlib.metadata.distributions()}
    wrong = {name: (version, installed.get(name)) for name, version in locked.items() if installed.get(name) != version}
    assert not wrong, f"(locked, installed): {wrong}; `make setup` installs the lock"


def test_data_wheels_are_those_the_code_names_and_are_hashed() -> None:
    lines = lock_lines("lock-data.txt")
    assert all(re.fullmatch(r"\S+==\S+ --hash=sha256:[0-9a-f]{64}", line) for line in lines)
    named = {line.split()[0] for line in lines}
    assert named == set(lock.DATA), LOCK
    assert {requirement for _, _, _, requirement in WHEELS.values()} < named
    in_extras = pins([r for extra in EXTRAS.values() for r in extra] + PROJECT["dependencies"])
    assert not set(in_extras) & set(pins(sorted(named))), "the data wheels' own requirements must not be resolved"


def test_torch_is_installed_first_and_at_the_locked_version() -> None:
    torch = f"torch=={pins(lock_lines('lock-cpu.txt'))['torch']}"
    for path in (ROOT / "Makefile", ROOT / "containers/cpu.def", ROOT / "containers/gpu.def"):
        steps = [step for step in re.findall(r"\S*pip install .*", path.read_text()) if not step.startswith("$(VLLM)")]
        assert torch in steps[0], path
        assert [bool(re.search(r"--no-deps", s)) for s in steps] == [False, False, True, True], path
        assert "--require-hashes -r envs/lock-data.txt" in steps[2], path
    vllm = re.findall(r"\$\(VLLM\)/bin/pip install .*", (ROOT / "Makefile").read_text())
    assert torch in vllm[0]
    assert all("--no-deps" in step for step in vllm[1:])
    assert not [name for name in pins(lock_lines("lock-vllm.txt")) if name.startswith(("torch", "nvidia"))], LOCK
    assert not pins(lock_lines("lock-vllm-gpu.txt")).keys() & lock.WITH_TORCH, LOCK


@pytest.mark.parametrize("file", lock.VLLM)
def test_an_environment_with_vllm_has_the_projects_versions(file: str) -> None:
    """Except for the few of which vLLM requires older ones: samples of both engines are read and written by the same packages."""
    held, locked = pins(lock_lines("lock-cpu.txt")), pins(lock_lines(file))
    name, version = lock.VLLM[file].split("==")
    assert locked[name] == version
    assert {"transformers", "bitsandbytes", "pydantic"} <= locked.keys()
    assert {k for k in locked.keys() & held.keys() if locked[k] != held[k]} <= lock.OLDER, LOCK


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_conda_files_and_containers_install_the_lock(kind: str) -> None:
    environment = yaml.safe_load((ENVS / f"{kind}.yaml").read_text())
    python, _, pip = environment["dependencies"]
    assert pip == {"pip": [f"-r lock-{kind}.txt"]}
    version = python.removeprefix("python=")
    assert PROJECT["requires-python"].startswith(f">={version},")
    definition = (ROOT / "containers" / f"{kind}.def").read_text()
    assert f"BASE=python:{version}." in definition
    assert f"-r envs/lock-{kind}.txt" in definition
    assert f"VERSION={cardproof.__version__}\n" in definition


def test_the_citation_names_the_version() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == cardproof.__version__


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
        assert not given & {"run", "script", "notebook", "wrapper", "template_engine"}, f"{name} does not use `shell: cardproof VERB`"


# --- text and style ---------------------------------------------------------------------------------------------------


def found_in_tracked(pattern: re.Pattern[str], under: tuple[str, ...] = ("",)) -> list[str]:
    """`file: match` for every match in a tracked text file below one of the given paths."""
    names = [(path.relative_to(ROOT).as_posix(), text_of(path)) for path in tracked()]
    return [f"{name}: {m[0]!r}" for name, text in names if text and name.startswith(under) for m in pattern.finditer(text)]


def test_what_installs_names_no_registry_host() -> None:
    assert not found_in_tracked(HOST, INSTALLING)


def test_no_path_of_one_machine_is_written_down() -> None:
    assert not found_in_tracked(MACHINE_PATH)


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("mypy",),
        ("snakefmt", "--check", "Snakefile", "rules"),
    ],
    ids=" ".join,
)
def test_style(command: tuple[str, ...]) -> None:
    done = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"`make lint` shows it:\n{done.stdout}{done.stderr}"


def test_make_lists_its_targets() -> None:
    shown = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    targets = set(re.findall(r"^  make ([\w-]+) +\S", shown, re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony and targets == set(phony[1].split())
