"""How to use the model of a card: code that loads it, the prompt that it was evaluated with, and an example with its reply.

The code is built from the run and needs one file beside the card, `prompt.json`: instructions, worked examples and the form of a question,
as the evaluation used them. Passages of a data set are shown only where its licence allows that; else the example is an invented one.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from cardproof.claims.comparable import hashes
from cardproof.config.places import name_of
from cardproof.config.settings import Config
from cardproof.files import read_rows
from cardproof.pages.base_card import Base
from cardproof.records import Prompt, Rollout
from cardproof.runs import PROMPT, Run, prompts, samples
from cardproof.scoring.frames import read_scores

CONDITION = "clean"
HERE = "OWNER/NAME"
"""What the code calls the card's own repository; publishing puts its name there."""
INVENTED = {"pool-terms#2": "Guests leave the pool before sunset. The keeper may let members stay longer."}
INVENTED_QUESTION = "May a member of the pool stay after sunset?"
WIDTH = 96


class Usage(NamedTuple):
    """What the card says of use."""

    code: str
    """Python that loads base and adapter, asks the example's question and prints the reply."""
    prompt: dict[str, Any]
    """The content of `prompt.json`."""
    question: str
    """The example's question."""
    reply: str | None
    """What the run's adapter replied to it; None for an invented example, which the run did not ask."""
    item: int | None
    """The example's item; None for an invented one."""


def usage(run: Run, base: Base, subject: str) -> Usage:
    """Code, prompt and example for the adapter `subject`; CardproofError if the run's prompts, samples or scores are missing."""
    asked = {prompt.item: prompt for prompt in read_rows(run.path(prompts(CONDITION)), Prompt)}
    best = _best(run, subject, asked) if texts_allowed(run.config) else None
    shown = asked[best[0]] if best else next(iter(asked.values()))
    documents = {d.id: d.text for d in shown.documents} if best else INVENTED
    question = shown.question if best else INVENTED_QUESTION
    reply = _reply(run, subject, *best) if best else None
    return Usage(_code(run.config, base, documents, question, subject), _prompt(shown), question, reply, best[0] if best else None)


def told_adapter(run: Run, subject: str) -> str:
    """The adapter of an arm in words: its hash, and where it is from."""
    arm, digest = run.config.arms[subject], hashes(run, subject)[1]
    revision = f" at revision {arm.revision}" if arm.revision else ""
    origin = {
        "trained": "trained by this run",
        "folder": f"from the local folder {name_of(str(arm.id))}",
        "hub": f"{arm.id}{revision} on the Hub",
    }[arm.adapter]
    return f"adapter of {subject}, {origin}{f' (sha256 {digest})' if digest else ''}"


def texts_allowed(config: Config) -> bool:
    """Whether texts of the data may be shown and sent: the embedded ones, or those of which the configuration says so."""
    return config.benchmark.source == "embedded" or config.header.texts


def _best(run: Run, subject: str, asked: dict[int, Prompt]) -> tuple[int, int] | None:
    """Item and k of the reply to show: one that keeps the contract and has the best composite, on the shortest prompt; None without any."""
    rows = read_scores(run.path("scores"), subject, CONDITION).iter_rows(named=True)
    kept = [r for r in rows if not r["refusal"] and r["quotes"] and r["finish_reason"] == "stop" and r["item"] in asked]
    lengths = {item: sum(len(d.text) for d in prompt.documents) for item, prompt in asked.items()}
    order = sorted(kept, key=lambda r: (len(r["defects"]), -r["strict"], -r["composite"], lengths[r["item"]], r["item"], r["k"]))
    return (order[0]["item"], order[0]["k"]) if order else None


def _reply(run: Run, subject: str, item: int, k: int) -> str | None:
    rows = read_rows(run.path(samples(subject, CONDITION)), Rollout)
    return next((row.text for row in rows if (row.item, row.k) == (item, k)), None)


def _prompt(shown: Prompt) -> dict[str, Any]:
    """All turns before the question, the question's own with its two places, and what the reply is made to begin with."""
    *before, last = shown.messages
    documents = "\n\n".join(f"[{d.id}] {d.text}" for d in shown.documents)
    user = last.content.replace(documents, "{documents}", 1).replace(shown.question, "{question}", 1)
    if "{documents}" not in user or "{question}" not in user:  # a template of another form than the project's
        user = "Question: {question}\n\nDocuments:\n\n{documents}"
    return {"messages": [m.model_dump() for m in before], "user": user, "reply_prefix": shown.reply_prefix}


def _code(config: Config, base: Base, documents: dict[str, str], question: str, subject: str) -> str:
    """The code, for the base model by its id on the Hub."""
    held = config.model.sampling_quantization == "nf4"
    options = 'dtype="auto", device_map="auto"' + (", quantization_config=nf4" if held else "")
    nf4 = 'nf4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)\n' if held else ""
    imports = "AutoModelForCausalLM, AutoTokenizer" + (", BitsAndBytesConfig" if held else "")
    arm = config.arms[subject]
    revision = f', revision="{arm.revision}"' if arm.revision else ""
    # An adapter of the Hub stays where it is; the card's own repository has the prompt alone.
    weights = f'snapshot_download("{arm.id}"{revision})' if arm.adapter == "hub" else "adapter"
    shown = "".join(f"    {_literal(name)}: {_text(text)},\n" for name, text in documents.items())
    return f"""import json
from pathlib import Path

from huggingface_hub import snapshot_download
from peft import PeftModel
from transformers import {imports}

adapter = Path(snapshot_download("{HERE}"))
base = "{base.id or "BASE/MODEL"}"
tokenizer = AutoTokenizer.from_pretrained(base)
{nf4}model = AutoModelForCausalLM.from_pretrained(base, {options})
model = PeftModel.from_pretrained(model, {weights})

documents = {{
{shown}}}
question = {_text(question, 0)}

prompt = json.loads((adapter / "{PROMPT}").read_text(encoding="utf-8"))  # as in the evaluation
shown = "\\n\\n".join(f"[{{name}}] {{text}}" for name, text in documents.items())
user = prompt["user"].replace("{{question}}", question).replace("{{documents}}", shown)
messages = [*prompt["messages"], {{"role": "user", "content": user}}]
text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, enable_thinking={config.model.thinking})
inputs = tokenizer(text + prompt["reply_prefix"], return_tensors="pt", add_special_tokens=False).to(model.device)
output = model.generate(**inputs, max_new_tokens={config.sampling.max_new_tokens}, do_sample=False)
print(prompt["reply_prefix"] + tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))"""


def _text(text: str, indent: int = 4) -> str:
    """A text as a Python literal, over several lines if it is long."""
    if len(text) + indent <= WIDTH and "\n" not in text:
        return _literal(text)
    pad = " " * (indent + 4)
    return "(\n" + "".join(f"{pad}{_literal(line)}\n" for line in _lines(text)) + " " * indent + ")"


def _literal(text: str) -> str:
    """A text as a Python literal, between double quotation marks where it has none."""
    literal = repr(text)
    return literal if '"' in text else f'"{literal[1:-1]}"'


def _lines(text: str) -> list[str]:
    """A text in lines that end between words or at its own ends of line; joined they are the text."""
    lines = [""]
    for word in re.findall(r"\S+\s*|\s+", text):
        if lines[-1] and (len(lines[-1]) + len(word) > WIDTH or lines[-1].endswith("\n")):
            lines.append("")
        lines[-1] += word
    return lines
