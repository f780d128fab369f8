"""The verifier: any sequence-classification model that gives P(entailed) of an answer from the documents it cites."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cardproof.config.settings import Config
from cardproof.errors import CardproofError, nearest
from cardproof.models.device import quiet
from cardproof.models.tokenizer_files import check_tokenizer_files
from cardproof.verifier.answers import answer_sentences
from cardproof.verifier.sentences import split_sentences

MULTIPLE = 8
"""Pairs are padded to a multiple of this many tokens, and a batch holds only pairs of one padded length. A score therefore does not depend
on the other pairs in its batch, except for rounding."""


# --- labels -----------------------------------------------------------------------------------------------------------


class Label(NamedTuple):
    """The output of a model that means that the premise entails the claim."""

    output: int
    inverted: bool
    """True if the output means the opposite: P(entailed) is 1 - P."""


_GOOD = re.compile(r"(is)?(entail|support|faithful|ground|consisten|factual|verified|correct)")
_NOT = re.compile(r"not|non|^un|^no[^nt]|contra|halluc|neutral|inconsisten|incorrect|unsupport|unfaith|unground")
_HALLUCINATED = re.compile(r"(is)?(halluc|contra|unsupport|unfaith|unground|inconsisten)")


def resolve_label(id2label: Mapping[int, str], wanted: str = "auto") -> Label:
    """The output that means entailed: the label `wanted`, by name (in any letter case) or index, or for `auto` the one the names show.

    `auto` takes the only label named like entailed, supported, faithful, grounded, ... that is not negated. If there is none and the model
    has at most two labels, it takes the only label named like hallucinated, and inverts it. CardproofError lists the labels if `wanted` is
    not among them, or if `auto` leaves none or several.
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
        f"The names of the verifier's labels do not show which one means entailed: {listed}.",
        "set verifier.entailment_label to the one that does (its name or index).",
    )


# --- scoring ----------------------------------------------------------------------------------------------------------


class Scored(NamedTuple):
    """The verifier's result for one answer."""

    support: float
    pairs: int
    """How many (premise, hypothesis) pairs the support was computed from."""
    truncated: int
    """How many of those pairs were cut to the verifier's length."""


