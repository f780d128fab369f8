"""The memory formulas against the tensors of small real models on a CPU: NF4, LoRA, optimiser, activations, keys and values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cardproof.config.settings import Config, Training
from cardproof.errors import CardproofError
from cardproof.machine import memory
from cardproof.machine.workload import assumptions
from cardproof.models.cache import tokens_of_item
from cardproof.models.shapes import shapes, shapes_of_folder
from cardproof.models.sizes import Architecture, shapes_of

SIZES = Architecture(1000, 96, 256, 3, 6, 2, 32, False)
RANK = 8


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen3 of random weights: 3 layers, 6 query heads of width 32 over 2 of keys and values."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("qwen3")
    Qwen3ForCausalLM(Qwen3Config(**vars(SIZES))).save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture(scope="module")
def trained(qwen3: Path) -> Any:
    """The same in NF4 with LoRA, as the training step loads it."""
    from cardproof.training.train import load

    settings = Training(rank=RANK, dropout=0.0, gradient_checkpointing=False)
    # As it is trained: out of training mode, CPUs with AVX512-BF16 take a kernel that wants other widths.
    return load(qwen3, "nf4", settings).train()


def size(tensor: Any) -> int:
    return tensor.numel() * tensor.element_size()


def test_sizes_by_arithmetic_are_those_of_the_real_modules(qwen3: Path) -> None:
    counted, computed = shapes_of_folder(qwen3), shapes_of(SIZES, "x")
    assert sorted(counted.linears) == sorted(computed.linears)
    same = ("layers", "hidden", "vocabulary", "heads", "kv_heads", "head_dim", "parameters", "query_norms", "quantised")
    assert {k: getattr(counted, k) for k in same} == {k: getattr(computed, k) for k in same}


def test_the_published_model_needs_no_file(tmp_path: Path) -> None:
    sizes = shapes(Config(), None)
    assert (sizes.parameters, sizes.lora_parameters(32)) == (14_768_307_200, 128_450_560)
    with pytest.raises(CardproofError, match="sizes of 'another/model' are not known"):
        shapes(Config(model={"id": "another/model"}), None)
    with pytest.raises(CardproofError, match=r"has no config\.json"):
        shapes(Config(), tmp_path)


def test_nf4_weights_and_constants_are_the_tensors_bitsandbytes_keeps(trained: Any) -> None:
    sizes = shapes_of(SIZES, "x")
    packed = [p for p in trained.parameters() if getattr(p, "quant_state", None) is not None]
    assert len(packed) == len(sizes.linears) == 3 * 7
    assert sum(size(p) for p in packed) == memory.nf4_weights(sizes.linears)
    constants = 0
    for p in packed:
        state = p.quant_state
        constants += sum(size(t) for t in (state.absmax, state.code, state.offset, state.state2.absmax, state.state2.code))
    assert constants == memory.nf4_constants(sizes.linears)


def test_what_nf4_leaves_out_is_kept_in_float32_while_training(trained: Any) -> None:
    sizes = shapes_of(SIZES, "x")
    rest = [p for name, p in trained.named_parameters() if getattr(p, "quant_state", None) is None and "lora_" not in name]
    assert sum(size(p) for p in rest) == (sizes.parameters - sizes.quantised) * memory.FLOAT


def test_lora_parameters_and_gradients_are_float32(trained: Any) -> None:
    import torch

    sizes = shapes_of(SIZES, "x")
    trainable = [p for p in trained.parameters() if p.requires_grad]
    assert sum(p.numel() for p in trainable) == sizes.lora_parameters(RANK)
    trained(input_ids=torch.arange(5, 30)[None], labels=torch.arange(5, 30)[None]).loss.backward()
    assert sum(size(p.grad) for p in trainable) == sum(size(p) for p in trainable) == sizes.lora_parameters(RANK) * memory.FLOAT
    trained.zero_grad()


@pytest.mark.parametrize("optimizer", ["paged_adamw_8bit", "paged_adamw_32bit", "adamw_torch"])
def test_optimizer_states_are_the_tensors_the_optimizer_keeps(optimizer: str) -> None:
    import torch
    from bitsandbytes.optim import PagedAdamW8bit, PagedAdamW32bit

    sizes = shapes_of(SIZES, "x")
    rank = 32
    kinds: dict[str, Any] = {"paged_adamw_8bit": PagedAdamW8bit, "paged_adamw_32bit": PagedAdamW32bit, "adamw_torch": torch.optim.AdamW}
    matrices = [torch.nn.Parameter(torch.randn(rank, side)) for pair in sizes.linears for side in pair]
    assert {m.numel() >= memory.SMALLEST_8BIT for m in matrices} == {True, False}
    steps = kinds[optimizer](matrices, lr=1e-3)
    for m in matrices:
        m.grad = torch.ones_like(m)
    steps.step()
    names = {"state1", "state2", "absmax1", "absmax2", "exp_avg", "exp_avg_sq"}
    kept = sum(size(t) for state in steps.state.values() for name, t in state.items() if name in names)
    assert kept == memory.optimizer_states(sizes, rank, optimizer)


def kept_by_autograd(run: Callable[[], Any], model: Any) -> int:
    """Bytes that autograd keeps for the backward pass of what `run` computes, the model's own parameters left out."""
    import torch

    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage  # held, so that no other tensor takes its place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        run()
    return sum(storage.nbytes() for storage in kept.values())


