"""Fetching from a hub on loopback through the command line: what arrives, what goes on after a break, and what is said of failures."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from cardproof.acquire.hub import git_blob
from helpers.command import SECRET, cardproof, said
from helpers.hub_server import Hub, blob, serve
from helpers.tiny_deberta import write_tiny_deberta
from helpers.tiny_qwen3 import tiny_benchmark, write_benchmark

MODEL = "team/tiny"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub with one model, of one megabyte."""
    folder = tmp_path / "hub" / "model"
    folder.mkdir(parents=True)
    save_file({"weight": np.arange(250_000, dtype=np.float32)}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "modeling_tiny.py").write_text("raise SystemExit('remote code ran')")
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    with serve() as found:
        found.folders["models", MODEL] = folder
        yield found


def fetch(tmp_path: Path, hub: Hub, *more: str, name: str = MODEL, **environment: str) -> subprocess.CompletedProcess[str]:
    return cardproof(tmp_path, hub, "acquire-model", "--source", "hub", "--id", name, "--out", "out/model", *more, **environment)


def test_a_pinned_model_arrives_without_pickles_and_code(hub: Hub, tmp_path: Path) -> None:
    result = fetch(tmp_path, hub, "--revision", hub.commit)
    assert result.returncode == 0, result.stderr
    out = tmp_path / "out/model"
    assert {p.name for p in out.iterdir()} == {"model.safetensors", "config.json", "tokenizer.json", "source.json"}
    assert (out / "model.safetensors").read_bytes() == (hub.folders["models", MODEL] / "model.safetensors").read_bytes()
    source = json.loads((out / "source.json").read_text())
    assert (source["revision"], source["pinned"]) == (hub.commit, True)
    assert not any("pytorch_model" in r or "modeling" in r for r in hub.requests)


def test_a_broken_download_goes_on_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    path = hub.folders["models", MODEL] / "model.safetensors"
    save_file({"weight": np.arange(7_500_000, dtype=np.float32)}, path)
    hub.cut_after["model.safetensors"] = 25_000_000
    result = fetch(tmp_path, hub, "--revision", hub.commit)
    while result.returncode and hub.cut_after == {} and len(hub.requests) < 50:
        result = fetch(tmp_path, hub, "--revision", hub.commit)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out/model/model.safetensors").read_bytes() == path.read_bytes()
    # The library writes ten megabytes at a time: at most one such piece is sent twice.
    assert hub.sent["model.safetensors"] <= path.stat().st_size + 10 * 2**20


def test_other_bytes_than_announced_are_refused_and_removed(hub: Hub, tmp_path: Path) -> None:
    hub.announced["model.safetensors"] = "0" * 64
    said(fetch(tmp_path, hub, "--revision", hub.commit), "model.safetensors has the hash", "0" * 64, "run again to fetch it")
    assert not (tmp_path / "out/model").exists()
    assert not list((tmp_path / "out").rglob("model.safetensors"))
    del hub.announced["model.safetensors"]
    assert fetch(tmp_path, hub, "--revision", hub.commit).returncode == 0


def test_an_unpinned_revision_is_looked_up_once(hub: Hub, tmp_path: Path) -> None:
    assert fetch(tmp_path, hub, "--record", "revisions").returncode == 0
    source = json.loads((tmp_path / "out/model/source.json").read_text())
    assert (source["revision"], source["pinned"]) == ("a" * 40, False)
    asked = len([r for r in hub.requests if r.endswith(f"/api/models/{MODEL}")])
    assert asked == 1
    result = fetch(tmp_path, hub, "--record", "revisions")
    assert result.returncode == 0, result.stderr
    assert len([r for r in hub.requests if r.endswith(f"/api/models/{MODEL}")]) == asked


def test_a_branch_pins_nothing(hub: Hub, tmp_path: Path, overlay: str) -> None:
    assert fetch(tmp_path, hub, "--record", "revisions", "--revision", "main").returncode == 0
    source = json.loads((tmp_path / "out/model/source.json").read_text())
    assert (source["revision"], source["pinned"]) == (hub.commit, False)
    settings = yaml.safe_load(Path(overlay).read_text())
    settings["benchmark"]["revision"] = "main"
    Path(overlay).write_text(yaml.safe_dump(settings))
    arguments = ["--config", overlay, "--corpus", "b/corpus.jsonl", "--questions", "b/questions.jsonl"]
    result = cardproof(tmp_path, hub, "acquire-benchmark", *arguments)
    said(result, "benchmark.revision is 'main', not a commit of 'team/bench'", "40 hexadecimal digits")


