"""Greedy replies by transformers' own `generate`, with none of cardproof's decoding: what the sampler's greedy replies are compared with.

`python -m cardproof.rehearsal.reference MODEL PROMPTS NEW_TOKENS NF4 OUT` runs in a process of its own.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from cardproof.files import read_rows, write_json
from cardproof.models.device import compute_dtype, device, quiet
from cardproof.records import Prompt


def replies(folder: Path, prompts: list[Prompt], new_tokens: int, nf4: bool) -> dict[str, str]:
    """Item -> the greedy reply's text."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    quiet()
    options: dict[str, Any] = {"dtype": compute_dtype(), "device_map": {"": device()}}
    if nf4:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=compute_dtype()
        )
    model: Any = AutoModelForCausalLM.from_pretrained(folder, **options).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    found = {}
    for prompt in prompts:
        turns = [m.model_dump() for m in prompt.messages]
        text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False, enable_thinking=False)
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"].to(model.device)
        with torch.inference_mode():
            out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=new_tokens)
        found[str(prompt.item)] = tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
    return found


def main(model: str, prompts: str, new_tokens: str, nf4: str, out: str) -> None:
    """Write the replies as JSON."""
    write_json(Path(out), replies(Path(model), read_rows(Path(prompts), Prompt), int(new_tokens), nf4 == "nf4"))


if __name__ == "__main__":
    main(*sys.argv[1:])
