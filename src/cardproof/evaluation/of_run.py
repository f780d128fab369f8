"""The five result files of a run, checked."""

from __future__ import annotations

from typing import NamedTuple

from cardproof.evaluation.results import Axes, Compute, FormatLock, Mechanism, Stress
from cardproof.runs import Run, evaluation


class Evaluation(NamedTuple):
    """What the five files hold."""

    axes: Axes
    stress: Stress
    mechanism: Mechanism
    compute: Compute
    format_lock: FormatLock

    @classmethod
    def of(cls, run: Run) -> Evaluation:
        """Those of a run; CardproofError names the file that is missing, or the file and key that do not fit."""
        return cls(
            run.read(evaluation("axes"), Axes),
            run.read(evaluation("stress"), Stress),
            run.read(evaluation("mechanism"), Mechanism),
            run.read(evaluation("compute"), Compute),
            run.read(evaluation("format_lock"), FormatLock),
        )
