"""Rollouts scored per second: `cardproof score` against a plain-Python implementation of the same axes, on the same files.

    python benchmarks/scoring.py                    up to a million rollouts (gigabytes of scratch, minutes)
    python benchmarks/scoring.py --most 100000

Each is a program of its own, and its start counts. The figures are processor time, which other work on the machine disturbs less. The plain
one reads rows with `json`, takes a reply apart with two patterns, normalises both texts for every comparison, and calls `rouge_score`
itself. It reads only canonical replies, and this benchmark has no others. Every value of every axis is compared, and the kind and repair of
every quote.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import sys
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cardproof.records import Step

SIZES = (1_000, 10_000, 100_000, 1_000_000)
PLAIN = 10_000
"""The most rollouts that the plain implementation scores."""
AXES = ("strict", "content", "attribution", "citation_validity", "rouge_l", "composite")

DOCUMENTS, N = 5, 8
"""Documents shown for each item, and rollouts of each item."""


# --- the work ---------------------------------------------------------------------------------------------------------------------------


SIGNS = re.compile(r"[\[\]\"\u201c\u201d\u201e\u00ab\u00bb]")
"""Characters left out of quotes and answers, so that the plain implementation's patterns can read every reply."""


def passages() -> list[tuple[str, str]]:
    """(id, text) of the embedded licence passages, about 90 words each."""
    from cardproof.benchmark.embedded import load_embedded

    return [(p.id, p.text) for p in load_embedded(110)[0]]


def alter(quote: str, rng: random.Random) -> str:
    """A near miss: the quote with changed line breaks, quotation marks, letter case or emphasis."""
    change = rng.randrange(4)
    if change == 0:
        return " ".join(quote.split())
    if change == 1:
        return quote.replace("'", "\u2019").replace("-", "\u2013")
    if change == 2:
        return quote[:1].upper() + quote[1:].lower()
    return f"{quote[: len(quote) // 2]}*{quote[len(quote) // 2 :]}*"


def reply(shown: list[tuple[str, str]], rng: random.Random) -> str:
    """A short reply in contract form: one quote of a dozen words (two in a quarter of the replies) and an answer of one sentence.

    One reply in ten refuses. Of ten quotes, about six are exact, two altered, one attributed to another document, and one invented.
    """
    if rng.random() < 0.1:
        return "ANSWER: INSUFFICIENT EVIDENCE"
    lines = ["EVIDENCE:"]
    cited = rng.choice(shown)
    for _ in range(2 if rng.random() < 0.25 else 1):
        words = cited[1].split(" ")
        start = rng.randrange(max(1, len(words) - 12))
        quote = SIGNS.sub("", " ".join(words[start : start + rng.randrange(8, 14)])).strip()
        kind = rng.random()
        if kind < 0.2:
            quote = alter(quote, rng)
        elif kind < 0.3:
            quote = SIGNS.sub("", " ".join(rng.sample(words, min(10, len(words)))))
        by = rng.choice(shown)[0] if 0.3 <= kind < 0.4 else cited[0]
        lines.append(f'[{by}] "{quote}"')
    words = cited[1].split()
    start = rng.randrange(max(1, len(words) - 15))
    lines.append(f"ANSWER: {SIGNS.sub('', ' '.join(words[start : start + rng.randrange(8, 16)]))} [{cited[0]}].")
    return "\n".join(lines)


