"""Attacks by a received run, mirror, archive or model: nothing outside is read, written or removed, and time and memory stay bounded.

Each command runs under strace beside a tree of canaries, and no call may name a file of that tree.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import zstandard

from helpers.places import ROOT
from helpers.received import (
    BILLION,
    MERGED,
    Change,
    in_place_of,
    link,
    listed_too,
    mirror,
    model,
    sparse,
    tar,
    write_received,
    write_record,
)
from helpers.refused import at_most, listed

SECRET = b"SECRET-OF-SOMEBODY-ELSE"
SECONDS, MEGABYTES = 10, 300
"""Most time of a refusal, and most memory where no model library is loaded; measured: two seconds and 75 MB."""


MEASURED = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[2:])
_, status, used = os.wait4(process.pid, 0)
open(sys.argv[1], "w").write(str(used.ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Runs a command from a small process: the memory of the one that starts it would count as its own."""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    said: str
    seconds: float
    megabytes: float
    calls: str
    """The system calls that it and its children made on files; empty where strace is not installed."""


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A tree beside the run, of which nothing may be read, changed or removed."""
    folder = tmp_path / "not-yours"
    (folder / "folder").mkdir(parents=True)
    for name in ("secret", "secret.json", "secret.tsv", "secret.safetensors", "folder/secret.json", "folder/clean.parquet"):
        (folder / name).write_bytes(SECRET)
    before = listed(folder)
    yield folder
    assert listed(folder) == before, "the canary was touched"


def run(folder: Path, arguments: list[str], **environment: str) -> Ended:
    """A command in a process of its own, under strace where it is installed."""
    trace = folder.parent / "trace"
    strace = ["strace", "-f", "-qq", "-s", "4096", "-y", "-e", "trace=%file", "-o", str(trace)] if shutil.which("strace") else []
    command = [*strace, sys.executable, "-m", "cardproof", *arguments]
    settings = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "CARDPROOF_MIRROR": "mirror", "HF_HUB_OFFLINE": "1", **environment}
    began = time.monotonic()
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as yes, at_most(120):
        yes.write(b"y\ny\ny\n")
        yes.seek(0)
        measured = [sys.executable, "-S", "-c", MEASURED, str(trace.with_name("memory")), *command]
        code = subprocess.run(measured, cwd=folder, env=settings, stdin=yes, stdout=said, stderr=said).returncode
        said.seek(0)
        text = said.read().decode(errors="replace")
    seconds = time.monotonic() - began
    calls = trace.read_text(errors="replace") if strace else ""
    trace.unlink(missing_ok=True)
    return Ended(code, text, seconds, int(trace.with_name("memory").read_text()) / 1024, calls)


def opened(calls: str, canary: Path) -> list[str]:
    """The calls that read, wrote or removed a file of the canary. Looking at what a name is (stat, readlink) reads nothing of it."""
    harmless = ("stat", "lstat", "newfstatat", "statx", "readlink", "readlinkat", "access", "faccessat", "faccessat2", "chdir", "getcwd")
    found = []
    for line in calls.splitlines():
        call = re.match(r"\d+ +(\w+)\(", line)
        # strace writes behind a descriptor which file it is, so that a link is seen through.
        there = (
            f"{canary}/" in line or f"{canary.name}/" in line or f"<{canary}>" in line or re.search(r"= \d+</dev/(?!null|urandom)", line)
        )
        if call and call[1] not in {*harmless, "execve"} and there:
            found.append(line)
    return found


OUT, UP = "../../not-yours/secret", "../not-yours"
ATTACKS: dict[str, tuple[Change, list[list[str]]]] = {
    "links among the results": (
        lambda r: [in_place_of(f"{d}/axes.json", link(f"{OUT}.json"))(r) for d in ("evaluation", "figures")],
        [
            ["verify", "run"],
            ["archive", "run", "--out", "x"],
            ["publish", "run", "--to", "a/b"],
            ["claims", "--run", "run", "--out", "c.json"],
        ],
    ),
    "links among the costs": (
        lambda r: [in_place_of("cost/x.tsv", link(f"{OUT}.tsv"))(r), (r / "cost/y").symlink_to(f"../{UP}")],
        [["verify", "run"], ["archive", "run", "--out", "x"], ["publish", "run", "--to", "a/b"]],
    ),
    "a hard link among the costs": (
        lambda r: in_place_of("cost/x.tsv", lambda p: os.link(r.parent / "not-yours/secret.tsv", p))(r),
        [["archive", "run", "--out", "x"]],
    ),
    "links for folders": (
        lambda r: [(r / name).symlink_to(UP) for name in ("scores", "support", "adapters", "revisions", "logs", "store")],
        [
            ["verify", "run"],
            ["archive", "run", "--out", "x"],
            ["publish", "run", "--to", "a/b"],
            ["replay", "--archive", "run", "--run", "o"],
        ],
    ),
    "a model of links": (
        lambda r: [in_place_of(f"models/base/{name}", link(f"../{OUT}.safetensors"))(r) for name in ("model.safetensors", "config.json")],
        [["verify", "run"], ["archive", "run", "--out", "x"]],
    ),
    "records that name files outside": (
        lambda r: [
            write_record(r, "claims.json", inputs={f"{UP}/secret": "0", "config.yaml/../../not-yours/secret": "0"}),
            write_record(r, "evaluation/axes.json", inputs={"project:../../../../../../../../etc/passwd": "0", "/dev/zero": "0"}),
        ],
        [["verify", "run"], ["archive", "run", "--out", "x"], ["publish", "run", "--to", "a/b"]],
    ),
    "lists that name files outside": (
        lambda r: [
            (r / "provenance/logs.json").write_text(json.dumps({f"{UP}/secret": "0", "seal": "0"})),
            (r / "provenance/left_out.json").write_text(json.dumps([f"{UP}/secret"])),
        ],
        [["verify", "run"], ["archive", "run", "--out", "x"]],
    ),
    "a run to be read through links": (
        lambda r: (
            [in_place_of(name, link(f"{OUT}.json"))(r) for name in ("evaluation/axes.json", "evaluation/stress.json")]
            + [(r / "figures2").symlink_to(UP)]
        ),
        [
            ["card", "--run", "run", "--out", "run/card/README.md"],
            ["report", "--run", "run", "--out", "run/figures2"],
            ["figures", "--run", "run", "--out", "run/figures2"],
            ["evaluate", "--config", "run/config.yaml", "--scores", "run/figures2", "--prompts", "run/prompts", "--out", "run/evaluation"],
        ],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
def test_a_received_run_reads_writes_and_removes_nothing_outside(
    name: str, tmp_path: Path, canary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, commands = ATTACKS[name]
    write_received(tmp_path / "run")
    change(tmp_path / "run")
    before = listed(tmp_path / "run")
    for arguments in commands:
        ended = run(tmp_path, arguments)
        with capsys.disabled():
            print(f"\n  {name}: {' '.join(arguments[:2])}: exit {ended.code}, {ended.seconds:.1f} s, {ended.megabytes:.0f} MB", end="")
        assert ended.code in (0, 2, 4) and "Traceback" not in ended.said, ended.said
        assert ended.code or arguments[0] == "verify" or not (tmp_path / "x").exists() or b"SECRET" not in unpacked(tmp_path / "x")
        assert opened(ended.calls, canary) == []
        assert SECRET.decode() not in ended.said
        assert ended.megabytes < MEGABYTES
    assert listed(tmp_path / "run") == before, "the run was changed"


def unpacked(archive: Path) -> bytes:
    with open(archive, "rb") as f:
        return zstandard.ZstdDecompressor().stream_reader(f).read()


MIRRORED: dict[str, tuple[Change, Any]] = {
    "a path upwards": (lambda p: None, listed_too("../../../../not-yours/secret", sha256=None, blob="0" * 40)),
    "a path upwards to weights": (lambda p: None, listed_too("../../../../not-yours/secret.safetensors")),
    "a link": (in_place_of("a.json", link("../../../../not-yours/secret.json")), listed_too("a.json")),
    "a folder that is a link": (lambda p: (p / "sub").symlink_to("../../../../not-yours"), listed_too("sub/secret.json")),
    "an unlisted link": (in_place_of("a.json", link("../../../../not-yours/secret.json")), lambda found: found),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MIRRORED)
def test_a_mirror_reads_writes_and_removes_nothing_outside(name: str, tmp_path: Path, canary: Path) -> None:
    change, rewrite = MIRRORED[name]
    arguments = mirror(change, rewrite)(tmp_path)
    before = listed(tmp_path / "mirror")
    ended = run(tmp_path, arguments)
    assert ended.code == (0 if name == "an unlisted link" else 2), ended.said
    assert opened(ended.calls, canary) == []
    assert listed(tmp_path / "mirror") == before
    assert not list((tmp_path / "out").rglob("a.json"))


CODE = 'open("../not-yours/ran", "w"); raise SystemExit("the code of a model ran")'


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mine", "llama", "vit"])
def test_a_model_that_asks_to_run_its_code_is_not_heard(kind: str, tmp_path: Path, canary: Path) -> None:
    """Standard input says yes to every question."""
    auto = dict.fromkeys(("AutoConfig", "AutoModelForCausalLM", "AutoModelForSequenceClassification"), "mine.Mine")
    config = {"model_type": kind, "auto_map": auto, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 8}
    tokenizer = {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["mine.Mine", None]}} if kind == "llama" else {}
    contents = {"config__json": json.dumps(config), "mine__py": CODE, "tokenizer_config__json": json.dumps(tokenizer)}
    ended = run(tmp_path, model(**contents)(tmp_path))
    assert ended.code == 2 and "never runs" in ended.said, ended.said
    assert not list(tmp_path.rglob("out"))


# --- little that becomes much --------------------------------------------------------------------------------------------


def old_sparse(name: str, size: int) -> bytes:
    """A member of GNU's old sparse kind: a few bytes, said to be `size` of holes."""
    info = tarfile.TarInfo(name)
    info.size = 512
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[156:157] = b"S"
    block[386:410] = b"%011o\0%011o\0" % (0, 512)
    block[483:495] = b"%011o\0" % size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + b"x" * 512


