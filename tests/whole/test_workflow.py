"""The workflow itself, at the smallest scale, with real models: what it writes, what it repeats, and what it does not."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cardproof.evidence.verify import check
from cardproof.files import read_json
from cardproof.runs import EVALUATION
from helpers.agreement import disagreements
from helpers.places import ROOT
from helpers.workflow import PATIENCE, RUN, contents, finished, planned, snakemake

pytestmark = pytest.mark.slow

ARMS, CONDITIONS, VARIANTS = ("base", "hybrid", "grounded"), ("clean", "stress", "freeform"), ("grounded", "hybrid")


@pytest.fixture(scope="module")
def first(ci_run: Path) -> Path:
    return ci_run


def test_every_file_of_a_run_is_there(first: Path) -> None:
    expected = ["config.yaml", "benchmark/corpus.jsonl", "benchmark/questions.jsonl", "split/train.jsonl", "split/eval.jsonl"]
    expected += ["split/leakage.json", "distill/raft.jsonl", "distill/selection.json", "audit.json", "claims.json", "card/README.md"]
    expected += [f"prompts/{c}.jsonl" for c in ("train", *CONDITIONS)]
    expected += [
        f"{kind}/{arm}/{c}.{end}" for arm in ARMS for c in CONDITIONS for kind, end in (("samples", "jsonl"), ("scores", "parquet"))
    ]
    expected += [f"training/{v}/{file}" for v in VARIANTS for file in ("metrics.json", "adapter/adapter_model.safetensors")]
    expected += [f"evaluation/{name}.json" for name in ("axes", "stress", "mechanism", "compute", "format_lock")]
    expected += [f"figures/{name}.{end}" for name in ("training_loss", "axes", "near_miss", "compute_curve") for end in ("svg", "png")]
    missing = [file for file in expected if not (first / RUN / file).is_file()]
    assert missing == []
    assert not (first / "results" / "ci" / "shards").exists() or not contents(first, "shards"), "gathered shards are not kept"


def test_nothing_is_written_outside_results(first: Path) -> None:
    assert {p.name for p in first.iterdir()} <= {"results", ".snakemake"}


def test_the_logs_name_no_kernel_that_nobody_asked_for(first: Path) -> None:
    """A library that trains in four bits looks for one on the Hub, and says of each process that it found none."""
    logs = list((first / RUN / "logs").rglob("*.log"))
    assert len(logs) > 20
    assert not [path.name for path in logs if "Failed to load" in path.read_text(encoding="utf-8", errors="replace")]


def test_the_recorded_settings_are_the_overlay(first: Path) -> None:

    from cardproof.config import reading

    assert reading.load(first / RUN / "config.yaml") == reading.load(ROOT / "config.yaml", ROOT / "config" / "ci.yaml")


def test_the_training_is_qlora_and_counts_are_consistent(first: Path) -> None:
    selection = json.loads((first / RUN / "distill/selection.json").read_text())
    for variant in VARIANTS:
        metrics = json.loads((first / RUN / f"training/{variant}/metrics.json").read_text())
        assert metrics["quantization"] == "nf4"
        assert metrics["examples"] == selection["kept"] == metrics["contract_examples"] + metrics["freeform_examples"]
        assert metrics["steps"] == len(metrics["loss_per_step"])
        # 30 layers: q, o 576x576; k, v 576x192; gate, up 576x1536; down 1536x576; rank 8.
        per_layer = 2 * (576 + 576) + 2 * (576 + 192) + 3 * (576 + 1536)
        assert metrics["trainable_parameters"] == 30 * 8 * per_layer


def test_tests_and_intervals_of_the_results_agree(first: Path) -> None:
    for name in (*(f"evaluation/{file}.json" for file in EVALUATION), "claims.json"):
        assert list(disagreements(read_json(first / RUN / name))) == [], name


def test_a_second_run_does_nothing(first: Path) -> None:
    assert planned(snakemake(first, "-n")) == {}


def test_two_runs_from_scratch_are_byte_identical(first: Path, tmp_path: Path) -> None:
    second = finished(tmp_path)
    parts = ("prompts", "samples", "support", "scores", "distill", "evaluation", "figures", "claims.json", "card")
    parts += tuple(f"training/{v}/{file}" for v in VARIANTS for file in ("metrics.json", "adapter"))
    one, two = contents(first, *parts), contents(second, *parts)
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []
    chains = [check(folder / RUN) for folder in (first, tmp_path)]
    assert [chain.problems for chain in chains] == [[], []]
    assert chains[0].digest == chains[1].digest


def test_another_seed_gives_other_samples(first: Path) -> None:
    """On a copy, so that only what the seed changes is made again; the base samples are enough to tell."""
    folder = first.parent / "seeded"
    shutil.copytree(first, folder, symlinks=True)
    target = str(RUN / "samples/base/freeform.jsonl")
    result = snakemake(folder, "--config", "seed=1", "--", target)
    assert result.returncode == 0, (result.stdout + result.stderr)[-3000:]
    assert (folder / target).read_bytes() != (first / target).read_bytes()


AFTER_SCORES = {"evaluate", "figures", "provenance", "claims", "card", "report", "all"}


@pytest.mark.parametrize(
    ("change", "made_again"),
    [
        ('evaluation={"simulations": 150}', AFTER_SCORES),
        ('scoring={"rouge_threshold": 0.4}', {"score", "distill", "train", "sample", "gather", "support", "check_verifier"} | AFTER_SCORES),
        (
            'training={"variants": {"hybrid": {"contract_share": 0.25}}}',
            {"train", "sample", "gather", "support", "score", "check_verifier"} | AFTER_SCORES,
        ),
        ('conditions={"stress": {"distractors": 3}}', {"prompts", "sample", "gather", "support", "score", "check_verifier"} | AFTER_SCORES),
    ],
)
def test_one_changed_setting_reruns_only_what_depends_on_it(first: Path, change: str, made_again: set[str]) -> None:
    jobs = planned(snakemake(first, "-n", "--config", change))
    assert set(jobs) <= made_again
    assert {"evaluate", "card"} <= set(jobs)
    if "stress" in change:
        assert jobs["prompts"] == 1
    if "hybrid" in change:
        assert jobs["train"] == 1
        assert jobs["support"] == 1


def test_edited_code_reruns_its_steps_but_not_acquisition(first: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src")
    module = tmp_path / "src/cardproof/contract/grounding.py"
    module.write_text(module.read_text() + "\nEDITED = True\n")
    jobs = planned(snakemake(first, "-n", source=tmp_path / "src"))
    assert jobs["score"] == 10
    assert not {"acquire_benchmark", "acquire_model", "acquire_verifier", "split"} & set(jobs)
    module.write_text(module.read_text().replace("\nEDITED = True\n", "\n# a comment changes nothing\n"))
    assert planned(snakemake(first, "-n", source=tmp_path / "src")) == {}


def test_a_bad_setting_stops_before_any_job(tmp_path: Path) -> None:
    result = snakemake(tmp_path, "--config", 'sampling={"temprature": 1}')
    assert result.returncode != 0
    assert "unknown key 'temprature' in 'sampling'" in result.stderr
    assert "Hint: did you mean 'temperature'?" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "results").exists()


def test_a_checkout_may_lie_anywhere(tmp_path: Path) -> None:
    """Paths of the checkout stand in the rules' commands: spaces, quotes and a command in them are part of a name."""
    folder = tmp_path / "a user's $(touch made) folder"
    kept = shutil.ignore_patterns(".*", "results", "tests", "docs", "__pycache__", "*.egg-info", "*.sif")
    shutil.copytree(ROOT, folder, ignore=kept)
    targets = [str(RUN / name) for name in ("prompts/clean.jsonl", "audit.json")]
    command = [Path(sys.executable).parent / "snakemake", "--cores", "2", "--configfile", "config/ci.yaml", "--", *targets]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(folder / "src")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert all((folder / target).is_file() for target in targets)
    assert not list(tmp_path.rglob("made"))


