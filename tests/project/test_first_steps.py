"""What a new user types and meets: commands as printed, files of their own in the checkout, folders and homes that cannot be written."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cardproof.cli.main import cli
from helpers.places import ROOT
from helpers.workflow import PATIENCE, planned, snakemake

SHOWN_AGAIN = {"provenance", "claims", "figures", "card", "report", "all"}
"""Rules whose results show the configuration."""


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(cli, list(arguments))
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


@pytest.mark.parametrize("overlay", ["demo", "ci", "legal-cpu"])
def test_an_overlay_alone_is_laid_over_the_recipe_by_every_verb(overlay: str) -> None:
    file = str(ROOT / f"config/{overlay}.yaml")
    alone = printed("config", "--configfile", file)
    assert alone == printed("config", "--configfile", str(ROOT / "config.yaml"), "--configfile", file)
    assert f'run: "{overlay}"' in alone
    assert "embedded" in alone
    assert printed("acquire", "--configfile", file) == "This configuration takes nothing from the hub.\n"


def test_the_report_of_snakemake_is_asked_of_a_run_that_is_named() -> None:
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for command in re.findall(r"snakemake [^`\n]*--report [^`\n]*", path.read_text(encoding="utf-8")):
            assert "--configfile" in command, f"{path.name}: {command}"


def test_a_lock_that_was_left_behind_is_explained() -> None:
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert "LockException" in text and "snakemake --unlock --configfile" in text


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")
@pytest.mark.parametrize(
    "name",
    ["config/mine.yaml", "config/mine-2.yaml", "demo.tar.zst", "report.html", "report.zip", "rehearsal.json", "benchmarks/mine/a.json"],
)
def test_git_ignores_what_a_user_adds(name: str) -> None:
    assert subprocess.run(["git", "-C", str(ROOT), "check-ignore", "-q", name]).returncode == 0


def test_benchmarks_leave_the_results_of_the_project_alone() -> None:
    asked = "from benchmarks.common import RESULTS; print(RESULTS.name)"
    clean = {k: v for k, v in os.environ.items() if k != "CARDPROOF_BENCHMARKS_KEEP"}
    kept = (("", "mine"), ("1", "results"), ("zen-5", "zen-5"))
    for environment, folder in [(clean, "mine"), *(({**clean, "CARDPROOF_BENCHMARKS_KEEP": value}, folder) for value, folder in kept)]:
        done = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == folder


@pytest.mark.slow
def test_settings_of_the_machine_run_no_model_again(ci_run: Path) -> None:
    """As docs/config.md says of them."""
    assert "only `sampling.shards` runs a model again" in (ROOT / "docs/config.md").read_text(encoding="utf-8")
    for setting in (
        'sampling={"rows": 7}',
        'sampling={"prompt_lookup": 2}',
        'training={"gradient_checkpointing": false}',
        'runtime={"memory_gb": 9}',
    ):
        found = planned(snakemake(ci_run, "-n", "--config", setting))
        assert set(found) <= SHOWN_AGAIN, setting


# --- make -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that `make setup` and `make demo` begin with."""
    locks = [f"envs/{path.name}" for path in (ROOT / "envs").glob("lock-*.txt")]
    for name in ("Makefile", "pyproject.toml", "tools/demo.sh", "envs/install.sh", *locks):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.slow
