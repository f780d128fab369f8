"""The verifier: P(entailed) of an answer given the documents it cites, from any sequence-classification model."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal, NamedTuple

from cardproof.contract import form
from cardproof.contract import reading as contract
from cardproof.errors import CardproofError, nearest
from cardproof.files import sha256_file
from cardproof.records import Estimate, Prompt, Rollout, Support
from cardproof.verifier.pairs import ERRORS, plant, split_sentences, without_marker

MULTIPLE = 8
"""Pairs are padded to a multiple of this many tokens, and only pairs of one padded length share a batch: a score then does not depend on
which other pairs were scored with it, up to rounding."""
MIN_COUPLES = 20
"""Fewest negatives, and fewest positives, from which an AUC is given."""


# --- labels -----------------------------------------------------------------------------------------------------------


class Label(NamedTuple):
    """Which output of a model means that the premise entails the claim."""

    output: int
    inverted: bool
    """True where the output means the opposite: P(entailed) is 1 - P."""


_GOOD = re.compile(r"(is)?(entail|support|faithful|ground|consisten|factual|verified|correct)")
_NOT = re.compile(r"not|non|^un|^no[^nt]|contra|halluc|neutral|inconsisten|incorrect|unsupport|unfaith|unground")
_HALLUCINATED = re.compile(r"(is)?(halluc|contra|unsupport|unfaith|unground|inconsisten)")


def resolve_label(id2label: Mapping[int, str], wanted: str = "auto") -> Label:
    """The output that means entailed: the label named `wanted` (letter case aside, or its index), or for `auto` the one its name shows.

    `auto` takes the single label named like entailed, supported, faithful, grounded, ... and not negated; in a model of at most two labels,
    failing that, a single label named like hallucinated, which is then inverted. CardproofError lists the labels where that leaves none or
    several.
    """
    listed = ", ".join(f"{i}: {name!r}" for i, name in sorted(id2label.items()))
    if wanted != "auto":
        for i, name in id2label.items():
            if wanted.casefold() == name.casefold() or wanted == str(i):
                return Label(i, False)
        near = nearest(wanted, id2label.values())
        raise CardproofError(
            f"The verifier has no label {wanted!r}; its labels are {listed}.",
            f"set verifier.entailment_label to {near!r}?" if near else "set verifier.entailment_label to one of them.",
        )
    plain = {i: re.sub(r"[^a-z]", "", name.casefold()) for i, name in id2label.items()}
    good = [i for i, name in plain.items() if _GOOD.match(name) and not _NOT.search(name)]
    if len(good) == 1:
        return Label(good[0], False)
    bad = [i for i, name in plain.items() if _HALLUCINATED.match(name)]
    if not good and len(bad) == 1 and len(id2label) <= 2:
        return Label(bad[0], True)
    raise CardproofError(
        f"Which label of the verifier means entailed cannot be read off their names: {listed}.",
        "set verifier.entailment_label to the one that does (its name or index).",
    )


# --- scoring ----------------------------------------------------------------------------------------------------------


class Scored(NamedTuple):
    """What the verifier says of one answer."""

    support: float
    pairs: int
    """(premise, hypothesis) pairs it rests on."""
    truncated: int
    """Those of which a text was cut to the verifier's length."""


def clean_answer(answer: str) -> str:
    """An answer without its `[id]` citations, spaces before punctuation closed up."""
    ids = set(contract.parse(f"ANSWER: {answer}").citations)

    def cut(m: re.Match[str]) -> str:
        parts = [p.strip() for p in re.split(r"[,;]\s", m[1]) if p.strip()]
        return "" if parts and all(p in ids for p in parts) else m[0]

    text = " ".join(re.sub(r"\[([^\[\]\n]{1,80})\]", cut, answer).split())
    return re.sub(r" (?=[.,;:!?](?: |$))", "", text)


def answer_sentences(answer: str) -> list[str]:
    """The sentences of a cleaned answer; one of fewer than three words, such as `Yes.`, goes with the next, or the one before."""
    found: list[str] = []
    short = ""
    for s in split_sentences(answer):
        s = f"{short} {s}".strip()
        short = ""
        if len(re.findall(r"\w+", s)) < 3:
            short = s
        else:
            found.append(s)
    if short:
        found = [*found[:-1], f"{found[-1]} {short}"] if found else [short]
    return [s for s in found if re.search(r"\w", s)]


