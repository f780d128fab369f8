"""Publishing on a hub on loopback: what is sent, what never is, and what is refused."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from cardproof.files import read_json, write_json
from cardproof.pages import publish as publishing
from helpers.command import SECRET, cardproof, said
from helpers.hub_server import Hub, serve
from helpers.workflow import RUN

pytestmark = pytest.mark.slow  # it needs a finished run
NAME = "someone/regenerated"


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with serve() as found:
        found.token = SECRET
        yield found


def publish(ci_run: Path, hub: Hub, tmp_path: Path, *more: str, to: str = NAME, **environment: str) -> subprocess.CompletedProcess[str]:
    return cardproof(tmp_path, hub, "publish", str(ci_run / RUN), "--to", to, *more, HF_HUB_DISABLE_TELEMETRY="1", **environment)


def test_nothing_is_sent_unless_asked(ci_run: Path, hub: Hub, tmp_path: Path) -> None:
    before = len(hub.requests)
    result = publish(ci_run, hub, tmp_path, HF_TOKEN=SECRET)
    assert result.returncode == 0, result.stderr
    assert "Nothing was sent." in result.stdout
    assert "not a reproduction, and its card says so" in result.stdout
    assert "adapter_model.safetensors" in result.stdout
    assert len(hub.requests) == before


def test_adapter_card_and_sources_arrive_as_they_are(ci_run: Path, hub: Hub, tmp_path: Path) -> None:
    result = publish(ci_run, hub, tmp_path, "--push", HF_TOKEN=SECRET)
    assert result.returncode == 0, result.stderr
    assert SECRET not in result.stdout + result.stderr
    sent, run = hub.received[NAME], ci_run / RUN
    adapter = run / "training/grounded/adapter/adapter_model.safetensors"
    assert hashlib.sha256(sent["adapter_model.safetensors"]).hexdigest() == hashlib.sha256(adapter.read_bytes()).hexdigest()
    for name in ("adapter_config.json", "README.md", "config.yaml", "claims.json", "evaluation/axes.json", "figures/axes.png"):
        assert name in sent
    assert sent["evaluation/axes.json"] == (run / "evaluation/axes.json").read_bytes()
    # No weights but the adapter's. The embedded data may be shown, so prompts and page are there.
    assert not [n for n in sent if n.startswith(("benchmark", "store", "models", "distill/raft"))]
    for name in ("prompt.json", "prompts/clean.jsonl", "report/index.html", "report/diff.html"):
        assert name in sent
    card = ModelCard(sent["README.md"].decode())
    assert card.data.eval_results
    for link in re.findall(r"\]\(([\w./-]+)\)", card.text):
        assert link in sent, link
    assert "](figures/axes.png)" in card.text and "](report/index.html)" in card.text
    assert "](../" not in card.text
    assert f'snapshot_download("{NAME}")' in card.text
    assert SECRET.encode() not in b"".join(sent.values())


def test_texts_of_other_data_stay_here(ci_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The licence of the data decides; here it is taken away from the embedded ones."""
    monkeypatch.setattr(publishing, "texts_allowed", lambda config: False)
    upload = publishing.prepare(ci_run / RUN, NAME)
    assert not [name for name in upload.files if name.startswith(("report", "prompts/"))]
    text = bytes(upload.files["README.md"]).decode()
    assert "Reviewer's page (not published)" in text
    assert "no prompts and no page" in publishing.render_text(upload)


def test_a_second_push_is_one_more_commit(ci_run: Path, hub: Hub, tmp_path: Path) -> None:
    before = sum("/commit/" in r for r in hub.requests)
    assert publish(ci_run, hub, tmp_path, "--push", HF_TOKEN=SECRET).returncode == 0
    assert sum("/commit/" in r for r in hub.requests) == before + 1


def test_without_a_token_or_with_a_wrong_one(ci_run: Path, hub: Hub, tmp_path: Path) -> None:
    said(publish(ci_run, hub, tmp_path, "--push"), "There is no token to publish with", "set HF_TOKEN")
    wrong = publish(ci_run, hub, tmp_path, "--push", HF_TOKEN="hf_another")
    said(wrong, NAME, "HF_TOKEN")
    assert "hf_another" not in wrong.stderr


def test_names_that_are_refused(ci_run: Path, hub: Hub, tmp_path: Path) -> None:
    said(publish(ci_run, hub, tmp_path, to="regenerated"), "is not a repository of the Hub", "OWNER/NAME")
    taken = read_json(ci_run / RUN / "claims.json")["card"]
    said(publish(ci_run, hub, tmp_path, to=f"someone/{taken}"), "is the published model's name", "is not a reproduction of it")


def test_a_broken_chain_is_not_published(ci_run: Path, hub: Hub, tmp_path: Path) -> None:
    shutil.copytree(ci_run / RUN, tmp_path / RUN, ignore=shutil.ignore_patterns("store", "logs"))
    axes = read_json(tmp_path / RUN / "evaluation/axes.json")
    write_json(tmp_path / RUN / "evaluation/axes.json", {**axes, "items": axes["items"] + 1})
    said(publish(tmp_path, hub, tmp_path), "Not to be published", "evaluation/axes.json was changed")
