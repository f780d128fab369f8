# From scores to the card's numbers.


rule evaluate:
    input:
        scores=[f"{RUN}/scores/{arm}/{condition}.parquet" for arm in ARMS for condition in CONDITIONS],
    output:
        [f"{RUN}/evaluation/{name}.json" for name in ("axes", "stress", "mechanism", "compute", "format_lock")],
    log:
        f"{RUN}/logs/evaluate.log",
    benchmark:
        f"{RUN}/cost/evaluate.tsv"
    params:
        config=CONFIG_FILE,
        settings=settings("evaluate"),
        code=code("evaluate"),
        scores=lambda wildcards: f"{RUN}/scores",
        out=lambda wildcards, output: Path(output[0]).parent,
    message:
        "Evaluating every axis."
    shell:
        "cardproof evaluate --config {params.config} --scores {params.scores} --out {params.out} 2>&1 | tee {log}"


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