def test_the_published_dag_builds_without_a_gpu(tmp_path: Path) -> None:
    jobs = planned(snakemake(tmp_path, "-n", configfile="config.yaml"))
    assert jobs["sample"] == 3
    assert jobs["train"] == 3  # the recipe, and its readings b7x1 and b14x2


def test_a_run_whose_adapters_exist_trains_nothing(tmp_path: Path) -> None:
    """The published recipe with the authors' own adapter in the place of the one that is trained: still their card, and fewer jobs."""
    arms = {"grounded": {"adapter": "hub", "id": "owner/name", "variant": None}, "hybrid": None}
    (tmp_path / "authors.yaml").write_text(json.dumps({"arms": arms}))
    jobs = planned(snakemake(tmp_path, "-n", configfile=str(tmp_path / "authors.yaml")))
    assert not jobs.keys() & {"train", "distill", "sample_train", "support_train", "reconcile"}
    assert (jobs["acquire_adapter"], jobs["sample"], jobs["prompts"], jobs["audit"]) == (1, 2, 3, 1)


def test_a_run_without_a_card_audits_nothing(tmp_path: Path) -> None:
    jobs = planned(snakemake(tmp_path, "-n", "--config", "published=null"))
    assert "audit" not in jobs and jobs["claims"] == 1
    assert jobs["train"] == 2


