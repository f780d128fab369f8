"""How fast a device is: as assumed from its data sheet, or as `cardproof rehearse` measured it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cardproof.errors import CardproofError, of_validation
from cardproof.files import read_json
from cardproof.models.sizes import Shapes

FILE = "rehearsal.json"
"""Where `cardproof rehearse` writes, and `cardproof plan` looks."""


@dataclass(frozen=True)
class Rates:
    """What a device does in a second, and how long it takes to load the model's weights."""

    prompt: float
    """Tokens of prompts."""
    reply: float
    """Tokens of replies, over all rows decoded together."""
    training: float
    """Tokens of examples."""
    pairs: float | None
    """(premise, hypothesis) pairs; None where their time is not counted."""
    load: float | None
    """Seconds of loading; None where they are not counted."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Device(_Part):
    """Where a rehearsal ran."""

    name: str = Field(max_length=200)
    memory: int | None = Field(default=None, ge=0)
    """Bytes; None on a CPU."""
    driver: str | None = None


class Measured(_Part):
    """Measured rates, in the units of `Rates`; None where the rehearsal did not measure one."""

    prompt: float | None = Field(default=None, gt=0)
    reply: float | None = Field(default=None, gt=0)
    training: float | None = Field(default=None, gt=0)
    pairs: float | None = Field(default=None, gt=0)
    load: float | None = Field(default=None, gt=0)
    step: float | None = Field(default=None, gt=0)
    """Seconds of an optimiser step."""


class Line(_Part):
    """One thing that a rehearsal looked at."""

    probe: str
    measured: str
    planned: str = ""
    verdict: Literal["ok", "differs", "falls short"]
    do: str = ""
    """What to do where it is not ok."""
    fails: bool = False
    """Whether the published run would not work, or not do what is promised."""


class Rehearsal(_Part):
    """What a rehearsal found (`rehearsal.json`)."""

    device: Device
    versions: dict[str, str]
    layers: int
    hidden: int
    vocabulary: int
    rows: int
    """Rollouts decoded together."""
    reduced: list[str]
    """What was smaller than in the published run, in words."""
    seconds: float
    rates: Measured
    lines: list[Line]

    def fits(self, sizes: Shapes, rows: int, gpu: bool) -> bool:
        """Whether its rates are those of a run with a model of these sizes and this number of rows, on a GPU or not."""
        ours = (self.layers, self.hidden, self.vocabulary, self.rows, self.device.memory is not None)
        whole = None not in (self.rates.prompt, self.rates.reply, self.rates.training)
        return whole and ours == (sizes.layers, sizes.hidden, sizes.vocabulary, rows, gpu)


def read(path: Path) -> Rehearsal:
    """A rehearsal's file; CardproofError if it is not one."""
    hint = "write it again: `cardproof rehearse`."
    found = read_json(path)
    try:
        return Rehearsal.model_validate(found)
    except ValidationError as e:
        raise of_validation(e, str(path), Rehearsal, noun="field", hint=hint) from None
    except TypeError:
        raise CardproofError(f"{path} is not the file of a rehearsal.", hint) from None


def with_measured(assumed: Rates, rehearsal: Rehearsal) -> Rates:
    """The rates of a rehearsal that fits, and assumed ones where it measured none."""
    found = rehearsal.rates
    return Rates(
        prompt=found.prompt or assumed.prompt,
        reply=found.reply or assumed.reply,
        training=found.training or assumed.training,
        pairs=found.pairs or assumed.pairs,
        load=found.load or assumed.load,
    )


def same_device(name: str, device: str) -> bool:
    """Whether a device of the plan's table (`H100 80 GB`) is the one of that full name (`NVIDIA H100 80GB HBM3`)."""
    return _words(name) <= _words(device)


def _words(name: str) -> set[str]:
    return set(re.split(r"[\s-]+", re.sub(r"(\d) ?GB", r"\1GB", name).upper()))


class Shares(NamedTuple):
    """What a rate depends on beside model and device."""

    rows: int
    """Rollouts decoded together."""
    weights: float
    """Bytes of the model's weights."""
    passes: int
    """How often a training token takes 2 x parameters operations."""
    pair: int
    """Tokens of a verifier's pair."""
    least: float
    """Seconds that a decoding step takes at least, for its number of operations."""


def assumed(sizes: Shapes, of: Shares, device: dict[str, Any], known: dict[str, Any], gpu: bool) -> Rates:
    """Rates from a data sheet: the longer of arithmetic and reading the weights, at assumed shares of the peak rates.

    `device`: a row of the table in `data/planning.yaml`, which is `known`.
    """
    twice = 2 * sizes.parameters
    flops, bandwidth = device["arithmetic"] * 1e12, device["bandwidth"] * 1e9
    shares = known["reached"] if gpu else device
    step = of.rows * twice / (flops * shares["decoding"])
    if gpu:
        step = max(of.weights / bandwidth / shares["decoding"], step, of.least)
    return Rates(
        prompt=flops * shares["prefill"] / twice,
        reply=of.rows / step,
        training=flops * shares["training"] / (of.passes * twice),
        pairs=flops * shares["prefill"] / (of.pair * 2 * known["verifier"]["parameters"]) if gpu else None,
        load=sizes.parameters * known["published_bytes"] / known["load_bytes_per_second"] if gpu else None,
    )