def test_a_renamed_checkout_makes_its_environment_again_and_no_network_is_said(checkout: Path) -> None:
    scripts = checkout / ".venv/bin"
    scripts.mkdir(parents=True)
    (scripts / "pip").write_text("#!/elsewhere/.venv/bin/python3\n")
    (checkout / ".venv/.ready").touch()
    closed = {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "PIP_RETRIES": "0",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_CACHE_DIR": "1",
    }
    environment = {**{k: v for k, v in os.environ.items() if not k.startswith("PIP_")}, **closed}
    done = subprocess.run(
        ["make", "setup", f"PYTHON={sys.executable}"], cwd=checkout, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 2
    assert "This checkout was renamed or copied, so .venv is made again." in done.stdout
    assert "PyTorch's own index of CPU builds cannot be reached; going on with pip's index." in done.stdout
    assert "cardproof: error: pip could not install" in done.stderr and "Hint: the first set-up needs a network" in done.stderr
    assert not (checkout / ".venv/.ready").exists()
    assert f"{checkout}/.venv/bin" in (scripts / "pip").read_text()


SAYS = """
echo 'Building DAG of jobs...'
echo 'Job stats:'
echo 'job       count'
echo '------  -------'
echo 'audit         1'
echo 'sample       52'
echo 'total        53'
echo 'Job 3: Auditing the published card.' >&2
echo 'sample base:  50%' >&2
echo 'Finished jobid: 3 (Rule: audit)' >&2
echo '1 of 53 steps (2%) done' >&2
echo "Job 2: Caches in ${XDG_CACHE_HOME:-$HOME/.cache}: bars off $TQDM_DISABLE."
"""
ANSWER = "This run cannot say whether the card holds."
PROGRAM = f"""case $1 in
progress) exec {sys.executable} -m cardproof "$@" ;;
verify) %s ;;
claims) printf '{ANSWER}\\n\\nClaims of a card\\n' ;;
esac"""


def demo(checkout: Path, workflow: str = SAYS, verify: str = "exit 0", **environment: str) -> subprocess.CompletedProcess[str]:
    """`tools/demo.sh` with programs in the place of Snakemake and cardproof that say something and end."""
    programs = checkout / "programs"
    programs.mkdir()
    for name, line in (("snakemake", workflow), ("cardproof", PROGRAM % verify)):
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    clean = {k: v for k, v in os.environ.items() if k != "XDG_CACHE_HOME"}
    environment = {**clean, "PATH": path, "PYTHONPATH": str(ROOT / "src"), **environment}
    return subprocess.run(["bash", "tools/demo.sh"], cwd=checkout, env=environment, capture_output=True, text=True, timeout=PATIENCE)


def test_a_home_that_cannot_be_written_is_not_needed(checkout: Path) -> None:
    done = demo(checkout, HOME="/dev/null")
    assert done.returncode == 0, done.stderr
    assert f"Caches in {checkout}/.snakemake/cache" in done.stdout and not done.stderr


def test_the_demo_says_what_is_known_first_then_how_far_it_is_and_the_answer_last(checkout: Path) -> None:
    done = demo(checkout, HOME=str(checkout))
    assert done.returncode == 0 and not done.stderr
    said = done.stdout.splitlines()
    assert said[0].startswith(
        "By its own arithmetic the card contradicts itself once (The printed recipe makes 28 optimizer steps, not 14;"
    )
    assert re.fullmatch(r"The run: 53 jobs, about \d+ min if nothing else keeps this machine busy\.", said[1])
    assert re.fullmatch(r"\[0 of 53 jobs, about \d+ min left\] Auditing the published card", said[2])
    assert re.fullmatch(rf"\[1 of 53 jobs, about \d+ min left\] Caches in {re.escape(str(checkout))}/.cache: bars off 1", said[3])
    assert said[4:7] == ["", ANSWER, ""] and said[7].startswith("Done in 0 min")
    log = (checkout / ".snakemake/demo.log").read_text()
    assert "Building DAG of jobs..." in log and "sample base:  50%" in log


@pytest.mark.parametrize(
    ("workflow", "told", "untold"),
    [
        ("echo 'Job 1: a'; echo 'Error in rule audit:'; echo '    jobid: 1'; exit 1", ["Error in rule audit:", "    jobid: 1"], "Job 1"),
        ("echo 'cardproof: error: no.' >&2; echo 'Hint: yes.' >&2; exit 2", ["cardproof: error: no.", "Hint: yes."], "Done"),
        ("echo something; exit 1", ["something"], "Done"),
        ("echo 'Job 1: a'; kill -9 $$", ["Job 1: a"], "Done in"),
    ],
)
def test_a_demo_that_fails_says_why(checkout: Path, workflow: str, told: list[str], untold: str) -> None:
    done = demo(checkout, workflow, HOME=str(checkout))
    assert done.returncode == 1
    said = done.stderr.splitlines()
    assert [line for line in said if line in told] == told
    assert untold not in done.stderr and "Done" not in done.stdout
    assert said[-1] == "All that was said: .snakemake/demo.log"


def test_a_checkout_that_cannot_be_written_is_said(checkout: Path) -> None:
    (checkout / ".snakemake").write_text("in the way, as a file system is that is mounted to be read")
    done = demo(checkout)
    assert done.returncode == 2
    assert done.stderr.startswith(f"cardproof: error: {checkout} cannot be written.\nHint: ")


def test_a_demo_whose_chain_is_broken_is_not_done(checkout: Path) -> None:
    done = demo(checkout, verify="echo 'cardproof: error: support/base/clean.jsonl is missing.'; exit 4")
    assert done.returncode == 4
    assert "support/base/clean.jsonl is missing" in done.stderr and "Done" not in done.stdout