def test_every_claim_has_a_verdict_and_none_is_compared(first: Path) -> None:
    rows = json.loads((first / RUN / "claims.json").read_text())["claims"]
    assert len(rows) >= 50
    assert {r["verdict"] for r in rows} <= {"not_comparable", "not_run", "undefined", "absent", "inconsistent_as_published"}
    card = (first / RUN / "card/README.md").read_text()
    assert "not a reproduction" in card


def test_the_plan_is_what_the_run_did(first: Path, tmp_path: Path) -> None:
    """Planned before anything is there, and again with the finished run at hand: equal to the files and to Snakemake's own count."""
    from cardproof.config import reading
    from cardproof.machine import plan

    settings = reading.load(ROOT / "config.yaml", ROOT / "config" / "ci.yaml")

    def figures(run: Path) -> dict[tuple[str, str], tuple[str, float]]:
        found = plan.plan(settings, run, ROOT / "prompts", ROOT / "published" / "claims.yaml", ROOT / "Snakefile")
        return {(f.section, f.name): (f.kind, f.value) for f in found}

    before, after = figures(tmp_path), figures(first / RUN)
    prompts = {c: contents(first, f"prompts/{c}.jsonl")[f"prompts/{c}.jsonl"].count(b"\n") for c in ("train", *CONDITIONS)}
    rows = {name: [json.loads(line) for line in text.splitlines()] for name, text in contents(first, "samples").items()}
    drawn = {c: sum(len(r) for name, r in rows.items() if name.endswith(f"/{c}.jsonl")) for c in prompts}
    read = sum(sum({row["item"]: row["prompt_tokens"] for row in r}.values()) for r in rows.values())
    trained = {v: json.loads((first / RUN / f"training/{v}/metrics.json").read_text()) for v in VARIANTS}
    for planned_figures in (before, after):
        for condition in prompts:
            assert planned_figures["prompts", condition] == ("counted", prompts[condition])
            assert planned_figures["rollouts", condition] == ("counted", drawn[condition])
        assert planned_figures["rollouts", "all"] == ("counted", sum(drawn.values()))
        assert planned_figures["tokens", "prompt"] == ("counted", read)
        assert planned_figures["training", "trainable"] == ("counted", trained["grounded"]["trainable_parameters"])
        assert planned_figures["tokens", "new, at most"][1] >= sum(row["completion_tokens"] for r in rows.values() for row in r)
    for variant, metrics in trained.items():
        kind, most = before["training", f"steps of {variant}"]
        assert kind == "at most"
        assert metrics["steps"] <= most
        assert after["training", f"steps of {variant}"] == ("counted", metrics["steps"])
    assert after["training", "examples"] == ("counted", trained["grounded"]["examples"])
    said = min((first / ".snakemake" / "log").glob("*.log")).read_text()
    table = said[said.index("Job stats:") :].split("total", 1)[0]
    ran = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE) if name != "all"}
    assert {name: value for (section, name), (_, value) in before.items() if section == "jobs" and name in ran} == ran
    assert before["jobs", "all"] == ("counted", sum(ran.values()))
