"""Everything of the published run but the size of its weights: config.yaml's own keys and rules, with tiny models of its architectures."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cardproof.config import reading, settings
from cardproof.files import read_rows
from cardproof.machine import plan
from cardproof.models.chat import Chat
from cardproof.records import Message, Prompt, Rollout
from helpers.hub_server import Hub, serve
from helpers.places import ROOT
from helpers.tiny_deberta import write_tiny_deberta
from helpers.tiny_qwen3 import tiny_benchmark, write_benchmark, write_tiny_adapter, write_tiny_qwen3

pytestmark = pytest.mark.slow

RUN = Path("results/tiny")
CUT_OFF = ("unshare", "--map-root-user", "--net")
"""Starts a program in a network namespace of its own, which has no way out, not even a loopback that is up."""
SIZES_AND_PATHS = {
    "run",
    "scale",
    *(f"benchmark.{key}" for key in ("id", "revision", "sha256")),
    *(f"model.{key}" for key in ("id", "revision")),
    *("verifier.id", "arms.hybrid.id"),
    "sampling.max_new_tokens",
    "training.seeds",
    "evaluation.simulations",
    *(f"runtime.{key}" for key in ("threads", "gpus", "memory_gb")),
}
"""All that may differ from the published recipe: where things are, and how much of them."""


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    """A hub on loopback, to be filled."""
    with serve() as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, hub: Hub) -> Path:
    """Tiny models of the published architectures and a tiny benchmark, on the hub, and the overlay that names them."""
    base = tmp_path_factory.mktemp("published")
    data = tiny_benchmark()
    model = write_tiny_qwen3(base / "qwen3", data)
    hub.folders |= {
        ("models", "tiny/qwen3"): model,
        ("models", "tiny/deberta"): write_tiny_deberta(base / "deberta"),
        ("models", "tiny/hybrid"): write_tiny_adapter(base / "hybrid", model, rank=32),
        ("datasets", "tiny/bench"): write_benchmark(base / "benchmark", data),
    }
    overlay = {
        "run": "tiny",
        "scale": "embedded",
        "benchmark": {"id": "tiny/bench", "revision": hub.commit, "sha256": {"qa.jsonl": None, "corpus.jsonl": None}},
        "model": {"id": "tiny/qwen3", "revision": hub.commit},
        "verifier": {"id": "tiny/deberta"},
        "arms": {"hybrid": {"id": "tiny/hybrid"}},
        "sampling": {"max_new_tokens": 80},
        "training": {"seeds": [0, 1]},
        "evaluation": {"simulations": 100},
        "runtime": {"threads": 1, "gpus": 0, "memory_gb": 2},
    }
    (base / "tiny.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")
    return base


def snakemake(folder: Path, *arguments: str, alone: tuple[str, ...] = (), **environment: str) -> subprocess.CompletedProcess[str]:
    path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [
        *alone,
        "snakemake",
        "--snakefile",
        str(ROOT / "Snakefile"),
        "--directory",
        str(folder),
        "--cores",
        "2",
        "--nolock",
        *arguments,
    ]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **path, **environment}, timeout=1500)


def rules(result: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """The rules of the table that Snakemake prints before it begins, and how many jobs of each there are."""
    assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]
    text = result.stdout + result.stderr
    table = text[text.index("Job stats:") :].split("total", 1)[0]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE) if name != "all"}


@pytest.fixture(scope="module")
def done(folder: Path, hub: Hub) -> tuple[Path, dict[str, int]]:
    """The finished run's folder, and the rules that ran with their numbers of jobs.

    As documented for nodes without a network: a mirror is filled from the hub, and the run, its preflight included, takes all from there.
    """
    configured = ("--configfile", str(ROOT / "config.yaml"), str(folder / "tiny.yaml"))
    network = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(folder / "cache"), "HF_HUB_DISABLE_XET": "1"}
    filled = [
        sys.executable,
        "-m",
        "cardproof",
        "acquire",
        *configured[:2],
        "--configfile",
        configured[2],
        "--mirror",
        str(folder / "mirror"),
    ]
    subprocess.run(filled, check=True, env={**os.environ, **network}, timeout=300)
    offline = {"CARDPROOF_MIRROR": str(folder / "mirror"), "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "empty")}
    ran = rules(snakemake(folder, *configured, alone=CUT_OFF, **offline))
    return folder / RUN, ran


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict) and tree and path != "benchmark.sha256":
        for key, below in tree.items():
            yield from leaves(below, f"{path}.{key}".lstrip("."))
    else:
        yield path, tree


def result(run: Path, name: str) -> Any:
    return json.loads((run / name).read_text(encoding="utf-8"))


def test_every_rule_of_the_published_run_ran(done: tuple[Path, dict[str, int]], tmp_path: Path) -> None:
    """Every rule there is but three: the embedded verifier's training, the replay of an archive, and what only vLLM needs."""
    published = rules(snakemake(tmp_path, "-n", "--configfile", str(ROOT / "config.yaml")))
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "rules").glob("*.smk"))
    every = {b or a for a, b in re.findall(r"^\s*(?:use )?rule (\w+)(?: as (\w+) with)?:", text, re.MULTILINE)}
    assert published.keys() == done[1].keys() == every - {"train_verifier", "replay", "dequantise"}


