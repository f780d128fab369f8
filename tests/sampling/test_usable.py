"""What is said of a base model: its record, the plan and each of its rollouts name the decoder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cardproof.cli.main import main
from cardproof.config import reading, texts
from cardproof.files import read_json, read_rows, write_rows
from cardproof.records import Rollout
from helpers.architectures import write_tiny
from helpers.decoding import make_prompt
from helpers.places import CLAIMS, PROMPTS, ROOT

OWN = "cardproof's shared-prefix decoder"
GENERATE = "transformers' own generation: the layers of 'gpt_neox' are not among those that cardproof's decoder is tested with"


@pytest.mark.parametrize(
    ("name", "decoder", "drawn_by"),
    [
        ("gemma2, caps and window", OWN, "shared-prefix"),
        ("gpt_neox", GENERATE, "generate"),
        (
            "llama, dynamic positions",
            f"{OWN}; longer than 64 tokens, generate: its dynamic positions",
            "generate",
        ),
    ],
)
def test_record_plan_and_rollouts_name_the_decoder(
    name: str, decoder: str, drawn_by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tiny(tmp_path / "model", name)
    monkeypatch.chdir(tmp_path)
    model = {"source": "folder", "id": "model"}
    few = {"max_items": 2}
    over = {"model": model, "sampling": {"max_new_tokens": 8}, "contract": {"demonstration": False}, "conditions": few, "distill": few}
    Path("config.yaml").write_text(texts.to_yaml(reading.load(ROOT / "config.yaml", ROOT / "config/ci.yaml", overrides=over)))
    write_rows(Path("clean.jsonl"), [make_prompt(i) for i in (9, 10)])

    def run(command: str) -> str:
        monkeypatch.setattr(sys, "argv", ["cardproof", *command.split()])
        main()
        return capsys.readouterr().out

    run("acquire-model --source folder --id model --model-of config.yaml --out base")
    use = read_json(Path("base/source.json"))["use"]
    assert use["decoder"].startswith(decoder)
    assert use["end_of_turn"] == "'<eot>', as the chat template writes it"
    assert "warning" not in run("sample --config config.yaml --arm base --model base --work clean.jsonl s.jsonl --store store.jsonl")
    rows = read_rows(Path("s.jsonl"), Rollout)
    assert {row.decoder for row in rows} == {drawn_by}
    assert len({row.token_hash for row in rows}) == 2
    if "positions" not in name:  # prompts of the plan are longer than what that model takes
        said = run(f"plan --configfile config.yaml --templates {PROMPTS} --claims {CLAIMS}")
        assert f"drawn by {decoder}" in " ".join(said.split())


def test_an_acquired_model_is_used_as_its_record_says(tmp_path: Path) -> None:
    """The same folder, looked at twice, gives the same words."""
    from cardproof.sampling.usable import check_model

    folder = write_tiny(tmp_path / "model", "llama")
    assert check_model(folder, None) == check_model(folder, None)
