"""Scores: every axis of one rollout, from its text, its prompt and the verifier's word."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import accumulate, chain, islice
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast

from cardproof.config.settings import Scoring
from cardproof.contract import reading as contract
from cardproof.contract.grounding import Verdict, verdict
from cardproof.errors import CardproofError
from cardproof.files import atomic, iter_rows
from cardproof.records import Defect, Grounding, Prompt, Rollout, Score, Support
from cardproof.scoring.rollouts import read_rollouts

if TYPE_CHECKING:
    import pyarrow as pa

K = TypeVar("K")
V = TypeVar("V")


class Rouge:
    """ROUGE-L F1 with Porter stemming (Lin 2004), the value `rouge_score` computes, with the same arithmetic.

    A text becomes a string with one character for each stem, so that the longest common subsequence is one call of rapidfuzz. Words are
    kept with their characters (a few thousand make all replies), up to `WORDS`.
    """

    WORDS = 200_000

    def __init__(self) -> None:
        self._stem = _porter()
        self._forget()

    def _forget(self) -> None:
        self._stems: dict[str, str] = {}
        self._letters = _Letters(self._letter)
        self._references: dict[str, str] = {}

    def _letter(self, word: str) -> str:
        """The character of a word's stem; empty for a stem that `rouge_score` drops."""
        stem = self._stem(word) if len(word) > 3 else word
        return self._stems.setdefault(stem, chr(len(self._stems))) if _TOKEN.fullmatch(stem) else ""

    def _tokens(self, text: str) -> str:
        return "".join(map(self._letters.__getitem__, _TOKEN.findall(text.lower())))

    def __call__(self, answer: str, reference: str) -> float:
        """F1 in [0, 1]."""
        from rapidfuzz.distance.LCSseq import similarity

        if len(self._letters) > self.WORDS:
            self._forget()
        theirs = self._references.get(reference)
        if theirs is None:
            if len(self._references) > 1000:
                self._references.clear()
            theirs = self._references[reference] = self._tokens(reference)
        ours = self._tokens(answer)
        if not ours or not theirs:
            return 0.0
        common = similarity(ours, theirs)
        precision, recall = common / len(ours), common / len(theirs)
        return 2 * precision * recall / (precision + recall) if common else 0.0


_TOKEN = re.compile("[a-z0-9]+")


def _porter() -> Callable[[str], str]:
    """The stemmer that `rouge_score` uses, NLTK's, loaded without the rest of NLTK: with it come SciPy and most of a second."""
    spec = find_spec("nltk")
    if "nltk" not in sys.modules and spec and spec.submodule_search_locations:
        folder = Path(spec.submodule_search_locations[0])
        try:
            for name, place in (("nltk", folder), ("nltk.stem", folder / "stem")):
                package = sys.modules[name] = ModuleType(name)
                package.__path__ = [str(place)]
            stemmer = import_module("nltk.stem.porter").PorterStemmer()
        finally:
            for name in [n for n in sys.modules if n.partition(".")[0] == "nltk"]:
                del sys.modules[name]
    else:
        stemmer = import_module("nltk.stem.porter").PorterStemmer()
    return cast("Callable[[str], str]", stemmer.stem)


class _Letters(dict[str, str]):
    """Word -> its character, filled as words are met."""

    def __init__(self, letter: Callable[[str], str]) -> None:
        super().__init__()
        self._letter = letter

    def __missing__(self, word: str) -> str:
        self[word] = found = self._letter(word)
        return found


def citation_validity(citations: Sequence[str], provided: Sequence[str]) -> float:
    """1.0 iff at least one document is cited and every cited id was provided."""
    return float(bool(citations) and set(citations) <= set(provided))


def composite(axes: dict[str, float | None], factors: Sequence[str], refusal: bool) -> float:
    """Product of the named axes; 0.0 for a refusal or where an axis is undefined."""
    product = 0.0 if refusal else 1.0
    for factor in factors:
        product *= axes[factor] or 0.0
    return product


