"""The vLLM backend: the same prompts, seeds and records as the transformers backend, with an engine built to serve models on GPUs.

Each rollout is a request with its own seed. Prefix caching computes an item's prompt once for all of its rollouts, as vLLM's own parallel
sampling does. Unlike the transformers backend, vLLM does not promise that a result is independent of the rest of its batch.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cardproof.acquire.adapters import check_adapter
from cardproof.acquire.lora import SETTINGS, WEIGHTS, settings
from cardproof.acquire.model_hash import fingerprint, model_hash
from cardproof.acquire.weights import header
from cardproof.errors import CardproofError
from cardproof.models.chat import Chat
from cardproof.models.device import Quantization, device, quiet
from cardproof.sampling.dequantise import went_through_nf4
from cardproof.sampling.sampler import Decoding, Draw, Task, not_finite

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""LoRA ranks that vLLM can reserve room for. An adapter takes the smallest one that is large enough."""
CACHE_GB = 2
"""Memory for keys and values on a CPU, in GB. On a GPU, vLLM takes what the weights leave."""
BATCHED_TOKENS = 8192
"""Most tokens of one step. A whole prompt must fit: vLLM cannot seed a request whose prompt it computes in pieces."""


def rank_room(adapter: Path) -> int:
    """The rank to reserve room for; CardproofError if the adapter's rank is larger than vLLM allows."""
    rank = int(json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["r"])
    room = next((allowed for allowed in RANKS if allowed >= rank), None)
    if room is None:
        raise CardproofError(
            f"{adapter}/adapter_config.json: r is {rank}, but vLLM takes at most {RANKS[-1]}.",
            "set sampling.backend to transformers, or train with a smaller rank.",
        )
    return room


def refuse_what_vllm_leaves_out(adapter: Path) -> None:
    """CardproofError if vLLM would not compute an adapter as PEFT does: it scales all layers alike, and takes only pairs of matrices."""
    lora = settings(adapter)
    more = [name for name in ("rank_pattern", "alpha_pattern", "use_dora") if getattr(lora, name)]
    more += [name for name in header(adapter / WEIGHTS) if not re.search(r"\.\d+\..+\.lora_[AB]\.weight$", name)]
    if more:
        raise CardproofError(
            f"{adapter}: vLLM does not compute what the adapter has in {SETTINGS} or {WEIGHTS}: {', '.join(more[:4])}.",
            "set sampling.backend to transformers.",
        )


class VllmSampler:
    """A `Sampler` with one model and at most one adapter. Each call of `sample` starts an engine of its own."""

    def __init__(self, folder: Path, quantization: Quantization, adapter: Path | None, rows: int, threads: int, chat: Chat) -> None:
        """`rows`: the most rollouts in flight; `threads`: CPU threads. CardproofError if vLLM is missing or the adapter does not fit."""
        quiet()
        if quantization == "nf4" and not went_through_nf4(folder):
            raise CardproofError(
                f"vLLM has no NF4, and the weights in {folder} did not go through it.",
                f"`cardproof dequantise --model {folder} --out FOLDER` writes such weights; give it that folder.",
            )
        self.folder, self.quantization, self.adapter = folder, quantization, adapter
        self.rows, self.threads, self.chat = rows, threads, chat
        self.model_hash = model_hash(folder)
        self.adapter_hash = None
        self.room = None
        if adapter is not None:
            check_adapter(adapter, folder)
            refuse_what_vllm_leaves_out(adapter)
            self.room = rank_room(adapter)
            self.adapter_hash = fingerprint(adapter)
        self.vllm = _vllm(threads)

    def sample(self, work: Sequence[Task], decoding: Decoding) -> Iterator[tuple[int, list[Draw]]]:
        """Draw replies; see `Sampler`. CardproofError names an item whose logits are not finite."""
        yield from self._run(self._engine(max(len(task.ids) for task in work) + decoding.max_new_tokens), work, decoding)

    def _engine(self, length: int) -> Any:
        """The engine. vLLM has no NF4, so `folder` has weights that went through NF4 once."""
        options: dict[str, Any] = {"dtype": "float32", "enforce_eager": True} if device() == "cpu" else {"dtype": "bfloat16"}
        if self.room is not None:
            options |= {"enable_lora": True, "max_lora_rank": self.room, "max_loras": 1}
        return self.vllm.LLM(
            model=str(self.folder),
            trust_remote_code=False,
            enable_prefix_caching=True,
            max_model_len=length,
            max_num_seqs=self.rows,
            max_num_batched_tokens=max(BATCHED_TOKENS, length),
            disable_log_stats=True,
            seed=0,
            **options,
        ).llm_engine

    def _run(self, engine: Any, work: Sequence[Task], decoding: Decoding) -> Iterator[tuple[int, list[Draw]]]:
        from vllm.inputs import TokensPrompt
        from vllm.lora.request import LoRARequest

        lora = LoRARequest("adapter", 1, str(self.adapter)) if self.adapter is not None else None
        ending = self.chat.ending
        for index, task in enumerate(work):
            for k, seed in enumerate(task.seeds):
                params = self.vllm.SamplingParams(
                    temperature=decoding.temperature,
                    top_p=decoding.top_p,
                    max_tokens=decoding.max_new_tokens,
                    seed=seed,
                    stop_token_ids=list(ending.stops),
                    stop=[ending.text] if ending.text else None,
                    detokenize=bool(ending.text),
                    logprobs=0,  # of the drawn token: not a number where the logits are none
                )
                engine.add_request(f"{index}/{k}", TokensPrompt(prompt_token_ids=task.ids), params, lora_request=lora)
        drawn: dict[int, dict[int, Draw]] = {}
        while engine.has_unfinished_requests():
            for output in engine.step():
                if not output.finished:
                    continue
                index, k = (int(part) for part in output.request_id.split("/"))
                task = work[index]
                (reply,) = output.outputs
                if any(not math.isfinite(at[token].logprob) for at, token in zip(reply.logprobs or [], reply.token_ids, strict=False)):
                    raise not_finite(task.name)
                tokens = list(reply.token_ids)
                stopped = bool(tokens) and (tokens[-1] in ending.stops or (bool(ending.text) and self.chat.ended(tokens)))
                draws = drawn.setdefault(index, {})
                text = task.before + self.chat.reply(tokens)
                draws[k] = Draw(text, len(task.ids), len(tokens), "stop" if stopped else "length", "vllm")
                if len(draws) == len(task.seeds):
                    yield index, [draws[k] for k in range(len(task.seeds))]
                    del drawn[index]


def _vllm(threads: int) -> Any:
    """Import vllm, set to stay in this process and, on a CPU, within `threads` threads."""
    for name, value in {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # with an engine in another process, runs with equal seeds differed
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_CPU_KVCACHE_SPACE": str(CACHE_GB),
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "OMP_NUM_THREADS": str(threads),
    }.items():
        os.environ.setdefault(name, value)
    try:
        import vllm
    except ImportError as e:
        raise CardproofError(
            f"sampling.backend is vllm, which {sys.executable} cannot import: {e}.",
            "run `make setup-vllm` and set sampling.python to .venv-vllm/bin/python, or set sampling.backend to transformers.",
        ) from None
    return vllm