def test_the_plan_is_what_the_run_did(done: tuple[Path, dict[str, int]]) -> None:
    """By the published recipe's own settings: prompts, rollouts, tokens, steps of every seed and reading, parameters and jobs."""
    run, ran = done
    found = plan.plan(reading.load(run / "config.yaml"), run, ROOT / "prompts", ROOT / "published/claims.yaml", ROOT / "Snakefile")
    planned = {(f.section, f.name): f.value for f in found}
    counted = {(f.section, f.name) for f in found if f.kind == "counted"}
    drawn = {path: read_rows(path, Rollout) for path in sorted(run.glob("samples/*/*.jsonl"))}
    assert len(drawn) == 1 + 4 * 3
    actual = {("tokens", "prompt"): sum(sum({r.item: r.prompt_tokens for r in rows}.values()) for rows in drawn.values())}
    for condition in ("train", "clean", "stress", "freeform"):
        actual["prompts", condition] = len(read_rows(run / f"prompts/{condition}.jsonl", Prompt))
        actual["rollouts", condition] = sum(len(rows) for path, rows in drawn.items() if path.stem == condition)
    for name in ("grounded", "grounded.seed1", "b7x1", "b14x2"):
        metrics = result(run, f"training/{name}/metrics.json")
        actual["training", f"steps of {name}"] = metrics["steps"]
        actual["training", "examples"], actual["training", "trainable"] = metrics["examples"], metrics["trainable_parameters"]
    actual |= {("jobs", name): count for name, count in ran.items()} | {("jobs", "all"): sum(ran.values())}
    assert {key: planned[key] for key in actual} == actual
    assert actual.keys() <= counted
    new = sum(r.completion_tokens for rows in drawn.values() for r in rows)
    assert planned["tokens", "new"] == pytest.approx(new, abs=1)


