"""The sampling step: one arm and one shard of the items, in any number of conditions, with one load of the model."""

from __future__ import annotations

import errno
import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import astuple
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from cardproof.acquire import lora
from cardproof.acquire.model_hash import fingerprint, model_hash
from cardproof.config.places import without_places
from cardproof.config.settings import TRAIN, Config
from cardproof.errors import CardproofError, did_you_mean
from cardproof.evidence.provenance import code_fingerprint
from cardproof.evidence.sealed_lines import key
from cardproof.files import read_rows, write_rows
from cardproof.models.architecture import check_length, context_of, load_config
from cardproof.models.chat import Chat, Encoded
from cardproof.models.device import computed_on, quiet
from cardproof.records import Prompt, Rollout
from cardproof.sampling.sampler import Decoding, Draw, Sampler, Task, rollout_seed
from cardproof.sampling.store import Store


class Item(NamedTuple):
    """One prompt of a shard, what a sampler is told of it, the hash of its tokens, and the name the store keeps its rollouts under."""

    prompt: Prompt
    task: Task
    decoding: Decoding
    tokens: str
    key: str


def sample(config: Config, arm: str, work: Mapping[Path, Path], model: Path, adapter: Path | None, piece: str, store_path: Path) -> None:
    """Sample one shard of each prompts file of `work` into the rollouts file it maps to.

    `piece` is the shard as NUMBER/OF, counted from 0. Items already in the store are not sampled again, and if all of them are there the
    model is not even loaded. CardproofError if the configuration has no such arm, `piece` is malformed, a file has no prompts, or a prompt
    and its reply do not fit the model.
    """
    _check_arm(config, arm)
    number, of = _number_of(piece)
    if store_path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(store_path))
    prompts = {source: shard(_prompts(source), number, of) for source in work}
    depends_on = _dependencies(config, model, adapter)
    quiet()
    chat = Chat(model, config.model, any(len(p.messages) > 2 for of_file in prompts.values() for p in of_file), adapter)
    fits = _fits(config, model, chat)
    items = {source: [_item(config, arm, prompt, chat, fits, depends_on) for prompt in some] for source, some in prompts.items()}
    with closing(Store(store_path)) as store:
        everything = [item for of_file in items.values() for item in of_file]
        missing = [item for item in everything if item.key not in store.items]
        if missing:
            there = len(everything) - len(missing)
            print(f"{arm}: {len(everything)} prompts, {there} already sampled; loading {config.model.id}", file=sys.stderr)
            _fill(store, missing, arm, config, load_sampler(config, model, adapter, chat))
        for source, out in work.items():
            write_rows(out, (row for item in items[source] for row in store.items[item.key]))


