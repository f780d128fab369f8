"""Sampling: the shared-prefix decoder against transformers' own generate, independence of neighbours and shards, and the store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardproof.config.reading import validate
from cardproof.config.settings import Config
from cardproof.files import read_rows, write_rows
from cardproof.records import Document, Message, Prompt, Rollout
from cardproof.sampling.sampler import Decoding, rollout_seed
from cardproof.sampling.store import Store

WORDS = ["the", "licence", "may", "not", "be", "revoked", "by", "a", "licensor", "who", "granted", "it", "to", "every", "recipient", "here"]


def make_prompt(item: int, condition: str = "clean") -> Prompt:
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


@pytest.fixture(scope="module")
def decoder_parts(tiny_lm: Path):
    from cardproof.models.loading import load_plain
    from cardproof.models.tokens import load_tokenizer, prompt_ids

    model, tokenizer = load_plain(tiny_lm).eval(), load_tokenizer(tiny_lm)
    return model, tokenizer, [prompt_ids(tokenizer, make_prompt(i).messages, "", False) for i in range(7)]


def decode(model, ids, seeds, rows, temperature=0.9, limit=24):
    from cardproof.sampling.shared_prefix import SharedPrefixDecoder, Tokens

    work = [Tokens(tokens, common, s) for (tokens, common), s in zip(ids, seeds, strict=True)]
    return dict(SharedPrefixDecoder(model, [2], rows).decode(work, Decoding(temperature, 0.95, limit)))


def test_greedy_equals_generate(decoder_parts) -> None:
    import torch

    model, _, ids = decoder_parts
    ours = decode(model, ids, [[1]] * len(ids), rows=4, temperature=0)
    for i, (tokens, _) in enumerate(ids):
        theirs = model.generate(torch.tensor([tokens]), max_new_tokens=24, do_sample=False, eos_token_id=2, pad_token_id=0)[0]
        assert ours[i][0] == theirs[len(tokens) :].tolist()


def test_a_rollout_does_not_depend_on_its_neighbours(decoder_parts) -> None:
    model, _, ids = decoder_parts
    seeds = [[100 * i + k for k in range(4)] for i in range(len(ids))]
    together = decode(model, ids, seeds, rows=64)
    assert len({tuple(r) for replies in together.values() for r in replies}) > len(ids)
    for rows in (1, 8, 17):
        assert decode(model, ids, seeds, rows=rows) == together
    for i in (3, 0):
        assert decode(model, [ids[i]], [seeds[i]], rows=4)[0] == together[i]


PACKED = """
import torch
from cardproof.sampling.packed import PackedLinear
from cardproof.sampling.shared_prefix import MIN_ROWS

torch.set_num_threads({threads})
torch.manual_seed(0)
for outer, inner in ((576, 576), (960, 576), (576, 1536), (96, 64), (64, 128), (5000, 576)):
    layer = PackedLinear(torch.nn.Linear(inner, outer, bias=False).requires_grad_(False))
    x, other = torch.randn(64, inner), torch.randn(64, outer)
    ways = [lambda rows, how=how: layer(x[rows], how) for how in ("none", "swish")]
    ways += [lambda rows, how=how: layer.combined(x[rows], other[rows], how) for how in ("add", "mul")]
    for way in ways:
        whole = way(slice(None))
        for rows in range(MIN_ROWS, 65):
            for some in (slice(rows), slice(-rows, None)):
                assert torch.equal(way(some), whole[some]), (outer, inner, some)
print("same bits")
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("instructions", ["ALL", "AVX2"])
def test_a_row_of_a_packed_layer_does_not_depend_on_the_number_of_rows(instructions: str, threads: int) -> None:
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": instructions}
    done = subprocess.run([sys.executable, "-c", PACKED.format(threads=threads)], capture_output=True, text=True, env=environment)
    assert done.stdout == "same bits\n", done.stderr


