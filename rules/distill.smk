# The base model's best replies to the train items become training examples.


rule distill:
    input:
        prompts=f"{RUN}/prompts/train.jsonl",
        samples=f"{RUN}/samples/train/train.jsonl",
        scores=f"{RUN}/scores/train/train.parquet",
        templates=sorted(str(p) for p in Path(workflow.basedir, "prompts").iterdir()),
    output:
        examples=f"{RUN}/distill/raft.jsonl",
        selection=f"{RUN}/distill/selection.json",
    log:
        f"{RUN}/logs/distill.log",
    benchmark:
        f"{RUN}/cost/distill.tsv"
    params:
        config=CONFIG_FILE,
        settings=settings("distill"),
        code=code("distill"),
        templates=lambda wildcards, input: Path(input.templates[0]).parent,
    message:
        "Selecting training examples."
    shell:
        "cardproof distill --config {params.config} --prompts {input.prompts} --samples {input.samples} --scores {input.scores}"
        " --templates {params.templates:q} --out {output.examples} --selection {output.selection} 2>&1 | tee {log}"
