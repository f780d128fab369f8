"""Containers and SLURM as far as they can be told without either: what jobs are given, what is refused and how, what the rules say.

The real engines run in `make test-apptainer` and `make test-slurm`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cardproof.config import reading, texts
from cardproof.config.settings import Config
from cardproof.errors import CardproofError
from cardproof.files import read_rows, sha256_file, write_rows
from cardproof.machine import containers
from cardproof.machine.slurm import Nodes, Request, check, gpus_of
from cardproof.records import Rollout
from cardproof.sampling.gather import gather
from cardproof.sampling.sample import shard
from helpers.places import ROOT
from helpers.workflow import PATIENCE

RULES = sorted((ROOT / "rules").glob("*.smk"))
CI = reading.load(ROOT / "config.yaml", ROOT / "config" / "ci.yaml")


def snakemake(folder: Path, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": path or f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [Path(sys.executable).parent / "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", folder, "--nolock", "-n"]
    command += ["--cores", "1", "--configfile", ROOT / "config/ci.yaml", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, timeout=PATIENCE)


# --- the rules --------------------------------------------------------------------------------------------------------


def test_every_rule_runs_in_the_configured_container() -> None:
    snakefile = (ROOT / "Snakefile").read_text()
    named = re.search(r"^container: (.*)$", snakefile, re.MULTILINE)
    assert named and named[1] == "deployment.image(CONFIG, CHECKOUT)", "one image for all rules"
    assert named.start() < snakefile.index("include:"), "rules read before it would have no container"
    for path in RULES:
        text = path.read_text()
        own = re.findall(r"^ *(?:container|containerized|envmodules|run|script|notebook|wrapper|template_engine|handover):", text, re.M)
        assert not own, f"{path.name}: {own} would leave the image or run on the host"
        for rule in re.split(r"(?m)^(?=(?:use )?rule )", text)[1:]:
            assert re.search(r"^    log:", rule, re.MULTILINE), f"{path.name}: no log in {rule[:40]!r}"


def test_a_rule_depends_on_its_code_and_image() -> None:
    for path in RULES:
        for rule in re.split(r"(?m)^(?=(?:use )?rule )", path.read_text())[1:]:
            if rule.startswith(("rule preflight", "use rule support as support_train")):  # the one is looked at once; the other inherits
                continue
            assert re.search(r"^        code=code\(", rule, re.MULTILINE), f"{path.name}: no parameter code in {rule[:40]!r}"


@pytest.mark.parametrize("configfile", ["config.yaml", "config/ci.yaml"])
def test_snakemake_lints_clean(configfile: str) -> None:
    command = [Path(sys.executable).parent / "snakemake", "--lint", "--configfile", configfile]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("profile", sorted(p.parent.name for p in (ROOT / "profiles").glob("*/config.yaml")))
def test_a_profile_says_why(profile: str) -> None:
    folder = ROOT / "profiles" / profile
    readme = (folder / "README.md").read_text()
    shared = {"rerun-incomplete", "rerun-triggers", "show-failed-logs", "default-resources", "set-resources", "printshellcmds"}
    for key in set(yaml.safe_load((folder / "config.yaml").read_text())) - shared:
        assert f"`{key}" in readme, f"profiles/{profile}/README.md does not say why {key} is what it is"


def test_the_default_profile_does_not_hold_a_clusters_gpus_back() -> None:
    """Its one GPU counts in every run, whatever other profile is named: counted over all jobs, shards would wait for one another."""
    assert yaml.safe_load((ROOT / "profiles/default/config.yaml").read_text())["resources"] == {"gpu": 1}
    assert re.search(r'^resource_scopes:\n    gpu="local",$', (ROOT / "Snakefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("profile", ["slurm", "slurm-test"])
def test_profiles_name_rules_that_exist(profile: str) -> None:
    named = set(yaml.safe_load((ROOT / "profiles" / profile / "config.yaml").read_text())["set-resources"])
    defined = {name for path in RULES for name in re.findall(r"^(?:rule|use rule \w+ as) (\w+)", path.read_text(), re.MULTILINE)}
    assert named <= defined


# --- containers -------------------------------------------------------------------------------------------------------


def with_image(image: str | None, gpus: int = 0) -> Config:
    return CI.model_copy(update={"runtime": CI.runtime.model_copy(update={"image": image, "gpus": gpus})})


def test_the_image_is_the_configured_one(tmp_path: Path) -> None:
    assert containers.image(with_image(None), tmp_path) == str(tmp_path / "containers/cpu.sif")
    assert containers.image(with_image(None, gpus=1), tmp_path) == str(tmp_path / "containers/gpu.sif")
    assert containers.image(with_image("images/mine.sif"), tmp_path) == str(tmp_path / "images/mine.sif")
    assert containers.image(with_image("docker://mine@sha256:00"), tmp_path) == "docker://mine@sha256:00"


def test_a_path_with_a_space_stops_containers_only(tmp_path: Path) -> None:
    """Snakemake takes no image at such a path, and would stop every run of a checkout that lies there."""
    folder = tmp_path / "my folder"
    assert containers.image(with_image(None), folder) == str(tmp_path / "my_folder/containers/cpu.sif")
    (tmp_path / "apptainer").write_text("#!/bin/sh\n")
    (tmp_path / "apptainer").chmod(0o755)
    with pytest.raises(CardproofError, match=r"my folder/.* contains whitespace"):
        containers.prepare(with_image(None), folder, {"PATH": str(tmp_path)})


def test_an_image_is_known_by_its_hash_also_after_it_was_replaced(tmp_path: Path) -> None:
    sif = tmp_path / "x.sif"
    sif.write_bytes(b"one")
    assert containers.identity(str(sif)) == f"sha256:{sha256_file(sif)}"
    assert (tmp_path / "x.sif.json").is_file(), "hashed once"
    assert containers.identity(str(sif)) == f"sha256:{sha256_file(sif)}"
    sif.write_bytes(b"other")
    assert containers.identity(str(sif)) == f"sha256:{sha256_file(sif)}"
    assert containers.identity("docker://mine@sha256:00") == "docker://mine@sha256:00"


def test_jobs_get_cache_code_and_folders(tmp_path: Path) -> None:
    (tmp_path / "apptainer").write_text("#!/bin/sh\n")
    (tmp_path / "apptainer").chmod(0o755)
    (tmp_path / "x.sif").write_bytes(b"image")
    (tmp_path / "data").mkdir()
    settings = with_image("x.sif")
    settings = settings.model_copy(
        update={"benchmark": settings.benchmark.model_copy(update={"source": "folder", "path": str(tmp_path / "data")})}
    )
    environment = {"PATH": str(tmp_path), "HF_HOME": str(tmp_path / "hub"), "HF_TOKEN": "t", "APPTAINER_BIND": "/already", "OTHER": "x"}
    environment["CARDPROOF_MIRROR"] = str(tmp_path / "mirror")
    (tmp_path / "mirror").mkdir()
    assert containers.prepare(settings, tmp_path, environment).startswith("sha256:")
    assert environment["APPTAINERENV_HF_HOME"] == str(tmp_path / "hub")
    assert (tmp_path / "hub").is_dir()
    assert environment["APPTAINERENV_HF_TOKEN"] == "t"
    assert "APPTAINERENV_OTHER" not in environment
    assert environment["APPTAINER_BIND"].split(",") == ["/already", *(str(tmp_path / name) for name in ("", "hub", "mirror", "data"))]
    assert environment["APPTAINERENV_CARDPROOF_MIRROR"] == str(tmp_path / "mirror")


def test_a_missing_image_and_a_missing_apptainer_are_one_sentence_and_a_hint(tmp_path: Path) -> None:
    bare = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    said = snakemake(tmp_path, "--use-apptainer", path=bare)
    if "neither apptainer" not in said.stderr:
        pytest.skip("Apptainer lies in /usr/bin of this machine: its absence cannot be shown here")
    assert said.returncode == 2
    assert "Hint: install Apptainer" in said.stderr
    assert "Traceback" not in said.stderr
    program = tmp_path / "bin" / "apptainer"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho apptainer version 1.4.5\n")
    program.chmod(0o755)
    said = snakemake(tmp_path, "--use-apptainer", "--config", 'runtime={"image": "no/such.sif"}', path=f"{program.parent}:{bare}")
    assert said.returncode == 2
    assert "no/such.sif does not exist" in said.stderr
    assert "Hint: build it: make container" in said.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(("verb", "offline"), [("acquire-model", False), ("score", True), ("train", True)])
def test_only_fetching_verbs_may_ask_the_hub(verb: str, offline: bool) -> None:
    code = f"""
