"""Two runs side by side: what differs between their verdicts, axes, items, settings, packages and inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cardproof.claims.comparable import NEVER
from cardproof.claims.verdicts import Judgement, Verdicts, verdicts_of
from cardproof.config.differing import MISSING, differing
from cardproof.config.settings import CONDITIONS
from cardproof.errors import CardproofError
from cardproof.evaluation.of_run import Evaluation
from cardproof.evaluation.two_runs import AXIS_TITLES, Asked, AxisOfTwo, ItemOfTwo, compared, measured, shared
from cardproof.evidence.verify import Chain, Files, check
from cardproof.files import read_rows
from cardproof.pages.formats import first_problem, published, regenerated
from cardproof.pages.formats import setting as spelt
from cardproof.pages.report import read_record, versions
from cardproof.records import Prompt, Result
from cardproof.runs import CLAIMS, EVALUATION, RECORDS, Run, evaluation, prompts

T = TypeVar("T")

EVERY = tuple(AXIS_TITLES)
SCORING = {
    "scoring.rouge_threshold": ("gold_rouge",),
    "scoring.rouge_words": ("gold_rouge", "rouge_l"),
    "scoring.citations": ("citation_validity", "support", "composite"),
    "scoring.composite": ("composite",),
    "scoring.composite_freeform": ("composite",),
}
"""Setting of the scorer -> the axes that it defines; any other one defines them all."""
SCORER = ("scoring.", "contract.refusal_phrases")
VERIFIER = ("support", "composite")
"""The axes that the verifier measures."""
LADDER = "scoring.ladder"
MADE_FROM = ("benchmark/", "models/", "adapters/", "training/", "split/", "prompts/")
"""Results that say what a run was made from."""
NOT_MADE_FROM = ("cost.json", "metrics.json", "leakage.json")
RESCORE = "To compare, score one run's samples again with the other's scorer: archive it, and replay the archive."


class Side(Result):
    """One of the two runs."""

    name: str
    """The run's name."""
    scale: str
    """Its scale."""
    synthetic: bool
    """True if its results are made up."""
    chain: str
    """State of its chain of evidence: `whole`, `broken`, or `unrecorded`."""
    problem: str | None
    """Where the chain breaks."""
    withheld: bool
    """True if its chain allows no verdict."""
    results: int
    """Results that have a record."""
    digest: str | None
    """The digest of its chain; None if the chain is not whole."""
    answer: str | None
    """What its verdicts say of the card, in one short sentence; None if there are none, or they are withheld."""


class Obstacle(Result):
    """Why numbers of the two runs do not compare."""

    sentence: str
    """The reason."""
    axes: list[str]
    """The axes that it is about; no differences are given for them."""


class VerdictsOfTwo(Result):
    """One claim in both runs."""

    id: str
    """Id of the claim."""
    text: str
    """What the card claims."""
    printed: str
    """The printed number or words."""
    first: str
    """The first run's number with its interval."""
    first_verdict: str | None
    """Its verdict; None if it has none, or its chain allows none."""
    second: str
    """The second run's number."""
    second_verdict: str | None
    """Its verdict."""
    changed: bool
    """True if the verdicts differ."""


class Difference(Result):
    """A setting, package, step's code or input that differs."""

    name: str
    """What differs: a dotted path, a package, a step, or a file of the run."""
    first: Any
    """That of the first run."""
    second: Any
    """That of the second run."""


class TwoRuns(Result):
    """Two runs side by side: what `cardproof diff --format json` prints."""

    runs: list[Side]
    """The two runs, in the order given."""
    same: bool
    """True if both chains are whole and have one digest: then every result is the same, byte by byte."""
    not_comparable: list[Obstacle]
    """Why numbers do not compare."""
    notes: list[str]
    """What else a reader should know first."""
    verdicts: list[VerdictsOfTwo]
    """Every claim that either run has a verdict on."""
    axes: list[AxisOfTwo]
    """Every axis of every arm and condition."""
    items: list[ItemOfTwo]
    """Every item and axis that changed, of the items that both runs asked."""
    settings: list[Difference]
    """Settings that differ; of places the names alone."""
    packages: list[Difference]
    """Versions that the records name, where they differ."""
    code: list[Difference]
    """Steps whose code differs: fingerprints."""
    made_from: list[Difference]
    """Data, models and adapters that differ: digests."""


