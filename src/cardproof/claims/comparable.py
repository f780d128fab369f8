"""Whether a run's numbers compare with a card's: model, data, verifier, adapters, items, rollouts and conditions against the card's.

The claims file says what the card's numbers were measured with (`measured_with`). What a run used is in its configuration and its results;
hashes of models and adapters are those that its rollouts were drawn with.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cardproof.claims.claims_file import ClaimsFile, Origin, ValueClaim
from cardproof.claims.found import decimal, lookup
from cardproof.claims.pointers import split_pointer
from cardproof.claims.verdicts import Compared
from cardproof.config.places import name_of
from cardproof.config.settings import CONDITIONS, REFERENCE
from cardproof.files import iter_rows
from cardproof.records import Rollout
from cardproof.runs import CONFIG, Run, samples

NEVER = ("embedded", "benchmark")
"""Scales at which a run compares with no card, whatever it used: stand-ins, and another model on purpose."""
NOT_STATED = "not stated in the claims file"
NEEDED = ("model", "data")
"""What a claims file has to state before any number compares."""


def compared(file: ClaimsFile, run: Run, finished: bool = True) -> list[Compared]:
    """Everything that a run's numbers need to share with the card's, each checked; a check that the claims file leaves open is left out.

    Of a run that is not `finished`, only the configuration counts: not its results.
    """
    stated = file.measured_with
    checks = [_scale(run)] if run.scale in NEVER else []
    checks += [
        _origin(
            "model",
            stated.model if stated else None,
            _used(_at(run, "/model") or {}, "source", hashes(run, REFERENCE)[0] if finished else None),
        ),
        _data(stated.data if stated else None, run),
    ]
    if stated is None:
        return checks
    if stated.verifier is not None:
        checks.append(_origin("verifier", stated.verifier, _used(_at(run, "/verifier") or {}, "source", None)))
    for arm, origin in stated.adapters.items():
        if (used := run.adapter(arm)) is not None:
            checks.append(_adapter(arm, origin, used, run, finished))
    values = file.values()
    numbers = [values[name] for name in stated.claims]
    checks += [_number(claim, run) for claim in numbers if finished or split_pointer(claim.result or "")[0] == CONFIG]
    checks += [_setting(path, value, run) for path, value in stated.settings.items()]
    return checks


def comparable(checks: Sequence[Compared]) -> bool:
    """Whether nothing differs, and model and data are known to be the card's."""
    known = {check.what for check in checks if check.holds}
    return all(check.holds is not False for check in checks) and set(NEEDED) <= known


def against(checks: Iterable[Compared]) -> list[Compared]:
    """The checks that keep a run from being compared, in their order."""
    return [check for check in checks if check.holds is False or (check.holds is None and check.what in NEEDED)]


def why_not(checks: Iterable[Compared]) -> str:
    """What differs, in one sentence without its full stop, e.g. `model (the card's: A; this run's: B)`."""
    found = against(checks)
    named = [f"{check.what} (the card's: {check.card}; this run's: {check.run})" for check in found]
    return f"not the card's: {', '.join(named)}"


# --- single checks -----------------------------------------------------------------------------------------------------


def _scale(run: Run) -> Compared:
    meaning = {"embedded": "stand-ins of this project", "benchmark": "another model"}[run.scale]
    return Compared(what="scale", card="published", run=f"{run.scale} ({meaning})", holds=False)


def _origin(what: str, stated: Origin | None, used: Origin) -> Compared:
    """A model by its hash where both are known, else by name and revision; a local folder has neither name nor revision."""
    if stated is None:
        return Compared(what=what, card=NOT_STATED, run=used.told, holds=None)
    holds: bool | None
    if stated.sha256 and used.sha256:
        holds = stated.sha256 == used.sha256
    elif stated.id and used.id:
        holds = stated.id == used.id and stated.revision in (None, used.revision)
    else:
        holds = None if stated.sha256 and not used.sha256 and used.folder is not None else False
    return Compared(what=what, card=stated.told, run=used.told, holds=holds)


def _used(settings: Mapping[str, Any], kind: str, digest: str | None) -> Origin:
    """A model, verifier or adapter of a run as its settings name it; `kind` is the setting that says where it is from."""
    name = str(settings.get("id"))
    if settings.get(kind) == "folder":
        return Origin(folder=name_of(name), sha256=digest)
    return Origin(id=name, revision=settings.get("revision") if settings.get(kind) == "hub" else None, sha256=digest)


def hashes(run: Run, arm: str) -> tuple[str | None, str | None]:
    """The hashes of model and adapter, as an arm's first rollout has them; None before there is one."""
    file = samples(arm, CONDITIONS[0])
    if not run.has(file):
        return None, None
    first = next(iter_rows(run.path(file), Rollout), None)
    return (first.model_hash, first.adapter_hash) if first else (None, None)


def _data(stated: Origin | None, run: Run) -> Compared:
    """The data by the hash of each file where the claims file names them, else by name and revision.

    Name and revision stand for the files that the data set's names tell, not for others that the run chose by a pattern.
    """
    settings = _at(run, "/benchmark") or {}
    kind = settings.get("source")
    pins = {name: pin for name, pin in (settings.get("sha256") or {}).items() if pin} if kind != "embedded" else {}
    name = {"embedded": "cardproof-licence-questions", "hub": settings.get("id")}.get(str(kind))
    folder = name_of(str(settings.get("path"))) if kind == "folder" else None
    used = Origin(id=name, revision=settings.get("revision") if kind == "hub" else None, folder=folder, files=pins)
    if stated is None:
        return Compared(what="data", card=NOT_STATED, run=used.told, holds=None)
    if stated.files and pins:
        holds = {name: pin.casefold() for name, pin in pins.items()} == stated.files
    else:
        chosen = [setting for setting in ("corpus", "questions") if stated.files and settings.get(setting)]
        holds = bool(stated.id and stated.id == used.id and stated.revision in (None, used.revision)) and not chosen
    return Compared(what="data", card=stated.told, run=used.told, holds=holds)


def _adapter(arm: str, stated: Origin, used: str, run: Run, finished: bool) -> Compared:
    what = f"adapter of {arm}"
    if used == "trained":
        recipe = "trained by the card's recipe" if stated.trained else "trained by this run"
        return Compared(what=what, card=stated.told, run=recipe, holds=stated.trained)
    if used == "none":
        return Compared(what=what, card=stated.told, run="no adapter", holds=False)
    return _origin(what, stated, _used(_at(run, f"/arms/{arm}") or {}, "adapter", hashes(run, arm)[1] if finished else None))


def _number(claim: ValueClaim, run: Run) -> Compared:
    """A number of the card that decides what all others are over, such as the items and the candidates of each."""
    found, missing = lookup(run, claim.result, claim)
    value = None if found is None else found.value
    told = missing if value is None else f"{value:g}"
    return Compared(what=claim.text, card=claim.shown, run=told, holds=None if value is None else claim.interval.holds(decimal(value)))


def _setting(path: str, value: Any, run: Run) -> Compared:
    used = _at(run, f"/{path.replace('.', '/')}")
    return Compared(what=path, card=json.dumps(value), run=json.dumps(used), holds=used == value)


def _at(run: Run, pointer: str) -> Any:
    try:
        return run.at(CONFIG, pointer)
    except KeyError:
        return None
