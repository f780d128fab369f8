"""What guessing tokens from the prompt would give, counted from the texts of a finished run: tokens a step, by arm and condition.

    python benchmarks/drafting.py                   of results/demo; left out if it is not finished
    python benchmarks/drafting.py results/mine --match 3 --draft 2

A quote is copied from a document. So the next tokens could be guessed: find the last few tokens of a reply earlier in its prompt or reply,
and take what followed them there. One step then computes the last token and the guesses, and keeps them up to the first that is not drawn.
Every position has its own random number, so the draws would stay the same, and only the number of steps would fall. What it costs: the
positions of guesses that are not kept. No model runs here; a text is read as tokens again, which are almost always those that were drawn.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
GRID = [(match, draft) for match in (2, 3, 5) for draft in (1, 2, 4, 8)]
"""Settings that are compared over the whole run."""


class Count(NamedTuple):
    """What replies take."""

    tokens: int
    """Without the first of each reply, which comes from reading the prompt."""
    steps: int
    positions: int
    """Computed ones: in each step the last token and its guesses."""


def replay(prompt: Sequence[int], reply: Sequence[int], match: int, draft: int) -> Count:
    """Draw a reply that is known: at each step guess at most `draft` tokens, those that followed the last place of its last `match`."""
    text = [*prompt, *reply]
    follows: dict[tuple[int, ...], int] = {}
    known = match - 1
    at, steps, positions = len(prompt) + 1, 0, 0
    while at < len(text):
        for end in range(known + 1, at):  # not the last tokens themselves, which nothing follows yet
            follows[tuple(text[end - match : end])] = end
        known = at - 1
        start = follows.get(tuple(text[at - match : at]))
        guesses = [] if start is None else text[start : min(start + draft, at)]
        kept = 0
        while kept < len(guesses) and at + kept < len(text) and guesses[kept] == text[at + kept]:
            kept += 1
        steps, positions = steps + 1, positions + 1 + len(guesses)
        at += kept + 1
    return Count(max(len(reply) - 1, 0), steps, positions)


def count(replies: Sequence[tuple[list[int], list[int]]], match: int, draft: int) -> dict[str, float]:
    """Figures of some replies, each with its prompt."""
    tokens, steps, positions = map(sum, zip(*(replay(*pair, match, draft) for pair in replies), strict=True))
    return {"replies": len(replies), "tokens": tokens, "tokens a step": tokens / steps, "positions a token": positions / tokens}


def read(run: Path) -> Iterator[tuple[str, list[tuple[list[int], list[int]]]]]:
    """Of each arm and condition of a run: every reply's prompt and the reply itself, as tokens."""
    from cardproof import runs
    from cardproof.config.reading import load
    from cardproof.files import read_rows
    from cardproof.models.chat import Chat
    from cardproof.records import Prompt, Rollout

    prompts = {path.stem: read_rows(path, Prompt) for path in sorted((run / "prompts").glob("*.jsonl"))}
    turns = any(len(prompt.messages) > 2 for some in prompts.values() for prompt in some)
    chat = Chat(run / "models/base", load(run / runs.CONFIG).model, turns)
    for path in sorted((run / "samples").glob("*/*.jsonl")):
        asked = {p.item: chat.prompt(p.messages, p.reply_prefix).ids for p in prompts[path.stem]}
        rows = read_rows(path, Rollout)
        stop = list(chat.ending.stops[:1])
        drawn = [(asked[r.item], chat.encode(r.text) + (stop if r.finish_reason == "stop" else [])) for r in rows]
        yield f"{path.parent.name}, {path.stem}", drawn


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", type=Path, default=ROOT / "results/demo")
    parser.add_argument("--match", type=int, default=3, help="tokens that are looked up (default 3)")
    parser.add_argument("--draft", type=int, default=2, help="tokens that are guessed at most (default 2)")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from benchmarks.common import table, write

    if not (arguments.run / "claims.json").is_file():
        print(f"SKIPPED: {arguments.run} is not a finished run; run make demo first")
        return
    of_arms = dict(read(arguments.run))
    every = [pair for some in of_arms.values() for pair in some]
    rows: dict[str, dict[str, Any]] = {name: count(some, arguments.match, arguments.draft) for name, some in of_arms.items()}
    rows["all"] = count(every, arguments.match, arguments.draft)
    grid = {f"{draft} after {match}": count(every, match, draft) for match, draft in GRID}
    write("drafting", {"match": arguments.match, "draft": arguments.draft, "drafting": rows, "grid": grid})
    print(table(f"{arguments.draft} after {arguments.match}", rows))
    print(table("\nguesses after tokens", grid))


if __name__ == "__main__":
    main()