def one_block(model: Any, tokens: int) -> Callable[[], Any]:
    import torch

    decoder = model.base_model.model.model
    x = torch.randn(1, tokens, SIZES.hidden_size, requires_grad=True)
    positions = decoder.rotary_emb(x, torch.arange(tokens)[None])
    return lambda: decoder.layers[1](x, position_embeddings=positions, attention_mask=None)


@pytest.mark.parametrize("query_norms", [True, False], ids=["qwen3", "llama"])
@pytest.mark.parametrize("dropout", [0.0, 0.05])
def test_activations_are_what_autograd_keeps_of_one_block(query_norms: bool, dropout: float) -> None:
    """To the byte, in float32; on a CPU a dropout mask has 4 bytes per number."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

    values = vars(SIZES)
    made: Any = Qwen3ForCausalLM(Qwen3Config(**values)) if query_norms else LlamaForCausalLM(LlamaConfig(**values))
    lora = LoraConfig(r=RANK, lora_dropout=dropout, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(made, lora).train()
    sizes = dataclasses.replace(shapes_of(SIZES, "x"), query_norms=query_norms)
    expected = memory.block_activations(sizes, 64, RANK, memory.FLOAT, memory.FLOAT, memory.FLOAT if dropout else None)
    assert kept_by_autograd(one_block(model, 64), model) == expected


@pytest.mark.parametrize("dropout", [0.0, 0.05])
def test_activations_under_autocast_as_on_a_gpu(qwen3: Path, dropout: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """NF4 with a float32 residual stream under bfloat16 autocast, what a GPU computes with; to the byte, the cast head included."""
    import torch

    from cardproof.models import loading
    from cardproof.training import train

    monkeypatch.setattr(loading, "compute_dtype", lambda: torch.bfloat16)
    model = train.load(qwen3, "nf4", Training(rank=RANK, dropout=dropout, gradient_checkpointing=False)).train()
    sizes = shapes_of(SIZES, "x")
    expected = memory.block_activations(sizes, 64, RANK, memory.HALF, memory.FLOAT, memory.FLOAT if dropout else None)
    hidden = torch.randn(1, 5, SIZES.hidden_size, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert kept_by_autograd(one_block(model, 64), model) == expected
        head = kept_by_autograd(lambda: model.base_model.model.lm_head(hidden), model)
    assert head == SIZES.vocab_size * SIZES.hidden_size * memory.HALF


def test_checkpointing_keeps_the_input_of_each_block(qwen3: Path) -> None:
    """What autograd holds of the whole decoder under checkpointing, less the last norm's, is one input per block."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(qwen3).train()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.enable_input_require_grads()
    tokens = 64
    inputs: list[Any] = []
    for layer in model.model.layers:
        layer.register_forward_pre_hook(lambda module, arguments: inputs.append(arguments[0]))
    model.model(input_ids=torch.arange(tokens)[None])
    assert sum(size(t) for t in inputs) == memory.checkpoints(shapes_of(SIZES, "x"), tokens, memory.FLOAT)


def test_keys_and_values_are_the_decoders_own_tensors(qwen3: Path) -> None:
    import torch

    from cardproof.models.loading import load_plain
    from cardproof.sampling.sampler import Decoding
    from cardproof.sampling.shared_prefix import SharedPrefixDecoder, Tokens

    prompt, n, new = 37, 8, 20
    decoder = SharedPrefixDecoder(load_plain(qwen3), [2], rows=16)
    with torch.inference_mode():
        item = decoder._start(0, Tokens(list(range(3, 3 + prompt)), 0, list(range(n))), Decoding(0.8, 0.95, new))
    kept = sum(size(t) for pair in [*item.prefix, *item.own] for t in pair)
    sizes = shapes_of(SIZES, "x")
    most = tokens_of_item(prompt, n, new) * memory.kv_bytes_per_token(sizes, memory.FLOAT)
    assert most - memory.kv_bytes_per_token(sizes, memory.FLOAT) == kept, "all but the token by which a piece may be filled up"
    per_prompt_token = sum(size(t) for pair in item.prefix for t in pair) / prompt
    assert per_prompt_token == memory.kv_bytes_per_token(sizes, memory.FLOAT)


def test_the_assumed_verifier_is_deberta_v3_large() -> None:
    import torch
    from transformers import DebertaV2Config, DebertaV2ForSequenceClassification

    # https://huggingface.co/microsoft/deberta-v3-large, config.json
    sizes = {"vocab_size": 128100, "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    form = {"position_buckets": 256, "pos_att_type": ["p2c", "c2p"], "relative_attention": True, "share_att_key": True}
    rest = {"norm_rel_ebd": "layer_norm", "position_biased_input": False, "type_vocab_size": 0, "max_position_embeddings": 512}
    with torch.device("meta"):
        model = DebertaV2ForSequenceClassification(DebertaV2Config(**sizes, **form, **rest, num_labels=2))
    assert sum(p.numel() for p in model.parameters()) == assumptions()["verifier"]["parameters"]