def test_a_recorded_revision_is_kept_when_the_hub_moves_on(hub: Hub, tmp_path: Path) -> None:
    assert fetch(tmp_path, hub, "--record", "revisions").returncode == 0
    hub.commit = "b" * 40
    said(fetch(tmp_path, hub, "--record", "revisions"), "does not know that revision of 'team/tiny'")


@pytest.mark.parametrize(
    ("part", "status", "sentence", "hint"),
    [
        ("/api/", 401, "'team/tiny'", "HF_TOKEN"),
        ("/api/", 403, "The hub answers 403 for 'team/tiny'", "HF_TOKEN"),
        ("/api/", 429, "The hub answers 429 for 'team/tiny': too many requests", "wait some minutes"),
        ("/api/", 404, "'team/tiny'", ""),
    ],
)
def test_a_refusal_is_one_sentence(hub: Hub, tmp_path: Path, part: str, status: int, sentence: str, hint: str) -> None:
    hub.fail[part] = [status] * 50
    said(fetch(tmp_path, hub, "--revision", hub.commit), sentence, hint)
    assert not (tmp_path / "out/model").exists()


def test_a_busy_hub_is_asked_again(hub: Hub, tmp_path: Path) -> None:
    hub.fail["/resolve/"] = [429]
    first = fetch(tmp_path, hub, "--revision", hub.commit)
    assert first.returncode == 0 or fetch(tmp_path, hub, "--revision", hub.commit).returncode == 0


def test_an_unknown_name_and_an_unknown_revision_are_named(hub: Hub, tmp_path: Path) -> None:
    said(fetch(tmp_path, hub, "--revision", "c" * 40), "does not know that revision of 'team/tiny'")
    said(fetch(tmp_path, hub, name="team/none"), "does not know 'team/none'")


def test_an_adapter_for_other_layers_is_refused_when_it_is_fetched(hub: Hub, tmp_path: Path) -> None:
    """Not hours later, when the arm that uses it is sampled."""
    hub.folders["models", "team/adapter"] = adapter = tmp_path / "hub" / "adapter"
    base = tmp_path / "base"
    for folder in (adapter, base):
        folder.mkdir(parents=True)
    layer = "base_model.model.model.layers.0.self_attn.q_proj"
    lora = {f"{layer}.lora_{side}.weight": np.ones(shape, np.float32) for side, shape in (("A", (4, 6)), ("B", (6, 4)))}
    save_file(lora, adapter / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 4, "target_modules": ["q_proj"], "base_model_name_or_path": "team/other"}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    sizes = {"model_type": "llama", "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 9}
    (base / "config.json").write_text(json.dumps({**sizes, "hidden_size": 8}))
    said(
        fetch(tmp_path, hub, "--base", "base", name="team/adapter"), "layer of the base model in base it must have", "made for 'team/other'"
    )
    assert not (tmp_path / "out/model").exists()
    (base / "config.json").write_text(json.dumps({**sizes, "hidden_size": 6}))
    sent = hub.sent["adapter_model.safetensors"]
    result = fetch(tmp_path, hub, "--base", "base", name="team/adapter")
    assert result.returncode == 0, result.stderr
    assert hub.sent["adapter_model.safetensors"] == sent, "what was fetched is kept"
    notes = json.loads((tmp_path / "out/model/source.json").read_text())["use"]["notes"]
    assert notes == ["The adapter says that it was made for 'team/other'; this run's base is 'base'."]


def test_a_verifier_whose_labels_say_nothing_is_refused_when_it_is_fetched(hub: Hub, tmp_path: Path) -> None:
    """The names that transformers gives to labels without any; the setting that says which one it is."""
    hub.folders["models", "team/verifier"] = folder = write_tiny_deberta(tmp_path / "hub" / "verifier")
    settings = json.loads((folder / "config.json").read_text())
    names = {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}
    (folder / "config.json").write_text(json.dumps(settings | names))
    for name, label in (("auto", "auto"), ("named", "LABEL_1")):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"verifier": {"entailment_label": label}}))
    said(
        fetch(tmp_path, hub, "--verifier-of", "auto.yaml", name="team/verifier"),
        "do not show which one means entailed: 0: 'LABEL_0', 1: 'LABEL_1'",
        "set verifier.entailment_label",
    )
    assert not (tmp_path / "out/model").exists()
    sent = hub.sent["model.safetensors"]
    result = fetch(tmp_path, hub, "--verifier-of", "named.yaml", name="team/verifier")
    assert result.returncode == 0, result.stderr
    assert hub.sent["model.safetensors"] == sent, "what was fetched is kept"


