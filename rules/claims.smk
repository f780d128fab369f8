# The published card against itself, and against this run.


rule audit:
    input:
        claims=Path(workflow.basedir, "published", "claims.yaml"),
    output:
        f"{RUN}/audit.json",
    log:
        f"{RUN}/logs/audit.log",
    params:
        code=code("audit"),
    message:
        "Auditing the published card."
    shell:
        "cardproof audit --claims {input.claims} --out {output} > {log} 2>&1 || {{ cat {log}; exit 1; }}"


rule provenance:
    input:
        evaluation=rules.evaluate.output,
        training=[f"{RUN}/training/{variant}/metrics.json" for variant in VARIANTS],
    output:
        f"{RUN}/provenance/steps.json",
    log:
        f"{RUN}/logs/provenance.log",
    params:
        settings=CONFIG.fingerprint(*type(CONFIG).model_fields),
        code=code("provenance"),
    message:
        "Recording which code and settings each step ran with."
    shell:
        "cardproof provenance --config {CONFIG_FILE} --out {output} 2>&1 | tee {log}"


rule claims:
    input:
        claims=Path(workflow.basedir, "published", "claims.yaml"),
        audit=rules.audit.output,
        evaluation=rules.evaluate.output,
        training=[f"{RUN}/training/{variant}/metrics.json" for variant in VARIANTS],
        selection=rules.distill.output.selection,
        provenance=rules.provenance.output,
    output:
        f"{RUN}/claims.json",
    log:
        f"{RUN}/logs/claims.log",
    params:
        settings=CONFIG.fingerprint(*type(CONFIG).model_fields),
        code=code("claims"),
        run=RUN,
    message:
        "Judging every claim of the published card."
    shell:
        "cardproof claims --run {params.run} --claims {input.claims} --out {output} > {log} 2>&1 || {{ cat {log}; exit 1; }}"
