"""Tiny models of random weights, one for each kind of architecture: windows, caps, scales, positions, experts, states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from helpers.tiny_chat import write_tokenizer

SIZES: dict[str, Any] = {"vocab_size": 199, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4}
SIZES |= {"num_key_value_heads": 2, "max_position_embeddings": 512, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
WINDOW = 24
"""Positions that a layer with a window sees: fewer than any prompt of the tests has."""
LONG = {"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [4.0] * 8, "rope_theta": 1e4}
LONG |= {"original_max_position_embeddings": 64}
DYNAMIC = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}
HEADS = {"head_dim": 16}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
CAPPED = {"attn_logit_softcapping": 0.5, "final_logit_softcapping": 3.0, "query_pre_attn_scalar": 16, "sliding_window": WINDOW}
LATENT = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16}
LATENT |= {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "moe_intermediate_size": 32}
LATENT |= {"num_key_value_heads": 4, "first_k_dense_replace": 1}
GPT = {"n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 512}
STATES = {"state_size": 8, "num_hidden_layers": 3}

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama, ungrouped heads": ("llama", {"num_key_value_heads": 4}),
    "llama, dynamic positions": ("llama", {"rope_parameters": DYNAMIC, "max_position_embeddings": 64}),
    "mistral, window": ("mistral", {"sliding_window": WINDOW}),
    "qwen2": ("qwen2", {}),
    "qwen2, window in some layers": ("qwen2", {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 2}),
    "qwen3": ("qwen3", HEADS),
    "gemma": ("gemma", HEADS),
    "gemma2, caps and window": ("gemma2", HEADS | CAPPED),
    "gemma3_text, window": ("gemma3_text", HEADS | {"sliding_window": WINDOW, "query_pre_attn_scalar": 16}),
    "granite, scales": ("granite", {"logits_scaling": 8.0, "embedding_multiplier": 12.0, "residual_multiplier": 0.22}),
    "cohere, scale": ("cohere", {"logit_scale": 0.0625}),
    "cohere2, scale and window": ("cohere2", {"logit_scale": 0.0625, "sliding_window": WINDOW}),
    "phi": ("phi", {"num_key_value_heads": 4}),
    "phi3, window": ("phi3", {"sliding_window": WINDOW}),
    "phi3, longrope": ("phi3", {"sliding_window": None, "rope_parameters": LONG, "original_max_position_embeddings": 64}),
    "olmo2": ("olmo2", {}),
    "olmo3, window": ("olmo3", {"sliding_window": WINDOW}),
    "smollm3, some layers without positions": ("smollm3", {}),
    "stablelm": ("stablelm", {}),
    "starcoder2, window": ("starcoder2", {"sliding_window": WINDOW}),
    "glm4": ("glm4", HEADS),
    "mixtral, experts": ("mixtral", {"num_local_experts": 4}),
    "qwen3_moe, experts": ("qwen3_moe", HEADS | EXPERTS),
    "deepseek_v3, latent attention": ("deepseek_v3", LATENT),
    "gpt_oss, sinks, experts": (
        "gpt_oss",
        HEADS | {"num_local_experts": 4, "sliding_window": WINDOW, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
    ),
    "gpt2, learned positions": ("gpt2", GPT),
    "gpt_neox": ("gpt_neox", {}),
    "opt, learned positions": ("opt", {"ffn_dim": 96, "word_embed_proj_dim": 64}),
    "falcon": ("falcon", {"new_decoder_architecture": False, "alibi": False}),
    "falcon, alibi": ("falcon", {"alibi": True}),
    "bloom, alibi": ("bloom", {"n_layer": 3, "n_head": 4}),
    "mpt, alibi": ("mpt", {"d_model": 64, "n_heads": 4, "n_layers": 3, "max_seq_len": 512}),
    "gptj": ("gptj", GPT | {"rotary_dim": 8}),
    "mamba, states": ("mamba", STATES),
    "mamba2, states": ("mamba2", STATES | {"num_heads": 8, "head_dim": 16, "n_groups": 1, "expand": 2, "chunk_size": 16}),
    "jamba, states and experts": (
        "jamba",
        {"num_experts": 2, "attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 8, "use_mamba_kernels": False},
    ),
    "recurrent_gemma, states and window": ("recurrent_gemma", {"attention_window_size": WINDOW, "lru_width": 64}),
    "qwen3_next, linear attention": (
        "qwen3_next",
        HEADS
        | EXPERTS
        | {
            "linear_num_value_heads": 4,
            "linear_num_key_heads": 2,
            "linear_key_head_dim": 16,
            "linear_value_head_dim": 16,
            "shared_expert_intermediate_size": 32,
        },
    ),
    "lfm2, convolutions": ("lfm2", {"full_attn_idxs": [1, 3], "block_auto_adjust_ff_dim": False}),
    "ministral, window": ("ministral", HEADS | {"sliding_window": WINDOW}),
    "ministral3, scaled queries": ("ministral3", {}),
    "olmo": ("olmo", {"clip_qkv": 2.0}),
    "glm": ("glm", HEADS),
    "arcee": ("arcee", {}),
    "seed_oss": ("seed_oss", HEADS),
    "helium": ("helium", HEADS),
    "nemotron": ("nemotron", {}),
    "apertus": ("apertus", {}),
    "hunyuan_v1_dense": ("hunyuan_v1_dense", HEADS),
    "ernie4_5": ("ernie4_5", HEADS),
    "exaone4, window": ("exaone4", {"sliding_window": WINDOW, "sliding_window_pattern": 4}),
}


def config_of(name: str) -> Any:
    """The configuration of one of KINDS."""
    from transformers import CONFIG_MAPPING

    kind, different = KINDS[name]
    return CONFIG_MAPPING[kind](**(SIZES | different))


def tiny(name: str) -> Any:
    """One of KINDS with random weights, sharp enough that its next token is not a toss-up."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config_of(name), dtype=torch.float32, trust_remote_code=False).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(2 if "states" in name else 4)
    return model


def write_tiny(folder: Path, name: str, context: int = 8192) -> Path:
    """One of KINDS as a model folder with a tokenizer and a chat template."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    tokenizer = write_tokenizer(folder)
    kind, different = KINDS[name]
    torch.manual_seed(0)
    sizes = SIZES | {"max_position_embeddings": context} | different | {"vocab_size": len(tokenizer)}
    AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**sizes), trust_remote_code=False).save_pretrained(folder)
    return folder
