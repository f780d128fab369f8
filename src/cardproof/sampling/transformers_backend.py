"""The transformers backend: decodes with any causal language model, on a CPU or GPU, with the shared-prefix decoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cardproof.acquire.beside import add_tokens
from cardproof.acquire.model_hash import fingerprint, model_hash
from cardproof.models.device import Quantization, quiet
from cardproof.models.loading import load_for_sampling
from cardproof.models.tokens import load_tokenizer, opened_reasoning, prompt_ids
from cardproof.records import Prompt
from cardproof.sampling.sampler import Decoding, Draw, stop_tokens


class TransformersSampler:
    """A `Sampler` with one model and at most one adapter."""

    def __init__(self, folder: Path, quantization: Quantization, adapter: Path | None, rows: int, threads: int, thinking: bool) -> None:
        """`rows`: the most rollouts decoded together; `threads`: CPU threads."""
        import torch

        quiet()
        torch.set_num_threads(threads)
        self.rows, self.thinking = rows, thinking
        self.tokenizer = load_tokenizer(folder)
        self.model = load_for_sampling(folder, quantization, adapter)
        if adapter is not None:
            add_tokens(self.tokenizer, adapter)
        self.model_hash = model_hash(folder)
        self.adapter_hash = fingerprint(adapter) if adapter else None

    def sample(self, work: Sequence[tuple[Prompt, list[int]]], decoding: Decoding) -> Iterator[tuple[int, list[Draw]]]:
        """Draw replies; see `Sampler`."""
        from cardproof.sampling.shared_prefix import SharedPrefixDecoder, Tokens

        stop = stop_tokens(self.model.generation_config.eos_token_id, self.tokenizer.eos_token_id)
        tokens = []
        for prompt, seeds in work:
            ids, common = prompt_ids(self.tokenizer, prompt.messages, prompt.reply_prefix, self.thinking)
            tokens.append(Tokens(ids, common, seeds))
        for index, replies in SharedPrefixDecoder(self.model, stop, self.rows).decode(tokens, decoding):
            prompt = work[index][0]
            before = opened_reasoning(self.tokenizer, prompt.messages, self.thinking) + prompt.reply_prefix
            draws = []
            for reply in replies:
                stopped = bool(reply) and reply[-1] in stop
                text = self.tokenizer.decode(reply, skip_special_tokens=True)
                draws.append(Draw(before + text, len(tokens[index].ids), len(reply), "stop" if stopped else "length"))
            yield index, draws