def bombs(folder: Path) -> dict[str, list[str]]:
    """Commands on small inputs that unpack, expand or read without end."""
    (folder / "sparse").write_bytes(
        zstandard.compress(b"".join(old_sparse(f"samples/{i}.jsonl", 1_900_000_000) for i in range(8)) + bytes(1024))
    )
    zeros = zstandard.ZstdCompressor(level=3).compressobj()
    with open(folder / "zeros", "wb") as f:
        first = tarfile.TarInfo("samples/x.jsonl")
        first.size = 1_999_000_000
        f.write(zeros.compress(first.tobuf()))
        for _ in range(2_000):
            f.write(zeros.compress(bytes(1 << 20)))
        f.write(zeros.flush())
    pax = tarfile.TarInfo("samples/x")
    pax.pax_headers = {"comment": "x" * 50_000_000}
    (folder / "header").write_bytes(zstandard.compress(tar(pax)))
    chained = tarfile.TarInfo("././@LongLink")
    chained.type = tarfile.GNUTYPE_LONGNAME
    (folder / "chain").write_bytes(zstandard.compress(chained.tobuf() * 5_000))
    (folder / "billion.yaml").write_text(BILLION)
    (folder / "merged.yaml").write_text(MERGED)
    for name, content in (("holes", sparse(10**12)), ("zero", link("/dev/zero")), ("pipe", os.mkfifo), ("claims", BILLION)):
        write_received(folder / name)
        if callable(content):
            in_place_of("evaluation/axes.json", content)(folder / name)
    return {
        **{f"an archive of {name}": ["replay", "--archive", name, "--run", "out"] for name in ("sparse", "zeros", "header", "chain")},
        **{f"{name} of aliases": ["config", "--configfile", f"{name}.yaml"] for name in ("billion", "merged")},
        "claims of aliases": ["audit", "--no-count", "--claims", "billion.yaml"],
        **{f"a run with a {name}": ["verify", name] for name in ("holes", "zero", "pipe")},
    }


@pytest.mark.slow
def test_time_and_memory_are_bounded(tmp_path: Path, canary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The figures are printed."""
    work = tmp_path / "work"
    work.mkdir()
    commands = bombs(work)
    before = listed(work)
    for name, arguments in commands.items():
        ended = run(work, arguments)
        size = sum((work / a).stat().st_size for a in arguments if (work / a).is_file())
        with capsys.disabled():
            print(f"\n  {name:<24} {size:>9,} bytes: exit {ended.code}, {ended.seconds:5.1f} s, {ended.megabytes:4.0f} MB", end="")
        assert ended.code in (2, 4) and "Traceback" not in ended.said, ended.said
        assert "Hint: " in ended.said
        assert ended.seconds < SECONDS
        assert ended.megabytes < MEGABYTES
        assert listed(work) == before