def diff(first: Path, second: Path) -> TwoRuns:
    """Two runs side by side, with both chains checked; CardproofError if a folder is not a run.

    A result file that cannot be read is said, and what it would show is left out.
    """
    both = (Run(first), Run(second))
    notes: list[str] = []
    chains = [check(run.folder) for run in both]
    claims = [_read(run, label, CLAIMS, "has no verdicts", partial(verdicts_of, run), notes) for label, run in _named(both)]
    found = [_evaluated(run, label, notes) for label, run in _named(both)]
    settings = [Difference(**setting._asdict()) for setting in differing(both[0].settings, both[1].settings)]
    made_from = _differences(*(_digests(run) for run in both))
    code = _code(both)
    obstacles = [*_of_scorer(settings, made_from, code), *_of_chains(both, chains)]
    withheld = frozenset(axis for obstacle in obstacles for axis in obstacle.axes)
    asked = _asked(both, notes)
    first_axes, second_axes = (measured(results) if results else {} for results in found)
    axes, items = compared(first_axes, second_axes, asked, withheld)
    sides = [_side(run, chain, verdicts) for run, chain, verdicts in zip(both, chains, claims, strict=True)]
    return TwoRuns(
        runs=sides,
        same=all(chain.state == "whole" for chain in chains) and chains[0].digest == chains[1].digest,
        not_comparable=obstacles,
        notes=[*_of_claims(claims), *notes, *_unchecked(both, chains)],
        verdicts=_verdicts(claims, sides),
        axes=axes,
        items=items,
        settings=settings,
        packages=_differences(*({name: ", ".join(v) for name, v in versions(run).items()} for run in both)),
        code=code,
        made_from=made_from,
    )


def _named(both: tuple[Run, Run]) -> Iterator[tuple[str, Run]]:
    return zip(("A", "B"), both, strict=True)


def _read(run: Run, label: str, file: str, lacks: str, reader: Callable[[], T], notes: list[str]) -> T | None:
    """What a file of a run holds; None, with a note, if it is missing or cannot be read."""
    if not run.has(file):
        notes.append(f"Run {label} {lacks}: {file} does not exist.")
        return None
    try:
        return reader()
    except CardproofError as e:
        notes.append(f"Run {label}: {e.sentence.replace(f'{run.folder}/', '')}")
        return None


def _evaluated(run: Run, label: str, notes: list[str]) -> Evaluation | None:
    missing = next((evaluation(name) for name in EVALUATION if not run.has(evaluation(name))), evaluation("axes"))
    return _read(run, label, missing, "is not evaluated", partial(Evaluation.of, run), notes)


def _compares(run: Run) -> bool:
    """Whether a run is of a scale that may compare with a card: its records are then its point, whatever its verdicts say."""
    return run.scale not in NEVER


def _side(run: Run, chain: Chain, verdicts: Verdicts | None) -> Side:
    withheld = chain.withholds(_compares(run))
    return Side(
        name=str(run.settings.get("run")),
        scale=run.scale,
        synthetic=run.settings.get("synthetic") is True,
        chain=chain.state,
        problem=first_problem(chain, run.folder),
        withheld=withheld,
        results=chain.results,
        digest=chain.digest if chain.state == "whole" else None,
        answer=None if withheld or verdicts is None else verdicts.answer.lead,
    )


# --- what does not compare --------------------------------------------------------------------------------------------


def _of_scorer(settings: list[Difference], made_from: list[Difference], code: list[Difference]) -> Iterator[Obstacle]:
    """Why the numbers of two runs were not measured alike: the ladder, the scorer, the verifier."""
    by_name = {setting.name: setting for setting in settings}
    if (ladder := by_name.get(LADDER)) is not None:
        versions_of = ["an earlier version" if value == MISSING else f"version {value}" for value in (ladder.first, ladder.second)]
        sentence = (
            f"run A was scored with {versions_of[0]} of the ladder, which tells near misses, and run B with {versions_of[1]}. {RESCORE}"
        )
        yield Obstacle(sentence=sentence, axes=list(EVERY))
    for name, setting in by_name.items():
        if name.startswith(SCORER) and name != LADDER:
            sentence = (
                f"the scorers have different settings: {name} is {spelt(setting.first)} in run A and {spelt(setting.second)} in run B."
            )
            yield Obstacle(sentence=sentence, axes=list(SCORING.get(name, EVERY)))
    steps = {step.name for step in code}
    if "score" in steps:
        yield Obstacle(sentence=f"the runs were scored by different code. {RESCORE}", axes=list(EVERY))
    measured_by = next((name for name in by_name if name.startswith("verifier.") and not name.startswith("verifier.ragtruth")), None)
    if any(d.name == "models/verifier" and MISSING not in (d.first, d.second) for d in made_from):
        yield Obstacle(sentence="different verifiers measured support (the files of models/verifier differ).", axes=list(VERIFIER))
    elif measured_by is not None:
        yield Obstacle(sentence=f"support was measured in different ways: {measured_by} differs.", axes=list(VERIFIER))
    elif "support" in steps:
        yield Obstacle(sentence="support was measured by different code.", axes=list(VERIFIER))


