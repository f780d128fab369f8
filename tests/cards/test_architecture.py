"""A model's and an adapter's size from a config.json alone, against peft's own count and published counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cardproof.cards.architecture import Architecture, read_architecture
from cardproof.cards.audit_card import audit_file
from cardproof.errors import CardproofError
from helpers.places import SHARED

LLAMA = {
    "model_type": "llama",
    "vocab_size": 1000,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
WHISPER = {
    "model_type": "whisper",
    "architectures": ["WhisperForConditionalGeneration"],
    "d_model": 768,
    "encoder_layers": 12,
    "decoder_layers": 12,
    "encoder_ffn_dim": 3072,
    "decoder_ffn_dim": 3072,
    "encoder_attention_heads": 12,
    "decoder_attention_heads": 12,
    "vocab_size": 51865,
}
"""openai/whisper-small; its card counts 244M, its modules 241,734,912."""


def config(folder: Path, values: dict[str, Any]) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(values))
    return path


@pytest.mark.parametrize(
    ("values", "targets"),
    [
        (LLAMA, None),
        (LLAMA, ["q_proj", "v_proj"]),
        ({"model_type": "gpt2", "n_layer": 2, "n_embd": 48, "n_head": 4, "vocab_size": 500}, ["c_attn"]),
    ],
)
def test_the_size_is_pefts_count(tmp_path: Path, values: dict[str, Any], targets: list[str] | None) -> None:
    import peft
    import transformers

    size = read_architecture(config(tmp_path, values))
    kind = values["model_type"]
    model = transformers.AutoModelForCausalLM.from_config(
        transformers.CONFIG_MAPPING[kind](**{k: v for k, v in values.items() if k != "model_type"})
    )
    base = sum(p.numel() for p in model.parameters())
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=8, target_modules=targets or "all-linear", task_type="CAUSAL_LM"))
    trainable, total = adapted.get_nb_trainable_parameters()
    assert (size.base, size.lora(8, set(targets) if targets else None)) == (base, trainable)
    assert total == base + trainable


def card(folder: Path, trainable: str, base: str = "241,734,912") -> Path:
    path = folder / "README.md"
    path.write_text(f"# m\n\n- Base parameters: {base}\n- Trainable parameters: {trainable}\n- LoRA rank: 64\n")
    return path


@pytest.mark.parametrize(
    ("trainable", "severity", "which"),
    [
        ("25,952,256", "ok", "all linear layers"),
        ("25.95M", "ok", "all linear layers"),
        ("14,155,776", "ok", "attention only"),
        ("7,077,888", "ok", "queries and values"),
        ("26,952,256", "warning", "no usual choice"),
    ],
)
def test_a_printed_adapter(tmp_path: Path, trainable: str, severity: str, which: str) -> None:
    audit = audit_file(card(tmp_path, trainable), config(tmp_path, WHISPER))
    findings = [f for f in audit.findings if f.kind == "lora_parameters" and "trainable" in f.title]
    assert [(f.severity, which in f.title) for f in findings] == [(severity, True)]
    assert any("241,734,912" in f.title and f.severity == "ok" for f in audit.findings)


@pytest.mark.skipif(not (SHARED / "data" / "cards").is_dir(), reason="the reduced real cards are not there (set CARDPROOF_SHARED)")
def test_a_real_card_of_whisper(tmp_path: Path) -> None:
    audit = audit_file(SHARED / "data" / "cards" / "whisper-darja-lora.md", config(tmp_path, WHISPER))
    assert [f.severity for f in audit.findings if f.kind == "lora_parameters"] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"model_type": "nonesuch"}, "unknown to transformers"),
        ({**LLAMA, "num_hidden_layers": 10**9}, "more than any model has"),
        ({**LLAMA, "hidden_size": 10**12}, "more than any model has"),
        ({**LLAMA, "hidden_size": "wide"}, "no model can be built"),
        ([1], "is not a mapping"),
    ],
)
def test_what_is_no_config(tmp_path: Path, values: Any, sentence: str) -> None:
    with pytest.raises(CardproofError, match=sentence):
        read_architecture(config(tmp_path, values))


def test_lora_of_a_known_layer() -> None:
    assert Architecture("x", 10, (("a.q_proj", 3, 5), ("lm_head", 3, 100)), "lm_head").lora(2) == 2 * (3 + 5)
