"""SLURM: compare what the jobs ask for with what the cluster has, before any job is submitted.

SLURM accepts some requests that can never start. It refuses others in its own words, one job at a time.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cardproof.errors import CardproofError, nearest


class Request(NamedTuple):
    """What one job asks for; memory in MB, and partition None means the cluster's default."""

    rule: str
    partition: str | None
    mem_mb: int
    gpus: int


class Nodes(NamedTuple):
    """Nodes of one kind in one partition; memory in MB per node, and `default` marks the cluster's default partition."""

    partition: str
    mem_mb: int
    gpus: bool
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
    return [Nodes(name.rstrip("*"), int(memory.rstrip("+")), "gpu" in gres, name.endswith("*")) for name, memory, gres in rows]


def check(requests: Iterable[Request], cluster: Sequence[Nodes]) -> None:
    """Raise CardproofError for the first request that no node can meet."""
    for rule, partition, mem_mb, gpus in dict.fromkeys(requests):
        known = sorted({n.partition for n in cluster})
        if partition is not None and partition not in known:
            near = nearest(partition, known) or (known[0] if known else "NAME")
            raise CardproofError(
                f"Rule {rule} asks for partition {partition!r}, but this cluster has only {', '.join(known) or 'none'}.",
                f"name one in slurm_partition of the profile, for one rule: --set-resources {rule}:slurm_partition={near}.",
            )
        fitting = [n for n in cluster if (n.partition == partition if partition else n.default)] or list(cluster)
        name = f"partition {partition!r}" if partition else "the default partition"
        largest = max((n.mem_mb for n in fitting), default=0)
        if mem_mb > largest:
            raise CardproofError(
                f"Rule {rule} asks for {mem_mb:,} MB of memory, but the largest node of {name} has {largest:,} MB.",
                f"lower it: runtime.memory_gb in the configuration, or --set-resources {rule}:mem_mb={largest}; or name another partition.",
            )
        if gpus and not any(n.gpus for n in fitting):
            raise CardproofError(
                f"Rule {rule} asks for {gpus} GPU, but no node of {name} has one.",
                f"name a partition with GPUs: --set-resources {rule}:slurm_partition=NAME; or run without GPUs: runtime.gpus 0.",
            )
