"""Archive and replay: a GPU run's samples, rescored by a reviewer on a CPU without any model."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest
import zstandard

from cardproof.config import reading, texts
from cardproof.errors import CardproofError
from cardproof.evidence import archive, replay
from cardproof.evidence.verify import check
from cardproof.pages import crate as crates
from cardproof.pages import publish
from helpers.crates import issues
from helpers.places import ROOT
from helpers.workflow import RUN, planned, snakemake

# --- what somebody else has made ----------------------------------------------------------------------------------------


def test_a_gpu_run_is_replayed_without_gpu_hub_or_what_it_names(tmp_path: Path) -> None:
    """A machine without a GPU is what a replay is for; and no program or image that an archive names is run."""
    archived = tmp_path / "archived"
    archived.mkdir()
    overlay = {"sampling": {"backend": "vllm", "python": "/somewhere/python"}, "runtime": {"image": "docker://somewhere/else"}}
    loaded = reading.load(ROOT / "config.yaml", overrides=overlay)
    assert loaded.runtime.gpus == 1
    (archived / "config.yaml").write_text(texts.to_yaml(loaded))
    jobs = planned(snakemake(tmp_path, "-n", "--config", f"replay={archived}", "--", "claims", configfile="config.yaml"))
    assert jobs == {"replay": 1, "score": 9, "evaluate": 1, "audit": 1, "provenance": 1, "claims": 1}
    found = replay.configuration(archived)
    assert (found.runtime.gpus, found.runtime.image, found.sampling.python) == (0, None, None)


def test_what_unpacks_to_more_than_memory_is_refused_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is no file's content but a header, which is read before any size is known."""
    monkeypatch.setattr(archive, "MOST_BYTES", 1_000_000)
    for name, headers in (("many files", {}), ("one header", {"comment": "x" * 2_000_000})):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for number in range(4):
                info = tarfile.TarInfo(f"prompts/{number}.jsonl")
                info.size, info.pax_headers = 400_000, headers
                tar.addfile(info, io.BytesIO(bytes(info.size)))
        path = tmp_path / f"{name}.tar.zst"
        path.write_bytes(zstandard.compress(packed.getvalue()))
        assert path.stat().st_size < 10_000
        with pytest.raises(CardproofError, match="unpacks to more than 1,000,000 bytes"):
            replay.replay(path, tmp_path / "run")
        assert not (tmp_path / "run").exists()


# --- what this project has made -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def packed(ci_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("archive") / "ci.tar.zst"
    archive.archive(ci_run / RUN, out)
    return out


@pytest.mark.slow
def test_the_same_run_gives_the_same_archive_without_weights(ci_run: Path, packed: Path, tmp_path: Path) -> None:
    archive.archive(ci_run / RUN, tmp_path / "again.tar.zst")
    assert packed.read_bytes() == (tmp_path / "again.tar.zst").read_bytes()
    with archive.opened(packed) as files:
        names = [name for name, _ in files]
    assert names[0] == "config.yaml"
    assert "samples/grounded/clean.jsonl" in names
    assert not [name for name in names if name.endswith(".safetensors") or name.startswith(("models/", "store/", "logs/"))]
    assert packed.stat().st_size < 20_000_000


@pytest.mark.slow
def test_an_unpacked_archive_is_whole(packed: Path, tmp_path: Path) -> None:
    with archive.opened(packed) as files:
        for name, content in files:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
    chain = check(tmp_path)
    assert chain.state == "whole", chain.problems
    assert any("models/base" in note for note in chain.notes)
    with pytest.raises(CardproofError, match="no weights of the adapter that its card is about"):
        publish.prepare(tmp_path, "someone/name")


@pytest.mark.slow
def test_a_cut_or_changed_archive_is_refused(packed: Path, tmp_path: Path) -> None:
    whole = packed.read_bytes()
    (tmp_path / "cut.tar.zst").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CardproofError, match="is not a whole archive"):
        replay.replay(tmp_path / "cut.tar.zst", tmp_path / "run")
    folder = tmp_path / "folder"
    with archive.opened(packed) as files:
        for name, content in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    changed = folder / "samples/base/clean.jsonl"
    changed.write_bytes(changed.read_bytes().replace(b'"k":0', b'"k":1', 1))
    with pytest.raises(CardproofError, match=r"samples/base/clean\.jsonl is not the file that the step gather made"):
        replay.replay(folder, tmp_path / "other")
    with pytest.raises(CardproofError, match="an archive made by"):
        replay.configuration(tmp_path / "nowhere.tar.zst")


@pytest.mark.slow
def test_a_broken_run_is_not_archived(ci_run: Path, tmp_path: Path) -> None:
    shutil.copytree(ci_run / RUN, tmp_path / "run", ignore=shutil.ignore_patterns("models"))
    with pytest.raises(CardproofError, match="is missing"):
        archive.archive(tmp_path / "run", tmp_path / "x.tar.zst")
    assert not (tmp_path / "x.tar.zst").exists()


@pytest.mark.slow
def test_a_replay_gives_the_archived_numbers_and_labels_them(ci_run: Path, packed: Path, tmp_path: Path) -> None:
    result = snakemake(tmp_path, "--config", f"replay={packed}", "--", "claims", configfile="config.yaml")
    assert result.returncode == 0, (result.stdout + result.stderr)[-3000:]
    jobs = {line.split()[0] for line in (result.stdout + result.stderr).splitlines() if line.startswith("rule ")}
    assert not {"sample", "train", "support", "acquire_model"} & jobs
    run = tmp_path / "results/ci-replayed"
    assert not (run / "models").exists()
    for path in sorted((ci_run / RUN / "evaluation").glob("*.json")):
        assert (run / "evaluation" / path.name).read_bytes() == path.read_bytes(), path.name
    rows = json.loads((run / "claims.json").read_text())["claims"]
    tiers = {row["tier"] for row in rows if row["verdict"] != "not_run" and row["regenerated"]}
    assert tiers <= {"replayed", "audited", None}
    assert sum(row["tier"] == "replayed" for row in rows) >= 40
    assert not [row["id"] for row in rows if row["tier"] in ("regenerated", "retrained")]
    assert check(run).state == "whole"
    # The same in the terms of an RO-Crate: one step took what came from the archive, and no model step ran.
    crates.crate(run, tmp_path / "crate", environment={})
    assert not issues(tmp_path / "crate", tmp_path / "cache")
    graph = json.loads((tmp_path / "crate/ro-crate-metadata.json").read_text())["@graph"]
    steps = {entity["name"] for entity in graph if entity["@type"] == "HowToStep"}
    assert steps == {"replay", "score", "evaluate", "audit", "provenance", "claims"}
