# From rollouts to every axis.


rule score:
    input:
        prompts=f"{RUN}/prompts/{{condition}}.jsonl",
        samples=f"{RUN}/samples/{{arm}}/{{condition}}.jsonl",
        support=f"{RUN}/support/{{arm}}/{{condition}}.jsonl",
    output:
        f"{RUN}/scores/{{arm}}/{{condition}}.parquet",
    log:
        f"{RUN}/logs/score_{{arm}}_{{condition}}.log",
    benchmark:
        f"{RUN}/cost/score_{{arm}}_{{condition}}.tsv"
    wildcard_constraints:
        arm="|".join(map(re.escape, [*ARMS, "train"])),
    localrule: True
    conda:
        ENVIRONMENT
    params:
        config=CONFIG_FILE,
        settings=settings("score"),
        code=code("score"),
    message:
        "Scoring {wildcards.arm}/{wildcards.condition}."
    shell:
        "cardproof score --config {params.config} --prompts {input.prompts} --samples {input.samples} --support {input.support}"
        " --out {output} 2>&1 | tee {log}"
