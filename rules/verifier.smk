# The verifier: its training where it is embedded, its word on every answer, and whether it works.


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
    conda:
        ENVIRONMENT
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


rule support:
    input:
        model=verifier_folder,
        prompts=[f"{RUN}/prompts/{condition}.jsonl" for condition in CONDITIONS],
        samples=[f"{RUN}/samples/{{arm}}/{condition}.jsonl" for condition in CONDITIONS],
    output:
        [f"{RUN}/support/{{arm}}/{condition}.jsonl" for condition in CONDITIONS],
    log:
        f"{RUN}/logs/support_{{arm}}.log",
    benchmark:
        f"{RUN}/cost/support_{{arm}}.tsv"
    conda:
        ENVIRONMENT
    threads: CONFIG.runtime.threads
    resources:
        gpu=GPUS,
        mem_mb=MODEL_MEMORY_MB,
    params:
        config=CONFIG_FILE,
        settings=settings("support"),
        code=code("support"),
        work=lambda wildcards, input, output: " ".join(f"--work {p} {s} {o}" for p, s, o in zip(input.prompts, input.samples, output)),
    message:
        "Verifying the answers of arm {wildcards.arm}."
    shell:
        "cardproof support --config {params.config} --model {input.model} {params.work} 2>&1 | tee {log}"


use rule support as support_train with:
    input:
        model=verifier_folder,
        prompts=[f"{RUN}/prompts/train.jsonl"],
        samples=[f"{RUN}/samples/train/train.jsonl"],
    output:
        f"{RUN}/support/train/train.jsonl",
    log:
        f"{RUN}/logs/support_train.log",
    benchmark:
        f"{RUN}/cost/support_train.tsv"
    priority: 1  # as sample_train
    message:
        "Verifying the training candidates."


rule check_verifier:
    input:
        model=verifier_folder,
        prompts=f"{RUN}/prompts/clean.jsonl",
        samples=f"{RUN}/samples/{REFERENCE}/clean.jsonl",
        support=[f"{RUN}/support/{arm}/{condition}.jsonl" for arm in ARMS for condition in CONDITIONS],
        training=rules.train_verifier.output.metrics if CONFIG.verifier.source == "embedded" else [],
    output:
        f"{RUN}/verifier/metrics.json",
    log:
        f"{RUN}/logs/check_verifier.log",
    benchmark:
        f"{RUN}/cost/check_verifier.tsv"
    conda:
        ENVIRONMENT
    threads: CONFIG.runtime.threads
    resources:
        gpu=GPUS,
        mem_mb=MODEL_MEMORY_MB,
    params:
        config=CONFIG_FILE,
        settings=settings("check_verifier"),
        code=code("check_verifier"),
        training=lambda wildcards, input: f"--training {input.training}" if input.training else "",
        support=lambda wildcards, input: " ".join(f"--support {path}" for path in input.support),
    message:
        "Checking the verifier with planted errors."
    shell:
        "cardproof check-verifier --config {params.config} --model {input.model} --prompts {input.prompts} --samples {input.samples}"
        " {params.support} {params.training} --out {output} 2>&1 | tee {log}"
