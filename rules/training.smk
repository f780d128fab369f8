# From the base model's best replies to the train items to training examples, and from examples to LoRA adapters.


rule distill:
    input:
        prompts=f"{RUN}/prompts/train.jsonl",
        samples=f"{RUN}/samples/train/train.jsonl",
        scores=f"{RUN}/scores/train/train.parquet",
        templates=source_files("prompts"),
    output:
        examples=f"{RUN}/distill/raft.jsonl",
        selection=f"{RUN}/distill/selection.json",
    log:
        f"{RUN}/logs/distill.log",
    benchmark:
        f"{RUN}/cost/distill.tsv"
    conda:
        ENVIRONMENT
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


rule train:
    input:
        model=rules.acquire_model.output,
        examples=rules.distill.output.examples,
    output:
        adapter=directory(f"{RUN}/training/{{variant}}/adapter"),
        metrics=f"{RUN}/training/{{variant}}/metrics.json",
    log:
        f"{RUN}/logs/train_{{variant}}.log",
    benchmark:
        f"{RUN}/cost/train_{{variant}}.tsv"
    priority: 1  # an arm waits for it: trained last, one is sampled alone at the end
    conda:
        ENVIRONMENT
    threads: CONFIG.runtime.threads
    resources:
        gpu=GPUS,
        mem_mb=MODEL_MEMORY_MB,
    params:
        config=CONFIG_FILE,
        settings=lambda wildcards: settings("train", **wildcards),
        code=code("train"),
        work=f"{FOLDER}/work/train_{{variant}}",
    message:
        "Training {wildcards.variant}."
    shell:
        "cardproof train --config {params.config} --variant {wildcards.variant} --examples {input.examples} --model {input.model}"
        " --out {output.adapter} --metrics {output.metrics} --work {params.work} 2>&1 | tee {log}"