class Scored(NamedTuple):
    """The fields of a `Score`, in order, unchecked: what goes into the columns of a scores file."""

    item: int
    k: int
    arm: str
    condition: str
    oracle_present: bool
    refusal: bool
    answer: str
    citations: list[str]
    defects: list[Defect]
    quotes: list[Verdict]
    strict: float
    content: float
    attribution: float
    citation_validity: float
    rouge_l: float
    gold_rouge: float
    support: float | None
    composite: float
    completion_tokens: int
    finish_reason: str


class Shown(NamedTuple):
    """What scoring needs of a prompt, for all of its rollouts."""

    prompt: Prompt
    documents: list[tuple[str, str]]
    """(id, text), in the order shown."""
    ids: list[str]

    @classmethod
    def of(cls, prompt: Prompt) -> Shown:
        """Of one prompt."""
        return cls(prompt, [(d.id, d.text) for d in prompt.documents], [d.id for d in prompt.documents])


def score(prompt: Prompt, rollout: Rollout, support: Support, settings: Scoring, refusal_phrases: Sequence[str], rouge: Rouge) -> Score:
    """Every axis of one rollout."""
    found = scored(Shown.of(prompt), rollout, support.support, settings, tuple(refusal_phrases), rouge)
    quotes = [{**v._asdict(), "steps": list(v.steps)} for v in found.quotes]
    return Score.model_validate({**found._asdict(), "quotes": quotes})


def scored(
    shown: Shown, rollout: Rollout, support: float | None, settings: Scoring, refusal_phrases: tuple[str, ...], rouge: Rouge
) -> Scored:
    """`score`, without checks of what the code itself computes."""
    prompt = shown.prompt
    reply = contract.read(rollout.text, refusal_phrases)
    # Free-form replies carry no sections: the whole text is the answer.
    answer = reply.answer if prompt.contract or reply.answer else rollout.text.strip()
    quotes = [verdict(text, doc_id, shown.documents) for text, doc_id, _, _ in reply.quotes]
    rouge_l = 0.0 if reply.refusal else rouge(answer, prompt.reference)
    n = len(quotes) or 1  # without quotes every share is 0
    strict = sum([q.strict for q in quotes]) / n
    content = sum([q.content for q in quotes]) / n
    attribution = sum([q.attributed for q in quotes]) / n
    validity = citation_validity(reply.citations, shown.ids)
    axes = {"strict": strict, "content": content, "attribution": attribution, "citation_validity": validity, "support": support}
    factors = settings.factors(prompt.contract)
    return Scored(
        rollout.item,
        rollout.k,
        rollout.arm,
        rollout.condition,
        prompt.oracle_present,
        reply.refusal,
        answer,
        reply.citations,
        reply.defects,
        quotes,
        strict,
        content,
        attribution,
        validity,
        rouge_l,
        float(rouge_l >= settings.rouge_threshold),
        support,
        composite(axes, factors, reply.refusal),
        rollout.completion_tokens,
        rollout.finish_reason,
    )


class InStep(Generic[K, V]):
    """Rows found by key, read from a file only as far as they are asked for: in a file of the same order, one row is held at a time.

    In any other order they are found as well; the rows passed over are then held until they are asked for.
    """

    def __init__(self, rows: Iterator[V], key: Callable[[V], K]) -> None:
        self._rows = chain(list(islice(rows, 1)), rows)  # a file that is missing is named at once
        self._key = key
        self._passed: dict[K, V] = {}

    def take(self, key: K) -> V | None:
        """The row of that key, which is then forgotten; None where there is none."""
        if self._passed and (found := self._passed.pop(key, None)) is not None:
            return found
        for row in self._rows:
            if (of := self._key(row)) == key:
                return row
            self._passed[of] = row
        return None

    def finish(self) -> list[K]:
        """Read what nobody asked for, so that a broken row is named wherever it stands; returns its keys."""
        return [*self._passed, *map(self._key, self._rows)]