class Verifier:
    """A sequence-classification model that scores (premise, hypothesis) pairs.

    `model` is a folder or hub id in safetensors format; code from the hub is never run. `granularity`, `max_tokens` and
    `entailment_label` are those of `config.Verifier`. Scores are kept for the life of the object, so equal pairs are scored once.
    CardproofError where the model cannot be loaded, has weights missing (its classification head would be random), or its labels say
    nothing.
    """

    def __init__(
        self,
        model: str | Path,
        revision: str | None = None,
        entailment_label: str = "auto",
        granularity: Literal["passage", "sentence"] = "passage",
        max_tokens: int = 512,
        batch: int = 32,
        threads: int | None = None,
    ) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        if threads:
            torch.set_num_threads(threads)
        how: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(str(model), **how)
            loaded, info = AutoModelForSequenceClassification.from_pretrained(
                str(model), use_safetensors=True, dtype=torch.float32, output_loading_info=True, **how
            )
        except (OSError, ValueError) as e:
            raise CardproofError(
                f"The verifier {str(model)!r} cannot be loaded: {str(e).splitlines()[0]}",
                "verifier.id must be a sequence-classification model in safetensors format, a folder or a hub id that can be reached.",
            ) from None
        if info["missing_keys"]:
            raise CardproofError(
                f"The verifier {str(model)!r} lacks weights: {', '.join(sorted(info['missing_keys'])[:4])}.",
                "it is no sequence-classification model (a token classifier or a bare encoder?): its scores would be random.",
            )
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = loaded.eval().to(self.device)
        self.label = resolve_label({int(i): str(name) for i, name in loaded.config.id2label.items()}, entailment_label)
        self.granularity = granularity
        limits = (max_tokens, self.tokenizer.model_max_length, getattr(loaded.config, "max_position_embeddings", None) or max_tokens)
        self.max_tokens = int(min(limits))
        self.batch = batch
        self._scores: dict[tuple[str, str], tuple[float, bool]] = {}

    def pairs(self, answer: str, premises: Sequence[str]) -> list[list[tuple[str, str]]]:
        """The (premise, hypothesis) pairs of an answer, one list per hypothesis; none for an empty answer or without premises."""
        text = clean_answer(answer)
        documents = [p for p in premises if p.strip()]
        if not re.search(r"\w", text) or not documents:
            return []
        if self.granularity == "passage":
            return [[("\n\n".join(documents), text)]]
        parts = list(dict.fromkeys(s for d in documents for s in split_sentences(d)))
        return [[(p, h) for p in parts] for h in answer_sentences(text)]

    def support(self, reply_answer: str, premises: Sequence[str]) -> Scored:
        """P(entailed) of an answer, in [0, 1]; 0 with no pairs where the answer is empty or there are no premises.

        `passage`: the premises joined by a blank line, cut to fit, against the whole answer. `sentence`: the mean over answer sentences of
        the maximum over premise sentences, SummaC-ZS (Laban et al. 2022).
        """
        return self.support_all([(reply_answer, premises)])[0]

    def support_all(self, answers: Sequence[tuple[str, Sequence[str]]], progress: str | None = None) -> list[Scored]:
        """`support` of many (answer, premises) at once, which is faster; `progress` names the progress bar."""
        plans = [self.pairs(answer, premises) for answer, premises in answers]
        self.score((pair for plan in plans for row in plan for pair in row), progress)
        found = []
        for plan in plans:
            rows = [[self._scores[pair] for pair in row] for row in plan]
            support = math.fsum(max(p for p, _ in row) for row in rows) / len(rows) if rows else 0.0
            found.append(Scored(support, sum(map(len, rows)), sum(cut for row in rows for _, cut in row)))
        return found

    def score(self, pairs: Iterable[tuple[str, str]], progress: str | None = None) -> list[float]:
        """P(entailed) of (premise, hypothesis) pairs, in their order; pairs scored before are not scored again."""
        import torch
        from tqdm import tqdm

        asked = list(pairs)
        new = sorted({p for p in asked if p not in self._scores})
        buckets: dict[int, list[tuple[tuple[str, str], dict[str, list[int]], bool]]] = {}
        for i in range(0, len(new), 1024):
            block = new[i : i + 1024]
            for pair, encoded in zip(block, self._encode(block), strict=True):
                length = -(-len(encoded[0]["input_ids"]) // MULTIPLE) * MULTIPLE
                buckets.setdefault(min(length, self.max_tokens), []).append((pair, *encoded))
        with tqdm(total=len(new), desc=progress, unit="pair", disable=progress is None) as bar, torch.inference_mode():
            for length, rows in sorted(buckets.items()):
                for i in range(0, len(rows), self.batch):
                    part = rows[i : i + self.batch]
                    inputs = self.tokenizer.pad([e for _, e, _ in part], padding="max_length", max_length=length, return_tensors="pt")
                    values = self._probabilities(self.model(**inputs.to(self.device)).logits.float())
                    for (pair, _, cut), value in zip(part, values, strict=True):
                        self._scores[pair] = (value, cut)
                    bar.update(len(part))
        return [self._scores[p][0] for p in asked]

    def truncated(self, pair: tuple[str, str]) -> bool:
        """Whether a scored pair was cut."""
        return self._scores[pair][1]

    def _probabilities(self, logits: Any) -> list[float]:
        column = logits[:, 0].sigmoid() if logits.shape[1] == 1 else logits.softmax(-1)[:, self.label.output]
        values = [float(v) for v in column.double().cpu()]
        return [1 - v for v in values] if self.label.inverted else values

    def _encode(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[dict[str, list[int]], bool]]:
        """Token ids of each pair, the premise cut to fit, and whether anything was cut.

        A hypothesis that alone would fill the model is cut to half of its length first: a verdict needs some premise.
        """
        room = self.max_tokens - self.tokenizer.num_special_tokens_to_add(pair=True)
        lengths = [len(x) for x in self._ids([p for p, _ in pairs])]
        hypotheses, cuts = [], []
        for (_, h), ids, n in zip(pairs, self._ids([h for _, h in pairs]), lengths, strict=True):
            over = len(ids) > room // 2 and len(ids) + n > room
            kept = max(room // 2, room - n)
            hypotheses.append(self.tokenizer.decode(ids[:kept], skip_special_tokens=True) if over and len(ids) > kept else h)
            cuts.append(len(ids) + n > room)
        encoded = self.tokenizer(
            [p for p, _ in pairs], hypotheses, truncation="only_first" if any(cuts) else False, max_length=self.max_tokens
        )
        rows = [{k: encoded[k][i] for k in encoded} for i in range(len(pairs))]
        return list(zip(rows, cuts, strict=True))

    def _ids(self, texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        return ids


# --- rollouts ---------------------------------------------------------------------------------------------------------


def verify_rollouts(
    prompts: Sequence[Prompt], rollouts: Iterable[Rollout], verifier: Verifier, refusal_phrases: Sequence[str] = form.REFUSAL_PHRASES
) -> list[Support]:
    """The verifier's word on each rollout, in order (`support/{arm}/{condition}.jsonl`).

    Premises are the documents a reply cites, of those provided; where it cites none of them, all provided documents: an assumption, since
    support asks whether the answer is true to the documents and citation validity already asks whether it says which. A refusal or an empty
    answer has no support. CardproofError where a rollout has no prompt.
    """
    by_item = {(p.item, p.condition): p for p in prompts}
    rows: list[tuple[Rollout, list[str]]] = []
    answers: list[tuple[str, list[str]]] = []
    for r in rollouts:
        prompt = by_item.get((r.item, r.condition))
        if prompt is None:
            raise CardproofError(
                f"Rollout k={r.k} of item {r.item} ({r.arm}, {r.condition}) has no prompt.",
                "give the prompts these rollouts were sampled from.",
            )
        reply = contract.parse(r.text, refusal_phrases)
        answered = not reply.refusal and re.search(r"\w", clean_answer(reply.answer)) is not None
        shown = premises_of(reply.citations, prompt) if answered else []
        texts = {d.id: d.text for d in prompt.documents}
        rows.append((r, shown))
        answers.append((reply.answer if answered else "", [texts[i] for i in shown]))
    scored = verifier.support_all(answers, progress="verifier")
    return [
        Support(item=r.item, k=r.k, support=s.support if s.pairs else None, premises=shown, pairs=s.pairs, truncated=s.truncated)
        for (r, shown), s in zip(rows, scored, strict=True)
    ]


def coverage(rows: Iterable[Support]) -> dict[str, int]:
    """How much of the answers the verifier saw: rollouts, those with an answer to verify, their pairs, and pairs cut to its length."""
    found = {"rollouts": 0, "answered": 0, "pairs": 0, "truncated": 0}
    for row in rows:
        for name, count in zip(found, (1, row.support is not None, row.pairs, row.truncated), strict=True):
            found[name] += int(count)
    return found


def premises_of(citations: Sequence[str], prompt: Prompt) -> list[str]:
    """Ids of the provided documents that are cited, in the order shown; all of them where none is."""
    ids = [d.id for d in prompt.documents]
    return [i for i in ids if i in set(citations)] or ids


# --- does the verifier work? ------------------------------------------------------------------------------------------


def auc(positives: Sequence[float], negatives: Sequence[float], level: float = 0.95, minimum: int = 1) -> Estimate:
    """The area under the ROC curve: the share of (positive, negative) couples in which the positive scores higher, ties counted half.

    That is Mann-Whitney's U over its maximum. The interval inverts the Hanley-McNeil standard error (Newcombe 2006, method 5), so it has
    width at 1 as well; it takes scores as independent, which scores that share a sentence are not. `n` counts all scores. The value is None
    with fewer than `minimum` of either.
    """
    m, n = len(positives), len(negatives)
    method = "Mann-Whitney; Newcombe 2006, method 5 (Hanley-McNeil inverted)"
    if min(m, n) < max(1, minimum):
        why = f"not given: {m} positives, {n} negatives, fewer than {max(1, minimum)}"
        return Estimate(value=None, n=m + n, low=None, high=None, level=level, method=why)
    from scipy.stats import rankdata

    ranks = rankdata([*positives, *negatives])
    value = (float(ranks[:m].sum()) - m * (m + 1) / 2) / (m * n)
    z = NormalDist().inv_cdf((1 + level) / 2)
    star = (m + n) / 2 - 1

    def inside(t: float) -> bool:
        variance = t * (1 - t) / (m * n) * (1 + star * ((1 - t) / (2 - t) + t / (1 + t)))
        return (value - t) ** 2 <= z * z * variance

    def bound(outer: float) -> float:
        inner = value
        for _ in range(60):
            middle = (inner + outer) / 2
            inner, outer = (middle, outer) if inside(middle) else (inner, middle)
        return inner

    low = value if value == 0 else bound(0.0)
    high = value if value == 1 else bound(1.0)
    return Estimate(value=value, n=m + n, low=min(low, value), high=max(high, value), level=level, method=method)


def check_planted(
    prompts: Sequence[Prompt],
    rollouts: Iterable[Rollout],
    verifier: Verifier,
    seed: int,
    refusal_phrases: Sequence[str] = form.REFUSAL_PHRASES,
    limit: int = 60,
) -> dict[str, Any]:
    """Whether support falls when an error is planted, on what real rollouts saw and said.

    Original and altered claim are both scored against the documents the rollout's support rests on. `sentences`: claims copied from the
    documents shown or from quotes found in them word for word, so the original is true. `answers`: the rollouts' own answers, of which
    nobody knows that they are true, so its AUC understates the verifier. Errors are planted by the held-out templates, at most `limit`
    couples of each sort, drawn by the seed. Each holds `auc`, `paired` (share of couples in which the original scores higher, ties half),
    `couples`, and AUC by kind of error; AUCs from fewer than MIN_COUPLES couples are None.
    Costs some 2 x 2 x `limit` answers' scoring; rollouts of one condition with few documents are the cheapest.
    """
    by_item = {(p.item, p.condition): p for p in prompts}
    copied: dict[tuple[str, tuple[str, ...]], None] = {}
    said: dict[tuple[str, tuple[str, ...]], None] = {}
    for r in rollouts:
        prompt = by_item.get((r.item, r.condition))
        if prompt is None:
            continue
        reply = contract.parse(r.text, refusal_phrases)
        texts = {d.id: d.text for d in prompt.documents}
        shown = tuple(texts[i] for i in premises_of(reply.citations, prompt))
        whole = " ".join(" ".join(shown).split())
        verbatim = [without_marker(s) for t in shown for s in split_sentences(t)]
        verbatim += [q for q in (" ".join(q.text.split()) for q in reply.quotes) if q in whole]
        copied.update(dict.fromkeys((s, shown) for s in verbatim if 6 <= len(s.split()) <= 60))
        answer = clean_answer(reply.answer)
        if not reply.refusal and len(answer.split()) >= 4:
            said[answer, shown] = None
    rng = random.Random(f"{seed}/planted")
    return {
        "sentences": _planted(list(copied), verifier, rng, limit, "planted errors, sentences"),
        "answers": _planted(list(said), verifier, rng, limit, "planted errors, answers"),
        "templates": "held_out",
        "seed": seed,
    }


def _planted(
    claims: list[tuple[str, tuple[str, ...]]], verifier: Verifier, rng: random.Random, limit: int, progress: str
) -> dict[str, Any]:
    couples: list[tuple[str, str, str, tuple[str, ...]]] = []
    kinds = list(ERRORS["held_out"])
    for claim, shown in rng.sample(claims, len(claims)):
        turn = len(couples) % len(kinds)
        found = next(((k, new) for k in kinds[turn:] + kinds[:turn] if (new := plant(claim, k, rng, "held_out"))), None)
        if found and len(couples) < limit:
            couples.append((*found, claim, shown))
    scored = verifier.support_all([(c, s) for _, new, old, s in couples for c in (old, new)], progress)
    true, altered = [s.support for s in scored[::2]], [s.support for s in scored[1::2]]
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in zip(true, altered, strict=True)]
    by_kind = {}
    for kind in kinds:
        at = [i for i, c in enumerate(couples) if c[0] == kind]
        by_kind[kind] = auc([true[i] for i in at], [altered[i] for i in at], minimum=MIN_COUPLES)
    return {
        "auc": auc(true, altered, minimum=MIN_COUPLES),
        "paired": sum(wins) / len(wins) if len(wins) >= MIN_COUPLES else None,
        "couples": len(couples),
        "by_kind": by_kind,
    }


RAGTRUTH_FILES = ("response", "source_info")
"""What the names of RAGTruth's two files hold; a subset may be named otherwise around it."""


def ragtruth_auc(folder: Path, verifier: Verifier, limit: int | None = 60) -> dict[str, Any]:
    """AUC of support for responses without against those with annotated hallucinations (RAGTruth, Niu et al. 2024).

    `folder` holds RAGTruth's `response.jsonl` and `source_info.jsonl`, or subsets of them with more to their names. Taken are the answers
    to questions (task `QA`) of its test part: the published verifier was trained on RAGTruth. Of each sort, `limit` / 2 responses evenly
    spaced in file order, with their passages as premises (None: all); an AUC does not depend on the sorts' shares. `sources` says how many
    questions they answer, `files` the files' sha256. CardproofError where the folder, a file or a field is missing.
    """
    responses, infos = (_ragtruth_file(Path(folder), part) for part in RAGTRUTH_FILES)
    sources = {
        row["source_id"]: row["source_info"] for row in _rows(infos, ("source_id", "source_info")) if row.get("task_type", "QA") == "QA"
    }
    rows = _rows(responses, ("source_id", "labels", "response"))
    rows = [r for r in rows if r["source_id"] in sources and r.get("split", "test") == "test"]
    sorts = ([r for r in rows if not r["labels"]], [r for r in rows if r["labels"]])
    each = len(rows) if limit is None else limit // 2
    rows = [sort[i * len(sort) // min(each, len(sort))] for sort in sorts for i in range(min(each, len(sort)))]
    scored = verifier.support_all(
        [(r["response"], _ragtruth_passages(sources[r["source_id"]])) for r in rows],
        "RAGTruth",
    )
    clean = [s.support for s, r in zip(scored, rows, strict=True) if not r["labels"]]
    hallucinated = [s.support for s, r in zip(scored, rows, strict=True) if r["labels"]]
    return {
        "auc": auc(clean, hallucinated, minimum=MIN_COUPLES),
        "clean": len(clean),
        "hallucinated": len(hallucinated),
        "sources": len({r["source_id"] for r in rows}),
        "pairs": sum(s.pairs for s in scored),
        "truncated": sum(s.truncated for s in scored),
        "files": {path.name: sha256_file(path) for path in (responses, infos)},
    }


def _ragtruth_file(folder: Path, part: str) -> Path:
    """The file of one part: the one named so, else the only one whose name holds it."""
    if not folder.is_dir():
        raise CardproofError(
            f"verifier.ragtruth: there is no folder {folder}.",
            "give the folder of RAGTruth's response.jsonl and source_info.jsonl, or null to leave RAGTruth out.",
        )
    found = [folder / f"{part}.jsonl"] if (folder / f"{part}.jsonl").is_file() else sorted(folder.glob(f"*{part}*.jsonl"))
    if len(found) != 1:
        listed = f"several: {', '.join(p.name for p in found)}" if found else "none"
        raise CardproofError(f"verifier.ragtruth: of files named *{part}*.jsonl, {folder} holds {listed}.", f"keep one, {part}.jsonl.")
    return found[0]


def _ragtruth_passages(info: Mapping[str, Any] | str) -> list[str]:
    text = info if isinstance(info, str) else str(info["passages"])
    return [p.strip() for p in re.split(r"^passage \d+:", text, flags=re.MULTILINE) if p.strip()]


def _rows(path: Path, fields: Sequence[str]) -> list[dict[str, Any]]:
    import json

    try:
        rows: list[dict[str, Any]] = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except ValueError as e:
        raise CardproofError(f"{path} is no valid JSON Lines: {e}.", "fetch it again.") from None
    for number, row in enumerate(rows, 1):
        if missing := [f for f in fields if f not in row]:
            raise CardproofError(f"{path}, line {number}: field {missing[0]!r} is missing.", "the file must keep RAGTruth's own schema.")
    return rows
