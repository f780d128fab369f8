"""Claims files of known truth for the tests of the audit: an evaluation is simulated item by item, and its card printed as claims.

What is simulated is consistent, in one of the ways in which such numbers are printed. A planted contradiction then changes numbers, so that
no reading is left; `blamed` are the claims that it is about. Nothing of the audit is used.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil, floor
from typing import Any

import yaml

from helpers.places import CLAIMS

RAW: dict[str, Any] = yaml.safe_load(CLAIMS.read_text(encoding="utf-8"))
ARMS = ("base", "hybrid", "grounded")


@dataclass
class Case:
    """A claims file as data."""

    raw: dict[str, Any]
    kind: str
    blamed: set[str] = field(default_factory=set)
    """Ids that the planted contradiction is about; empty for a consistent card."""


def show(x: float, places: int = 3) -> str:
    return f"{x:.{places}f}"


def cut(x: float, places: int = 3) -> str:
    return f"{floor(x * 10**places + 1e-9) / 10**places:.{places}f}"


@dataclass
class Card:
    """A simulated card: its claims' values by id, changed units, further claims and identities."""

    values: dict[str, str]
    units: dict[str, str] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    """Stated n by claim, where it is not the heading's."""
    claims: list[dict[str, Any]] = field(default_factory=list)
    identities: list[dict[str, Any]] = field(default_factory=list)
    without: set[str] = field(default_factory=set)
    """Identities left out."""

    def raw(self) -> dict[str, Any]:
        found = copy.deepcopy(RAW)
        n = int(self.values.get("eval.items", "50"))
        for claim in found["claims"]:
            claim["value"] = self.values.get(claim["id"], claim.get("value")) if claim["kind"] != "predicate" else None
            if claim["kind"] == "predicate":
                del claim["value"]
            if claim.get("n"):
                claim["n"] = self.items.get(claim["id"], n)
            if claim["id"] in self.units:
                claim["unit"] = self.units[claim["id"]]
        found["claims"] = [c for c in found["claims"] if c["kind"] != "predicate"] + self.claims
        found["identities"] = [i for i in found["identities"] if i["id"] not in self.without] + self.identities
        return found


