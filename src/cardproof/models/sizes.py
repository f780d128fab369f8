"""The number of parameters of a model and its LoRA adapter: by arithmetic, and counted on the meta device, which stores no weights.

The two ways are independent: one multiplies published layer sizes, the other builds the real modules of transformers and peft.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from cardproof.errors import CardproofError, did_you_mean


@dataclass(frozen=True)
class Architecture:
    """A decoder's sizes, named as in its `config.json`."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    tie_word_embeddings: bool
    max_position_embeddings: int = 32768

    def linears(self) -> dict[str, tuple[int, int]]:
        """The (inputs, outputs) of every linear layer of one block. These are `all linear layers`; the output head is not one of them."""
        h, q, kv = self.hidden_size, self.num_attention_heads * self.head_dim, self.num_key_value_heads * self.head_dim
        return {
            "q_proj": (h, q),
            "k_proj": (h, kv),
            "v_proj": (h, kv),
            "o_proj": (q, h),
            "gate_proj": (h, self.intermediate_size),
            "up_proj": (h, self.intermediate_size),
            "down_proj": (self.intermediate_size, h),
        }

    def base_parameters(self) -> int:
        """Parameters without an adapter: embeddings, blocks (linear layers, two norms, norms of queries and keys), last norm, head."""
        block = sum(i * o for i, o in self.linears().values()) + 2 * self.hidden_size + 2 * self.head_dim
        embeddings = self.vocab_size * self.hidden_size * (1 if self.tie_word_embeddings else 2)
        return embeddings + self.num_hidden_layers * block + self.hidden_size

    def lora_parameters(self, rank: int, modules: tuple[str, ...] | None = None) -> int:
        """Trainable parameters of a LoRA adapter (Hu et al. 2021): rank x (inputs + outputs) for each adapted layer, by default all."""
        linears = self.linears()
        return rank * self.num_hidden_layers * sum(sum(linears[m]) for m in modules or tuple(linears))


ARCHITECTURES = {
    # https://huggingface.co/Qwen/Qwen3-14B, config.json at revision 40c069824f4251a91eefaf281ebe4c544efd3e18
    "Qwen/Qwen3-14B": Architecture(
        vocab_size=151936,
        hidden_size=5120,
        intermediate_size=17408,
        num_hidden_layers=40,
        num_attention_heads=40,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=False,
        max_position_embeddings=40960,
    )
}


@dataclass(frozen=True)
class Parameters:
    """A count of parameters; shares in percent."""

    trainable: int
    base: int
    how: str

    @property
    def total(self) -> int:
        """Base and adapter together."""
        return self.base + self.trainable


def architecture(name: str) -> Architecture:
    """The sizes of a known model; for an unknown one, CardproofError names the nearest."""
    if name not in ARCHITECTURES:
        known = did_you_mean(name, ARCHITECTURES, f"known: {', '.join(ARCHITECTURES)}.")
        raise CardproofError(f"the sizes of the model {name!r} are unknown.", known)
    return ARCHITECTURES[name]


def computed(name: str, rank: int) -> Parameters:
    """Parameters by arithmetic, with a LoRA adapter of `rank` on all linear layers."""
    sizes = architecture(name)
    return Parameters(sizes.lora_parameters(rank), sizes.base_parameters(), "computed from the layer sizes")


def counted(name: str, rank: int) -> Parameters:
    """Parameters of the real modules (transformers' Qwen3, peft's LoRA on all linear layers) on the meta device; 10 s, mostly imports."""
    try:
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import Qwen3Config, Qwen3ForCausalLM
    except ImportError as e:
        raise CardproofError(
            f"counting parameters on real modules needs {e.name}, which is not installed.",
            "install cardproof[cpu], or audit without counting: the sizes are then computed from the layers.",
        ) from None

    sizes = architecture(name)
    # It recommends a faster kernel on some processors, but nothing is multiplied here.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    with torch.device("meta"):
        model = Qwen3ForCausalLM(Qwen3Config(**vars(sizes)))
        base = sum(p.numel() for p in model.parameters())
        adapted = get_peft_model(model, LoraConfig(r=rank, target_modules=list(sizes.linears()), task_type="CAUSAL_LM"))
        trainable, total = adapted.get_nb_trainable_parameters()
    if total != base + trainable:
        raise CardproofError(
            f"peft counts {total:,} parameters, but base and adapter have {base + trainable:,}.",
            "use the pinned versions of peft and torch.",
        )
    return Parameters(trainable, base, "counted on the meta device")


def usual(name: str, rank: int) -> dict[str, int]:
    """The LoRA sizes of the choices of layers that people make beside all linear ones, by name."""
    sizes = architecture(name)
    chosen = {
        "queries and values only": ("q_proj", "v_proj"),
        "attention only": ("q_proj", "k_proj", "v_proj", "o_proj"),
        "queries, keys and values only": ("q_proj", "k_proj", "v_proj"),
        "feed-forward layers only": ("gate_proj", "up_proj", "down_proj"),
    }
    head = rank * (sizes.hidden_size + sizes.vocab_size)
    return {"all linear layers and the output head": sizes.lora_parameters(rank) + head} | {
        words: sizes.lora_parameters(rank, layers) for words, layers in chosen.items()
    }


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """The sizes that decide how much memory a decoder needs."""

    layers: int
    hidden: int
    vocabulary: int
    heads: int
    kv_heads: int
    head_dim: int
    linears: tuple[tuple[int, int], ...]
    """(inputs, outputs) of every linear layer of every block, without the output head."""
    parameters: int
    """All parameters without an adapter; tied weights count once."""
    query_norms: bool
    """Whether queries and keys are normalised (Qwen3)."""
    context: int | None
    """Most tokens of a prompt and its reply; None where no limit is known."""
    how: str
    """Where the sizes come from."""

    @property
    def quantised(self) -> int:
        """Parameters that NF4 packs, those of the linear layers: all but embeddings, head, norms and biases."""
        return sum(i * o for i, o in self.linears)

    def lora_parameters(self, rank: int) -> int:
        """Trainable parameters (Hu et al. 2021): rank x (inputs + outputs) for each linear layer."""
        return rank * sum(i + o for i, o in self.linears)


def shapes_of(sizes: Architecture, how: str) -> Shapes:
    """Shapes of a decoder like Qwen3, by arithmetic."""
    return Shapes(
        layers=sizes.num_hidden_layers,
        hidden=sizes.hidden_size,
        vocabulary=sizes.vocab_size,
        heads=sizes.num_attention_heads,
        kv_heads=sizes.num_key_value_heads,
        head_dim=sizes.head_dim,
        linears=tuple(sizes.linears().values()) * sizes.num_hidden_layers,
        parameters=sizes.base_parameters(),
        query_norms=True,
        context=sizes.max_position_embeddings,
        how=how,
    )
