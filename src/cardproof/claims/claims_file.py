"""The claims file (`published/claims.yaml`): every number of a card once, as data, and the arithmetic that must hold between them.

The pydantic model here defines the form of the file; `make generated` writes `schemas/claims.schema.json` from it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, Field, ValidationError, field_validator

from cardproof import outside
from cardproof.claims.grim import NUMBER, ExactInterval, decimals, exact, rounding_interval, truncation_interval
from cardproof.claims.identities import COUNTED, Decimal, Id, Identity, OwnId, Text, references
from cardproof.claims.pointers import arm_of, checked
from cardproof.config.reading import read_yaml
from cardproof.errors import CardproofError, InvalidValue, did_you_mean, first_error, of_validation
from cardproof.evaluation.printed import DASH
from cardproof.records import Row

CLAIMS_PATH = Path("published/claims.yaml")

# --- claims ------------------------------------------------------------------------------------------------------------

CardSection = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
"""A part of the card, named by the claims file."""
Unit = Literal["share", "percent", "count", "million", "nats", "score"]
FACTOR: dict[Unit, Fraction] = {"percent": Fraction(100), "million": Fraction(1, 10**6)}
"""What a result is multiplied by to be in the card's unit (1 where not listed): results hold shares and plain counts."""
SUFFIX = {"percent": "%", "million": "M"}
"""What is printed after a number in a unit; nothing where not listed."""
COUNT = re.compile(r"[1-9][0-9]{0,2},[0-9]{3}|[1-9][0-9]{0,5}")
"""What arithmetic that divides by a claim, or tries all numbers up to it, can work with: a whole number from 1 to 999,999."""
MEASURED = ("proportion", "mean", "difference", "loss")
"""Kinds of claims that a run measures; all others follow from settings."""
FEW = 5
"""Claims to show first where the file names none."""
Pointer = Annotated[str, AfterValidator(checked), Field(description="A result file of a run, #, and a JSON pointer into it.")]


def with_unit(printed: str | None, unit: str | None) -> str:
    """A printed number with its unit; a dash for None."""
    return DASH if printed is None else printed + SUFFIX.get(unit or "", "")


class Where(Row):
    """Where on the card a claim is printed."""

    section: CardSection
    place: Text
    """The row, cell or sentence, in words."""
    again: list[CardSection] = Field(default_factory=list)
    """Sections that print the same number once more, as a reminder of this one."""


class Reading(Row):
    """Another result the printed number might mean."""

    text: Text
    result: Pointer


class ValueClaim(Row):
    """One printed number."""

    id: OwnId
    kind: Literal["proportion", "mean", "difference", "count", "setting", "loss", "size"]
    """`proportion`: k of n items, so GRIM applies; `mean`: mean over items of a ratio or score, where it never does; `difference`: of two
    means."""
    text: Text
    """What the number says, in the project's words."""
    value: str | None
    """As printed, decimals kept, without unit; null if the card has a cell but no number."""
    unit: Unit
    n: int | None = None
    """Items the card states it is over; null if it states none."""
    arm: str | None = None
    where: Where
    rollouts: str | None = None
    """The N printed beside it, if the number is a value at N rollouts."""
    result: Pointer | None = None
    """What of a run regenerates it; null where nothing does."""
    zero: bool = False
    """Whether a setting that is a count may be 0."""
    words: dict[str, str] = Field(default_factory=dict)
    """Words that the result may be instead of a number, and the number that each means."""
    unmeasured: Text | None = None
    """Why no result of a run regenerates it, where that needs a word."""
    config: str | None = None
    """The section of the configuration that decides it."""
    compare: Literal["rounded", "rounded_or_truncated"] = "rounded"
    """`rounded`: the regenerated value, rounded to the printed decimals, is the printed one; the other rule also accepts decimals cut
    off."""
    assumed: Text | None = None
    """What the card leaves open and this file had to assume."""
    readings: list[Reading] = Field(default_factory=list)

    @field_validator("value")
    @classmethod
    def _number(cls, value: str | None) -> str | None:
        if value is not None and not NUMBER.fullmatch(value):
            raise InvalidValue(f"the value {value!r} is not a number", "write it as printed, without its unit, in quotes, e.g. '0.860'.")
        return value

    @field_validator("rollouts")
    @classmethod
    def _whole(cls, value: str | None) -> str | None:
        if value is not None and not (value.isdecimal() and COUNT.fullmatch(value)):
            raise InvalidValue(f"the rollouts {value!r} are not a count", "write a whole number from 1 on, in quotes, e.g. '8'.")
        return value

    @field_validator("words")
    @classmethod
    def _numbers(cls, words: dict[str, str]) -> dict[str, str]:
        for word, number in words.items():
            if not NUMBER.fullmatch(number):
                raise InvalidValue(f"the word {word!r} means {number!r}, which is not a number", "write the number in quotes, e.g. '4'.")
        return words

    @property
    def exact(self) -> Fraction:
        """The printed value as an exact number; only for claims that have one."""
        if self.value is None:
            raise ValueError(f"{self.id} has no value")
        return exact(self.value)

    @property
    def interval(self) -> ExactInterval:
        """Every number that the printed one can mean, in the printed unit: counts exactly, shares within [0, 1]."""
        if self.value is None:
            raise ValueError(f"{self.id} has no value")
        if self.unit == "count" and not decimals(self.value):
            return ExactInterval(self.exact, self.exact)
        span = rounding_interval(self.value)
        if self.compare == "rounded_or_truncated":
            span = ExactInterval(span.low, truncation_interval(self.value).high)
        top = {"share": Fraction(1), "percent": Fraction(100)}.get(self.unit)
        if top is None or not 0 <= self.exact <= top:
            return span
        return ExactInterval(max(span.low, Fraction(0)), min(span.high, top))

    @property
    def shown(self) -> str:
        """The number as a reader knows it, with its unit; a dash if there is none."""
        return with_unit(self.value, self.unit)


