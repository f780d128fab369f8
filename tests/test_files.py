"""Files of a run are written whole or not at all, and what a killed writer leaves is cleared by the next one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cardproof.benchmark.split import _draw
from cardproof.files import atomic, seeded_hash, write_text
from cardproof.sampling.sampler import rollout_seed

WRITER = """
import sys, time
from pathlib import Path
from cardproof.files import atomic
with atomic(Path(sys.argv[1])) as tmp:
    tmp.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def writer(tmp_path: Path):
    process = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path / "a[1].txt"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "writing\n"
    yield process
    end(process)


def end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    process.stdout.close()


def test_seeded_hashes_are_the_same_on_every_machine() -> None:
    """Every stored prompt, split and rollout hangs on these values; they are sha256 of `0|base|clean|7|3`, `5|12` and `5/12`."""
    assert seeded_hash(0, "base", "clean", 7, 3) == "9aefe666cfe9b8e2b062fcd1ea93d849bcd558232ed637b037abdf4128692716"
    assert seeded_hash(5, 12) == "eb6fdbf1bbde7fa2d59072f455175ae804e9b03f8641910937a45ec36a0eb468"
    assert rollout_seed(0, "base", "clean", 7, 3) == 0x9AEFE666CFE9B8E2 >> 11
    assert _draw(5, 12) == 0x844F5767A5676477


def test_what_a_killed_writer_left_is_cleared_by_the_next(writer: subprocess.Popen, tmp_path: Path) -> None:
    beside = tmp_path / ".a[1].txt.note.tmpl"
    beside.write_text("no temporary file of ours")
    end(writer)
    assert len(list(tmp_path.iterdir())) == 2
    write_text(tmp_path / "a[1].txt", "whole\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".a[1].txt.note.tmpl", "a[1].txt"]
    assert (tmp_path / "a[1].txt").read_text() == "whole\n"


def test_a_living_writer_keeps_its_file(writer: subprocess.Popen, tmp_path: Path) -> None:
    write_text(tmp_path / "a[1].txt", "whole\n")
    [temporary] = [p for p in tmp_path.iterdir() if p.name.startswith(".")]
    assert temporary.read_text() == "half"


def test_a_failed_writer_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old\n")
    with pytest.raises(ZeroDivisionError), atomic(tmp_path / "a.txt") as tmp:
        tmp.write_text("half")
        _ = 1 / 0
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.txt", "old\n")]
