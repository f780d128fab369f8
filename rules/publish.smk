# What people look at: figures and the card, from results alone.
FIGURES = ("training_loss", "axes", "stress", "near_miss", "compute_curve")


rule figures:
    input:
        evaluation=rules.evaluate.output,
        training=[f"{RUN}/training/{variant}/metrics.json" for variant in TRAINED],
    output:
        [f"{RUN}/figures/{name}.{kind}" for name in FIGURES for kind in ("json", "svg", "png")],
    log:
        f"{RUN}/logs/figures.log",
    params:
        settings=settings("figures"),
        code=code("figures"),
        run=lambda wildcards: RUN,
        out=lambda wildcards, output: Path(output[0]).parent,
    message:
        "Drawing the figures."
    shell:
        "cardproof figures --run {params.run} --out {params.out} 2>&1 | tee {log}"


rule card:
    input:
        evaluation=rules.evaluate.output,
        training=[f"{RUN}/training/{variant}/metrics.json" for variant in TRAINED],
        selection=f"{RUN}/distill/selection.json",
        leakage=f"{RUN}/split/leakage.json",
        figures=rules.figures.output,
        verifier=f"{RUN}/verifier/metrics.json",
        audit=rules.audit.output,
        reconcile=rules.reconcile.output if CONFIG.reading_runs else [],
        verdicts=rules.claims.output,
        claims=Path(workflow.basedir, "published", "claims.yaml"),
        templates=sorted(str(p) for p in Path(workflow.basedir, "report").rglob("*.j2")),
    output:
        card=f"{RUN}/card/README.md",
        # The Hub's list of results speaks of data sets on the Hub alone.
        eval_results=[f"{RUN}/card/{EVAL_RESULTS}"] if CONFIG.benchmark.source == "hub" else [],
    log:
        f"{RUN}/logs/card.log",
    params:
        settings=CONFIG.fingerprint(*type(CONFIG).model_fields),
        code=code("card"),
        run=lambda wildcards: RUN,
        templates=Path(workflow.basedir, "report"),
    message:
        "Rendering the card."
    shell:
        "cardproof card --run {params.run} --templates {params.templates} --claims {input.claims} --out {output.card} 2>&1 | tee {log}"
