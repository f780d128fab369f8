# cardproof: regenerate every number on a published model card, and judge each one.
#
#   snakemake --cores all --use-apptainer                              the published recipe (one GPU)
#   snakemake --cores all --configfile config/demo.yaml                the embedded demo (CPU)
#
# The configuration is checked here, before any job is planned; rules never read the raw `config`, but CONFIG (a typed object) and
# the providers below. Every rule calls one verb of the `cardproof` command.
import contextlib
import os
import re
import shlex
import sys
from pathlib import Path

from snakemake.settings.types import DeploymentMethod
from snakemake.utils import min_version

from cardproof.config import reading, texts
from cardproof.config.settings import CONDITIONS, PUBLISHED, REFERENCE
from cardproof.runs import CLAIMS, EVAL_RESULTS, EVALUATION, LOGS, PROMPT, figures_of
from cardproof.machine import containers as deployment
from cardproof.machine import slurm as cluster
from cardproof.machine.start import check_writable
from cardproof.machine.threads import too_many
from cardproof.evidence.replay import configuration as archived_configuration
from cardproof.errors import CardproofError, of_system
from cardproof.files import write_json, write_text
from cardproof.evidence.provenance import code_fingerprint, settings_fingerprint
from cardproof.evidence.verify import logs as log_hashes

min_version("9.0")


# The checkout, also where another workflow imports this one as a module.
CHECKOUT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True))
if not CHECKOUT.is_dir():
    print(
        f"cardproof: error: {CHECKOUT} is not on this machine, and the rules read templates and claims beside the Snakefile.",
        file=sys.stderr,
    )
    print("Hint: clone the repository, and give the module the path of its Snakefile.", file=sys.stderr)
    sys.exit(CardproofError.exit_code)
# As a module this workflow gets no configuration file and no command line, but the mapping that the module statement names.
IMPORTED = not workflow.modifier.is_main_snakefile()


configfile: str(CHECKOUT / "config.yaml")


report: "report/workflow.rst"


# Snakemake writes its records there next. With --use-apptainer every job runs in the image that the configuration names, and the image is part of what a job depends on.
try:
    check_writable(Path(), "work in a folder of your own: cd FOLDER, or --directory FOLDER.")
    # `--config replay=PATH`: the archived run's own configuration counts, and nothing else given here.
    if config.get("replay"):
        CONFIG = archived_configuration(Path(config["replay"]), config["published"] if config.get("published") != PUBLISHED else None)
    elif IMPORTED:
        CONFIG = reading.load(CHECKOUT / "config.yaml", overrides=config)
    else:
        CONFIG = reading.validate(config, " + ".join(str(f) for f in workflow.configfiles))
    CONTAINED = DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method
    IMAGE_IDENTITY = deployment.prepare(CONFIG, CHECKOUT) if CONTAINED else ""
except CardproofError as error:
    print(f"cardproof: error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)


container: deployment.image(CONFIG, CHECKOUT)


# The checkout as seen from the working folder: inputs are recorded by their paths, and a checkout that was renamed has not changed.
SOURCE = Path(os.path.relpath(CHECKOUT))
# The run's folder as rules name it in their inputs and outputs, and as commands find it: a module's prefix goes before all inputs and outputs.
RUN = f"results/{CONFIG.run}"
FOLDER = str(workflow.modifier.modify_path(RUN))
CONFIG_FILE = f"{FOLDER}/config.yaml"
ARMS = list(CONFIG.sampled_arms)
SUBJECT = CONFIG.subject_arm or REFERENCE
TRAINED = list(CONFIG.training_runs)
SHARDS = list(range(CONFIG.sampling.shards))
GPUS = CONFIG.runtime.gpus
MODEL_MEMORY_MB = 1000 * CONFIG.runtime.memory_gb


wildcard_constraints:
    arm="|".join(map(re.escape, ARMS)),
    variant="|".join(map(re.escape, TRAINED)),
    condition="|".join([*CONDITIONS, "train"]),
    shard=r"\d+",


# GPUs are counted together on one machine, and job by job on a cluster: there the default profile's limit of one would keep all shards but
# one out of the queue.
resource_scopes:
    gpu="local",


# Jobs that no node of a cluster can run are refused before the first is submitted.
# The resolved configuration is written when work begins, not by a rule: Snakemake 9 plans none of the jobs behind an `ancient` input
# whose job has to run, and as an ordinary input it would rerun everything. Any change of it reruns at least the claims and the card.
# Where it holds the same settings already it stays as it is: results carry its hash, and a comment alone must not break their chain.
onstart:
    if workflow.executor_plugin.name == "slurm":
        try:
            cluster.check([request(job) for job in workflow.dag.needrun_jobs() if not job.is_local], cluster.nodes())
        except CardproofError as error:
            print(f"cardproof: error: {error}", file=sys.stderr)
            sys.exit(error.exit_code)
    elif wrong := too_many(CONFIG.runtime.threads):
        print("cardproof: warning: {}. Better: {}.".format(*wrong), file=sys.stderr)
    write_configuration()


# Logs are written outside the steps, so their hashes are taken when all is done.
onsuccess:
    write_json(Path(FOLDER, LOGS), log_hashes(Path(FOLDER)))


include: "rules/providers.smk"
include: "rules/machine.smk"
include: "rules/acquire.smk"
include: "rules/benchmark.smk"
include: "rules/sampling.smk"
include: "rules/verifier.smk"
include: "rules/scoring.smk"
include: "rules/training.smk"
include: "rules/evaluation.smk"
include: "rules/evidence.smk"
include: "rules/claims.smk"
include: "rules/pages.smk"


rule all:
    default_target: True
    input:
        card=rules.card.output,
        report=rules.report.output,
        figures=rules.figures.output,
        evaluation=rules.evaluate.output,
        claims=rules.claims.output,
        # Snakemake does not miss what lies behind results that are there. Their chain does, so all of it is asked for by name.
        chain=behind,
    localrule: True


# What a machine lacks is said last, below Snakemake's own account of the failed job.
onerror:
    with contextlib.suppress(OSError):  # on a full disk the reason was said already
        write_json(Path(FOLDER, LOGS), log_hashes(Path(FOLDER)))
    said = Path(f"{FOLDER}/logs/preflight.log")
    if PREFLIGHT and said.is_file() and not Path(PREFLIGHT[0]).is_file():
        print("\n" + "".join(line for line in said.open() if not line.startswith("cardproof: warning")), file=sys.stderr)