class IntervalBelow(Row):
    """Holds where the claim's interval (or, on the card, its value) ends at or below the bound."""

    test: Literal["interval_below"]
    claim: Id
    bound: Decimal


class RatioAtMost(Row):
    """Holds where `of` is at most `bound` times `to`."""

    test: Literal["ratio_at_most"]
    of: Id
    to: Id
    bound: Decimal


class EquivalentWithin(Row):
    """Holds where left - right lies within +-margin: the whole interval of `result` where given, else the difference of values."""

    test: Literal["equivalent_within"]
    left: Id
    right: Id
    margin: Decimal
    result: Pointer | None = None


class Greater(Row):
    """Holds where left > right; `result` (the paired difference left - right) is reported beside it."""

    test: Literal["greater"]
    left: Id
    right: Id
    result: Pointer | None = None


class DoublingsWithin(Row):
    """Holds where the doublings of rollouts from `fewer` to `more` lie in [low, high]: log2 of their printed N, or `result` in a run."""

    test: Literal["doublings_within"]
    fewer: Id
    more: Id
    low: Decimal
    high: Decimal
    result: Pointer


Expression = Annotated[IntervalBelow | RatioAtMost | EquivalentWithin | Greater | DoublingsWithin, Field(discriminator="test")]


class PredicateClaim(Row):
    """Words of the card read as a test on its numbers. The reading is this project's, never the card's."""

    id: OwnId
    kind: Literal["predicate"]
    text: Text
    phrase: Text
    """The words it reads."""
    where: Where
    assumed: Text
    """Why this test and this bound."""
    expression: Expression


Claim = Annotated[ValueClaim | PredicateClaim, Field(discriminator="kind")]

# --- the file ---------------------------------------------------------------------------------------------------------


class Name(Row):
    """A name on the card that holds digits but no number."""

    text: Text
    why: Text


class Tolerance(Row):
    """How far a regenerated number may be off before it matters. This is the project's choice, never the card's."""

    tolerance: str
    """In the claims' unit: a run agrees with a number only where it would have noticed a deviation of this size."""
    claims: list[Id] = Field(min_length=1)
    assumed: Text
    """Why this tolerance."""

    @field_validator("tolerance")
    @classmethod
    def _positive(cls, tolerance: str) -> str:
        if not NUMBER.fullmatch(tolerance) or Fraction(tolerance) <= 0:
            raise ValueError(f"the tolerance {tolerance!r} is not a number above 0|write it in the claims' unit, in quotes, e.g. '0.05'.")
        return tolerance


class Origin(Row):
    """Where a model, an adapter or data come from. A hash tells more than a name; without one, name and revision count."""

    id: str | None = None
    """Name on the Hub, or of what is embedded."""
    revision: str | None = None
    """Revision on the Hub; null where the card names none: then any counts."""
    sha256: str | None = None
    """Of a model or adapter: the `model_hash` or `adapter_hash` of the rollouts."""
    files: dict[str, str] = Field(default_factory=dict)
    """Of data: sha256 by name of the file."""
    folder: str | None = None
    """Name of a local folder. It tells nothing by itself: another folder may have the same name."""
    trained: bool = False
    """Of an adapter: one that a run trains by the card's recipe counts as well."""

    @property
    def told(self) -> str:
        """In words."""
        name = self.id or (f"the local folder {self.folder}" if self.folder else "")
        parts = [f"revision {self.revision}"] * bool(self.revision) + [f"sha256 {self.sha256}"] * bool(self.sha256)
        parts += [f"{file} {digest}" for file, digest in self.files.items()]
        told = f"{name}, {', '.join(parts)}" if name and parts else name or ", ".join(parts)
        return f"{told} or trained by its recipe" if self.trained and told else told or "trained by its recipe"


