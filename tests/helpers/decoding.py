"""What the tests of sampling decode with: short prompts, small random models, and the decoder in one call."""

from __future__ import annotations

from typing import Any

from cardproof.records import Document, Message, Prompt
from cardproof.sampling.sampler import Decoding

WORDS = ["the", "licence", "may", "not", "be", "revoked", "by", "a", "licensor", "who", "granted", "it", "to", "every", "recipient", "here"]


def make_prompt(item: int, condition: str = "clean") -> Prompt:
    """A contract prompt with a text of its own for each item."""
    text = " ".join(WORDS[: 5 + item % 12])
    messages = [Message(role="system", content="Answer from the document."), Message(role="user", content=f"Question {item}: why?\n{text}")]
    return Prompt(
        item=item,
        condition=condition,
        contract=True,
        question="why?",
        reference="because",
        oracle_id="a",
        oracle_present=True,
        documents=[Document(id="a", text=text, role="oracle")],
        messages=messages,
        prompt_hash=f"hash-{item}",
    )


def decode(model: Any, ids: Any, seeds: Any, rows: int, temperature: float = 0.9, limit: int = 24) -> dict[int, list[list[int]]]:
    """Replies by item: `ids` holds each item's tokens and how many of them it shares."""
    from cardproof.sampling.shared_prefix import SharedPrefixDecoder, Tokens

    work = [Tokens(tokens, common, s) for (tokens, common), s in zip(ids, seeds, strict=True)]
    return dict(SharedPrefixDecoder(model, [2], rows).decode(work, Decoding(temperature, 0.95, limit)))


def random_model(kind: str, **different: object) -> Any:
    """A causal language model of random weights and few layers, norms unlike one; its heads are wider than its features would make them."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {"vocab_size": 300, "hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 3, "num_attention_heads": 6}
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**sizes, "num_key_value_heads": 2, "head_dim": 32, "eos_token_id": 2, **different})
    model = AutoModelForCausalLM.from_config(config).eval()
    for name, weight in model.named_parameters():
        if "norm" in name or "bias" in name:
            torch.nn.init.uniform_(weight, 0.5, 1.5)
    return model