import os; os.environ.pop("HF_HUB_OFFLINE", None)
from cardproof.cli.main import cli
cli.commands[{verb!r}].callback = lambda **options: print("offline", os.environ.get("HF_HUB_OFFLINE"))
cli.commands[{verb!r}].params = []
cli([{verb!r}], standalone_mode=False)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == f"offline {'1' if offline else None}", done.stderr


# --- SLURM ------------------------------------------------------------------------------------------------------------

THERE = [Nodes("cpu", 64_000, 0, True), Nodes("gpu", 256_000, 2, False), Nodes("gpu-long", 512_000, 0, False)]


@pytest.mark.parametrize(
    ("request_", "sentence", "hint"),
    [
        (
            Request("sample", "gpus", 1000, 1),
            "asks for partition 'gpus', but this cluster has only cpu, gpu, gpu-long",
            "slurm_partition=gpu",
        ),
        (
            Request("train", "cpu", 99_000, 0),
            "asks for 99,000 MB of memory, but the largest node of partition 'cpu' has 64,000",
            "memory_gb",
        ),
        (Request("train", None, 99_000, 0), "the default partition has 64,000 MB", "memory_gb"),
        (Request("train", "cpu", 1000, 1), "asks for 1 GPU, but no node of partition 'cpu' has one", "runtime.gpus to at most 0"),
        (Request("train", "gpu,gpu-short", 1000, 1), "asks for partition 'gpu-short'", "slurm_partition=gpu"),
        (Request("train", "gpu", 1000, 4), "asks for 4 GPUs, but no node of partition 'gpu' has as many", "runtime.gpus to at most 2"),
        (Request("train", "gpu,gpu-long", 400_000, 1), "no single node of partition 'gpu,gpu-long' has both", "mem_mb"),
    ],
)
def test_what_no_node_can_meet_is_said_before_a_job_is_submitted(request_: Request, sentence: str, hint: str) -> None:
    with pytest.raises(CardproofError) as error:
        check([Request("split", None, 500, 0), request_], THERE)
    assert sentence in error.value.sentence
    assert hint in error.value.hint


