# Which code and settings each step ran with; and, with `replay`, an archived run rescored.


rule provenance:
    input:
        evaluation=rules.evaluate.output,
        training=[f"{RUN}/training/{variant}/metrics.json" for variant in TRAINED],
    output:
        f"{RUN}/provenance/steps.json",
    log:
        f"{RUN}/logs/provenance.log",
    benchmark:
        f"{RUN}/cost/provenance.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        config=CONFIG_FILE,
        settings=CONFIG.fingerprint(*type(CONFIG).model_fields),
        code=code("provenance"),
    message:
        "Recording which code and settings each step ran with."
    shell:
        "cardproof provenance --config {params.config} --out {output} 2>&1 | tee {log}"


if CONFIG.replay:

    # An archived run scored again: samples and training metrics come from the archive, and no model is needed.
    # Inputs that a replay brings are named by path in the other rules: an input given as `rules.X.output` is always made by X.
    rule replay:
        input:
            outside(Path(CONFIG.replay, "config.yaml") if Path(CONFIG.replay).is_dir() else CONFIG.replay),
        output:
            [f"{RUN}/prompts/{condition}.jsonl" for condition in (*CONDITIONS, *["train"] * bool(TRAINED))],
            [f"{RUN}/{kind}/{arm}/{condition}.jsonl" for kind in ("samples", "support") for arm in ARMS for condition in CONDITIONS],
            [f"{RUN}/training/{variant}/metrics.json" for variant in TRAINED],
            SELECTED,
            f"{RUN}/split/leakage.json",
            f"{RUN}/verifier/metrics.json",
        log:
            f"{RUN}/logs/replay.log",
        benchmark:
            f"{RUN}/cost/replay.tsv"
        conda:
            ENVIRONMENT
        params:
            archive=CONFIG.replay,
            run=FOLDER,
            code=code("replay"),
        message:
            "Taking samples and metrics from {params.archive}."
        shell:
            "cardproof replay --archive {params.archive:q} --run {params.run} 2>&1 | tee {log}"

    ruleorder: replay > gather > support > prompts > split > distill > train > check_verifier > train_verifier
