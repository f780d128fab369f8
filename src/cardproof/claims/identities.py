"""The relations that must hold between the numbers of one card, as a claims file declares them; `checks` tests them.

A field of type Id names a value claim of the same file.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, ValidationInfo
from pydantic.fields import FieldInfo

from cardproof.claims.grim import NUMBER
from cardproof.errors import InvalidValue
from cardproof.records import Row

Text = Annotated[str, Field(min_length=1)]


def _decimal(value: str, info: ValidationInfo) -> str:
    if not NUMBER.fullmatch(value):
        raise InvalidValue(f"{info.field_name} {value!r} is not a number", "write a plain decimal number in quotes, e.g. '0.05'.")
    return value


Decimal = Annotated[str, AfterValidator(_decimal)]
"""A plain decimal number as text, so that its decimals are kept."""
REFERENCE = "names a value claim of the same file"
OwnId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$")]
"""What a claim or an identity is called."""
Id = Annotated[OwnId, REFERENCE]
"""A value claim of the same file, by its id."""


COUNTED = frozenset({"examples", "batch", "epochs", "steps", "keep", "items", "rank"})
"""Keys of identities whose claims are counted with: whole numbers, at least 1."""


class Difference(Row):
    """`difference` must be `minuend` - `subtrahend`."""

    rule: Literal["difference"]
    id: OwnId
    minuend: Id
    subtrahend: Id
    difference: Id


class ImpliedShare(Row):
    """`base` + `difference` is a share the card does not print, so it must be at most 1."""

    rule: Literal["implied_share"]
    id: OwnId
    base: Id
    difference: Id
    what: Text


class Ordered(Row):
    """`smaller` cannot exceed `larger`, by definition."""

    rule: Literal["ordered"]
    id: OwnId
    smaller: Id
    larger: Id
    because: Text


class Same(Row):
    """One quantity printed in two places."""

    rule: Literal["same"]
    id: OwnId
    first: Id
    second: Id


class OptimizerSteps(Row):
    """steps = ceil(examples / batch) x epochs."""

    rule: Literal["optimizer_steps"]
    id: OwnId
    examples: Id
    batch: Id
    epochs: Id
    steps: Id


class KeepTop(Row):
    """At most `keep` candidates for each of the training questions, as many as `items` (the halves of a split are equal)."""

    rule: Literal["keep_top"]
    id: OwnId
    examples: Id
    keep: Id
    items: Id


class Answered(Row):
    """The denominators an arm's false refusals leave, and what the arm's other numbers can be with them (GRIM)."""

    rule: Literal["answered"]
    id: OwnId
    arm: Text
    items: Id
    refusals: Id
    proportions: list[Id]
    means: list[Id] = Field(default_factory=list)


class UnknownDenominator(Row):
    """Means whose denominator the card gives no way to find: which can be proportions of any n up to `items`."""

    rule: Literal["unknown_denominator"]
    id: OwnId
    items: Id
    means: list[Id]


class WholeItems(Row):
    """A percentage of the items that must be a whole number of them."""

    rule: Literal["whole_items"]
    id: OwnId
    percent: Id
    items: Id


class LoraParameters(Row):
    """The trainable parameters of a LoRA of `rank` on all linear layers, and the share printed for them."""

    rule: Literal["lora_parameters"]
    id: OwnId
    model: Text
    """A model whose sizes the package knows, or the path of a `config.json` (of any architecture that transformers knows)."""
    rank: Id
    trainable: Id
    share: Id


class Doublings(Row):
    """Two equal scores at different numbers of rollouts: how many doublings lie between."""

    rule: Literal["doublings"]
    id: OwnId
    fewer: Id
    more: Id
    printed: Decimal
    """The doublings the card states in words."""


class ZeroGap(Row):
    """A gap printed as zero over at most `items` items: what it says about single quotes, and what is left of the residual."""

    rule: Literal["zero_gap"]
    id: OwnId
    gap: Id
    items: Id
    strict: Id
    attribution: Id


class HarderIsLower(Row):
    """The harder condition is expected to score lower; a card on which it does not need not be wrong."""

    rule: Literal["harder_is_lower"]
    id: OwnId
    harder: Id
    easier: Id


class SmallCounts(Row):
    """Proportions of two arms as counts of items, with Fisher's exact test."""

    rule: Literal["small_counts"]
    id: OwnId
    items: Id
    refusals: list[Id]
    proportions: list[list[Id]]
    """Pairs of claims; the n-th of a pair belongs to the n-th of `refusals`."""


Identity = Annotated[
    Difference
    | ImpliedShare
    | Ordered
    | Same
    | OptimizerSteps
    | KeepTop
    | Answered
    | UnknownDenominator
    | WholeItems
    | LoraParameters
    | Doublings
    | ZeroGap
    | HarderIsLower
    | SmallCounts,
    Field(discriminator="rule"),
]


def references(row: Row) -> list[str]:
    """The ids of the claims an expression or identity names, in the order of its keys."""
    found: list[str] = []
    for key, value in row:
        if _names_claims(type(row).model_fields[key]):
            pairs = value if isinstance(value, list) else [value]
            found += [i for p in pairs for i in (p if isinstance(p, list) else [p])]
    return found


def _names_claims(field: FieldInfo) -> bool:
    return REFERENCE in field.metadata or _marked(field.annotation)


def _marked(annotation: object) -> bool:
    """True if a type, or one inside it, is an `Id`."""
    return REFERENCE in getattr(annotation, "__metadata__", ()) or any(map(_marked, get_args(annotation)))