def test_the_run_had_no_network_and_its_preflight_saw_the_mirror(done: tuple[Path, dict[str, int]]) -> None:
    checks = {c["name"]: c for c in result(done[0], "preflight.json")["checks"]}
    assert checks["cache"]["status"] == "ok"
    assert (
        f"the run copies from the mirror {done[0].parents[1] / 'mirror'}: benchmark, model, verifier, arms.hybrid"
        in checks["cache"]["found"]
    )
    assert "token" not in checks, "a mirror needs none"
    probe = "import socket; socket.create_connection(('127.0.0.1', 9), 1)"
    cut = subprocess.run([*CUT_OFF, sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert "Network is unreachable" in cut.stderr or "Cannot assign requested address" in cut.stderr, cut.stderr


def test_only_sizes_and_paths_differ_from_the_published_recipe(done: tuple[Path, dict[str, int]]) -> None:
    ours, published = (dict(leaves(c.model_dump(mode="json"))) for c in (reading.load(done[0] / "config.yaml"), settings.Config()))
    assert ours.keys() == published.keys()
    assert {key for key in ours if ours[key] != published[key]} <= SIZES_AND_PATHS


def test_the_thinking_switch_is_the_templates_own(folder: Path) -> None:
    asked = [Message(role="system", content="s"), Message(role="user", content="q")]
    chats = [Chat(folder / "qwen3", settings.Model(thinking=thinking)) for thinking in (False, True)]
    off, on = (chat.tokenizer.decode(chat.prompt(asked).ids) for chat in chats)
    assert off == on + "<think>\n\n</think>\n\n"
    assert on.endswith("<|im_start|>assistant\n")


def test_nf4_lora_of_the_published_rank_is_trained_for_every_seed_and_reading(done: tuple[Path, dict[str, int]]) -> None:
    run, _ = done
    # Two layers: q 128x256; k, v 128x128; o 256x128; gate, up 128x256; down 256x128; rank 32.
    per_layer = (128 + 256) + 2 * (128 + 128) + (256 + 128) + 2 * (128 + 256) + (256 + 128)
    losses, recipes = {}, set()
    for name, seed, epochs in (("grounded", 0, 2), ("grounded.seed1", 1, 2), ("b7x1", 0, 1), ("b14x2", 0, 2)):
        metrics = result(run, f"training/{name}/metrics.json")
        assert (metrics["quantization"], metrics["rank"], metrics["seed"]) == ("nf4", 32, seed)
        assert metrics["trainable_parameters"] == 2 * 32 * per_layer
        assert metrics["steps"] == -(-metrics["examples"] // metrics["effective_batch"]) * epochs == len(metrics["loss_per_step"])
        losses[name] = metrics["train_loss"]
        recipes.add((seed, metrics["steps"], epochs, min(metrics["effective_batch"], metrics["examples"])))
    # Where all examples fit into one batch, a larger batch is the same recipe.
    assert len(set(losses.values())) == len(recipes) >= 3


def test_adapters_are_loaded_again_for_sampling(done: tuple[Path, dict[str, int]]) -> None:
    run, _ = done
    hashes = {
        arm: {r.adapter_hash for r in read_rows(run / f"samples/{arm}/clean.jsonl", Rollout)} for arm in ("base", "hybrid", "grounded")
    }
    assert hashes["base"] == {None}
    assert all(len(found) == 1 for found in hashes.values())
    assert len(set.union(*hashes.values())) == 3
    replica = {r.adapter_hash for r in read_rows(run / "samples/grounded.seed1/clean.jsonl", Rollout)}
    assert replica.isdisjoint(hashes["grounded"])


def test_best_of_eight_under_every_condition(done: tuple[Path, dict[str, int]]) -> None:
    run, _ = done
    for arm in ("base", "hybrid", "grounded", "grounded.seed1"):
        for condition in ("clean", "stress", "freeform"):
            rows = read_rows(run / f"samples/{arm}/{condition}.jsonl", Rollout)
            assert len(rows) == 8 * len({r.item for r in rows}) == 8 * result(run, "split/leakage.json")["achieved"]["eval"]


def test_every_axis_has_its_spread_between_the_seeds(done: tuple[Path, dict[str, int]]) -> None:
    for name in ("axes", "stress"):
        spread = result(done[0], f"evaluation/{name}.json")["seeds"]["grounded"]
        assert all(set(found["values"]) == {"0", "1"} for found in spread.values())
        assert spread["strict"]["sd"] is not None


def test_the_readings_are_compared_and_none_is_favoured(done: tuple[Path, dict[str, int]]) -> None:
    found = result(done[0], "evaluation/reconcile.json")
    assert {name: row["run"] for name, row in found["readings"].items()} == {"b7x1": "b7x1", "b14x2": "b14x2", "b7x2": "grounded"}
    assert found["favoured"] is None


def test_the_card_is_no_reproduction(done: tuple[Path, dict[str, int]]) -> None:
    text = (done[0] / "card/README.md").read_text(encoding="utf-8")
    assert "not a reproduction of the published card" in text
    assert "Between training seeds" in text
    assert "`tiny/deberta` was taken at its newest revision" in text
    assert {row["verdict"] for row in result(done[0], "claims.json")["claims"]} <= {
        "not_comparable",
        "not_run",
        "undefined",
        "absent",
        "inconsistent_as_published",
    }
