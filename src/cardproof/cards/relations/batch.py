"""Total batch size = batch x accumulation x devices, as the Trainer lists it and as people write it in tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from cardproof.cards.document import Block, Document
from cardproof.cards.finding import Finding, finding
from cardproof.cards.intervals import numeral
from cardproof.cards.names import words
from cardproof.cards.numbers import numbers
from cardproof.cards.tables import Cell

KIND = "batch"
BATCH = ("train_batch_size", "per_device_train_batch_size", "micro_batch_size", "per_device_batch_size")
HARDWARE = r"\bipus?\b|graphcore|\btpus?\b|\bhpus?\b|gaudi|habana|\bv[34]-(?:8|32|128)\b"


def batch(card: Document) -> Iterator[Finding]:
    """Compare every total batch size with its factors."""
    seen = set()
    for block in card.settings:
        for total, factor, accumulated in (("total_train_batch_size", BATCH, True), ("total_eval_batch_size", ("eval_batch_size",), False)):
            judgement = _of_list(card, block, total, factor, accumulated)
            if judgement and (key := tuple(judgement.lines)) not in seen:
                seen.add(key)
                yield judgement
    yield from _of_tables(card)
    yield from _of_products(card)


def _of_list(card: Document, block: Block, total: str, factors: tuple[str, ...], accumulated: bool) -> Finding | None:
    known = block.numbers
    whole = known.get(total)
    part = next((known[f] for f in factors if f in known), None)
    if whole is None or part is None:
        return None
    used = [part]
    if accumulated and "gradient_accumulation_steps" in known:
        used.append(known["gradient_accumulation_steps"])
    devices = known.get("num_devices")
    used += [devices] if devices else []
    what = "total_train_batch_size" if accumulated else "total_eval_batch_size"
    return _judged(card, [p.cell() for p in used], whole.cell(), devices is not None, what)


def _judged(card: Document, factors: list[Cell], whole: Cell, devices_known: bool, what: str) -> Finding | None:
    values = [c.number.value for c in factors]
    if any(v.denominator != 1 or v <= 0 for v in [*values, whole.number.value]):
        return None
    product = Fraction(1)
    for v in values:
        product *= v
    printed = whole.number.value
    arithmetic = f"{' x '.join(numeral(v) for v in values)} = {numeral(product)}, printed {numeral(printed)}"
    cells = [*factors, whole]
    if product == printed:
        return finding(KIND, "ok", f"{what} is the product of its factors.", cells, arithmetic)
    ratio = printed / product
    if ratio.denominator == 1 and not devices_known:
        other = card.says(HARDWARE)
        return finding(
            KIND,
            "note" if other else "warning",
            f"{what} is {numeral(ratio)} times the product of the factors that are printed.",
            cells,
            arithmetic,
            [f"{numeral(ratio)} devices or replicas, which the list does not print", f"another {what}: {numeral(product)}"],
        )
    return finding(
        KIND,
        "error",
        f"{what} {numeral(printed)} is not the product of the factors printed with it.",
        cells,
        arithmetic,
        [f"{what} is {numeral(product)}", f"{factors[0].place.split(' / ')[0]} is {numeral(values[0] * ratio)}", "numbers of another run"],
    )


EFFECTIVE = re.compile(r"\b(?:effective|total|global)\b.{0,12}\bbatch\b(?:\s+size)?", re.IGNORECASE)


PRODUCT = re.compile(
    r"(?P<a>\d{1,6}) ?[x×*] ?(?P<b>\d{1,6})(?: ?[x×*] ?(?P<c>\d{1,6}))?[^()\d]{0,40}\((?:effective|total|=)[^()\d]{0,20}(?P<w>\d{1,7})\)",
    re.I,
)


def _of_products(card: Document) -> Iterator[Finding]:
    """`Batch size: 4 x 2 accumulation steps (effective 8)`."""
    for block in card.blocks:
        for p in block.pairs:
            m = PRODUCT.search(p.text) if "batch" in p.label.lower() else None
            if m:
                cells = [Cell(p.line, p.label, next(iter(numbers(x)))) for x in m.group("a", "b", "c") if x]
                judgement = _judged(card, cells, Cell(p.line, "effective", next(iter(numbers(m["w"])))), True, "the effective batch size")
                if judgement:
                    yield judgement


def _of_tables(card: Document) -> Iterator[Finding]:
    """Tables and lists of settings: batch, accumulation, devices, and an effective batch in its own row or in brackets."""
    groups = [t.labelled for t in card.tables if t.labelled]
    groups += [b.labelled for b in card.blocks if "total_train_batch_size" not in b.numbers]
    for rows in groups:
        part = accumulation = devices = whole = None
        for label, text, line in rows:
            plain = words(label)
            cells = [Cell(line, label, n) for n in numbers(text)]
            inside = EFFECTIVE.search(text)
            if inside and (after := [n for n in numbers(text) if n.start >= inside.end()]):
                whole = Cell(line, "effective batch", after[0])
            if not cells:
                continue
            if EFFECTIVE.search(label):
                whole = cells[0]
            elif "batch" in plain and "size" in plain and not re.search(r"eval|test|valid", plain):
                part = part or cells[0]
            elif "accumulation" in plain:
                accumulation = cells[0]
            elif re.fullmatch(r"(?:num(?:ber)? (?:of )?)?(?:devices|gpus)", plain):
                devices = cells[0]
        factors = [c for c in (part, accumulation, devices) if c is not None]
        if part and whole and len(factors) > 1 and part.number.value != whole.number.value:
            judgement = _judged(card, factors, whole, devices is not None, "the effective batch size")
            if judgement:
                if judgement.severity == "error":
                    judgement.severity = "warning"
                yield judgement
