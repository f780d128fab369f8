"""The transformers backend: decodes with any causal language model, on a CPU or GPU, with the shared-prefix decoder where it fits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cardproof.acquire.model_hash import fingerprint, model_hash
from cardproof.models.cache import room, temporaries
from cardproof.models.chat import Chat
from cardproof.models.device import Quantization, quiet
from cardproof.models.layers import sides
from cardproof.models.loading import load_for_sampling
from cardproof.sampling.sampler import Decoding, Draw, Task


class TransformersSampler:
    """A `Sampler` with one model and at most one adapter."""

    def __init__(
        self, folder: Path, quantization: Quantization, adapter: Path | None, rows: int, threads: int, chat: Chat, guesses: int = 0
    ) -> None:
        """`rows`: the most rollouts decoded together; `threads`: CPU threads; `guesses`: the most tokens guessed for each in a step."""
        import torch

        from cardproof.sampling.shared_prefix import SharedPrefixDecoder

        quiet()
        torch.set_num_threads(threads)
        self.chat = chat
        self.model_hash = model_hash(folder)
        self.adapter_hash = fingerprint(adapter) if adapter else None
        model = load_for_sampling(folder, quantization, adapter)
        self.decoder = SharedPrefixDecoder(model, chat.ending.stops, rows, chat.ended if chat.ending.text else None, guesses=guesses)

    def _memory(self, longest: int) -> float | None:
        """Bytes for keys and values: what a GPU has left beside the weights; None on a CPU, where the rows alone decide."""
        import torch

        if self.decoder.device.type != "cuda":
            return None
        model = self.decoder.model
        text = model.config.get_text_config()
        widest = max(max(pair) for pair in sides(model))
        moments = temporaries(longest, widest, text.hidden_size, text.vocab_size, self.decoder.places, model.dtype.itemsize)
        # Torch keeps memory that it has used, for what it needs next: the driver counts it as taken, but it is free for keys and values.
        kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return room(torch.cuda.mem_get_info()[0] + kept, moments)

    def sample(self, work: Sequence[Task], decoding: Decoding) -> Iterator[tuple[int, list[Draw]]]:
        """Draw replies; see `Sampler`. CardproofError names an item whose logits are not finite."""
        from cardproof.sampling.shared_prefix import Tokens

        self.decoder.memory = self._memory(max(len(task.ids) for task in work)) if work else None
        tokens = [Tokens(task.ids, task.common, task.seeds, task.name) for task in work]
        for index, replies in self.decoder.decode(tokens, decoding):
            task = work[index]
            drawn_by = self.decoder.decoder_of(tokens[index], decoding.max_new_tokens)
            draws = []
            for reply, steps in zip(replies, self.decoder.steps[index], strict=True):
                stopped = bool(reply) and self.decoder.is_last(reply)
                text = task.before + self.chat.reply(reply)
                draws.append(Draw(text, len(task.ids), len(reply), "stop" if stopped else "length", drawn_by, len(reply) - steps))
            yield index, draws
