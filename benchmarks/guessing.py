"""Guessing tokens from the prompt (`sampling.prompt_lookup`) in a finished run: tokens a step, by arm and condition, and what it costs.

    python benchmarks/guessing.py                          of results/demo; left out if it is not finished
    python benchmarks/guessing.py results/mine --sample    also draw every arm's samples again, without and with guesses, and compare them

The first part runs no model. It reads the run's texts as tokens again, which are almost always those that were drawn, and counts steps as
the decoder takes them. `--sample` runs the workflow's own command in turns, and takes twice as long as the run's sampling.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
GRID = [(least, most) for least in (3, 2, 1) for most in (1, 2, 4, 8)]
"""Fewest tokens that are looked up, and most that are guessed: settings that are compared over the whole run."""


class Count(NamedTuple):
    """What replies take."""

    tokens: int
    """Without the first of each reply, which comes from reading the prompt."""
    steps: int
    positions: int
    """Computed ones: in each step the last token and its guesses."""


def replay(prompt: Sequence[int], reply: Sequence[int], least: int, most: int) -> Count:
    """Draw a reply that is known: at each step guess at most `most` tokens, by looking up at least the last `least`."""
    from cardproof.sampling.lookup import Prompt, Reply

    so_far = Reply(Prompt(prompt))
    so_far.add(reply[0])
    at, steps, positions = 1, 0, 0
    while at < len(reply):
        guesses = so_far.guess(most, least)
        steps, positions = steps + 1, positions + 1 + len(guesses)
        for guess, token in zip([*guesses, None], reply[at:], strict=False):
            so_far.add(token)
            at += 1
            if token != guess:
                break
    return Count(len(reply) - 1, steps, positions)


def count(replies: Sequence[tuple[list[int], list[int]]], least: int, most: int) -> dict[str, float]:
    """Figures of some replies, each with its prompt."""
    tokens, steps, positions = map(sum, zip(*(replay(*pair, least, most) for pair in replies if pair[1]), strict=True))
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


def sample(run: Path, arm: str, guesses: int, into: Path) -> tuple[float, bytes]:
    """Draw an arm's samples as the workflow does: seconds of processor time, and the bytes of the samples of all conditions."""
    from benchmarks.common import cost
    from cardproof import runs
    from cardproof.config.reading import load
    from cardproof.config.settings import REFERENCE, TRAIN
    from cardproof.config.texts import overlay

    config = load(run / runs.CONFIG)
    config = config.model_copy(update={"sampling": config.sampling.model_copy(update={"prompt_lookup": guesses})})
    into.mkdir()
    (into / "config.yaml").write_text(overlay(config), encoding="utf-8")
    samples = sorted((run / "samples" / arm).glob("*.jsonl"))
    command = [sys.executable, "-m", "cardproof", "sample", "--config", str(into / "config.yaml"), "--model", str(run / "models/base")]
    command += ["--arm", REFERENCE if arm == TRAIN else arm, "--store", str(into / "store.jsonl")]
    variant = None if arm == TRAIN else config.arms[arm].variant
    command += ["--adapter", str(run / "training" / variant / "adapter")] if variant else []
    for path in samples:
        command += ["--work", str(run / "prompts" / path.name), str(into / path.name)]
    spent = cost(command, ROOT)
    return spent.cpu_seconds, b"".join((into / path.name).read_bytes() for path in samples)


def compare(run: Path, arm: str, guesses: int) -> dict[str, Any]:
    """An arm's samples without guesses and with them."""
    with tempfile.TemporaryDirectory(prefix="cardproof-guessing-") as folder:
        (plain, without), (guessing, found) = (sample(run, arm, most, Path(folder, str(most))) for most in (0, guesses))
    rows = list(zip(without.splitlines(), found.splitlines(), strict=True))
    return {
        "seconds without": plain,
        "with": guessing,
        "times as fast": plain / guessing,
        "rollouts": len(rows),
        "of them equal": sum(a == b for a, b in rows),
        "bytes": "equal" if without == found else "differ",
    }


def main() -> None:
    """Count, compare and print."""
    sys.path.insert(0, str(ROOT))
    from benchmarks.common import table, write
    from cardproof.sampling.lookup import MATCH

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", type=Path, default=ROOT / "results/demo")
    parser.add_argument(
        "--least", type=int, default=MATCH, choices=range(1, MATCH + 1), help="fewest tokens that are looked up (default 3)"
    )
    parser.add_argument("--most", type=int, default=2, help="most tokens that are guessed (default 2)")
    parser.add_argument("--sample", action="store_true", help="also draw the samples again, without and with guesses")
    arguments = parser.parse_args()
    if not (arguments.run / "claims.json").is_file():
        print(f"SKIPPED: {arguments.run} is not a finished run; run make demo first")
        return
    of_arms = dict(read(arguments.run))
    every = [pair for some in of_arms.values() for pair in some]
    rows: dict[str, dict[str, Any]] = {name: count(some, arguments.least, arguments.most) for name, some in of_arms.items()}
    rows["all"] = count(every, arguments.least, arguments.most)
    grid = {f"{most}, after {least} or more": count(every, least, most) for least, most in GRID}
    print(table(f"at most {arguments.most} guesses after {arguments.least} tokens or more", rows))
    print(table("\nguesses, after tokens", grid), flush=True)
    result: dict[str, Any] = {"least": arguments.least, "most": arguments.most, "guessing": rows, "grid": grid}
    if arguments.sample:
        arms = dict.fromkeys(name.split(", ")[0] for name in of_arms)
        result["samples"] = {arm: compare(arguments.run, arm, arguments.most) for arm in arms}
        print(table("\nsamples, in processor time", result["samples"]))
    write("guessing", result)


if __name__ == "__main__":
    main()
