"""A tiny Qwen3 that knows its lines: real architecture, real chat template, and replies that keep the contract.

Everything of Qwen3 but its size: normalised queries and keys, grouped heads of their own width, an untied head, byte-level BPE, the
special tokens and the chat template of the published model, thinking switch included. A few seconds of fitting make it recite the
contract's replies to the questions it is given; with random replies no candidate would pass the selection, and nothing after it be shown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cardproof.benchmark.folder import Rows
from cardproof.contract import asking, form
from cardproof.errors import CardproofError
from cardproof.records import Document, Passage, Turn

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
THINKING = ("<think>", "</think>")
END_OF_TURN, PAD = CONTROL[2], CONTROL[0]
# Qwen's pre-tokenizer: contractions, words with one leading mark, single digits, punctuation, line breaks, spaces.
SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
WINDOW = 40960
ROPE = 1_000_000.0
"""Longest context, and base of the rotary embedding, of Qwen3-14B."""
IGNORED = -100


@dataclass(frozen=True)
class Sizes:
    """Sizes of a model that recites, and how it is fitted. `eps` is added to the mean of squares in its norms."""

    hidden: int = 128
    intermediate: int = 256
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    tokens: int = 1500
    """Size of the vocabulary, without control tokens."""
    eps: float = 1e-6
    zeros: int = 0
    """Tokens of zero logit that will be added to the vocabulary: the fit makes them improbable."""
    steps: int = 320


def chat_template() -> str:
    """Qwen3's own chat template, from the wheel that ships it; CardproofError if it is not installed."""
    spec = find_spec("trl")
    if spec is None or spec.origin is None:
        raise CardproofError("the data wheel trl, which has Qwen3's chat template, is not installed.", "`make setup` installs it.")
    return (Path(spec.origin).parent / "chat_templates" / "qwen3.jinja").read_text(encoding="utf-8")


def replies_to(passage: Passage) -> list[str]:
    """Two replies that keep the contract and quote the passage verbatim: equal candidates are kept only once."""
    words = max(passage.text.split("\n"), key=len).strip().split(" ")
    long = len(words) > 40
    return [
        form.format_reply([(passage.id, " ".join(words[:count]))], f"{answer} [{passage.id}].")
        for count, answer in ((18 if long else 6, "The passage says so"), (24 if long else 9, "So it is written"))
    ]


def turns(data: Rows, templates: Path) -> list[Turn]:
    """The conversations that the model learns by heart: two for each question, with its passage shown."""
    passages, questions = data
    by_id = {p.id: p for p in passages}
    learned = []
    for question in questions:
        oracle = by_id[question.relevant_passage_id]
        shown = [Document(id=oracle.id, text=oracle.text, role="oracle")]
        messages = asking.render(question.question, shown, True, templates)
        learned += [Turn(messages=messages, reply=reply) for reply in replies_to(oracle)]
    return learned


def write_tokenizer(folder: Path, texts: Sequence[str], size: int = 1500) -> Any:
    """Train byte-level BPE on `texts` and save it as a Qwen2 tokenizer, the class of Qwen3's models."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(SPLIT), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in CONTROL])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in THINKING])
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TURN,
        pad_token=PAD,
        model_max_length=WINDOW,
        clean_up_tokenization_spaces=False,
        chat_template=chat_template(),
    )
    made.save_pretrained(folder)
    return made


def configuration(tokenizer: Any, **sizes: Any) -> Any:
    """A Qwen3 configuration with the special tokens of `tokenizer`; `sizes` as in config.json."""
    from transformers import Qwen3Config

    return Qwen3Config(
        **{
            "max_position_embeddings": WINDOW,
            "rope_parameters": {"rope_type": "default", "rope_theta": ROPE},
            "tie_word_embeddings": False,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": None,
            **sizes,
        }
    )


def write_reciter(
    folder: Path, data: Rows, templates: Path, sizes: Sizes | None = None, seed: int = 0, said: Callable[[str], None] | None = None
) -> Path:
    """Write the model and its tokenizer into `folder`, fitted to the contract's replies on `data`; returns the folder.

    `said` is told how far the fit is.
    """
    import torch
    from transformers import AutoModelForCausalLM

    sizes = sizes or Sizes()
    learned = turns(data, templates)
    texts = [m.content for t in learned for m in t.messages] + [t.reply for t in learned] + [p.text for p in data[0]]
    tokenizer = write_tokenizer(folder, texts, sizes.tokens)
    torch.manual_seed(seed)
    config = configuration(
        tokenizer,
        vocab_size=len(tokenizer),
        hidden_size=sizes.hidden,
        intermediate_size=sizes.intermediate,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.kv_heads,
        head_dim=sizes.head_dim,
        rms_norm_eps=sizes.eps,
    )
    model = AutoModelForCausalLM.from_config(config)
    _fit(model, [_tokens(tokenizer, turn) for turn in learned], sizes, said or (lambda text: None))
    model.save_pretrained(folder, safe_serialization=True)
    return folder


def _tokens(tokenizer: Any, turn: Turn) -> tuple[list[int], int]:
    """A conversation's token ids, and where its reply begins."""
    asked = [m.model_dump() for m in turn.messages]
    prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False, enable_thinking=False)
    ids, reply = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, turn.reply + END_OF_TURN))
    return ids + reply, len(ids)


def _fit(model: Any, rows: Sequence[tuple[list[int], int]], sizes: Sizes, said: Callable[[str], None]) -> None:
    import torch

    # A model this small is fitted faster by one thread than by several that wait for one another.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    slower = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=sizes.steps)
    zeros = torch.tensor(math.log(sizes.zeros)) if sizes.zeros else None
    for step in range(sizes.steps):
        ids, start = rows[step % len(rows)]
        logits = model(input_ids=torch.tensor([ids]), logits_to_keep=len(ids) - start + 1).logits[0, :-1]
        # The probability of a token when tokens of zero logit share the mass.
        mass = logits.logsumexp(-1)
        mass = mass if zeros is None else torch.logaddexp(mass, zeros)
        loss = (mass - logits.gather(1, torch.tensor(ids[start:])[:, None])[:, 0]).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        slower.step()
        if (step + 1) % 80 == 0:
            said(f"fitting the model that recites: step {step + 1} of {sizes.steps}, loss {loss.item():.3f}")
    torch.set_num_threads(threads)
