"""How often verdicts and intervals are wrong: pairs of card and run from one process with known truth, through the project's own code.

python -m benchmarks.verdicts [--pairs 1000] [--samples 2000]
python -m benchmarks.verdicts --only sentences        the other parts keep their last results

Writes results/verdicts.json and results/verdicts.svg; docs/statistics.md shows them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import common
from benchmarks.process import CARD, Pair, Truth, pair
from cardproof.claims import answer, claims, comparable
from cardproof.claims.audit import Audit, run_audit
from cardproof.claims.claims_file import MEASURED, ClaimsFile, ValueClaim, read_claims
from cardproof.claims.grim import decimals, rounded
from cardproof.claims.pointers import split_pointer
from cardproof.claims.verdicts import Judgement
from cardproof.config.settings import Config
from cardproof.config.texts import to_yaml
from cardproof.evaluation import bounded, contrast, evaluate, rerank, statistics
from cardproof.evaluation.axes import AXIS
from cardproof.evaluation.bounded import Items
from cardproof.evaluation.mechanism import gaps
from cardproof.evaluation.rerank import Table, aligned
from cardproof.files import write_json, write_text
from cardproof.runs import Run

Floats = NDArray[np.float64]
NS = (12, 30, 50)
MEANS = (0.5, 0.69, 0.82, 0.9, 0.962, 0.984, 0.995, 1.0)
MIDDLE = (0.5, 0.69, 0.82)
LEVEL = 0.95
PLANTED = (0.05, 0.10, 0.20)


# --- coverage of the intervals ----------------------------------------------------------------------------------------


def bernoulli(mean: float, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Zeros and ones."""
    return (rng.random(shape) < mean).astype(float)


