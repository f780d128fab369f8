# Before anything is fetched or computed: does this machine have what the run needs? Everything else waits for the answer.
from snakemake.settings.types import DeploymentMethod

# In the environment, not a parameter: with containers or without, the answer is not looked for again.
if DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method:
    os.environ["CARDPROOF_CONTAINER"] = "1"


# No code or settings among the parameters: all of the run depends on this file, and looking again must not make a run do its work again.
rule preflight:
    output:
        f"{RUN}/preflight.json",
    log:
        f"{RUN}/logs/preflight.log",
    resources:
        gpu=GPUS,
    params:
        templates=Path(workflow.basedir, "prompts"),
        claims=Path(workflow.basedir, "published", "claims.yaml"),
    message:
        "Checking that this machine has what the run needs."
    shell:
        "cardproof preflight --config {CONFIG_FILE} --templates {params.templates} --claims {params.claims} --out {output} > {log} 2>&1"


PREFLIGHT = rules.preflight.output if CONFIG.needs_preflight else []
