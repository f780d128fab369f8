# From scores to the card's numbers.


rule evaluate:
    input:
        scores=[f"{RUN}/scores/{arm}/{condition}.parquet" for arm in ARMS for condition in CONDITIONS],
    output:
        [f"{RUN}/evaluation/{name}.json" for name in EVALUATION],
    log:
        f"{RUN}/logs/evaluate.log",
    benchmark:
        f"{RUN}/cost/evaluate.tsv"
    conda:
        ENVIRONMENT
    params:
        config=CONFIG_FILE,
        settings=settings("evaluate"),
        code=code("evaluate"),
        scores=lambda wildcards: f"{FOLDER}/scores",
        out=lambda wildcards, output: Path(output[0]).parent,
    message:
        "Evaluating every axis."
    shell:
        "cardproof evaluate --config {params.config} --scores {params.scores} --out {params.out} 2>&1 | tee {log}"