def _of_chains(both: tuple[Run, Run], chains: list[Chain]) -> Iterator[Obstacle]:
    for (label, run), chain in zip(_named(both), chains, strict=True):
        if chain.withholds(_compares(run)):
            why = first_problem(chain, run.folder)
            said = f"do not follow from its inputs: {why}" if why else "have no records, so nobody can say what they were computed from."
            yield Obstacle(sentence=f"the results of run {label} {said}", axes=list(EVERY))


def _unchecked(both: tuple[Run, Run], chains: list[Chain]) -> Iterator[str]:
    for (label, run), chain in zip(_named(both), chains, strict=True):
        if chain.state == "unrecorded" and not chain.withholds(_compares(run)):
            yield f"Run {label} has no records, so nobody checked that its results follow from its inputs."


def _of_claims(claims: list[Verdicts | None]) -> Iterator[str]:
    first, second = claims
    if first and second and first.claims_sha256 != second.claims_sha256:
        yield "The two runs were judged against different claims files, so their verdicts are about different cards or versions of one."


# --- verdicts ---------------------------------------------------------------------------------------------------------


def _verdicts(claims: list[Verdicts | None], sides: list[Side]) -> list[VerdictsOfTwo]:
    """Every claim of either run, in the order of the card."""
    first, second = ({row.id: row for row in verdicts.claims} if verdicts else {} for verdicts in claims)
    return [_verdict(first.get(name), second.get(name), sides) for name in dict.fromkeys([*first, *second])]


def _verdict(first: Judgement | None, second: Judgement | None, sides: list[Side]) -> VerdictsOfTwo:
    row = first or second
    assert row is not None
    verdicts = [None if judged is None or side.withheld else judged.verdict for judged, side in zip((first, second), sides, strict=True)]
    printed = list(dict.fromkeys(published(judged) for judged in (first, second) if judged))
    return VerdictsOfTwo(
        id=row.id,
        text=row.text,
        printed=" / ".join(printed),
        first="" if first is None else regenerated(first),
        first_verdict=verdicts[0],
        second="" if second is None else regenerated(second),
        second_verdict=verdicts[1],
        changed=verdicts[0] != verdicts[1],
    )


# --- items ------------------------------------------------------------------------------------------------------------


def _asked(both: tuple[Run, Run], notes: list[str]) -> dict[str, tuple[Asked, Asked]]:
    """Condition -> the items that each run asked, where both have the prompts; with notes on how far they are the same."""
    found: dict[str, tuple[Asked, Asked]] = {}
    for condition in CONDITIONS:
        rows = [
            _read(run, label, prompts(condition), "has no prompts", partial(_prompts, run, condition), notes) for label, run in _named(both)
        ]
        if rows[0] is None or rows[1] is None:
            continue
        pair = (_items(rows[0]), _items(rows[1]))
        found[condition] = pair
        common = shared(*pair)
        sizes = [len(asked.ids) for asked in pair]
        if sizes != [len(common.ids)] * 2:
            notes.append(f"Under {condition}, {len(common.ids)} items are in both runs; A asked {sizes[0]}, B {sizes[1]}.")
        hashes: list[dict[int | str, str]] = [{p.item: p.prompt_hash for p in asked} for asked in (rows[0], rows[1])]
        other = sum(hashes[0][item] != hashes[1][item] for item in common.ids)
        if other:
            notes.append(f"Under {condition}, {other} of {len(common.ids)} shared items were asked with other prompts.")
    return found


def _prompts(run: Run, condition: str) -> list[Prompt]:
    return read_rows(run.path(prompts(condition)), Prompt)


def _items(rows: list[Prompt]) -> Asked:
    return Asked(sorted(p.item for p in rows), {p.item: (p.question, p.reference) for p in rows})


# --- settings, packages, inputs ---------------------------------------------------------------------------------------


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Difference]:
    names = sorted({*first, *second})
    return [
        Difference(name=name, first=first.get(name, MISSING), second=second.get(name, MISSING))
        for name in names
        if first.get(name, MISSING) != second.get(name, MISSING)
    ]


def _code(both: tuple[Run, Run]) -> list[Difference]:
    """The steps of both runs whose code differs."""
    first, second = (run.steps for run in both)
    fingerprints = [(step, first[step].get("code"), second[step].get("code")) for step in first if step in second]
    return [Difference(name=step, first=one, second=other) for step, one, other in fingerprints if one != other]


def _digests(run: Run) -> dict[str, str]:
    """What a run was made from -> digest, by its records."""
    found = {}
    for file in Files(run.folder).below(RECORDS):
        record = read_record(run, file)
        if record and record.file.startswith(MADE_FROM) and not record.file.endswith(NOT_MADE_FROM):
            found[record.file] = record.digest
    return found
