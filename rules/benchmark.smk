# Questions and passages, their leakage-disjoint split, and what is asked about each item.


rule acquire_benchmark:
    input:
        begin,
    output:
        corpus=f"{RUN}/benchmark/corpus.jsonl",
        questions=f"{RUN}/benchmark/questions.jsonl",
    log:
        f"{RUN}/logs/acquire_benchmark.log",
    benchmark:
        f"{RUN}/cost/acquire_benchmark.tsv"
    priority: 1
    conda:
        ENVIRONMENT
    params:
        config=CONFIG_FILE,
        settings=settings("acquire_benchmark"),
        code=code("acquire_benchmark"),
    message:
        f"Fetching questions and passages ({CONFIG.benchmark.source})."
    shell:
        "cardproof acquire-benchmark --config {params.config} --corpus {output.corpus} --questions {output.questions} 2>&1 | tee {log}"


rule split:
    input:
        corpus=rules.acquire_benchmark.output.corpus,
        questions=rules.acquire_benchmark.output.questions,
    output:
        train=f"{RUN}/split/train.jsonl",
        eval=f"{RUN}/split/eval.jsonl",
        leakage=f"{RUN}/split/leakage.json",
    log:
        f"{RUN}/logs/split.log",
    benchmark:
        f"{RUN}/cost/split.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        config=CONFIG_FILE,
        settings=settings("split"),
        code=code("split"),
    message:
        "Splitting the questions without leakage."
    shell:
        "cardproof split --config {params.config} --corpus {input.corpus} --questions {input.questions}"
        " --train {output.train} --eval {output.eval} --leakage {output.leakage} 2>&1 | tee {log}"


rule prompts:
    input:
        corpus=rules.acquire_benchmark.output.corpus,
        questions=lambda wildcards: rules.split.output["train" if wildcards.condition == "train" else "eval"],
        templates=source_files("prompts"),
        train_side=lambda wildcards: [] if wildcards.condition == "train" else rules.split.output.train,
    output:
        f"{RUN}/prompts/{{condition}}.jsonl",
    log:
        f"{RUN}/logs/prompts_{{condition}}.log",
    benchmark:
        f"{RUN}/cost/prompts_{{condition}}.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        config=CONFIG_FILE,
        settings=lambda wildcards: settings("prompts_train") if wildcards.condition == "train" else settings("prompts", **wildcards),
        code=code("prompts"),
        templates=lambda wildcards, input: Path(input.templates[0]).parent,
        train_side=lambda wildcards, input: f"--train-side {input.train_side}" if input.train_side else "",
    message:
        "Rendering the {wildcards.condition} prompts."
    shell:
        "cardproof prompts --config {params.config} --condition {wildcards.condition} --corpus {input.corpus}"
        " --questions {input.questions} {params.train_side} --templates {params.templates:q} --out {output} 2>&1 | tee {log}"
