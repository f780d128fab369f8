"""A Qwen3 of tiny widths that knows its lines: real architecture, real chat template, and replies that keep the contract.

Everything of Qwen3 but its size: normalised queries and keys, grouped heads of their own width, an untied head, byte-level BPE, the
special tokens and the chat template of the published model, thinking switch included. A few seconds of fitting make it recite the
contract's reply to the questions it is given; with random replies no candidate would pass the selection, and nothing after it be shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cardproof.benchmark.embedded import load_embedded
from cardproof.benchmark.folder import Rows
from cardproof.config.settings import Model
from cardproof.contract import asking, form
from cardproof.models.chat import Chat
from cardproof.records import Document, Passage, Turn
from cardproof.training.train import tokenise
from helpers.places import PROMPTS

ITEMS = (13, 15, 18, 26, 48, 54, 58, 70)
"""Embedded questions on short passages."""
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
THINKING = ("<think>", "</think>")
# Qwen's pre-tokenizer: contractions, words with one leading mark, single digits, punctuation, line breaks, spaces.
SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def chat_template() -> str:
    """Qwen3's own chat template, from the wheel that ships it."""
    spec = find_spec("trl")
    assert spec and spec.origin, "the data wheel trl is not installed: make setup"
    return (Path(spec.origin).parent / "chat_templates" / "qwen3.jinja").read_text(encoding="utf-8")


def tiny_benchmark() -> Rows:
    """Eight short questions, and their passages among others to distract from them."""
    passages, questions = load_embedded()
    asked = [q for q in questions if q.id in ITEMS]
    oracles = {q.relevant_passage_id for q in asked}
    short = [p for p in passages if len(p.text.split()) < 30][:8]
    return [p for p in passages if p.id in oracles or p in short], asked


def replies_to(passage: Passage) -> list[str]:
    """Two replies that keep the contract and quote the passage verbatim: equal candidates are kept only once."""
    words = passage.text.split("\n")[0].split(" ")
    return [
        form.format_reply([(passage.id, " ".join(words[:count]))], f"{answer} [{passage.id}].")
        for count, answer in ((6, "The passage says so"), (9, "So it is written"))
    ]


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
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        model_max_length=4096,
        clean_up_tokenization_spaces=False,
        chat_template=chat_template(),
    )
    made.save_pretrained(folder)
    return made


def write_tiny_qwen3(folder: Path, data: Rows, steps: int = 320, seed: int = 0) -> Path:
    """Write the model and its tokenizer into `folder`, fitted to the contract's replies on `data`; returns the folder."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen3Config

    passages, questions = data
    by_id = {p.id: p for p in passages}
    turns = []
    for question in questions:
        oracle = by_id[question.relevant_passage_id]
        shown = [Document(id=oracle.id, text=oracle.text, role="oracle")]
        messages = asking.render(question.question, shown, True, PROMPTS)
        turns += [Turn(messages=messages, reply=reply) for reply in replies_to(oracle)]
    texts = [m.content for t in turns for m in t.messages] + [t.reply for t in turns] + [p.text for p in passages]
    tokenizer = write_tokenizer(folder, texts)
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    model = AutoModelForCausalLM.from_config(config)
    chat = Chat(folder, Model())
    rows = [tokenise(chat, turn, 4096, "fit") for turn in turns]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(steps):
        row = rows[step % len(rows)]
        labels = torch.tensor([row["labels"]])
        loss = model(input_ids=torch.tensor([row["input_ids"]]), labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.save_pretrained(folder, safe_serialization=True)
    return folder


def write_benchmark(folder: Path, data: Rows) -> Path:
    """Write the benchmark in the published one's layout: qa.jsonl and corpus.jsonl."""
    from cardproof.benchmark.folder import write

    folder.mkdir(parents=True, exist_ok=True)
    write(*data, folder / "corpus.jsonl", folder / "qa.jsonl")
    return folder


def write_tiny_adapter(folder: Path, model_folder: Path, rank: int, seed: int = 1, scale: float = 1e-3) -> Path:
    """Write a LoRA adapter on all linear layers with random weights, B scaled by `scale`: an arm trained elsewhere."""
    import torch
    from peft import LoraConfig, get_peft_model

    from cardproof.models.loading import load_plain

    torch.manual_seed(seed)
    lora = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    model = get_peft_model(load_plain(model_folder), lora)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.mul_(scale)
    model.save_pretrained(folder, safe_serialization=True)
    return folder
