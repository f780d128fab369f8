"""Whether every p value of a result file agrees with the interval beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def disagreements(found: Any, place: str = "") -> Iterator[str]:
    """The places in a result file, as plain JSON, where a test and an interval that stand together say different things."""
    if isinstance(found, list):
        for i, below in enumerate(found):
            yield from disagreements(below, f"{place}/{i}")
    if not isinstance(found, dict):
        return
    for key, below in found.items():
        yield from disagreements(below, f"{place}/{key}")
    if found.get("p") is not None and "difference" in found and "margin" not in found and "low" in found:
        if (found["p"] < 1 - found["level"]) != (found["low"] > 0 or found["high"] < 0):
            yield f"{place}: p"
        if (found["p_holm"] < 1 - found["level"]) != (found["low_holm"] > 0 or found["high_holm"] < 0):
            yield f"{place}: p_holm"
        if not found["low_holm"] <= found["low"] <= found["difference"] <= found["high"] <= found["high_holm"]:
            yield f"{place}: order"
    if found.get("p") is not None and "margin" in found:
        inside = -found["margin"] < found["low"] and found["high"] < found["margin"]
        if not (found["equivalent"] == inside == (found["p"] < (1 - found["level"]) / 2)):
            yield f"{place}: equivalent"
    if "n_equivalent" in found:
        # N = 1 is outside the interval exactly where the single rollouts differ.
        tail = (1 - found["level"]) / 2
        one_is_inside = found["low"] is None and tail <= found["share_below"] <= 1 - tail
        single = found["single"]
        if single["p"] is not None and one_is_inside == (single["p_holm"] < 1 - single["level"]):
            yield f"{place}: single rollout"
    if found.get("p_holm") is not None and "difference_interval" in found:
        low, high = found["difference_interval"]
        if not ((found["p_holm"] < 0.05) == (low > 0 or high < 0) == (found["verdict"] == "differs")):
            yield f"{place}: verdict"