class Verifier:
    """A sequence-classification model that scores (premise, hypothesis) pairs.

    `folder` holds the model in safetensors format; code in it is never run. `granularity`, `max_tokens` and `entailment_label` are those of
    the configuration. The object keeps its scores, so equal pairs are scored once. CardproofError if the model cannot be loaded, lacks
    weights (its classification head would be random) or a package that reads its tokenizer, has labels that do not show which one means
    entailed, or does not give a probability.
    """

    def __init__(
        self,
        folder: Path,
        entailment_label: str = "auto",
        granularity: Literal["passage", "sentence"] = "passage",
        max_tokens: int = 512,
        batch: int = 32,
        threads: int | None = None,
    ) -> None:
        import torch

        from cardproof.models import products

        if threads:
            torch.set_num_threads(threads)
        self.tokenizer, loaded = _loaded(folder)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = loaded.eval().to(self.device)
        products.use(self.model)
        self.label = resolve_label({int(i): str(name) for i, name in loaded.config.id2label.items()}, entailment_label)
        # Outputs that exclude one another share a softmax; each of several that do not, and a single one, has a sigmoid of its own.
        self.exclusive = loaded.config.num_labels > 1 and loaded.config.problem_type != "multi_label_classification"
        self.granularity = granularity
        limits = (max_tokens, self.tokenizer.model_max_length, getattr(loaded.config, "max_position_embeddings", None) or max_tokens)
        self.max_tokens = int(min(limits))
        self.batch = batch
        self._scores: dict[tuple[str, str], tuple[float, bool]] = {}
        self.folder = folder
        self.score([("The sun shines.", "It is day.")])  # a broken model is known before the first answer

    def pairs(self, answer: str, premises: Sequence[str]) -> list[list[tuple[str, str]]]:
        """The (premise, hypothesis) pairs of an answer, one list per hypothesis; empty if the answer or all premises are empty."""
        text = " ".join(answer.split())
        documents = [p for p in premises if p.strip()]
        if not re.search(r"\w", text) or not documents:
            return []
        if self.granularity == "passage":
            return [[("\n\n".join(documents), text)]]
        parts = list(dict.fromkeys(s for d in documents for s in split_sentences(d)))
        return [[(p, h) for p in parts] for h in answer_sentences(text)]

    def support(self, reply_answer: str, premises: Sequence[str]) -> Scored:
        """P(entailed) of an answer, in [0, 1]; 0 from 0 pairs if the answer is empty or there are no premises.

        Granularity `passage` scores the whole answer against the premises joined by blank lines, cut to fit. `sentence` is SummaC-ZS (Laban
        et al. 2022): for each sentence of the answer the maximum over the premises' sentences, then the mean.
        """
        return self.support_all([(reply_answer, premises)])[0]

    def support_all(self, answers: Sequence[tuple[str, Sequence[str]]], progress: str | None = None) -> list[Scored]:
        """`support` of many (answer, premises) at once, which is faster. `progress` is the label of the progress bar; None: no bar."""
        plans = [self.pairs(answer, premises) for answer, premises in answers]
        self.score((pair for plan in plans for row in plan for pair in row), progress)
        results = []
        for plan in plans:
            rows = [[self._scores[pair] for pair in row] for row in plan]
            support = math.fsum(max(p for p, _ in row) for row in rows) / len(rows) if rows else 0.0
            results.append(Scored(support, sum(map(len, rows)), sum(cut for row in rows for _, cut in row)))
        return results

    def score(self, pairs: Iterable[tuple[str, str]], progress: str | None = None) -> list[float]:
        """P(entailed) of each (premise, hypothesis) pair, in order. Pairs that were scored before are not scored again."""
        import torch
        from tqdm import tqdm

        wanted = list(pairs)
        new = sorted({p for p in wanted if p not in self._scores})
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
        return [self._scores[p][0] for p in wanted]

    def _probabilities(self, logits: Any) -> list[float]:
        column = logits.softmax(-1)[:, self.label.output] if self.exclusive else logits[:, self.label.output].sigmoid()
        values = [float(v) for v in column.double().cpu()]
        if not all(map(math.isfinite, values)):
            raise CardproofError(
                f"The verifier {str(self.folder)!r} gives a probability that is not a number.", "its weights are broken: fetch them again."
            )
        return [1 - v for v in values] if self.label.inverted else values

    def _encode(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[dict[str, list[int]], bool]]:
        """Token ids of each pair, with the premise cut to fit, and whether anything was cut.

        A hypothesis is first cut to what the premise leaves, but never below half of the room: a verdict needs some premise.
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


def _loaded(folder: Path) -> tuple[Any, Any]:
    """Tokenizer and model of a folder; CardproofError if they cannot be loaded, are not whole, or do not belong together."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    kind = "verifier.id must name a sequence-classification model in safetensors format."
    try:
        model, info = AutoModelForSequenceClassification.from_pretrained(
            str(folder), trust_remote_code=False, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    except Exception as e:  # transformers and safetensors raise errors of many kinds on files that are not theirs
        raise CardproofError(f"The verifier {str(folder)!r} cannot be loaded: {_first_line(e)}", kind) from None
    if info["missing_keys"]:
        raise CardproofError(
            f"The verifier {str(folder)!r} lacks weights: {', '.join(sorted(info['missing_keys'])[:4])}.",
            "verifier.id must name a sequence-classification model, not a token classifier or a bare encoder: scores would be random.",
        )
    check_tokenizer_files(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    except Exception as e:
        raise CardproofError(
            f"The tokenizer of the verifier {str(folder)!r} cannot be loaded: {_first_line(e)}", "copy or fetch its files again."
        ) from None
    rows = model.get_input_embeddings().weight.shape[0]
    if (highest := max(tokenizer.get_vocab().values())) >= rows:
        raise CardproofError(
            f"The verifier {str(folder)!r} has {rows} embeddings, but its tokenizer has a token with the number {highest}.",
            "give it the tokenizer that it was trained with.",
        )
    if tokenizer.pad_token_id is None:
        raise CardproofError(
            f"The tokenizer of the verifier {str(folder)!r} has no token to pad with.", "name one in its tokenizer_config.json."
        )
    return tokenizer, model


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def load(config: Config, folder: Path) -> Verifier:
    """Load the verifier of a run with the settings of its configuration."""
    quiet()
    settings = config.verifier
    return Verifier(
        folder,
        entailment_label=settings.entailment_label,
        granularity=settings.granularity,
        max_tokens=settings.max_tokens,
        threads=config.runtime.threads,
    )
