"""Files of a run are written whole or not at all, and what a killed writer leaves is cleared by the next one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cardproof.files import atomic, write_text

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