def test_what_the_cluster_has_is_accepted() -> None:
    check([Request("split", None, 64_000, 0), Request("sample", "gpu", 256_000, 2), Request("train", "cpu, gpu", 256_000, 1)], THERE)


@pytest.mark.parametrize(
    ("listed", "count"),
    [
        ("(null)", 0),
        ("gpu:2", 2),
        ("gpu", 1),
        ("gpu:a100:4(S:0-1)", 4),
        ("gpu:a100:4(S:0-1),gpu:t4:1", 5),
        ("shard:8,gpu:h100:8", 8),
        ("nogpu:3", 0),
    ],
)
def test_gpus_of_a_node_as_sinfo_lists_them(listed: str, count: int) -> None:
    assert gpus_of(listed) == count


# --- shards -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_samples_are_the_same_bytes_for_any_number_of_shards(tmp_path: Path, tiny_lm: Path) -> None:
    from cardproof.cli.main import cli
    from cardproof.records import Document, Message, Prompt

    prompts = tmp_path / "prompts.jsonl"
    rows = []
    for item in range(5):
        text = f"Question {item}: what does clause {item} of this licence say about copies" + " and notices" * item + "?"
        rows.append(
            Prompt(
                item=item,
                condition="clean",
                contract=True,
                question=text,
                reference="It says so.",
                oracle_id=f"d{item}",
                documents=[Document(id=f"d{item}", text=text, role="oracle")],
                oracle_present=True,
                messages=[Message(role="user", content=text)],
                prompt_hash=f"{item:064x}",
            )
        )
    write_rows(prompts, rows)
    settings = tmp_path / "config.yaml"
    settings.write_text(texts.to_yaml(CI))
    gathered = {}
    for of in (1, 3, 8):
        pieces = [tmp_path / f"{number}-of-{of}.jsonl" for number in range(of)]
        for number, piece in enumerate(pieces):
            arguments = ["sample", "--config", settings, "--arm", "base", "--model", tiny_lm, "--shard", f"{number}/{of}"]
            arguments += ["--store", tmp_path / "store" / piece.name, "--work", prompts, piece]
            cli([str(a) for a in arguments], standalone_mode=False)
        gather(pieces, tmp_path / f"{of}.jsonl")
        gathered[of] = (tmp_path / f"{of}.jsonl").read_bytes()
    assert gathered[1] == gathered[3] == gathered[8]
    found = read_rows(tmp_path / "1.jsonl", Rollout)
    assert len(found) == 5 * CI.conditions.clean.n
    assert len({r.text for r in found}) > 5, "the rollouts differ from one another"


def test_shards_cover_every_item_once_in_order() -> None:
    for of in (1, 3, 8):
        assert [item for number in range(of) for item in shard(list(range(5)), number, of)] == list(range(5))