def shard(prompts: Sequence[Prompt], number: int, of: int) -> list[Prompt]:
    """The `number`-th (from 0) of `of` contiguous pieces, whose sizes differ by at most one."""
    return list(prompts[len(prompts) * number // of : len(prompts) * (number + 1) // of])


def load_sampler(config: Config, model: Path, adapter: Path | None, chat: Chat) -> Sampler:
    """The configured engine with a model folder and an adapter folder."""
    from cardproof.sampling.transformers_backend import TransformersSampler
    from cardproof.sampling.vllm_backend import VllmSampler

    engine = (model, config.model.sampling_quantization, adapter, config.sampling.rows, config.runtime.threads, chat)
    if config.sampling.backend == "vllm":
        return VllmSampler(*engine)
    return TransformersSampler(*engine, guesses=config.sampling.prompt_lookup)


def _check_arm(config: Config, arm: str) -> None:
    if arm not in config.sampled_arms:
        hint = did_you_mean(arm, config.sampled_arms, f"this run has: {', '.join(config.sampled_arms)}.")
        raise CardproofError(f"There is no arm {arm!r}.", hint)


def _number_of(piece: str) -> tuple[int, int]:
    number, _, of = piece.partition("/")
    if not (number.isdecimal() and of.isdecimal() and int(number) < int(of)):
        raise CardproofError(f"--shard: found {piece!r}.", "write NUMBER/OF, NUMBER counted from 0, such as 0/4.")
    return int(number), int(of)


def _prompts(path: Path) -> list[Prompt]:
    prompts = read_rows(path, Prompt)
    if not prompts:
        raise CardproofError(f"{path} has no prompts.", "write it again; each condition asks at least one question.")
    return prompts


def _decoding(config: Config, condition: str) -> Decoding:
    temperature = config.distill.temperature if condition == TRAIN else None
    if temperature is None:
        temperature = config.sampling.temperature
    return Decoding(temperature, config.sampling.top_p, config.sampling.max_new_tokens)


def _dependencies(config: Config, model: Path, adapter: Path | None) -> dict[str, Any]:
    """Everything that rollouts depend on, except for their prompt, their seeds and how they are drawn."""
    base_hash = model_hash(model)
    if adapter:
        lora.settings(adapter)  # the engine checks that it fits, before it loads the base
    return {
        "model": base_hash,
        "adapter": fingerprint(adapter) if adapter else None,
        "quantization": config.model.sampling_quantization,
        "thinking": config.model.thinking,
        "threads": config.runtime.threads,
        "computed on": computed_on(config.sampling.rows),
        "prompt lookup": config.sampling.prompt_lookup,
        "backend": config.sampling.backend,
        "code": code_fingerprint("sample", config.sampling.backend),
    }


def _fits(config: Config, model: Path, chat: Chat) -> Callable[[str, Encoded], None]:
    """A check of one encoded prompt: the model has its tokens, and room for it and the longest reply."""
    values = load_config(model)
    context, tokens = context_of(values), max(values.get_text_config().vocab_size, 1 + max(chat.new, default=0))

    def check(name: str, encoded: Encoded) -> None:
        hint = "lower sampling.max_new_tokens or the condition's distractors, or take a model with a longer context."
        check_length(name, len(encoded.ids), config.sampling.max_new_tokens, context, hint)
        if max(encoded.ids, default=0) >= tokens:
            raise CardproofError(
                f"{name} has the token {max(encoded.ids)}, but the model in {model} has only {tokens}.",
                "the folder's tokenizer is of another model: copy or fetch both again.",
            )

    return check


def _item(
    config: Config, arm: str, prompt: Prompt, chat: Chat, fits: Callable[[str, Encoded], None], depends_on: Mapping[str, Any]
) -> Item:
    condition, item = prompt.condition, prompt.item
    name = f"prompts/{condition}.jsonl: item {item}"
    encoded = chat.prompt(prompt.messages, prompt.reply_prefix)
    fits(name, encoded)
    seeds = [rollout_seed(config.seed, arm, condition, item, k) for k in range(config.rollouts[condition])]
    task = Task(encoded.ids, encoded.common, encoded.opened + prompt.reply_prefix, seeds, f"item {item} of {condition}")
    decoding = _decoding(config, condition)
    of = {
        "prompt": prompt.prompt_hash,
        "tokens": encoded.digest,
        "before": task.before,
        "ending": [*chat.ending.stops, chat.ending.text],
        "decoding": list(astuple(decoding)),
    }
    name_in_store = key(item=item, condition=condition, arm=arm, seeds=seeds, **of, **depends_on)
    return Item(prompt, task, decoding, encoded.digest, name_in_store)


def _fill(store: Store, missing: Sequence[Item], arm: str, config: Config, sampler: Sampler) -> None:
    """Sample the missing items, and store each one as soon as it is finished."""
    tokens, steps = Counter[str](), Counter[str]()
    rollouts = sum(len(item.task.seeds) for item in missing)
    with tqdm(total=rollouts, desc=f"sample {arm}", unit="rollout", file=sys.stderr, mininterval=2) as bar:
        for decoding in dict.fromkeys(item.decoding for item in missing):
            alike = [item for item in missing if item.decoding == decoding]
            for index, draws in sampler.sample([item.task for item in alike], decoding):
                item = alike[index]
                store.add(item.key, [_row(config, arm, item, k, draw, sampler) for k, draw in enumerate(draws)])
                tokens[item.prompt.condition] += sum(d.completion_tokens for d in draws)
                steps[item.prompt.condition] += sum(d.completion_tokens - d.guessed for d in draws)
                bar.update(len(draws))
                bar.set_postfix(tok_s=f"{tokens.total() / max(bar.format_dict['elapsed'], 1e-9):.0f}")
    if config.sampling.prompt_lookup:
        for condition in tokens:
            print(f"{arm}, {condition}: {tokens[condition] / steps[condition]:.2f} tokens a step", file=sys.stderr)


def _row(config: Config, arm: str, item: Item, k: int, draw: Draw, sampler: Sampler) -> Rollout:
    return Rollout(
        item=item.prompt.item,
        k=k,
        arm=arm,
        condition=item.prompt.condition,
        seed=item.task.seeds[k],
        text=draw.text,
        prompt_tokens=draw.prompt_tokens,
        completion_tokens=draw.completion_tokens,
        finish_reason=draw.finish_reason,
        model=without_places(config).model.id,
        model_hash=sampler.model_hash,
        adapter_hash=sampler.adapter_hash,
        prompt_hash=item.prompt.prompt_hash,
        token_hash=item.tokens,
        decoder=draw.decoder,
    )
