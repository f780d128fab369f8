"""What the words beside a number mean: metric names in one spelling, and the roles that relations look for."""

from __future__ import annotations

import re
from functools import lru_cache

DROPPED = re.compile(r"\b(?:eval|evaluation|validation|valid|val|dev|test|train|training|score|overall|the|on|set|best|final|value)\b")
SAME = {
    "acc": "accuracy",
    "f1score": "f1",
    "fmeasure": "f1",
    "fscore": "f1",
    "f": "f1",
    "fbeta": "f1",
    "prec": "precision",
    "pre": "precision",
    "p": "precision",
    "rec": "recall",
    "r": "recall",
    "sensitivity": "recall",
    "tpr": "recall",
    "em": "exactmatch",
    "spearmanr": "spearman",
    "pearsonr": "pearson",
    "wordrerrorrate": "wer",
    "worderrorrate": "wer",
    "charactererrorrate": "cer",
    "ppl": "perplexity",
    "matthewscorrelation": "mcc",
    "genlen": "genlen",
}
SHARES = {
    "accuracy",
    "f1",
    "precision",
    "recall",
    "auc",
    "rocauc",
    "exactmatch",
    "iou",
    "meaniou",
    "map",
    "specificity",
    "macrof1",
    "microf1",
    "weightedf1",
}
"""Metrics that lie in [0, 1] (or 0 to 100)."""
NON_NEGATIVE = {"wer", "cer", "perplexity", "mse", "rmse", "mae", "rouge1", "rouge2", "rougel", "rougelsum", "bleu", "genlen"}
CORRELATIONS = {"pearson", "spearman", "mcc", "cohenkappa", "kappa"}
AVERAGED = re.compile(r"\b(?:avg|average|mean|macro|micro|weighted|overall|total|all|accuracy|samples)\b", re.IGNORECASE)

NOT_SCORES = re.compile(
    r"param|size|speed|time|latency|memory|\bram\b|vram|version|layer|dim|step|epoch|\blr\b|rate|year|date|seed|shot|rank|token|cost|price|length|support|count|\bn\b|hours|samples|std|stderr|loss"
)
"""Columns and rows of sizes, times, settings or counts, which are not scores."""


@lru_cache(maxsize=20_000)
def words(text: str) -> str:
    """A label in lower case, words apart by one space, without marks; the content of brackets stays."""
    return re.sub(r"[^a-z0-9%+.²]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text.replace("LoRA", "Lora")).lower()).strip()


@lru_cache(maxsize=20_000)
def metric(text: str) -> str:
    """A metric's name in one spelling: `Validation F1`, `eval_f1`, `F1-score` are all `f1`; a training loss stays apart."""
    plain = words(re.sub(r"\([^)]*\)|\[[^\]]*\]", " ", text))
    if re.search(r"\bloss\b", plain):
        return (
            "trainingloss"
            if re.search(r"\btrain(?:ing)?\b", plain)
            else "loss"
            if re.sub(DROPPED, "", plain).strip() == "loss"
            else plain.replace(" ", "")
        )
    bare = re.sub(r"[^a-z0-9]+", "", DROPPED.sub(" ", plain))
    for kind in ("macro", "micro", "weighted"):
        if bare.startswith(kind) or bare.endswith(kind) or bare.endswith(kind + "avg"):
            rest = bare.replace(kind, "").replace("average", "").replace("avg", "")
            return kind + SAME.get(rest, rest)
    return SAME.get(bare, bare)


def is_average(label: str) -> bool:
    """Whether a row's label says that the row is an average or a total of others."""
    return bool(AVERAGED.search(words(label)))