def write_work(folder: Path, rollouts: int, seed: int = 0) -> tuple[Path, Path, Path]:
    """Prompts, samples and support of `rollouts` short replies, N of each item."""
    known = passages()
    paths = folder / "prompts.jsonl", folder / "samples.jsonl", folder / "support.jsonl"
    with open(paths[0], "w") as prompts, open(paths[1], "w") as samples, open(paths[2], "w") as support:
        for item, rows in _items(known, rollouts // N, random.Random(seed)):
            prompts.write(json.dumps(item, ensure_ascii=False) + "\n")
            for row, said in rows:
                samples.write(json.dumps(row, ensure_ascii=False) + "\n")
                support.write(json.dumps(said) + "\n")
    return paths


def _items(
    known: list[tuple[str, str]], items: int, rng: random.Random
) -> Iterator[tuple[dict[str, Any], list[tuple[dict[str, Any], dict[str, Any]]]]]:
    for item in range(items):
        shown = rng.sample(known, DOCUMENTS)
        asked = "\n\n".join(f"[{i}] {text}" for i, text in shown)
        digest = hashlib.sha256(f"{item} {asked}".encode()).hexdigest()
        prompt = {
            "item": item, "condition": "clean", "contract": True, "question": "What is allowed?",
            "reference": " ".join(shown[0][1].split()[:15]), "oracle_id": shown[0][0], "oracle_present": True,
            "documents": [{"id": i, "text": text, "role": "distractor" if n else "oracle"} for n, (i, text) in enumerate(shown)],
            "messages": [{"role": "user", "content": f"What is allowed?\n\n{asked}"}], "reply_prefix": "", "prompt_hash": digest,
        }  # fmt: skip
        rows = []
        for k in range(N):
            text = reply(shown, rng)
            refused = text.startswith("ANSWER: INSUFF")
            rows.append((
                {
                    "item": item, "k": k, "arm": "base", "condition": "clean", "seed": rng.getrandbits(32), "text": text,
                    "prompt_tokens": 700, "completion_tokens": len(text) // 4, "finish_reason": "stop", "model": "smollm2-135m",
                    "model_hash": "b" * 64, "adapter_hash": None, "prompt_hash": digest,
                },
                {
                    "item": item, "k": k, "support": None if refused else rng.random(), "premises": [shown[0][0]], "pairs": 12,
                    "truncated": 0,
                },
            ))  # fmt: skip
        yield prompt, rows


# --- the plain implementation -----------------------------------------------------------------------------------------------------------


def plain_normalise(text: str, steps: Sequence[str]) -> str:
    """The ladder in its most obvious form. It takes the definitions of the steps from the package, because they say what to compute."""
    from cardproof.contract import ladder

    if "whitespace" in steps:
        text = ladder._HIDDEN.sub("", text)
    text = unicodedata.normalize("NFKC", ladder._DRESSED.sub(ladder._undressed, text))
    if "typography" in steps:
        text = ladder._typography_text(text)
    if "markup" in steps:
        text = ladder._MARKUP.sub(ladder._unmarked, text)
    if "whitespace" in steps:
        text = ladder._BROKEN.sub(ladder.BREAK, text)
        text = ladder._SPACE.sub(lambda m: " " if any(ch.isspace() for ch in m[0]) else "", text).strip()
    if "punctuation" in steps:
        kept = ""
        dropped = False
        for ch in ladder._masked(text):
            if ch == "\0":
                dropped = True
            elif not (dropped and ch.isspace() and (not kept or kept[-1].isspace())):
                dropped = False
                kept += ch
        text = kept.rstrip() if dropped else kept
    if "case" in steps:
        text = text.casefold()
    return unicodedata.normalize("NFKC", text) if steps else text


def plain_quote(text: str, cited: str, documents: dict[str, str]) -> tuple[str, list[str]]:
    """Kind and repair of one quote."""
    from cardproof.contract.grounding import _WIDEST, _found
    from cardproof.contract.ladder import LADDER, SUBSETS

    def place(document: str, steps: tuple[Step, ...], whole_numbers: bool) -> tuple[int, int] | None:
        return _found(plain_normalise(text, steps), plain_normalise(document, steps), steps, whole_numbers)

    if not any(ch.isalnum() for ch in plain_normalise(text, LADDER)):
        return "fabricated", []
    if text in documents.get(cited, ""):
        return "strict", []
    if any(text in document for document in documents.values()):
        return "misattributed", []
    others = [d for i, d in documents.items() if i != cited]
    for widest in _WIDEST:
        for group in ([documents[cited]] if cited in documents else [], others):
            near = [d for d in group if place(d, widest, False)]
            for steps in SUBSETS if near else ():
                if any(place(d, steps, True) for d in near):
                    return "near_miss", list(steps)
    return "fabricated", []


def rows_of(path: Path) -> list[Any]:
    """All rows of a JSON Lines file."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def plain(folder: Path, out: Path) -> None:
    """Score the files in a folder, and write rows of axes and quotes as JSON Lines."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    prompts, samples, support = (rows_of(folder / f"{name}.jsonl") for name in ("prompts", "samples", "support"))
    by_item = {p["item"]: p for p in prompts}
    supported = {(s["item"], s["k"]): s["support"] for s in support}
    with open(out, "w") as f:
        for row in samples:
            prompt = by_item[row["item"]]
            documents = {d["id"]: d["text"] for d in prompt["documents"]}
            evidence, answer = row["text"].split("ANSWER:", 1)
            answer = answer.strip()
            refusal = answer == "INSUFFICIENT EVIDENCE"
            quotes = re.findall(r'^\[([^\]]+)\] "([^"]*)"$', evidence, re.MULTILINE)
            citations = [i for i, _ in quotes] + re.findall(r"\[([^\]]+)\]", answer)
            verdicts = [plain_quote(text, cited, documents) for cited, text in quotes]
            n = len(verdicts) or 1
            strict = sum(kind in ("strict", "misattributed") for kind, _ in verdicts) / n
            valid = float(bool(citations) and all(c in documents for c in citations))
            value = supported[row["item"], row["k"]]
            rouge = 0.0 if refusal else scorer.score(prompt["reference"], answer)["rougeL"].fmeasure
            axes = {
                "strict": strict,
                "content": sum(kind != "fabricated" for kind, _ in verdicts) / n,
                "attribution": sum(kind == "strict" for kind, _ in verdicts) / n,
                "citation_validity": valid,
                "rouge_l": rouge,
                "composite": 0.0 if refusal or value is None else strict * valid * value,
            }
            f.write(json.dumps({**axes, "quotes": [[text, *verdict] for (_, text), verdict in zip(quotes, verdicts, strict=True)]}) + "\n")


# --- the measurement --------------------------------------------------------------------------------------------------------------------


def different(scores: Path, plain_rows: Path) -> int:
    """How many rows differ at all in an axis, or in the text, kind or repair of a quote."""
    import polars as pl

    ours = pl.read_parquet(scores).select(*AXES, "quotes").iter_rows(named=True)
    theirs = rows_of(plain_rows)
    count = 0
    for a, b in zip(ours, theirs, strict=True):
        quotes = [[q["text"], q["kind"], q["steps"]] for q in a["quotes"]]
        count += quotes != b["quotes"] or any(a[axis] != b[axis] for axis in AXES)
    return count


def measure(most: int) -> dict[str, Any]:
    """The cost of each size, and the ratio if both were run."""
    from benchmarks.common import ROOT, cost, program

    rows: dict[str, dict[str, Any]] = {}
    differ: dict[str, int] = {}
    for size in (s for s in SIZES if s <= most):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            write_work(folder, size)
            (folder / "config.yaml").write_text((ROOT / "config.yaml").read_text())
            names = [part for n in ("prompts", "samples", "support") for part in (f"--{n}", str(folder / f"{n}.jsonl"))]
            out = folder / "scores.parquet"
            ours = cost([program("cardproof"), "score", "--config", str(folder / "config.yaml"), *names, "--out", str(out)])
            rows[f"cardproof, {size:,}"] = {
                "rollouts": size,
                "cpu s": ours.cpu_seconds,
                "rollouts/s": size / ours.cpu_seconds,
                "peak MB": ours.peak_mb,
            }
            if size <= PLAIN:
                theirs = cost([sys.executable, __file__, "--plain", scratch])
                rows[f"plain Python, {size:,}"] = {
                    "rollouts": size,
                    "cpu s": theirs.cpu_seconds,
                    "rollouts/s": size / theirs.cpu_seconds,
                    "peak MB": theirs.peak_mb,
                    "cardproof is times as fast": theirs.cpu_seconds / ours.cpu_seconds,
                }
                differ[f"{size:,}"] = different(out, folder / "plain.jsonl")
    ran = [row for name, row in rows.items() if name.startswith("cardproof")]
    # Between the two largest sizes: what a rollout costs once everything is loaded.
    steady = (ran[-1]["rollouts"] - ran[-2]["rollouts"]) / (ran[-1]["cpu s"] - ran[-2]["cpu s"]) if len(ran) > 1 else None
    return {"rows": rows, "steady_rollouts_per_second": steady, "rows_that_differ": differ}


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--most", type=int, default=SIZES[-1], help="largest number of rollouts (default 1,000,000)")
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    if arguments.plain:
        plain(arguments.plain, arguments.plain / "plain.jsonl")
        return
    from benchmarks.common import draw, machine, table, write

    before = machine()
    result = measure(arguments.most)
    write("scoring", {"work": {"documents": DOCUMENTS, "n": N}, "machine": before, **result})
    curves: dict[str, dict[str, list[tuple[float, float]]]] = {"cpu s": {}, "peak MB": {}}
    for name, row in result["rows"].items():
        for column, by_peer in curves.items():
            by_peer.setdefault(name.partition(",")[0], []).append((row["rollouts"], row[column]))
    draw("scoring", [("scoring", "rollouts", label, by_peer) for label, by_peer in curves.items()])
    print(table("scoring, one core", result["rows"]))
    steady = result["steady_rollouts_per_second"]
    print(f"once loaded: {steady:,.0f} rollouts/s" if steady else "")
    print(f"rows that differ from the plain implementation's: {result['rows_that_differ']}")


if __name__ == "__main__":
    main()