def test_pickled_weights_alone_are_refused(hub: Hub, tmp_path: Path) -> None:
    (hub.folders["models", MODEL] / "model.safetensors").unlink()
    said(fetch(tmp_path, hub, "--revision", hub.commit), "has no *.safetensors file", "can run code")
    assert not hub.sent


def test_offline_is_said_and_the_demo_named(hub: Hub, tmp_path: Path) -> None:
    said(fetch(tmp_path, hub, HF_HUB_OFFLINE="1"), "cannot be fetched from the hub", "make demo")
    hub.url = "http://127.0.0.1:9"
    said(fetch(tmp_path, hub), "cannot be fetched from the hub")


def test_the_token_is_used_and_written_nowhere(hub: Hub, tmp_path: Path) -> None:
    hub.token = SECRET
    said(fetch(tmp_path, hub), "HF_TOKEN")
    result = fetch(tmp_path, hub, HF_TOKEN=SECRET)
    assert result.returncode == 0, result.stderr
    assert SECRET not in result.stdout + result.stderr
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and SECRET.encode() in p.read_bytes()]


def test_git_names_contents_as_we_do(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"what is up, doc?")
    # The example of the book Pro Git, chapter 10.2.
    assert git_blob(path) == blob(path.read_bytes()) == "bd9dbf5aae1a3862dd1526723246b20206e5fc37"


@pytest.fixture
def overlay(hub: Hub, tmp_path: Path) -> str:
    """A configuration that takes a model, an adapter and a benchmark from the hub, and the hub that has them."""
    data = write_benchmark(tmp_path / "hub" / "data", tiny_benchmark())
    hub.folders["datasets", "team/bench"] = data
    hub.folders["models", "team/adapter"] = hub.folders["models", MODEL]
    settings = {
        "run": "hubbed",
        "scale": "embedded",
        "benchmark": {"id": "team/bench", "revision": hub.commit, "sha256": {"qa.jsonl": None, "corpus.jsonl": None}},
        "model": {"id": MODEL, "revision": hub.commit},
        "verifier": {"source": "embedded", "id": "minilm-l6"},
        "arms": {"base": {}, "hybrid": {"adapter": "hub", "id": "team/adapter"}},
    }
    (tmp_path / "hubbed.yaml").write_text(yaml.safe_dump(settings))
    return str(tmp_path / "hubbed.yaml")


def test_the_manifest_lists_every_file_and_fetches_none(hub: Hub, tmp_path: Path, overlay: str) -> None:
    result = cardproof(tmp_path, hub, "acquire", "--configfile", overlay, "--manifest", "manifest.json")
    assert result.returncode == 0, result.stderr
    found = {r["setting"]: r for r in json.loads((tmp_path / "manifest.json").read_text())["repositories"]}
    assert found.keys() == {"benchmark", "model", "arms.hybrid"}
    assert [f["path"] for f in found["model"]["files"]] == ["config.json", "model.safetensors", "tokenizer.json"]
    assert all(f["size"] and (f["sha256"] or f["blob"]) for r in found.values() for f in r["files"])
    assert (found["model"]["pinned"], found["arms.hybrid"]["pinned"]) == (True, False)
    assert "team/adapter@aaaaaaaaaaaa  3 files, 0.00 GB  (not pinned: the newest)" in result.stdout
    assert not hub.sent


def test_a_mirror_feeds_a_machine_without_a_network(hub: Hub, tmp_path: Path, overlay: str) -> None:
    filled = cardproof(tmp_path, hub, "acquire", "--configfile", overlay, "--mirror", "mirror")
    assert filled.returncode == 0, filled.stderr
    hub.url = "http://127.0.0.1:9"
    offline = {"CARDPROOF_MIRROR": str(tmp_path / "mirror"), "HF_HUB_OFFLINE": "1"}
    result = fetch(tmp_path, hub, "--revision", hub.commit, **offline)
    assert result.returncode == 0, result.stderr
    assert {p.name for p in (tmp_path / "out/model").iterdir()} == {"model.safetensors", "config.json", "tokenizer.json", "source.json"}
    said(fetch(tmp_path, hub, "--revision", "b" * 40, **offline), "at revision aaaa", "cardproof acquire --mirror")
    said(fetch(tmp_path, hub, name="team/other", **offline), "does not have the model 'team/other'")
    weights = tmp_path / "mirror/models/team/tiny/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    said(fetch(tmp_path, hub, "--revision", hub.commit, **offline), "model.safetensors has the hash")
    arguments = ["acquire-benchmark", "--config", overlay, "--corpus", "b/corpus.jsonl", "--questions", "b/questions.jsonl"]
    result = cardproof(tmp_path, hub, *arguments, **offline)
    assert result.returncode == 0, result.stderr
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == ["corpus.jsonl", "questions.jsonl"]