class MeasuredWith(Row):
    """What a card's numbers were measured with. A run compares with them only where it used the same."""

    model: Origin | None = None
    data: Origin | None = None
    verifier: Origin | None = None
    adapters: dict[str, Origin] = Field(default_factory=dict)
    """By arm."""
    claims: list[Id] = Field(default_factory=list)
    """Ids of printed numbers that a run has to share before any other compares: items, rollouts of each, ..."""
    settings: dict[str, bool | int | float | str | None] = Field(default_factory=dict)
    """Settings of the configuration by dotted path, with the card's value."""


class ClaimsFile(Row):
    """A card's claims."""

    card: Text
    """The model's name."""
    arms: list[str]
    names: list[Name] = Field(default_factory=list)
    measured_with: MeasuredWith | None = None
    """Without it no run compares with the card."""
    central: list[str] = Field(default_factory=list)
    """Ids of the claims that the card is about, most important first: card and page show them first. Empty: the first measured ones of the
    last arm."""
    claims: list[Claim]
    tolerances: list[Tolerance] = Field(default_factory=list)
    """Each measured claim is in at most one; a run never agrees with a number that is in none."""
    identities: list[Identity] = Field(default_factory=list)

    def tolerance(self) -> dict[str, Fraction]:
        """The tolerance of each claim that has one, by id."""
        return {name: Fraction(row.tolerance) for row in self.tolerances for name in row.claims}

    def central_claims(self) -> list[str]:
        """Ids of the claims to show first: those that the file names, else the first few measured numbers of its last arm."""
        measured = [c.id for c in self.values().values() if c.kind in MEASURED and c.value is not None and c.arm in (None, *self.arms[-1:])]
        return self.central or measured[:FEW]

    def values(self) -> dict[str, ValueClaim]:
        """The value claims by id, in the file's order."""
        return {c.id: c for c in self.claims if isinstance(c, ValueClaim)}

    def predicates(self) -> dict[str, PredicateClaim]:
        """The predicate claims by id, in the file's order."""
        return {c.id: c for c in self.claims if isinstance(c, PredicateClaim)}


# --- reading -----------------------------------------------------------------------------------------------------------


def read_claims(path: Path = CLAIMS_PATH) -> ClaimsFile:
    """Read and check a claims file; CardproofError names the file, the claim and what to write instead."""
    try:
        content = outside.read_bytes(Path(path), outside.MOST_YAML)
    except FileNotFoundError:
        raise CardproofError(f"{path} does not exist.", f"the card's claims are in {CLAIMS_PATH}.") from None
    except OSError as e:
        raise CardproofError(f"{path} cannot be read: {e}.", "give a text file in UTF-8.") from None
    return parse_claims(read_yaml(content, str(path)), str(path))


def parse_claims(raw: Any, where: str) -> ClaimsFile:
    """Check a claims file already loaded from YAML; `where` names it in errors."""
    if not isinstance(raw, dict):
        raise CardproofError(f"{where} is not a mapping.", f"a claims file has the keys {', '.join(ClaimsFile.model_fields)}.")
    seen: set[str] = set()
    for key, label, model in (("claims", "claim", _claim_model), ("identities", "identity", _identity_model)):
        rows = raw.get(key, [])
        if not isinstance(rows, list):
            raise CardproofError(f"{where}: {key} is not a list.", f"write each {label} as one item, '- id: ...'.")
        for number, row in enumerate(rows, 1):
            name = f"{where}, {label} {_name(row, number)}"
            if not isinstance(row, dict):
                raise CardproofError(f"{name} is not a mapping.", f"a {label} starts with '- id: NAME'.")
            _validate(row, model(row, name), name)
            if row["id"] in seen:
                raise CardproofError(f"{name}: the id is used twice.", "the file has every number once; rename or remove one of them.")
            seen.add(row["id"])
    _validate(raw, ClaimsFile, where)
    file = ClaimsFile.model_validate(raw)
    _check_references(file, where)
    return file


def _name(row: Any, number: int) -> str:
    return repr(row["id"]) if isinstance(row, dict) and isinstance(row.get("id"), str) else f"number {number}"


VALUE_KINDS: tuple[str, ...] = get_args(ValueClaim.model_fields["kind"].annotation)


