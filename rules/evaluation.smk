# From scores to the card's numbers.


rule evaluate:
    input:
        scores=[f"{RUN}/scores/{arm}/{condition}.parquet" for arm in ARMS for condition in CONDITIONS],
        prompts=[f"{RUN}/prompts/{condition}.jsonl" for condition in CONDITIONS],
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
        prompts=lambda wildcards: f"{FOLDER}/prompts",
        out=lambda wildcards, output: Path(output[0]).parent,
    message:
        "Evaluating every axis."
    shell:
        "cardproof evaluate --config {params.config} --scores {params.scores} --prompts {params.prompts} --out {params.out} 2>&1 | tee {log}"
