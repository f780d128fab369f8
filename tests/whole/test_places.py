"""Local paths and user names reach neither card nor archive nor published files: a whole run with everything from local folders."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cardproof.evidence import archive, verify
from cardproof.pages import publish
from helpers.places import ROOT
from helpers.tiny_deberta import write_tiny_deberta
from helpers.tiny_qwen3 import tiny_benchmark, write_benchmark, write_tiny_adapter, write_tiny_qwen3
from helpers.workflow import snakemake

pytestmark = pytest.mark.slow
USER = "somebody-of-this-machine"
RUN = Path("results/local")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a run was made with data, model, verifier and adapter in the home of USER."""
    folder = tmp_path_factory.mktemp("places")
    home, data = folder / "home" / USER, tiny_benchmark()
    model = write_tiny_qwen3(home / "models/qwen", data)
    write_tiny_adapter(home / "adapters/hybrid", model, rank=8)
    write_tiny_deberta(home / "models/verifier")
    write_benchmark(home / "data/questions", data)
    overlay = yaml.safe_load((ROOT / "config/ci.yaml").read_text())
    overlay |= {
        "run": RUN.name,
        "benchmark": {"source": "folder", "path": str(home / "data/questions"), "sha256": {"qa.jsonl": None, "corpus.jsonl": None}},
        "model": {
            "source": "folder",
            "id": str(home / "models/qwen"),
            "revision": None,
            "sampling_quantization": "none",
            "quantization": "none",
        },
        "verifier": {"source": "folder", "id": str(home / "models/verifier"), "max_tokens": 96},
        "arms": {"hybrid": {"adapter": "folder", "id": str(home / "adapters/hybrid")}},
        "contract": {"demonstration": False},
    }
    overlay["training"]["variants"] = {"grounded": {"epochs": 1, "effective_batch": 2}}
    (folder / "local.yaml").write_text(yaml.safe_dump(overlay))
    result = snakemake(folder, configfile=str(folder / "local.yaml"))
    assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]
    return folder


def told(folder: Path, content: bytes) -> list[str]:
    """Which words that say where or by whom a run was made are in a content."""
    words = (USER, str(folder), str(ROOT), str(Path.home()), *([getpass.getuser()] if getpass.getuser() != "root" else []))
    return [word for word in words if word.encode() in content]


def left_the_machine(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Everything that an archive, a published set and the card of the run hold."""
    archive.archive(folder / RUN, folder / "x.tar.zst")
    with archive.opened(folder / "x.tar.zst") as files:
        yield from ((f"archive: {name}", content) for name, content in files)
    for name, content in publish.prepare(folder / RUN, "a/b").files.items():
        yield f"published: {name}", content if isinstance(content, bytes) else content.read_bytes()


def test_nothing_that_leaves_the_machine_says_where_it_was_made(folder: Path) -> None:
    looked_at = 0
    for name, content in left_the_machine(folder):
        assert told(folder, name.encode() + content) == [], name
        looked_at += 1
    assert looked_at > 150
    for name in ("card/README.md", "claims.json", "report/index.html", "report/diff.md"):
        assert told(folder, (folder / RUN / name).read_bytes()) == [], name


def test_the_archive_is_whole_all_the_same(folder: Path, tmp_path: Path) -> None:
    archive.archive(folder / RUN, tmp_path / "x.tar.zst")
    with archive.opened(tmp_path / "x.tar.zst") as files:
        for name, content in files:
            (tmp_path / "unpacked" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "unpacked" / name).write_bytes(content)
    there, here = verify.check(folder / RUN), verify.check(tmp_path / "unpacked")
    assert (there.state, here.state) == ("whole", "whole"), [*there.problems, *here.problems]
    assert there.digest == here.digest


def test_links_to_local_models_are_followed_where_asked(folder: Path) -> None:
    """By default they are named, not read: a received run may link to anything."""
    run = folder / RUN
    assert any("links to files elsewhere" in note and "models/base" in note for note in verify.check(run).notes)
    config = folder / "home" / USER / "models/qwen/config.json"
    kept = config.read_bytes()
    config.write_bytes(kept + b"\n")
    try:
        assert verify.check(run).state == "whole"
        assert [p.file for p in verify.check(run, links=True).problems] == ["models/base/config.json"]
    finally:
        config.write_bytes(kept)
    assert verify.check(run, links=True).state == "whole"


def test_a_second_run_does_nothing(folder: Path) -> None:
    result = snakemake(folder, "-n", configfile=str(folder / "local.yaml"))
    assert "Nothing to be done" in result.stdout + result.stderr