def _claim_model(row: dict[str, Any], where: str) -> type[Row]:
    kind = row.get("kind")
    if kind == "predicate":
        return PredicateClaim
    if kind not in VALUE_KINDS:
        raise CardproofError(f"{where}: the kind {kind!r:.60} is unknown.", _one_of(kind, [*VALUE_KINDS, "predicate"]))
    return ValueClaim


def _identity_model(row: dict[str, Any], where: str) -> type[Row]:
    models = {m.model_fields["rule"].annotation.__args__[0]: m for m in get_args(get_args(Identity)[0])}
    rule = row.get("rule")
    if not isinstance(rule, str) or rule not in models:
        raise CardproofError(f"{where}: the rule {rule!r:.60} is unknown.", _one_of(rule, models))
    found: type[Row] = models[rule]
    return found


def _one_of(word: object, known: Collection[str]) -> str:
    return did_you_mean(word, known, f"write one of {', '.join(known)}.")


def _validate(row: dict[str, Any], model: type[BaseModel], where: str) -> None:
    """Validate one mapping; CardproofError says the first thing wrong with it in one sentence."""
    try:
        model.model_validate(row)
    except ValidationError as e:
        first = first_error(e)
        if first["loc"][-1:] == ("value",) and first["type"] == "string_type":
            value = first["input"]
            lost = isinstance(value, int | float)
            raise CardproofError(
                f"{where}: the value {value!r} is {'not quoted, so its printed decimals are lost' if lost else 'not a number'}.",
                "write it in quotes with every decimal the card prints, without its unit, e.g. '0.860'.",
            ) from None
        described = "" if first["type"] == "missing" else "compare with schemas/claims.schema.json, which describes every key."
        raise of_validation(e, where, model, hint=described) from None


def _check_references(file: ClaimsFile, where: str) -> None:
    """Every id an expression or identity names must be a value claim, a claim has a result or a reason for none, arms must be known."""
    values = file.values()
    for claim in file.claims:
        name = f"{where}, claim {claim.id!r}"
        if isinstance(claim, ValueClaim):
            if claim.result is not None and claim.unmeasured is not None:
                raise CardproofError(f"{name}: has a result and a reason why it is unmeasured.", "leave one of the two out.")
            if claim.arm is not None and claim.arm not in file.arms:
                raise CardproofError(f"{name}: the arm {claim.arm!r} is not listed under arms.", _one_of(claim.arm, file.arms))
            for result in filter(None, [claim.result, *(r.result for r in claim.readings)]):
                found = arm_of(result)
                if found is not None and found not in file.arms:
                    raise CardproofError(
                        f"{name}: {result!r} points to nothing: the arm {found!r} is not listed under arms.", _one_of(found, file.arms)
                    )
        else:
            _check_ids(claim.expression, values, name)
    known = [claim.id for claim in file.claims]
    for name in file.central:
        if name not in known:
            raise CardproofError(f"{where}: central names the claim {name!r}, which is not in this file.", _one_of(name, known))
    _check_measured_with(file, where)
    for identity in file.identities:
        _check_ids(identity, values, f"{where}, identity {identity.id!r}")
    seen: set[str] = set()
    for row in file.tolerances:
        for name in row.claims:
            place = f"{where}, tolerance {row.tolerance}"
            if name not in values:
                raise CardproofError(f"{place}: names the claim {name!r}, which is not a value claim of this file.", _one_of(name, values))
            if name in seen:
                raise CardproofError(f"{place}: the claim {name!r} has a tolerance already.", "give each claim one tolerance.")
            seen.add(name)


def _check_measured_with(file: ClaimsFile, where: str) -> None:
    """What a run has to share with the card must be numbers that a run has."""
    values = file.values()
    usable = [claim.id for claim in values.values() if claim.value is not None and claim.result is not None]
    for name in file.measured_with.claims if file.measured_with else []:
        if name not in usable:
            raise CardproofError(
                f"{where}: measured_with names {name!r}, which is not a claim with a value and a result.", _one_of(name, usable)
            )


def _check_ids(row: Row, values: dict[str, ValueClaim], where: str) -> None:
    for name in references(row):
        if name not in values:
            raise CardproofError(f"{where}: names the claim {name!r}, which is not a value claim of this file.", _one_of(name, values))
        if values[name].value is None:
            raise CardproofError(f"{where}: names the claim {name!r}, for which the card prints no number.", "leave it out of this test.")
    for key in COUNTED & set(type(row).model_fields):
        claim = values[getattr(row, key)]
        if not COUNT.fullmatch(claim.value or ""):
            raise CardproofError(
                f"{where}: {key} is the claim {claim.id!r}, whose value {claim.value!r} is not a count.",
                "this arithmetic needs a whole number from 1 to 999999; correct the claim, or leave the identity out.",
            )
