# Training: the LoRA adapters, and the embedded verifier.


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
    threads: CONFIG.runtime.threads
    resources:
        gpu=GPUS,
        mem_mb=MODEL_MEMORY_MB,
    params:
        config=CONFIG_FILE,
        settings=lambda wildcards: settings("train", **wildcards),
        code=code("train"),
        work=f"{RUN}/work/train_{{variant}}",
    message:
        "Training {wildcards.variant}."
    shell:
        "cardproof train --config {params.config} --variant {wildcards.variant} --examples {input.examples} --model {input.model}"
        " --out {output.adapter} --metrics {output.metrics} --work {params.work} 2>&1 | tee {log}"


rule train_verifier:
    input:
        encoder=f"{RUN}/models/encoder",
        corpus=rules.acquire_benchmark.output.corpus,
        train=rules.split.output.train,
        eval=rules.split.output.eval,
    output:
        model=directory(f"{RUN}/models/verifier"),
        metrics=f"{RUN}/verifier/training.json",
    log:
        f"{RUN}/logs/train_verifier.log",
    benchmark:
        f"{RUN}/cost/train_verifier.tsv"
    threads: CONFIG.runtime.threads
    resources:
        mem_mb=MODEL_MEMORY_MB,
    params:
        config=CONFIG_FILE,
        settings=settings("train_verifier"),
        code=code("train_verifier"),
    message:
        "Training the embedded verifier."
    shell:
        "cardproof train-verifier --config {params.config} --encoder {input.encoder} --corpus {input.corpus} --train {input.train}"
        " --eval {input.eval} --out {output.model} --metrics {output.metrics} 2>&1 | tee {log}"