def random_model(kind: str, **different: object):
    """A causal language model of random weights and few layers, norms unlike one; its heads are wider than its features would make them."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

    configs = {"llama": LlamaConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config}
    models = {"llama": LlamaForCausalLM, "qwen2": Qwen2ForCausalLM, "qwen3": Qwen3ForCausalLM}
    sizes = {"vocab_size": 300, "hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 3, "num_attention_heads": 6}
    torch.manual_seed(0)
    model = models[kind](configs[kind](**sizes, **{"num_key_value_heads": 2, "head_dim": 32, "eos_token_id": 2, **different})).eval()
    for name, weight in model.named_parameters():
        if "norm" in name or "bias" in name:
            torch.nn.init.uniform_(weight, 0.5, 1.5)
    return model


@pytest.mark.parametrize(
    ("kind", "different", "replaced"),
    [
        ("llama", {}, True),
        (
            "llama",
            {"attention_bias": True, "mlp_bias": True, "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}},
            True,
        ),
        ("qwen3", {}, True),
        ("qwen3", {"hidden_act": "gelu"}, False),
        ("qwen2", {}, True),
    ],
)
def test_packing_keeps_what_a_model_computes(kind: str, different: dict[str, object], replaced: bool) -> None:
    import torch

    from cardproof.sampling.packed import PackedLayer, pack

    model, packed = random_model(kind, **different), random_model(kind, **different)
    pack(packed)
    assert not any(isinstance(m, torch.nn.Linear) for m in packed.modules())
    assert all(isinstance(layer, PackedLayer) == replaced for layer in packed.model.layers)
    ids = torch.arange(3, 203).view(2, 100)
    with torch.inference_mode():
        expected, found = model(ids).logits, packed(ids).logits
    assert torch.allclose(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("length", [5, 399, 400, 401, 901])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_prompts_of_any_length_are_decoded_as_generate_does(kind: str, length: int) -> None:
    """Keys of a prompt lie in pieces of at most 400."""
    import torch

    model, other = random_model(kind), random_model(kind)
    ids = torch.randint(3, 300, (1, length), generator=torch.Generator().manual_seed(length))
    theirs = model.generate(ids, max_new_tokens=24, do_sample=False, eos_token_id=2, pad_token_id=0)[0]
    assert decode(other, [(ids[0].tolist(), 0)], [[1]], rows=4, temperature=0)[0][0] == theirs[length:].tolist()


def test_another_seed_gives_other_rollouts(decoder_parts) -> None:
    model, _, ids = decoder_parts
    first, second = (decode(model, ids[:1], [[s, s + 1]], rows=4)[0] for s in (1, 50))
    assert first != second


def test_common_prefix_changes_nothing_but_time(decoder_parts) -> None:
    model, _, ids = decoder_parts
    seeds = [[7, 8]] * len(ids)
    assert all(0 < common < len(tokens) for tokens, common in ids)
    plain = decode(model, [(tokens, 0) for tokens, _ in ids], seeds, rows=8, temperature=0)
    assert decode(model, ids, seeds, rows=8, temperature=0) == plain


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.05, 0.99), st.sampled_from([0.3, 1.0, 3.0]), st.sampled_from([5, 300, 1000]))
def test_choose_draws_from_the_nucleus(seed: int, top_p: float, spread: float, vocabulary: int) -> None:
    """Against a plain sort-everything reference: the same token for the same random number."""
    import torch

    from cardproof.sampling.shared_prefix import choose

    rng = np.random.default_rng(seed)
    logits = rng.normal(0, spread, (3, vocabulary))
    uniforms = rng.random(3)
    chosen = choose(torch.tensor(logits, dtype=torch.float64), uniforms, 0.7, top_p)
    for row in range(3):
        p = np.exp(np.float32(logits[row]) / np.float32(0.7), dtype=np.float64)
        p /= p.sum()
        order = np.argsort(-p, kind="stable")
        mass = p[order].cumsum()
        last = min(int(np.searchsorted(mass, top_p)), vocabulary - 1)
        edges = mass[: last + 1] / mass[last]
        at = int(np.searchsorted(edges, uniforms[row], side="right"))
        near_edge = np.min(np.abs(edges - uniforms[row])) < 1e-4 or np.min(np.abs(mass - top_p)) < 1e-5
        assert chosen[row] == order[min(at, last)] or near_edge


def test_rollout_seeds_are_distinct_and_exact_in_json() -> None:
    seeds = {
        rollout_seed(s, arm, condition, item, k)
        for s in (0, 1)
        for arm in ("base", "grounded")
        for condition in ("clean", "stress")
        for item in range(20)
        for k in range(8)
    }
    assert len(seeds) == 2 * 2 * 2 * 20 * 8
    assert all(s == json.loads(json.dumps(float(s))) and s < 2**53 for s in seeds)


def config(**sampling) -> Config:
    return validate(
        {"scale": "embedded", "conditions": {"clean": {"n": 3}}, "sampling": {"max_new_tokens": 12, **sampling}, "runtime": {"threads": 1}}
    )


def run(tiny_lm: Path, folder: Path, settings: Config, number: int = 0, of: int = 1, store: str = "store.jsonl") -> Path:
    from cardproof.sampling.sample import sample

    source = folder / "prompts.jsonl"
    if not source.exists():
        write_rows(source, [make_prompt(i) for i in range(8)])
    out = folder / f"samples-{number}-of-{of}.jsonl"
    sample(settings, "base", {source: out}, tiny_lm, None, f"{number}/{of}", folder / store)
    return out


@pytest.mark.parametrize("of", [3, 8])
def test_gathered_samples_do_not_depend_on_shards(tiny_lm: Path, tmp_path: Path, of: int) -> None:
    from cardproof.sampling.gather import gather

    whole = run(tiny_lm, tmp_path, config())
    pieces = [run(tiny_lm, tmp_path, config(rows=4), i, of, f"store-{i}.jsonl") for i in range(of)]
    gather(pieces, tmp_path / "gathered.jsonl")
    assert (tmp_path / "gathered.jsonl").read_bytes() == whole.read_bytes()
    rows = read_rows(whole, Rollout)
    assert [(r.item, r.k) for r in rows] == [(i, k) for i in range(8) for k in range(3)]


def test_a_killed_shard_resumes_without_repeating(tiny_lm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cardproof.sampling.sample as module

    whole = run(tiny_lm, tmp_path, config()).read_bytes()
    store = tmp_path / "store.jsonl"
    lines = store.read_bytes().splitlines(keepends=True)
    store.write_bytes(b"".join(lines[:5]) + lines[5][: len(lines[5]) // 2])  # killed while writing the sixth item

    asked: list[int] = []
    load = module.load_sampler

    def watched(*args):
        sampler = load(*args)
        original = sampler.sample
        sampler.sample = lambda work, decoding: (asked.extend(p.item for p, _ in work), original(work, decoding))[1]
        return sampler

    monkeypatch.setattr(module, "load_sampler", watched)
    assert run(tiny_lm, tmp_path, config()).read_bytes() == whole
    assert len(asked) == 3
    # All is there now: the model is not loaded at all.
    monkeypatch.setattr(module, "load_sampler", lambda *args: pytest.fail("loaded a model for nothing"))
    assert run(tiny_lm, tmp_path, config()).read_bytes() == whole


def test_the_store_keeps_only_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "store.jsonl"
    store = Store(path)
    for name in "abc":
        store.add(name, [])
    store.close()
    # The second line was changed, the last one torn: the lines between and after stay.
    a, b, c = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(a + b.replace(b'"b"', b'"x"') + c + a[: len(a) // 2])
    store = Store(path)
    assert list(store.items) == ["a", "c"]
    store.add("d", [])
    store.close()
    assert list(Store(path).items) == ["a", "c", "d"]


def test_a_changed_setting_is_sampled_anew(tiny_lm: Path, tmp_path: Path) -> None:
    first = run(tiny_lm, tmp_path, config()).read_bytes()
    assert run(tiny_lm, tmp_path, config(temperature=0.1)).read_bytes() != first
    assert run(tiny_lm, tmp_path, config()).read_bytes() == first


def test_nf4_dequantised_gives_the_logits_of_linear4bit(tiny_lm: Path) -> None:
    import torch

    from cardproof.models.loading import load_for_sampling, load_nf4, load_plain

    ids = torch.arange(3, 40)[None]
    with torch.inference_mode():
        # Out of training mode, CPUs with AVX512-BF16 take a kernel of coarser scales.
        packed = load_nf4(tiny_lm).train()(ids).logits
        unpacked = load_for_sampling(tiny_lm, "nf4", None)(ids).logits
        plain = load_plain(tiny_lm).eval()(ids).logits
    dequantising = float((packed - unpacked).abs().max())
    quantising = float((packed - plain).abs().max())
    assert dequantising <= 1e-4 * float(plain.abs().max())
    assert quantising > 100 * max(dequantising, 1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_a_gpu_samples_with_decodes_as_generate_does(
    tiny_lm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    """4-bit layers with a LoRA adapter beside them, in a GPU's compute type too: as far as a CPU can show what runs there."""
    import torch

    from cardproof.models import loading
    from helpers.tiny_qwen3 import write_tiny_adapter

    monkeypatch.setattr(loading, "compute_dtype", lambda: getattr(torch, dtype))
    adapter = write_tiny_adapter(tmp_path, tiny_lm, rank=8, scale=0.5)
    ids = list(range(3, 40))
    logits, replies = {}, {}
    for name, beside in (("base", None), ("adapted", adapter)):
        # In training mode, without dropout: out of it CPUs with AVX512-BF16 take a kernel of coarser scales.
        model = loading.load_packed(tiny_lm, "nf4", beside).train()
        with torch.inference_mode():
            logits[name] = model(torch.tensor([ids])).logits.float()
        # Several rollouts of several items: decoding is a step of our own, and goes through the adapter as reading the prompt does.
        found = decode(model, [(ids, 0), (ids[5:], 0)], [[1, 2], [3, 4]], rows=4, temperature=0, limit=12)
        theirs = model.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False, eos_token_id=2, pad_token_id=0)[0, len(ids) :]
        replies[name] = [*found[0], theirs.tolist()]
    assert not torch.equal(logits["base"], logits["adapted"]), "the adapter changes nothing"
    assert replies["base"][-1] != replies["adapted"][-1]
    for ours in replies.values():
        if dtype == "float32":  # in bfloat16 two tokens are often tied
            assert ours[0] == ours[1] == ours[2]
        assert ours[0][0] == ours[2][0]
    if dtype == "float32":
        merged = loading.load_merged(tiny_lm, "nf4", adapter)
        with torch.inference_mode():
            off = (merged(torch.tensor([ids])).logits - logits["adapted"]).abs().max()
        assert float(off) <= 1e-3 * float(logits["adapted"].abs().max())