def ratios(mean: float, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """k of m quotes, m of 1 to 4, items differing in how often a quote succeeds: what strict grounding is like."""
    chance = rng.beta(2 * mean, 2 * (1 - mean), shape) if mean < 1 else np.ones(shape)
    of = rng.integers(1, 5, shape)
    return rng.binomial(of, chance) / of


def spiked(mean: float, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Ones, but for a share of items that have anything between 0 and 1."""
    return np.where(rng.random(shape) < 2 * (1 - mean), rng.random(shape), 1.0)


def scores(mean: float, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Continuous scores, as a verifier gives them."""
    return rng.beta(4 * mean, 4 * (1 - mean), shape) if mean < 1 else np.ones(shape)


LAWS: dict[str, Callable[[float, tuple[int, int], np.random.Generator], Floats]] = {
    "proportion": bernoulli,
    "ratios": ratios,
    "spiked": spiked,
    "scores": scores,
}


def sample(values: Floats, low: float = 0.0, weights: Floats | None = None) -> Items:
    """Samples as rows."""
    return Items(values, np.ones(values.shape) if weights is None else weights, np.ones(values.shape), low=low)


def covered(low: Floats, high: Floats, truth: float) -> float:
    """Share of intervals that hold the truth."""
    return float(((low <= truth + 1e-12) & (truth - 1e-12 <= high)).mean())


def coverage(repeats: int, seed: int) -> list[dict[str, Any]]:
    """One row for each kind of interval, law, n and true mean: how often it covers, and how wide it is."""
    rng = np.random.default_rng(seed)
    rows = []
    for n in NS:
        for mean in MEANS:
            for law, draw in LAWS.items():
                shape = (repeats, n)
                first, second = draw(mean, shape, rng), draw(mean, shape, rng)
                for kind, (truth, low, high) in intervals(mean, first, second, rng).items():
                    row = {"interval": kind, "law": law, "n": n, "mean": mean, "coverage": covered(low, high, truth)}
                    row["width"] = float((high - low).mean())
                    if kind == "mean" and mean in MIDDLE:
                        row["width_bca"] = bca_width(first[:200], rng)
                    rows.append(row)
    return rows


def intervals(mean: float, first: Floats, second: Floats, rng: np.random.Generator) -> dict[str, tuple[float, Floats, Floats]]:
    """Kind -> (truth, lower ends, upper ends) of samples from one law.

    `single draw`: the mean over answers of eight draws an item, of which some are refused. `difference`: card and run of one mean, the
    card's spread taken from the run. `paired`: two arms on the same items, of which the second has a share of the first's values.
    """
    answered = rng.binomial(8, 0.85, first.shape) / 8
    kept = sample(first * answered, weights=answered)
    cards = contrast.tilted(sample(second), first.mean(axis=1), first.shape[1])
    change = np.where(rng.random(first.shape) < 0.5, second, first) - first
    single = {"mean": (mean, sample(first)), "single draw": (mean, kept), "paired": (0.0, sample(change, low=-1.0))}
    found = {}
    for kind, (truth, items) in single.items():
        low, high = bounded.interval(items, LEVEL)
        found[kind] = (truth, low, high)
    return found | {
        "difference": (0.0, contrast.limit(cards, sample(second), LEVEL, -1), contrast.limit(cards, sample(second), LEVEL, 1)),
    }


def bca_width(values: Floats, rng: np.random.Generator, resamples: int = 1000) -> float:
    """Mean width of the BCa interval (Efron 1987) of the same samples, as scipy computes it; samples of one value have none."""
    from scipy.stats import bootstrap

    varied = values[np.ptp(values, axis=1) > 0]
    found = bootstrap((varied,), np.mean, axis=1, n_resamples=resamples, method="BCa", vectorized=True, rng=rng).confidence_interval
    return float(np.nanmean(found.high - found.low))


def equivalents(repeats: int, seed: int) -> list[dict[str, Any]]:
    """Coverage of the interval of an equivalent N, for a target that the curve meets at N = 2 in truth."""
    rng = np.random.default_rng(seed)
    rows = []
    for n in NS:
        held = 0
        for _ in range(repeats):
            middle = rng.uniform(0.3, 0.6, (n, 1))
            curve = np.clip(middle + 0.1 * np.log2(np.arange(1, 9)) + 0 * middle, 0, 1)
            target = np.clip(middle[:, 0] + 0.1 + rng.normal(0, 0.15, n), 0, 1)
            found = rerank.equivalence_interval(curve, target, LEVEL)
            low = 0.0 if found.low is None and found.below > 0.025 else 9.0 if found.low is None else found.low
            high = 9.0 if found.high is None and found.above > 0.025 else 0.0 if found.high is None else found.high
            held += low <= 2 <= high
        rows.append({"interval": "equivalent n", "law": "scores", "n": n, "mean": 0.5, "coverage": held / repeats, "width": None})
    return rows


# --- pairs of card and run --------------------------------------------------------------------------------------------


class Bench(NamedTuple):
    """What every pair needs: the card's claims, what the audit says of them, and a folder for the run."""

    file: ClaimsFile
    audit: Audit
    folder: Path


def bench(folder: Path) -> Bench:
    """A bench on the published card's claims; its printed values are replaced in every pair."""
    file = read_claims(common.ROOT / "published" / "claims.yaml")
    audit = run_audit(common.ROOT / "published" / "claims.yaml", count_parameters=False)
    write_text(folder / "config.yaml", to_yaml(Config(run="pair")))
    return Bench(file, audit, folder)


def measured(file: ClaimsFile) -> Iterator[ValueClaim]:
    """The claims that a run's items measure."""
    return (c for c in file.values().values() if c.kind in MEASURED and c.kind != "loss" and c.value is not None)


def printed(file: ClaimsFile, side: Mapping[str, Any]) -> ClaimsFile:
    """The claims with the values that a card made of these scores would print."""
    columns = {condition: aligned(side[condition]) for condition in side}
    values: dict[str, str] = {}
    for claim in measured(file):
        column = column_of(columns, claim)
        share = Fraction(Decimal(repr(float(column.totals.sum() / max(column.weights.sum(), 1e-9)))))
        values[claim.id] = rounded(share, decimals(claim.value or ""))
    return file.model_copy(update={"claims": [c.model_copy(update={"value": values[c.id]}) if c.id in values else c for c in file.claims]})


def column_of(tables: Mapping[str, Mapping[str, Table]], claim: ValueClaim) -> statistics.Column:
    """What a measured claim is the mean of, item by item."""
    file, pointer = split_pointer(claim.result or "")
    parts = pointer.strip("/").split("/")
    if file.endswith("mechanism.json"):
        return gaps(tables[parts[1]][parts[2]])
    if file.endswith("compute.json"):
        return evaluate.over_all(evaluate.values(tables["clean"][parts[1]], AXIS[parts[2]], int(parts[3]) + 1))
    condition = {"axes.json": "clean", "stress.json": "stress", "format_lock.json": "freeform"}[Path(file).name]
    return evaluate.values(tables[condition][parts[1]], AXIS[parts[2]])


def evaluated(side: Mapping[str, Any]) -> dict[str, Any]:
    """The five result files of one side of a pair, by the project's own evaluation; no power is simulated."""
    return evaluate.results(side["clean"], side["stress"], side["freeform"], support_margin=0.05, simulations=0)._asdict()


def judged(on: Bench, found: Pair, power: Collection[str] = ()) -> list[Judgement]:
    """The rows of `claims.json` for one pair; what would have been noticed is simulated for the claims in `power` alone."""
    for name, content in evaluated(found.run).items():
        write_json(on.folder / "evaluation" / f"{name}.json", content)
    return claims.judged(printed(on.file, found.card), Run(on.folder), on.audit, power)


# --- what is counted --------------------------------------------------------------------------------------------------

PLANTS: dict[str, tuple[str, str, str, float]] = {
    **{f"strict.{arm}": ("clean", arm, "strict", -1.0) for arm in ("base", "hybrid", "grounded")},
    **{f"content.{arm}": ("clean", arm, "content", -1.0) for arm in ("base", "hybrid", "grounded")},
    **{f"citation.{arm}": ("clean", arm, "citation", -1.0) for arm in ("base", "hybrid", "grounded")},
    **{f"rouge.{arm}": ("clean", arm, "rouge", -1.0) for arm in ("base", "grounded")},
    **{f"refusals.{arm}": ("clean", arm, "refusal", 1.0) for arm in ("base", "hybrid", "grounded")},
    **{f"stress.strict.{arm}": ("stress", arm, "strict", -1.0) for arm in ("base", "hybrid", "grounded")},
    **{f"support.{arm}": ("clean", arm, "support", -1.0) for arm in ("base", "grounded")},
    **{f"freeform.{arm}": ("freeform", arm, "support", -1.0) for arm in ("base", "grounded")},
}
"""Claims whose truth can be moved alone: condition, arm, expectation, and the way there is room."""


TOGETHER = 3
"""Claims planted in one pair: of different arms, conditions or axes, so that none of them moves another."""


def planted(sizes: Mapping[str, float]) -> dict[str, dict[str, Truth]]:
    """The card's process with some expectations moved; strict never exceeds content."""
    found = {condition: dict(arms) for condition, arms in CARD.items()}
    for claim, size in sizes.items():
        condition, arm, field, way = PLANTS[claim]
        new = found[condition][arm]
        new = new._replace(**{field: getattr(new, field) + way * size})
        found[condition][arm] = new._replace(strict=min(new.strict, new.content))
    return found


def groups(plants: int) -> Iterator[list[str]]:
    """The claims to plant in each pair, until there are as many plants as wanted."""
    names = list(PLANTS)
    apart = len(names) // TOGETHER
    for i in range(-(-plants // TOGETHER)):
        yield [names[i % apart + apart * k] for k in range(TOGETHER)]


def faithful(on: Bench, pairs: int, seed: int, shared: bool) -> dict[str, Any]:
    """False `differs` of pairs of one process: by claim, before and after the correction, and for whole cards."""
    rng = np.random.default_rng(seed)
    by_claim: Counter[str] = Counter()
    uncorrected: Counter[str] = Counter()
    cards, words = 0, Counter[str]()
    tested = 0
    for _ in range(pairs):
        rows = judged(on, pair(rng, shared=shared))
        wrong = [row.id for row in rows if row.verdict == "differs"]
        by_claim.update(wrong)
        cards += bool(wrong)
        uncorrected.update(row.id for row in rows if row.p is not None and row.p < 1 - LEVEL)
        tested += sum(row.p is not None for row in rows)
        words.update(f"{row.id}: {row.verdict}" for row in rows if row.kind == "predicate")
    return {
        "pairs": pairs,
        "shared_items": shared,
        "card_false_differs": cards / pairs,
        "claims_per_card": tested / pairs,
        "by_claim": {name: by_claim[name] / pairs for name in sorted(uncorrected | by_claim)},
        "by_claim_uncorrected": {name: uncorrected[name] / pairs for name in sorted(uncorrected | by_claim)},
        "words": {name: count / pairs for name, count in sorted(words.items())},
    }


def found_deviations(on: Bench, plants: int, seed: int, size: float) -> dict[str, Any]:
    """How often a planted deviation of one number is found, by claim."""
    rng = np.random.default_rng(seed)
    hits: dict[str, list[bool]] = {name: [] for name in PLANTS}
    for chosen in groups(plants):
        truth = planted(dict.fromkeys(chosen, size))
        rows = {row.id: row for row in judged(on, pair(rng, shared=False, run_truth=truth))}
        for name in chosen:
            hits[name].append(rows[name].verdict == "differs")
    return {"plants": plants, "deviation": size, "found": share_of(hits), "by_claim": means(hits)}


def agreements(on: Bench, plants: int, seed: int) -> dict[str, Any]:
    """How often a number agrees though its truth is off by the tolerance, and how often it does where the truth is the card's."""
    rng = np.random.default_rng(seed)
    tolerances = on.file.tolerance()
    off: dict[str, list[bool]] = {name: [] for name in PLANTS}
    true: dict[str, list[bool]] = {name: [] for name in PLANTS}
    for chosen in groups(plants):
        moved = planted({name: float(tolerances[name]) for name in chosen})
        for hits, truth in ((off, moved), (true, None)):
            rows = {row.id: row for row in judged(on, pair(rng, shared=False, run_truth=truth), power=chosen)}
            for name in chosen:
                hits[name].append(rows[name].verdict == "agrees")
    return {
        "plants": plants,
        "agrees": share_of(off),
        "by_claim": means(off),
        "agrees_if_faithful": share_of(true),
        "by_claim_if_faithful": means(true),
    }


def share_of(hits: Mapping[str, list[bool]]) -> float:
    """Share of hits over all claims."""
    return float(np.mean([hit for found in hits.values() for hit in found]))


def means(hits: Mapping[str, list[bool]]) -> dict[str, float]:
    """Shares of hits, of what was tried."""
    return {name: float(np.mean(found)) for name, found in hits.items() if found}


def sentences(on: Bench, seed: int) -> dict[str, str]:
    """The answer to a card whose truth is the published card's numbers: a faithful rerun, one with a deviation, and one with few items."""
    cases: dict[str, dict[str, Any]] = {
        "faithful rerun, 50 items": {},
        "strict.grounded truly 0.85, 50 items": {"run_truth": planted({"strict.grounded": 0.112})},
        "strict.grounded truly 0.55, 50 items": {"run_truth": planted({"strict.grounded": 0.412})},
        "faithful rerun, 6 items": {"items": 6},
    }
    found = {}
    for name, what in cases.items():
        drawn = pair(np.random.default_rng(seed), shared=False, **what)
        for file, content in evaluated(drawn.run).items():
            write_json(on.folder / "evaluation" / f"{file}.json", content)
        run = Run(on.folder)
        # As beside a card of as many items: another number of them alone would keep the run from being compared.
        checks = [check for check in comparable.compared(on.file, run) if check.holds is not False]
        rows = claims.judged(on.file, run, on.audit, checks=checks)
        found[name] = answer.answer(rows, on.audit.findings, checks).sentence
    return found


# --- the whole --------------------------------------------------------------------------------------------------------


PARTS = ("coverage", "fresh", "shared", "power", "agrees", "sentences")


def measure(part: str, pairs: int, samples: int, seed: int = 0) -> Any:
    """One part of the results; each has random numbers of its own."""
    if part == "coverage":
        return [*coverage(samples, seed), *equivalents(max(10, samples // 4), seed)]
    with tempfile.TemporaryDirectory() as folder:
        on = bench(Path(folder))
        if part in ("fresh", "shared"):
            return faithful(on, pairs, seed + 1 + (part == "shared"), shared=part == "shared")
        if part == "power":
            return [found_deviations(on, pairs, seed + 3 + i, size) for i, size in enumerate(PLANTED)]
        return agreements(on, pairs, seed + 9) if part == "agrees" else sentences(on, seed)


def summary(tables: Mapping[str, Any]) -> dict[str, Any]:
    """What the tables come to; the content of results/verdicts.json."""
    rows = tables["coverage"]
    middle = [row for row in rows if row.get("width_bca")]
    ratio = {n: float(np.mean([row["width"] / row["width_bca"] for row in middle if row["n"] == n])) for n in NS}
    return {
        "machine": common.machine(),
        "card_false_differs_fresh": tables["fresh"]["card_false_differs"],
        "card_false_differs_shared": tables["shared"]["card_false_differs"],
        "coverage_min": min(row["coverage"] for row in rows),
        "width_to_bca": float(np.mean(list(ratio.values()))),
        "width_to_bca_by_n": {str(n): found for n, found in ratio.items()},
        "agrees_at_tolerance": tables["agrees"]["agrees"],
        "power": {f"{row['deviation']:.2f}": row["found"] for row in tables["power"]},
        "sentences": tables["sentences"],
        "tables": {part: tables[part] for part in PARTS},
    }


def draw(result: Mapping[str, Any]) -> None:
    """The figure: coverage by true mean for every kind of interval, and power by deviation."""
    pyplot = common.pyplot("verdicts")
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    rows = result["tables"]["coverage"]
    for kind in dict.fromkeys(row["interval"] for row in rows):
        worst = [min((r["coverage"] for r in rows if r["interval"] == kind and r["mean"] == m), default=np.nan) for m in MEANS]
        left.plot(range(len(MEANS)), worst, marker="o", markersize=3, label=kind)
    left.axhline(0.95, color="black", linewidth=0.8)
    left.axhline(0.94, color="black", linewidth=0.8, linestyle=":")
    left.set(title="coverage, least over n and laws", xlabel="true mean", ylim=(0.9, 1.005), xticks=range(len(MEANS)), xticklabels=MEANS)
    left.legend(fontsize="small")
    sizes = [row["deviation"] for row in result["tables"]["power"]]
    for claim in ("strict.base", "strict.grounded", "stress.strict.grounded", "citation.base", "rouge.base", "support.base"):
        shares = [row["by_claim"].get(claim, np.nan) for row in result["tables"]["power"]]
        right.plot(sizes, shares, marker="o", markersize=3, label=claim)
    right.axhline(0.8, color="black", linewidth=0.8, linestyle=":")
    right.set(title="found, 50 items against 50, 29 numbers", xlabel="planted deviation", ylim=(0, 1), xticks=sizes)
    right.legend(fontsize="small")
    common.save(figure, "verdicts")


def main() -> None:
    """Count, write and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=1000, help="pairs of card and run of each kind (default 1000)")
    parser.add_argument("--samples", type=int, default=2000, help="samples of each interval (default 2000)")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS, help="parts to count; the others keep their last results")
    arguments = parser.parse_args()
    path = common.RESULTS / "verdicts.json"
    tables = json.loads(path.read_text())["tables"] if path.is_file() and set(arguments.only) != set(PARTS) else {}
    for part in arguments.only:
        started = time.perf_counter()
        tables[part] = measure(part, arguments.pairs, arguments.samples)
        print(f"{part}: {time.perf_counter() - started:.0f} s", flush=True)
    result = summary(tables)
    common.write("verdicts", result)
    draw(result)
    for key, value in result.items():
        if key not in ("machine", "tables", "sentences"):
            print(f"{key}: {value}")
    for name, sentence in result["sentences"].items():
        print(f"\n{name}:\n{sentence}")


if __name__ == "__main__":
    main()
