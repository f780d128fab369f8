"""SLURM: compare what the jobs ask for with what the cluster has, before any job is submitted.

SLURM accepts some requests that can never start. It refuses others in its own words, one job at a time.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cardproof.errors import CardproofError, nearest


class Request(NamedTuple):
    """What one job asks for; memory in MB. `partition` may be a list, `gpu,gpu-long`: SLURM takes the first that can start the job.

    None means the cluster's default partition.
    """

    rule: str
    partition: str | None
    mem_mb: int
    gpus: int

    @property
    def partitions(self) -> list[str]:
        """The partitions by name."""
        return [name.strip() for name in (self.partition or "").split(",") if name.strip()]


class Nodes(NamedTuple):
    """Nodes of one kind in one partition: memory in MB and GPUs per node; `default` marks the cluster's default partition."""

    partition: str
    mem_mb: int
    gpus: int
    default: bool


def nodes() -> list[Nodes]:
    """The nodes that `sinfo` lists. Raises CardproofError if SLURM is missing or does not answer within 30 s."""
    hint = "run this on a login node of the cluster, or without the SLURM profile."
    if not shutil.which("sinfo"):
        raise CardproofError("The profile sends jobs to SLURM, but its command sinfo is not on PATH.", hint)
    try:
        done = subprocess.run(["sinfo", "-h", "-o", "%P|%m|%G"], capture_output=True, text=True, timeout=30, check=True)
    except subprocess.CalledProcessError as e:
        raise CardproofError(f"SLURM does not answer: {' '.join(e.stderr.split())[:200]}", hint) from None
    except subprocess.TimeoutExpired:
        raise CardproofError("SLURM does not answer: sinfo took longer than 30 s.", hint) from None
    rows = [line.split("|") for line in done.stdout.splitlines() if line]
    return [Nodes(name.rstrip("*"), int(memory.rstrip("+")), gpus_of(gres), name.endswith("*")) for name, memory, gres in rows]


def gpus_of(gres: str) -> int:
    """The number of GPUs in a node's generic resources, as sinfo lists them: `gpu:2`, `gpu:a100:4(S:0-1)`, or `gpu` for one."""
    total = 0
    for resource in re.sub(r"\([^)]*\)", "", gres).split(","):
        name, *kind_and_count = resource.split(":")
        if name == "gpu":
            total += int(kind_and_count[-1]) if kind_and_count and kind_and_count[-1].isdigit() else 1
    return total


def check(requests: Iterable[Request], cluster: Sequence[Nodes]) -> None:
    """Raise CardproofError for the first request that no node can meet."""
    for request in dict.fromkeys(requests):
        rule, named = request.rule, request.partitions
        known = sorted({n.partition for n in cluster})
        for partition in named:
            if partition not in known:
                near = nearest(partition, known) or (known[0] if known else "NAME")
                raise CardproofError(
                    f"Rule {rule} asks for partition {partition!r}, but this cluster has only {', '.join(known) or 'none'}.",
                    f"name one in slurm_partition of the profile, for one rule: --set-resources {rule}:slurm_partition={near}.",
                )
        fitting = [n for n in cluster if (n.partition in named if named else n.default)] or list(cluster)
        name = f"partition {request.partition!r}" if named else "the default partition"
        largest = max((n.mem_mb for n in fitting), default=0)
        if request.mem_mb > largest:
            raise CardproofError(
                f"Rule {rule} asks for {request.mem_mb:,} MB of memory, but the largest node of {name} has {largest:,} MB.",
                f"lower it: runtime.memory_gb in the configuration, or --set-resources {rule}:mem_mb={largest}; or name another partition.",
            )
        most = max((n.gpus for n in fitting), default=0)
        if request.gpus > most:
            raise CardproofError(
                f"Rule {rule} asks for {request.gpus} GPU{'s' if request.gpus > 1 else ''}, but no node of {name} has"
                f" {'one' if request.gpus == 1 else 'as many'}.",
                f"name a partition with GPUs: --set-resources {rule}:slurm_partition=NAME; or set runtime.gpus to at most {most}.",
            )
        if request.gpus and not any(n.gpus >= request.gpus and n.mem_mb >= request.mem_mb for n in fitting):
            raise CardproofError(
                f"Rule {rule} asks for {request.mem_mb:,} MB of memory and {request.gpus} GPU, but no single node of {name} has both.",
                f"lower one of them (--set-resources {rule}:mem_mb=N), or name another partition.",
            )
