"""The sampling step: one arm, one shard of the items, any number of conditions; one model load for all of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from cardproof.acquire.folders import model_hash
from cardproof.acquire.weights import check_adapter
from cardproof.config.settings import Config
from cardproof.errors import CardproofError, nearest
from cardproof.evidence.provenance import code_fingerprint
from cardproof.evidence.sealed_lines import key
from cardproof.files import read_rows, sha256_file, write_rows
from cardproof.records import Prompt, Rollout
from cardproof.sampling.sampler import Decoding, Draw, Sampler, rollout_seed
from cardproof.sampling.store import Store


def shard(prompts: Sequence[Prompt], number: int, of: int) -> list[Prompt]:
    """The `number`-th of `of` contiguous pieces (0-based), sizes differing by at most one."""
    return list(prompts[len(prompts) * number // of : len(prompts) * (number + 1) // of])


def sample(
    config: Config,
    arm: str,
    work: Mapping[Path, Path],
    model: Path,
    adapter: Path | None,
    piece: str,
    store_path: Path,
) -> None:
    """Sample one shard of each prompts file of `work` into its rollouts file.

    `piece`: the shard as NUMBER/OF, counted from 0. Items already in the store are not sampled again; the model is not even loaded when all
    are there. CardproofError where the run has no such arm or `piece` has another form.
    """
    _check_arm(config, arm)
    number, of = _number_of(piece)
    decoding = Decoding(config.sampling.temperature, config.sampling.top_p, config.sampling.max_new_tokens)
    base_hash = model_hash(model)
    if adapter:
        check_adapter(adapter, model)
    adapter_hash = sha256_file(adapter / "adapter_model.safetensors") if adapter else None
    shared = {
        "decoding": [decoding.temperature, decoding.top_p, decoding.max_new_tokens],
        "model": base_hash,
        "adapter": adapter_hash,
        "quantization": config.model.sampling_quantization,
        "thinking": config.model.thinking,
        "threads": config.runtime.threads,
        "backend": config.sampling.backend,
        "code": code_fingerprint("sample"),
    }
    prompts: dict[Path, list[Prompt]] = {}
    for source in work:
        if not (asked := read_rows(source, Prompt)):
            raise CardproofError(f"{source} holds no prompt.", "make it again; each condition asks at least one question.")
        prompts[source] = shard(asked, number, of)
    names: dict[int, str] = {}
    missing: list[tuple[Prompt, list[int]]] = []
    store = Store(store_path)
    for source in work:
        for prompt in prompts[source]:
            seeds = [rollout_seed(config.seed, arm, prompt.condition, prompt.item, k) for k in range(config.rollouts[prompt.condition])]
            names[id(prompt)] = key(prompt=prompt.prompt_hash, item=prompt.item, condition=prompt.condition, arm=arm, seeds=seeds, **shared)
            if names[id(prompt)] not in store.items:
                missing.append((prompt, seeds))
    total = sum(len(p) for p in prompts.values())
    if missing:
        print(f"{arm}: {total} prompts, {total - len(missing)} already sampled; loading {config.model.id}", file=sys.stderr)
        _fill(store, missing, names, arm, config, load_sampler(config, model, adapter), decoding)
    for source, out in work.items():
        write_rows(out, (row for prompt in prompts[source] for row in store.items[names[id(prompt)]]))
    store.close()


def _check_arm(config: Config, arm: str) -> None:
    if arm not in config.sampled_arms:
        near = nearest(arm, config.sampled_arms)
        raise CardproofError(
            f"There is no arm {arm!r}.", f"did you mean {near!r}?" if near else f"this run has: {', '.join(config.sampled_arms)}."
        )


def _number_of(piece: str) -> tuple[int, int]:
    number, _, of = piece.partition("/")
    if not (number.isdecimal() and of.isdecimal() and int(number) < int(of)):
        raise CardproofError(f"--shard: found {piece!r}.", "write NUMBER/OF, NUMBER counted from 0, such as 0/4.")
    return int(number), int(of)


def load_sampler(config: Config, model: Path, adapter: Path | None) -> Sampler:
    """The configured backend over a model folder and an adapter folder."""
    from cardproof.sampling.transformers_backend import TransformersSampler
    from cardproof.sampling.vllm_backend import VllmSampler

    backend = VllmSampler if config.sampling.backend == "vllm" else TransformersSampler
    return backend(model, config.model.sampling_quantization, adapter, config.sampling.rows, config.runtime.threads, config.model.thinking)


def _fill(
    store: Store,
    missing: list[tuple[Prompt, list[int]]],
    names: Mapping[int, str],
    arm: str,
    config: Config,
    sampler: Sampler,
    decoding: Decoding,
) -> None:
    tokens = 0
    with tqdm(total=sum(len(s) for _, s in missing), desc=f"sample {arm}", unit="rollout", file=sys.stderr, mininterval=2) as bar:
        for index, draws in sampler.sample(missing, decoding):
            prompt, seeds = missing[index]
            store.add(names[id(prompt)], [_row(config, arm, prompt, k, seeds[k], d, sampler) for k, d in enumerate(draws)])
            tokens += sum(d.completion_tokens for d in draws)
            bar.update(len(draws))
            bar.set_postfix(tok_s=f"{tokens / max(bar.format_dict['elapsed'], 1e-9):.0f}")


def _row(config: Config, arm: str, prompt: Prompt, k: int, seed: int, draw: Draw, sampler: Sampler) -> Rollout:
    return Rollout(
        item=prompt.item,
        k=k,
        arm=arm,
        condition=prompt.condition,
        seed=seed,
        text=draw.text,
        prompt_tokens=draw.prompt_tokens,
        completion_tokens=draw.completion_tokens,
        finish_reason=draw.finish_reason,
        model=config.model.id,
        model_hash=sampler.model_hash,
        adapter_hash=sampler.adapter_hash,
        prompt_hash=prompt.prompt_hash,
    )
