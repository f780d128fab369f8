# What people look at: figures and the card, from results alone.


rule figures:
    input:
        evaluation=rules.evaluate.output,
        training=[f"{RUN}/training/{variant}/metrics.json" for variant in TRAINED],
        verdicts=rules.claims.output,
    output:
        [f"{RUN}/figures/{name}.{kind}" for name in DRAWN for kind in ("json", "png")],
        # Only the drawings go into Snakemake's own report.
        [
            report(
                f"{RUN}/figures/{name}.svg",
                caption=f"../report/captions/{name}.rst",
                category="Figures",
                labels={"figure": name.replace("_", " "), "scale": CONFIG.scale},
            )
            for name in DRAWN
        ],
    log:
        f"{RUN}/logs/figures.log",
    benchmark:
        f"{RUN}/cost/figures.tsv"
    conda:
        ENVIRONMENT
    params:
        settings=settings("figures"),
        code=code("figures"),
        name=CONFIG.run,
        standing=STANDING,
        run=lambda wildcards: FOLDER,
        out=lambda wildcards, output: Path(output[0]).parent,
    message:
        "Drawing the figures."
    shell:
        "cardproof figures --run {params.run} --out {params.out} 2>&1 | tee {log}"


rule card:
    input:
        evaluation=rules.evaluate.output,
        training=[f"{RUN}/training/{variant}/metrics.json" for variant in TRAINED],
        selection=SELECTED,
        leakage=f"{RUN}/split/leakage.json",
        figures=rules.figures.output,
        verifier=f"{RUN}/verifier/metrics.json",
        audit=AUDITED,
        reconcile=rules.reconcile.output if CLAIMS_FILE and CONFIG.reading_runs else [],
        verdicts=rules.claims.output,
        claims=CLAIMS_FILE or [],
        templates=source_files("report", "*.j2"),
        prompts=f"{RUN}/prompts/clean.jsonl",
        samples=f"{RUN}/samples/{SUBJECT}/clean.jsonl",
        scores=f"{RUN}/scores/{SUBJECT}/clean.parquet",
    output:
        card=report(
            f"{RUN}/card/README.md",
            caption="../report/captions/card.rst",
            category="Card and page",
            labels={"what": "model card", "scale": CONFIG.scale},
        ),
        prompt=f"{RUN}/card/{PROMPT}",
        # The Hub's list of results has only tasks that a data set on the Hub defines.
        eval_results=[f"{RUN}/card/{EVAL_RESULTS}"] if CONFIG.hub_tasks else [],
    log:
        f"{RUN}/logs/card.log",
    benchmark:
        f"{RUN}/cost/card.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        settings=CONFIG.fingerprint(*type(CONFIG).model_fields),
        code=code("card"),
        card=CLAIMS_OPTION,
        run=lambda wildcards: FOLDER,
        standing=STANDING,
        templates=Path(SOURCE, "report"),
    message:
        "Rendering the card."
    shell:
        "cardproof card --run {params.run} --templates {params.templates:q} {params.card} --out {output.card} 2>&1 | tee {log}"


rule report:
    input:
        card=rules.card.output.card,
        verdicts=rules.claims.output,
        audit=AUDITED,
        evaluation=rules.evaluate.output,
        figures=rules.figures.output,
        prompts=[f"{RUN}/prompts/{condition}.jsonl" for condition in CONDITIONS],
        samples=[f"{RUN}/samples/{arm}/{condition}.jsonl" for arm in ARMS for condition in CONDITIONS],
        scores=[f"{RUN}/scores/{arm}/{condition}.parquet" for arm in ARMS for condition in CONDITIONS],
        templates=source_files("report", "*.*"),
    output:
        page=report(
            f"{RUN}/report/index.html",
            caption="../report/captions/page.rst",
            category="Card and page",
            labels={"what": "reviewer's page", "scale": CONFIG.scale},
        ),
        verdicts=report(
            f"{RUN}/report/diff.html",
            caption="../report/captions/verdicts.rst",
            category="Card and page",
            labels={"what": "verdicts", "scale": CONFIG.scale},
        ),
        markdown=f"{RUN}/report/diff.md",
        # Empty unless there are many rollouts.
        parts=directory(f"{RUN}/report/items"),
    log:
        f"{RUN}/logs/report.log",
    benchmark:
        f"{RUN}/cost/report.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        code=code("report"),
        run=lambda wildcards: FOLDER,
        out=lambda wildcards, output: Path(output.page).parent,
        standing=STANDING,
        templates=Path(SOURCE, "report"),
    message:
        "Writing the reviewer's page."
    shell:
        "cardproof report --run {params.run} --templates {params.templates:q} --out {params.out} 2>&1 | tee {log}"