def score_files(
    prompts_path: Path,
    samples_path: Path,
    support_path: Path,
    settings: Scoring,
    refusal_phrases: Sequence[str],
    arms: Collection[str],
    n: dict[str, int],
) -> Iterator[Scored]:
    """Scores of a samples file, row by row; CardproofError where prompts, samples and support do not belong together.

    `arms` are those of the run, `n` is condition -> rollouts per item; see `read_rollouts`. Prompts, samples and support are in one order,
    as the steps write them, and are read in step: what is held in memory does not grow with them. Other orders cost memory alone.
    """
    prompts = InStep(iter_rows(prompts_path, Prompt), lambda p: p.item)
    supports = InStep(iter_rows(support_path, Support), lambda s: (s.item, s.k))
    phrases, rouge = tuple(refusal_phrases), Rouge()
    unfinished: dict[int, tuple[Shown, int]] = {}  # item -> its prompt, and rollouts still to come
    for rollout in read_rollouts(samples_path, arms, n):
        item, k = rollout.item, rollout.k
        if item in unfinished:
            shown, left = unfinished.pop(item)
        else:
            prompt = prompts.take(item)
            if prompt is None:
                raise CardproofError(f"{samples_path}: item {item} is not in {prompts_path}.", "sample these prompts again.")
            shown, left = Shown.of(prompt), n[rollout.condition]
        if left > 1:
            unfinished[item] = shown, left - 1
        if shown.prompt.prompt_hash != rollout.prompt_hash:
            raise CardproofError(
                f"{samples_path}: item {item}, k {k}: sampled from another prompt than the one in {prompts_path}.",
                "sample these prompts again.",
            )
        support = supports.take((item, k))
        if support is None:
            raise CardproofError(f"{support_path}: item {item}, k {k} is missing.", "verify these samples again.")
        yield scored(shown, rollout, support.support, settings, phrases, rouge)
    if without := prompts.finish():
        raise CardproofError(f"{samples_path}: item {min(without)} of {prompts_path} has no rollouts.", "sample these prompts again.")
    supports.finish()


ROWS = 16_384
"""Rollouts in a row group of a scores file: as many are held in memory while they are written."""


def parquet_schema() -> pa.Schema:
    """Names and types of the columns of a scores file, from the fields of Score."""
    import pyarrow as pa

    texts = pa.list_(pa.string())
    kinds: dict[Any, pa.DataType] = {
        bool: pa.bool_(),
        int: pa.int64(),
        float: pa.float64(),
        str: pa.string(),
        float | None: pa.float64(),
        str | None: pa.string(),
        int | None: pa.int64(),
    }
    quote = pa.struct([(name, kinds.get(field.annotation, pa.string())) for name, field in Grounding.model_fields.items()])
    quote = pa.struct([pa.field("steps", texts) if field.name == "steps" else field for field in quote])
    return pa.schema(
        [(name, pa.list_(quote) if name == "quotes" else kinds.get(field.annotation, texts)) for name, field in Score.model_fields.items()]
    )


def write_scores(path: Path, scores: Iterable[Scored]) -> int:
    """Write scores as Parquet (columns = fields of Score), atomically and with the same bytes for the same rows; returns how many.

    Rows are taken and written in groups of ROWS, so memory does not grow with them.
    """
    import pyarrow.parquet as pq

    schema, count = parquet_schema(), 0
    rows = iter(scores)
    group = list(islice(rows, ROWS))  # what is wrong with the first rows is said before anything is made
    with atomic(path) as tmp, open(tmp, "wb") as f, pq.ParquetWriter(f, schema, compression="zstd", write_statistics=False) as writer:
        while group:
            writer.write_batch(_columns(group, schema))
            count += len(group)
            group = list(islice(rows, ROWS))
    print(f"{path}: {count} rollouts scored", file=sys.stderr)
    return count


def _columns(rows: Sequence[Scored], schema: pa.Schema) -> pa.RecordBatch:
    """Rows as a batch of columns. Structs are put together from columns of their own: by the row it takes ten times as long."""
    import pyarrow as pa

    columns = dict(zip(Scored._fields, zip(*rows, strict=True), strict=True))
    quotes = columns.pop("quotes")
    kind = schema.field("quotes").type.value_type
    each = list(zip(*chain.from_iterable(quotes), strict=True)) or [()] * kind.num_fields
    parts = [pa.array(values, field.type) for values, field in zip(each, kind, strict=True)]
    offsets = pa.array(accumulate(map(len, quotes), initial=0), pa.int32())
    nested = pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(parts, fields=list(kind)))
    return pa.record_batch([nested if f.name == "quotes" else pa.array(columns[f.name], f.type) for f in schema], schema=schema)