def simulated(rng: random.Random, n: int = 50, axes_over_all: bool = False, printed: Callable[[float], str] = show) -> Card:
    """An evaluation of n items: refusals, proportions over the answered items (or all), means of per-item ratios, gaps, a recipe."""
    values = {"eval.items": str(n), "training.steps": "", "rouge.hybrid": None}
    for arm in ARMS:
        refused = rng.randint(2, n // 6)
        values[f"refusals.{arm}"] = printed(refused / n)[:4] if n == 50 else show(refused / n, 4)
        m = n if axes_over_all else n - refused
        values[f"citation.{arm}"] = printed(rng.randint(m // 2, m) / m)
        if arm != "hybrid":
            values[f"rouge.{arm}"] = printed(rng.randint(m // 4, m) / m)
        strict = rng.uniform(0.6, 0.9)
        content = rng.uniform(strict + 0.01, 0.99)
        values |= {f"strict.{arm}": show(strict), f"content.{arm}": show(content)}
        stressed = rng.uniform(0.4, strict - 0.05)
        values[f"stress.strict.{arm}"] = show(stressed)
        if arm != "hybrid":
            values[f"gap.clean.{arm}"] = show(content - strict)
            values[f"gap.stress.{arm}"] = show(rng.uniform(0, 0.99 - stressed))
    residual = float(values["stress.strict.grounded"] or 0)
    values |= {"residual.strict": show(residual), "residual.attribution": show(residual - rng.uniform(0.01, 0.1))}
    composite = rng.uniform(0.3, 0.8)
    values |= {"composite.grounded_n1": show(composite), "composite.base_n2": show(composite + 0.0004)}
    batch, epochs, examples = rng.randint(2, 16), rng.randint(1, 5), rng.randint(20, 3 * n)
    values |= {"training.batch": str(batch), "training.epochs": str(epochs), "training.examples": str(examples)}
    values["training.steps"] = str(ceil(examples / batch) * epochs)
    return Card({k: v for k, v in values.items() if v is not None})


def further(kind: str, id: str, value: str, unit: str = "share", **more: Any) -> dict[str, Any]:
    """Another claim of the card."""
    return {"id": id, "kind": kind, "text": id, "value": value, "unit": unit, "where": {"section": "further", "place": id}, **more}


# --- Qwen3-14B's adapters, by hand -----------------------------------------------------------------------------------------

H, KV, FF, LAYERS, VOCABULARY, BASE = 5120, 1024, 17408, 40, 151_936, 14_768_307_200
LINEARS = {"q": 2 * H, "k": H + KV, "v": H + KV, "o": 2 * H, "gate": H + FF, "up": H + FF, "down": H + FF}


def adapter(rank: int, layers: str, head: bool = False) -> int:
    """rank x (inputs + outputs) of each adapted layer."""
    return rank * (LAYERS * sum(LINEARS[x] for x in layers.split()) + (H + VOCABULARY if head else 0))


ALL = "q k v o gate up down"


def with_adapter(card: Card, size: int, rank: int = 32) -> Card:
    card.values |= {
        "training.rank": str(rank),
        "training.trainable": show(size / 1e6, 1),
        "training.share": show(100 * size / (BASE + size), 2),
    }
    return card


# --- consistent in a reading -----------------------------------------------------------------------------------------------


def _percent(rng: random.Random) -> Card:
    card = simulated(rng)
    for name, value in card.values.items():
        if name.startswith(("strict", "content", "citation", "rouge", "stress.strict", "gap", "refusals", "residual")):
            card.values[name] = f"{100 * float(value):.{max(len(value) - 4, 0)}f}"
            card.units[name] = "percent"
    return card


def _exact_size(rng: random.Random) -> Card:
    card = simulated(rng)
    size = adapter(32, ALL)
    card.values |= {"training.trainable": rng.choice([f"{size}", f"{size:,}"]), "training.share": show(100 * size / BASE, 2)}
    card.units["training.trainable"] = "count"
    return card


def _share_of_one(rng: random.Random) -> Card:
    card = simulated(rng)
    size = adapter(32, ALL)
    card.values["training.share"] = show(size / (BASE + size), 4)
    card.units["training.share"] = "share"
    return card


def _layers(rng: random.Random) -> Card:
    layers, head = rng.choice([("q k v o", False), ("q v", False), ("q k v", False), (ALL, True), ("gate up down", False)])
    rank = rng.choice([8, 16, 32, 64])
    card = simulated(rng)
    card.values |= {"training.rank": str(rank), "training.trainable": show(adapter(rank, layers, head) / 1e6, 2)}
    # The card's share is then of that adapter; which the identity leaves out.
    size = adapter(rank, ALL)
    card.values["training.share"] = show(100 * size / (BASE + size), 2)
    return card


def _floats(rng: random.Random) -> Card:
    card = simulated(rng)
    for arm in ARMS:
        m = 50 - round(50 * float(card.values[f"refusals.{arm}"]))
        card.values[f"citation.{arm}"] = repr(rng.randint(m // 2, m - 1) / m)
    return card


def _larger_half(rng: random.Random) -> Card:
    card = simulated(rng)
    card.values |= {"training.examples": str(rng.randint(151, 153)), "training.batch": "8", "training.epochs": "1", "training.steps": "19"}
    card.values["training.steps"] = str(ceil(int(card.values["training.examples"]) / 8))
    return card


def _chance(rng: random.Random) -> Card:
    card = simulated(rng)
    card.values["stress.drop"] = str(rng.choice([25, 33, 15, 31]))
    return card


def _steps(rng: random.Random) -> Card:
    card = simulated(rng)
    e, b, p = (int(card.values[f"training.{x}"]) for x in ("examples", "batch", "epochs"))
    card.values["training.steps"] = str(max(1, rng.choice([(e // b) * p, ceil(e * p / b), e * p // b])))
    return card


def _signed(rng: random.Random) -> Card:
    card = simulated(rng)
    a, b = float(card.values["strict.grounded"]), float(card.values["strict.base"])
    card.claims.append(further("difference", "gain.strict", rng.choice([show(a - b), show(b - a)])))
    card.identities.append(
        {"rule": "difference", "id": "gain", "minuend": "strict.grounded", "subtrahend": "strict.base", "difference": "gain.strict"}
    )
    return card


def _halves(rng: random.Random) -> Card:
    """k/48 and k/80 end in a 5: printed with the half up or down."""
    card = simulated(rng, 80)
    for arm in ARMS:
        k = 2 * rng.randint(12, 39) + 1
        card.values[f"refusals.{arm}"] = "0.0000"
        card.values[f"citation.{arm}"] = rng.choice([show(k / 80 - 1e-6), show(k / 80 + 1e-6)])
        if arm != "hybrid":
            card.values[f"rouge.{arm}"] = show(rng.randint(20, 60) / 80, 4)
    return card


def _few_decimals(rng: random.Random) -> Card:
    card = simulated(rng)
    for name in ("strict.base", "content.base", "gap.clean.base"):
        card.values[name] = show(float(card.values[name]), 2)
    a, b = float(card.values["content.base"]), float(card.values["strict.base"])
    card.values["gap.clean.base"] = show(max(a - b, 0), 2)
    return card


def _more_rollouts(rng: random.Random) -> Card:
    card = simulated(rng)
    x = rng.uniform(0.3, 0.5)
    for n in (1, 2, 4, 8):
        card.claims.append(further("mean", f"curve.base_n{n}", show(x), "score", arm="base", rollouts=str(n)))
        x += rng.choice([0.0, rng.uniform(0, 0.1)])
    return card


def _second_card(rng: random.Random) -> Card:
    """Proportions with a stated n and no false refusals."""
    card = simulated(rng)
    n = rng.randint(30, 400)
    for i in range(3):
        card.claims.append(further("proportion", f"other.p{i}", rng.choice([show, cut])(rng.randint(1, n) / n), n=n))
    return card


CONSISTENT: dict[str, Callable[[random.Random], Card]] = {
    "as the card prints": simulated,
    "axes over all items": lambda r: simulated(r, axes_over_all=True),
    "a larger evaluation": lambda r: simulated(r, n=r.choice([120, 200, 400])),
    "cut off": lambda r: simulated(r, printed=cut),
    "per cent": _percent,
    "the exact size": _exact_size,
    "a share of 1": _share_of_one,
    "other layers": _layers,
    "full floats": _floats,
    "a larger training half": _larger_half,
    "a drop rate as a chance": _chance,
    "steps joined or dropped": _steps,
    "signed differences": _signed,
    "halves either way": _halves,
    "fewer decimals": _few_decimals,
    "scores of more rollouts": _more_rollouts,
    "proportions of a stated n": _second_card,
}


# --- planted contradictions --------------------------------------------------------------------------------------------------


def _range(rng: random.Random) -> tuple[Card, set[str]]:
    card = simulated(rng)
    name, value = rng.choice(
        [
            ("support.base", "1.120"),
            ("support.grounded", "-0.020"),
            ("freeform.base", "7.200"),
            ("training.loss", "-0.362"),
            ("eval.rouge_threshold", "1.30"),
            ("training.bits", "-4"),
            ("eval.best_of", "0"),
            ("stress.distractors", "-1"),
            ("stress.drop", "130"),
            ("stress.strict.hybrid", "1.019"),
            ("residual.attribution", "-0.100"),
        ]
    )
    card.values[name] = value
    return card, {name}


def _order(rng: random.Random) -> tuple[Card, set[str]]:
    card = simulated(rng)
    arm = "hybrid"
    strict = float(card.values[f"content.{arm}"]) + 0.001
    card.values[f"strict.{arm}"] = show(strict)
    return card, {f"strict.{arm}", f"content.{arm}"}


def _repeat(rng: random.Random) -> tuple[Card, set[str]]:
    card = simulated(rng)
    card.values["residual.strict"] = show(float(card.values["residual.strict"]) + rng.choice([-0.001, 0.001]))
    return card, {"residual.strict", "stress.strict.grounded"}


def _negative(rng: random.Random) -> tuple[Card, set[str]]:
    card = simulated(rng)
    strict = float(card.values["strict.base"])
    card.values |= {"content.base": show(strict - 0.001), "gap.clean.base": "-0.001"}
    return card, {"gap.clean.base", "content.base", "strict.base"}


def _difference(rng: random.Random) -> tuple[Card, set[str]]:
    card = simulated(rng)
    gap = float(card.values["gap.clean.base"])
    card.values["gap.clean.base"] = show(gap + rng.uniform(0.004, 0.03))
    return card, {"gap.clean.base", "content.base", "strict.base"}


def _implied(rng: random.Random) -> tuple[Card, set[str]]:
    card = simulated(rng)
    card.values["gap.stress.base"] = show(1.002 - float(card.values["stress.strict.base"]))
    return card, {"gap.stress.base", "stress.strict.base"}


def fits(p: str, m: int) -> bool:
    """Whether some k/m prints so, rounded or cut off."""
    places = len(p) - 2
    return any(p in {show(k / m + e, places) for e in (-1e-9, 1e-9)} | {cut(k / m, places)} for k in range(m + 1))


def _grim(rng: random.Random) -> tuple[Card, set[str]]:
    card = simulated(rng)
    m = 50 - round(50 * float(card.values["refusals.base"]))
    while True:
        p = show(rng.uniform(0.3, 0.99))
        if not fits(p, m) and not fits(p, 50):
            card.values["citation.base"] = p
            if fits(card.values["rouge.base"], m) and not fits(card.values["rouge.base"], 50):
                return card, {"citation.base", "refusals.base"}
            card.values["rouge.base"] = show(rng.randint(m // 4, m) / m)


def _joint(rng: random.Random) -> tuple[Card, set[str]]:
    """Refusals of 0.1 leave 43 to 47 items; each proportion fits one of them, both together none."""
    while True:
        card = simulated(rng)
        a, b = rng.sample(range(43, 48), 2)
        p, q = show(rng.randint(a // 2, a - 1) / a), show(rng.randint(b // 2, b - 1) / b)
        if not any(fits(p, m) and fits(q, m) for m in [*range(43, 48), 50]):
            card.values |= {"refusals.base": "0.1", "citation.base": p, "rouge.base": q}
            return card, {"refusals.base", "citation.base", "rouge.base"}


def _refusals(rng: random.Random) -> tuple[Card, set[str]]:
    card = simulated(rng)
    card.values["refusals.hybrid"] = rng.choice(["0.11", "0.13", "0.07", "0.15"])
    return card, {"refusals.hybrid"}


def _rows_n(rng: random.Random) -> tuple[Card, set[str]]:
    card = simulated(rng)
    name = rng.choice(["support.base", "citation.base", "strict.grounded", "freeform.base"])
    card.items[name] = rng.choice([51, 60, 100, 32])
    return card, {name, "eval.items"}


def _no_refusals(rng: random.Random) -> tuple[Card, set[str]]:
    card = simulated(rng)
    n = rng.randint(20, 60)
    while True:
        p = show(rng.uniform(0.1, 0.9))
        if not fits(p, n):
            card.claims.append(further("proportion", "other.p", p, n=n))
            return card, {"other.p"}


def _rollouts(rng: random.Random) -> tuple[Card, set[str]]:
    card = simulated(rng)
    card.claims += [further("mean", f"curve.base_n{n}", v, "score", arm="base", rollouts=str(n)) for n, v in ((1, "0.500"), (4, "0.499"))]
    return card, {"curve.base_n1", "curve.base_n4"}


def _recipe(rng: random.Random) -> tuple[Card, set[str]]:
    card = simulated(rng)
    names = [f"training.{x}" for x in ("examples", "batch", "epochs", "steps")]
    e, b, p, _ = (int(card.values[x]) for x in names)
    low, high = (e // b) * p, ceil(e / b) * p
    card.values["training.steps"] = str(rng.choice([high + rng.randint(1, 9), *([low - 1] if low > 1 else [])]))
    return card, set(names)


def _keep(rng: random.Random) -> tuple[Card, set[str]]:
    card = simulated(rng)
    e = rng.randint(154, 300)
    card.values |= {"training.examples": str(e), "training.batch": "5", "training.epochs": "1", "training.steps": str(ceil(e / 5))}
    return card, {"training.examples", "training.keep_top", "eval.items"}


def _size(rng: random.Random) -> tuple[Card, set[str]]:
    card = with_adapter(simulated(rng), adapter(32, ALL))
    sizes = [
        adapter(32, x, h) / 1e6
        for x, h in (("q k v o", False), ("q v", False), ("q k v", False), (ALL, False), (ALL, True), ("gate up down", False))
    ]
    while True:
        wrong = rng.uniform(10, 200)
        if all(abs(wrong - x) > 0.3 for x in sizes):
            card.values["training.trainable"] = show(wrong, 1)
            return card, {"training.trainable", "training.rank"}


def _share(rng: random.Random) -> tuple[Card, set[str]]:
    card = with_adapter(simulated(rng), adapter(32, ALL))
    card.values["training.share"] = rng.choice(["0.82", "0.91", "1.20", "0.45"])
    return card, {"training.share", "training.rank"}


def _doublings(rng: random.Random) -> tuple[Card, set[str]]:
    card = simulated(rng)
    card.identities.append(
        {"rule": "doublings", "id": "two", "fewer": "composite.grounded_n1", "more": "composite.base_n2", "printed": "2"}
    )
    return card, {"composite.grounded_n1", "composite.base_n2"}


CONTRADICTIONS: dict[str, Callable[[random.Random], tuple[Card, set[str]]]] = {
    "out of range": _range,
    "a part above the whole, by one digit": _order,
    "one quantity twice, by one digit": _repeat,
    "a negative gap": _negative,
    "a difference": _difference,
    "an implied share above 1": _implied,
    "a proportion of the items left": _grim,
    "proportions with two denominators": _joint,
    "false refusals of no number of items": _refusals,
    "n of a row": _rows_n,
    "a proportion of a stated n": _no_refusals,
    "fewer points with more rollouts": _rollouts,
    "steps of the recipe": _recipe,
    "more examples than candidates": _keep,
    "the adapter's size": _size,
    "the adapter's share": _share,
    "doublings": _doublings,
}


def planted(each: int, seed: int = 17) -> list[Case]:
    """`each` files of every kind of contradiction."""
    found = []
    for kind, make in CONTRADICTIONS.items():
        for i in range(each):
            card, blamed = make(random.Random(f"{seed} {kind} {i}"))
            found.append(Case(card.raw(), kind, blamed))
    return found


def consistent(each: int, seed: int = 17) -> list[Case]:
    """`each` files of every consistent reading."""
    return [Case(make(random.Random(f"{seed} {kind} {i}")).raw(), kind) for kind, make in CONSISTENT.items() for i in range(each)]
