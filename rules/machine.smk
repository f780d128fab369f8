# Before anything is fetched or computed: does this machine have what the run needs? Everything else waits for the answer.


# No code or settings among the parameters: all of the run depends on this file, and looking again must not make a run do its work again.
rule preflight:
    output:
        f"{RUN}/preflight.json",
    log:
        f"{RUN}/logs/preflight.log",
    benchmark:
        f"{RUN}/cost/preflight.tsv"
    retries: 0
    conda:
        ENVIRONMENT
    resources:
        gpu=GPUS,
    params:
        config=CONFIG_FILE,
        templates=Path(SOURCE, "prompts"),
        claims=Path(SOURCE, "published", "claims.yaml"),
    message:
        "Checking that this machine has what the run needs."
    shell:
        "cardproof preflight --config {params.config} --templates {params.templates:q} --claims {params.claims:q} --out {output} > {log} 2>&1"


PREFLIGHT = rules.preflight.output if CONFIG.needs_preflight else []
