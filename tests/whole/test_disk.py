"""A full or read-only disk: one sentence that names the file, nothing half-written, and no finished work done again once there is room."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from cardproof.benchmark.prompts import prompt_hash
from cardproof.config import reading, texts
from cardproof.evidence import archive
from cardproof.files import write_rows
from cardproof.records import Document, Message, Prompt
from helpers.places import ROOT
from helpers.workflow import PATIENCE, RUN

BIN = Path(sys.executable).parent
HINT = "Hint: free space on that disk and run the same command again; finished work is kept."


def cardproof(folder: Path, arguments: Sequence[str], largest_file: int | None = None) -> subprocess.CompletedProcess[str]:
    """The command, where no file may grow beyond `largest_file` bytes: what `ulimit -f` sets, and a full disk without a disk."""

    def limit() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    command = [str(BIN / "cardproof"), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, preexec_fn=limit)


def said(result: subprocess.CompletedProcess[str], file: str) -> None:
    """The sentence, and that nothing else was said of the failure."""
    assert result.returncode == 2, result.stderr
    assert re.search(rf"^cardproof: error: \S*{re.escape(file)}: File too large\.\n{re.escape(HINT)}$", result.stderr, re.MULTILINE), (
        result.stderr
    )
    for noise in ("Traceback", "Exception ignored", "Errno"):
        assert noise not in result.stderr


def tree(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_size for p in folder.rglob("*") if p.is_file()}


# --- sampling: the expensive step -------------------------------------------------------------------------------------


def prompts(n: int) -> list[Prompt]:
    found = []
    for item in range(n):
        messages = [Message(role="user", content=f"Question {item}: may it be revoked?")]
        document = Document(id="d", text="It may not be revoked.", role="oracle")
        rest = {"question": "q", "reference": "No.", "oracle_id": "d", "oracle_present": True, "documents": [document]}
        row = {"item": item, "condition": "clean", "contract": True, "messages": messages, "prompt_hash": prompt_hash(messages, ""), **rest}
        found.append(Prompt.model_validate(row))
    return found


def test_sampling_goes_on_where_the_disk_was_full(tiny_lm: Path, tmp_path: Path) -> None:
    settings = {"conditions": {"clean": {"n": 4}}, "sampling": {"max_new_tokens": 12, "rows": 16}}
    loaded = reading.load(ROOT / "config.yaml", ROOT / "config/ci.yaml", overrides=settings)
    (tmp_path / "config.yaml").write_text(texts.to_yaml(loaded))
    write_rows(tmp_path / "prompts.jsonl", prompts(10))

    def sample(name: str, largest_file: int | None = None) -> subprocess.CompletedProcess[str]:
        files = ["--store", f"{name}/store.jsonl", "--work", "prompts.jsonl", f"{name}/samples.jsonl"]
        model = ["--config", "config.yaml", "--arm", "base", "--model", str(tiny_lm)]
        return cardproof(tmp_path, ["sample", *model, *files], largest_file)

    assert sample("whole").returncode == 0
    whole = (tmp_path / "whole/store.jsonl").read_bytes().splitlines(keepends=True)
    room = sum(map(len, whole[:6])) + 100
    said(sample("full", room), "full/store.jsonl")
    kept = (tmp_path / "full/store.jsonl").read_bytes().splitlines(keepends=True)
    assert tree(tmp_path / "full").keys() == {"store.jsonl"}
    done = [line for line in kept if line.endswith(b"\n")]
    assert len(done) >= 4
    again = sample("full")
    assert again.returncode == 0, again.stderr
    assert f"10 prompts, {len(done)} already sampled" in again.stderr
    assert (tmp_path / "full/store.jsonl").read_bytes().splitlines(keepends=True)[: len(done)] == done
    assert (tmp_path / "full/samples.jsonl").read_bytes() == (tmp_path / "whole/samples.jsonl").read_bytes()


# --- every other step that writes much --------------------------------------------------------------------------------


class Step(NamedTuple):
    """A command over the smallest run, the file that outgrows the limit first, and the limit in bytes."""

    arguments: str
    file: str
    largest_file: int


STEPS = {
    "acquire-model": Step("--source embedded --id minilm-l6 --out new/encoder", "new/encoder/model.safetensors", 1_000_000),
    "prompts": Step("CONFIG --condition clean CORPUS --questions RUN/split/eval.jsonl --out new/clean.jsonl", "new/clean.jsonl", 4000),
    "gather": Step("--out new/clean.jsonl RUN/samples/base/clean.jsonl", "new/clean.jsonl", 4000),
    "score": Step(
        "CONFIG --prompts RUN/prompts/clean.jsonl --samples RUN/samples/base/clean.jsonl --support RUN/support/base/clean.jsonl"
        " --out new/clean.parquet",
        "new/clean.parquet",
        2000,
    ),
    "train": Step(
        "CONFIG --variant grounded --examples RUN/distill/raft.jsonl --model TINY --out new/adapter --metrics new/metrics.json"
        " --work new/work",
        "new/adapter",
        20_000,
    ),
    "figures": Step("--run RUN --out new", "new/training_loss.svg", 8000),
    "archive": Step("RUN --out new/ci.tar.zst", "new/ci.tar.zst", 100_000),
}


@pytest.mark.slow
@pytest.mark.parametrize("verb", STEPS)
def test_a_file_that_has_no_room_is_named_and_nothing_is_left_of_it(verb: str, ci_run: Path, tiny_lm: Path, tmp_path: Path) -> None:
    step = STEPS[verb]
    (tmp_path / "results").symlink_to(ci_run / "results")
    (tmp_path / "new").mkdir()
    short = {"CONFIG": "--config RUN/config.yaml", "CORPUS": "--corpus RUN/benchmark/corpus.jsonl", "RUN": str(RUN), "TINY": str(tiny_lm)}
    arguments = step.arguments
    for name, meant in short.items():
        arguments = arguments.replace(name, meant)
    said(cardproof(tmp_path, [verb, *arguments.split()], step.largest_file), step.file)
    left = [name for name in tree(tmp_path / "new") if not name.startswith("work/")]
    assert not [name for name in left if name.startswith(step.file.split("/")[1]) or "/." in f"/{name}"]


# --- the whole workflow -----------------------------------------------------------------------------------------------


needs_mounts = pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0,
    reason="mounting a small disk needs root and mount namespaces",
)
MOUNTED = """
set -u
again() { snakemake --snakefile "$ROOT/Snakefile" --directory . --cores 2 --config "replay=$ARCHIVE" -- claims; }
made() { find results/ci-replayed/s* -type f ! -path '*/logs/*' -printf '%p %i %T@\\n' | sort; }
mount -t tmpfs -o ro none results
again > readonly.txt 2>&1; echo $? > readonly.code; ls -A results > readonly.left
umount results
mount -t tmpfs -o size="$SIZE" none results
again > full.txt 2>&1; echo $? > full.code; made > full.made
mount -o remount,size=64m results
again > roomy.txt 2>&1; echo $? > roomy.code; made > roomy.made
cp -r results/ci-replayed kept
"""


@pytest.mark.slow
@needs_mounts
def test_a_workflow_goes_on_once_there_is_room(ci_run: Path, tmp_path: Path) -> None:
    """A replay, since it needs no model: first with results read-only, then on too small a disk, then with room."""
    packed = tmp_path / "ci.tar.zst"
    archive.archive(ci_run / RUN, packed)
    (tmp_path / "results").mkdir()
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "ROOT": str(ROOT), "ARCHIVE": str(packed), "SIZE": "640k"}
    environment |= {"PYTHONPATH": str(ROOT / "src")}
    subprocess.run(["unshare", "-m", "bash", "-c", MOUNTED], cwd=tmp_path, env=environment, check=True, timeout=PATIENCE)

    def read(name: str) -> str:
        return (tmp_path / name).read_text()

    assert [int(read(f"{name}.code")) for name in ("readonly", "full", "roomy")] == [2, 1, 0], read("full.txt")[-3000:]
    assert re.search(r"cardproof: error: \S*/results cannot be written\.\nHint: work in a folder", read("readonly.txt"))
    assert "Traceback" not in read("readonly.txt")
    assert "__onstart" not in read("readonly.txt")
    assert read("readonly.left") == ""
    assert re.search(
        rf"^cardproof: error: \S*results/ci-replayed/\S+: No space left on device\.\n{re.escape(HINT)}$", read("full.txt"), re.M
    )
    assert "Traceback" not in read("full.txt")
    finished = set(read("full.made").splitlines())
    assert len(finished) >= 12, "what the disk had room for"
    assert finished <= set(read("roomy.made").splitlines()), "finished work was done again"
    for path in sorted((ci_run / RUN / "evaluation").glob("*.json")):
        assert (tmp_path / "kept/evaluation" / path.name).read_bytes() == path.read_bytes()
