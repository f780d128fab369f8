"""Decoding steps at the published sizes on a GPU: Python starts each operation, or CUDA graphs of what lies between two attentions.

Random weights in NF4, made on the GPU, and no adapter. `python -m benchmarks` leaves it out, since it needs a GPU: run it by its path.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import torch

SIZES = {
    "vocab_size": 151936,
    "hidden_size": 5120,
    "intermediate_size": 17408,
    "num_attention_heads": 40,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 40960,
    "tie_word_embeddings": False,
}
SETTINGS = ((48, 8, 0), (48, 4, 0), (128, 8, 0), (48, 8, 2))
"""Rollouts of a step, those of each item, and tokens guessed for each: all of them wrong, to see what guesses cost."""
PROMPT, STEPS = 2000, 40


def random_weights(layers: int) -> Any:
    """Qwen3-14B's sizes with that many layers; linear layers of normal numbers in NF4."""
    import bitsandbytes as bnb
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model("qwen3", num_hidden_layers=layers, **SIZES)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device="cuda", dtype=torch.bfloat16) * 0.02

    def fill(module: torch.nn.Module) -> None:
        for name, child in list(module.named_children()):
            if isinstance(child, torch.nn.Linear) and name != "lm_head":
                packed = bnb.nn.Linear4bit(child.in_features, child.out_features, False, torch.bfloat16, True, "nf4", device="meta")
                weight = normal(child.out_features, child.in_features).cpu()
                packed.weight = bnb.nn.Params4bit(weight, requires_grad=False, quant_type="nf4", compress_statistics=True).cuda()
                setattr(module, name, packed)
                continue
            for key, weight in list(child.named_parameters(recurse=False)):
                made = normal(*weight.shape) if weight.ndim == 2 else torch.ones(weight.shape, device="cuda", dtype=torch.bfloat16)
                setattr(child, key, torch.nn.Parameter(made, requires_grad=False))
            fill(child)

    fill(model)
    with torch.device("cuda"):
        model.model.rotary_emb = type(model.model.rotary_emb)(config)
    return model.eval()


def measure(model: Any, rows: int, n: int, guesses: int, recorded: bool) -> tuple[Any, float]:
    """The rollouts of as many items as fill the rows, and the median seconds of a step."""
    from cardproof.sampling.sampler import Decoding
    from cardproof.sampling.shared_prefix import SharedPrefixDecoder, Tokens

    decoder = SharedPrefixDecoder(model, [], rows, guesses=guesses)
    if not recorded:
        decoder.recorder = None
    of = torch.Generator().manual_seed(1)
    work = [
        Tokens(torch.randint(3, 150000, (PROMPT + 7 * i,), generator=of).tolist(), 0, [100 * i + k for k in range(n)])
        for i in range(rows // n)
    ]
    steps, advance = [], decoder._advance

    def timed(*step: Any) -> torch.Tensor:
        torch.cuda.synchronize()
        begin = time.perf_counter()
        logits = advance(*step)
        torch.cuda.synchronize()
        steps.append(time.perf_counter() - begin)
        return logits

    def wrong(active: Any) -> Any:
        return [[[7] * min(guesses, item.limit - len(item.generated[k]) - 1) for k in item.alive] for item in active]

    decoder._advance, decoder._guess = timed, wrong  # type: ignore[method-assign]
    rollouts = dict(decoder.decode(work, Decoding(0.7, 0.95, STEPS)))
    return rollouts, sorted(steps)[len(steps) // 2]


def main() -> None:
    """Measure all settings, and print a line of JSON for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=40, help="layers of the model (default: 40)")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("this benchmark needs a GPU.")
    model = random_weights(arguments.layers)
    for rows, n, guesses in SETTINGS:
        (plain, slow), (replayed, fast) = (measure(model, rows, n, guesses, recorded) for recorded in (False, True))
        found = {
            "rows": rows,
            "n": n,
            "guesses": guesses,
            "started_ms": 1e3 * slow,
            "recorded_ms": 1e3 * fast,
            "times": slow / fast,
            "equal": plain == replayed,
        }
        print(json.dumps({k: round(v, 2) if isinstance(v, float) else v for k, v in found.items()}), flush=True)


if __name__ == "__main__":
    main()
