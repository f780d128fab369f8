"""Weights that went through NF4 once, through the verb: the values that 4-bit layers compute with, file by file, or one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cardproof.config import reading
from cardproof.config.texts import to_yaml
from cardproof.errors import CardproofError
from cardproof.models.loading import load_merged
from cardproof.sampling.vllm_backend import VllmSampler
from helpers.workflow import PATIENCE


def dequantise(tmp_path: Path, model: Path) -> subprocess.CompletedProcess[str]:
    (tmp_path / "config.yaml").write_text(to_yaml(reading.validate({"run": "n", "runtime": {"gpus": 0}})), encoding="utf-8")
    command = [sys.executable, "-m", "cardproof", "dequantise", "--config", "config.yaml", "--model", str(model), "--out", "nf4"]
    return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=PATIENCE, check=False)


def in_files(model: Path, folder: Path, files: int) -> Path:
    """A copy of a model folder whose weights are in several files."""
    folder.mkdir()
    weights = load_file(model / "model.safetensors")
    names = sorted(weights)
    for number in range(files):
        save_file({name: weights[name] for name in names[number::files]}, folder / f"model-{number + 1:05}-of-{files:05}.safetensors")
    index = {name: f"model-{number % files + 1:05}-of-{files:05}.safetensors" for number, name in enumerate(names)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    for file in model.iterdir():
        if file.suffix == ".json":
            (folder / file.name).write_bytes(file.read_bytes())
    return folder


def test_the_weights_are_those_that_sampling_on_a_cpu_computes_with(tmp_path: Path, tiny_lm: Path) -> None:
    model = in_files(tiny_lm, tmp_path / "model", 3)
    result = dequantise(tmp_path, model)
    assert result.returncode == 0, result.stderr
    made = {}
    for file in sorted((tmp_path / "nf4").glob("*.safetensors")):
        assert (model / file.name).is_file(), "files keep their names, so the index of the model fits"
        made |= load_file(file)
    expected, plain = load_merged(model, "nf4", None).state_dict(), load_file(tiny_lm / "model.safetensors")
    assert made.keys() == expected.keys()
    assert all(torch.equal(made[name], expected[name]) for name in made)
    changed = {name.rsplit(".", 2)[-2] for name in made if not torch.equal(made[name], plain[name])}
    assert changed == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert not list(tmp_path.glob(".nf4*")), "nothing partial is left"
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "nf4", dtype=torch.float32)
    assert torch.equal(loaded.lm_head.weight, expected["lm_head.weight"])


def test_vllm_refuses_weights_that_did_not_go_through_nf4(tiny_lm: Path) -> None:
    with pytest.raises(CardproofError, match="vLLM has no NF4") as error:
        VllmSampler(tiny_lm, "nf4", None, 8, 1, False)
    assert "cardproof dequantise --model" in error.value.hint


def test_weights_under_other_names_than_the_layers_are_refused(tmp_path: Path, tiny_lm: Path) -> None:
    model = in_files(tiny_lm, tmp_path / "model", 1)
    file = next(model.glob("*.safetensors"))
    save_file({name.replace("q_proj", "query"): value for name, value in load_file(file).items()}, file)
    result = dequantise(tmp_path, model)
    assert result.returncode == 2
    assert "its weights do not have 'model.layers.0.self_attn.q_proj.weight', which the model's layers have (2 of 14" in result.stderr
    assert "Hint: set sampling.backend to transformers" in result.stderr
    assert not (tmp_path / "nf4").exists()
