# The published card against itself, and against this run.


if CLAIMS_FILE:

    rule audit:
        input:
            begin,
            claims=CLAIMS_FILE,
        output:
            f"{RUN}/audit.json",
        log:
            f"{RUN}/logs/audit.log",
        benchmark:
            f"{RUN}/cost/audit.tsv"
        localrule: True
        conda:
            ENVIRONMENT
        params:
            code=code("audit"),
        message:
            "Auditing the published card."
        shell:
            "cardproof audit --claims {input.claims:q} --out {output} > {log} 2>&1 || {{ cat {log}; exit 1; }}"


if CLAIMS_FILE and CONFIG.reading_runs:

    rule reconcile:
        input:
            claims=CLAIMS_FILE,
            training=[f"{RUN}/training/{variant}/metrics.json" for variant in dict.fromkeys(CONFIG.reading_runs.values())],
        output:
            f"{RUN}/evaluation/reconcile.json",
        log:
            f"{RUN}/logs/reconcile.log",
        benchmark:
            f"{RUN}/cost/reconcile.tsv"
        conda:
            ENVIRONMENT
        params:
            config=CONFIG_FILE,
            settings=settings("reconcile"),
            code=code("reconcile"),
            run=lambda wildcards: FOLDER,
        message:
            "Comparing the readings of the recipe."
        shell:
            "cardproof reconcile --config {params.config} --run {params.run} --claims {input.claims:q} --out {output} 2>&1 | tee {log}"


rule claims:
    input:
        claims=CLAIMS_FILE or [],
        audit=AUDITED,
        evaluation=rules.evaluate.output,
        training=[f"{RUN}/training/{variant}/metrics.json" for variant in TRAINED],
        selection=SELECTED,
        samples=[f"{RUN}/samples/{arm}/clean.jsonl" for arm in ARMS],
        provenance=rules.provenance.output,
    output:
        f"{RUN}/claims.json",
    log:
        f"{RUN}/logs/claims.log",
    benchmark:
        f"{RUN}/cost/claims.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        settings=CONFIG.fingerprint(*type(CONFIG).model_fields),
        code=code("claims"),
        card=CLAIMS_OPTION,
        run=lambda wildcards: FOLDER,
    message:
        "Judging every claim of the published card, if there is one."
    shell:
        "cardproof claims --run {params.run} {params.card} --out {output} > {log} 2>&1 || {{ cat {log}; exit 1; }}"
