"""The hub's token comes from the environment alone, and stands in no file that a run writes: whole steps against a hub that asks for it."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from helpers.hub_server import Hub, serve
from helpers.places import ROOT
from helpers.tiny_qwen3 import tiny_benchmark, write_benchmark, write_tiny_adapter, write_tiny_qwen3
from helpers.workflow import PATIENCE

SECRET = "hf_thisisasecretthatmustnotbewritten"
RUN = Path("results/secret")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub that answers nobody without the token."""
    base = tmp_path_factory.mktemp("hub")
    data = tiny_benchmark()
    model = write_tiny_qwen3(base / "model", data)
    with serve() as found:
        found.token = SECRET
        found.folders |= {
            ("models", "team/tiny"): model,
            ("models", "team/adapter"): write_tiny_adapter(base / "adapter", model, rank=32),
            ("datasets", "team/bench"): write_benchmark(base / "data", data),
        }
        yield found


def workflow(folder: Path, hub: Hub, token: str) -> subprocess.CompletedProcess[str]:
    """What a run takes from the hub, and what is made of it without a model: preflight, fetching, split, prompts, audit."""
    overlay = {
        "run": "secret",
        "scale": "embedded",
        "benchmark": {"id": "team/bench", "revision": hub.commit, "sha256": {"qa.jsonl": None, "corpus.jsonl": None}},
        "model": {"id": "team/tiny", "revision": None},
        "verifier": {"source": "embedded", "id": "minilm-l6", "granularity": "sentence", "max_tokens": 128},
        "arms": {"hybrid": {"adapter": "hub", "id": "team/adapter"}},
        "runtime": {"gpus": 0, "threads": 1, "memory_gb": 2},
    }
    (folder / "secret.yaml").write_text(yaml.safe_dump(overlay))
    targets = [str(RUN / name) for name in ("models/base", "adapters/hybrid", "prompts/clean.jsonl", "prompts/train.jsonl", "audit.json")]
    command = ["snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder), "--cores", "2", "--verbose"]
    command += ["--configfile", str(ROOT / "config.yaml"), str(folder / "secret.yaml"), "--", *targets]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "CARDPROOF_"))}
    network = {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "cache"), "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": token}
    environment = {**clean, **network, "PATH": f"{Path(sys.executable).parent}:{clean['PATH']}", "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE)


def written(folder: Path, secret: str) -> list[str]:
    """Files that hold the secret, as it is or in base64."""
    forms = {secret.encode(), *(base64.b64encode(b"x" * n + secret.encode())[4:-4] for n in range(3))}
    return [str(p) for p in folder.rglob("*") if p.is_file() and any(form in p.read_bytes() for form in forms)]


@pytest.mark.slow
def test_no_file_of_a_run_holds_the_token(hub: Hub, tmp_path: Path) -> None:
    result = workflow(tmp_path, hub, SECRET)
    assert result.returncode == 0, (result.stdout + result.stderr)[-4000:]
    folders = {p.relative_to(tmp_path).parts[0] for p in tmp_path.rglob("*") if p.is_file()}
    assert {"results", ".snakemake"} <= folders
    for kind in ("logs", "provenance/files", "models/base", "adapters/hybrid", "revisions", "prompts", "benchmark"):
        assert list((tmp_path / RUN / kind).rglob("*")), f"nothing to look at in {kind}"
    assert SECRET not in result.stdout + result.stderr
    assert written(tmp_path, SECRET) == []


@pytest.mark.slow
def test_a_refused_token_is_not_repeated(hub: Hub, tmp_path: Path) -> None:
    wrong = SECRET.replace("secret", "mistake")
    result = workflow(tmp_path, hub, wrong)
    assert result.returncode != 0
    assert "HF_TOKEN" in result.stdout + result.stderr
    assert wrong not in result.stdout + result.stderr
    assert written(tmp_path, wrong) == []


def test_no_setting_takes_a_token() -> None:
    """A token in the configuration would be written into every run."""
    for path in [ROOT / "config.yaml", *sorted((ROOT / "config").glob("*.yaml"))]:
        assert not re.search(r"^\s*\w*(?:hf_token|api_key|secret|password)\w*\s*:", path.read_text(), re.MULTILINE | re.IGNORECASE)
