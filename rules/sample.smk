# Rollouts: the only expensive fan-out, sharded over items; then the verifier's word and the scores.


rule sample:
    input:
        model=rules.acquire_model.output,
        adapter=adapter_of,
        prompts=[f"{RUN}/prompts/{condition}.jsonl" for condition in CONDITIONS],
    output:
        [temp(f"{RUN}/shards/{{shard}}-of-{len(SHARDS)}/{{arm}}/{condition}.jsonl") for condition in CONDITIONS],
    log:
        f"{RUN}/logs/sample_{{arm}}_{{shard}}.log",
    benchmark:
        f"{RUN}/cost/sample_{{arm}}_{{shard}}.tsv"
    threads: CONFIG.runtime.threads
    resources:
        gpu=GPUS,
        mem_mb=MODEL_MEMORY_MB,
    params:
        config=CONFIG_FILE,
        sampler=SAMPLER,
        settings=settings("sample"),
        code=code("sample"),
        arm="{arm}",
        adapter=lambda wildcards, input: f"--adapter {input.adapter}" if input.adapter else "",
        work=lambda wildcards, input, output: " ".join(f"--work {i} {o}" for i, o in zip(input.prompts, output)),
        store=f"{RUN}/store/{{arm}}.{{shard}}-of-{len(SHARDS)}.jsonl",
        of=len(SHARDS),
    message:
        "Sampling arm {wildcards.arm}, shard {wildcards.shard}: all conditions with one load of the model."
    shell:
        "{params.sampler} sample --config {params.config} --arm {params.arm} --model {input.model} {params.adapter}"
        " --shard {wildcards.shard}/{params.of} --store {params.store} {params.work} 2>&1 | tee {log}"


use rule sample as sample_train with:
    input:
        model=rules.acquire_model.output,
        prompts=[f"{RUN}/prompts/train.jsonl"],
    output:
        temp(f"{RUN}/shards/{{shard}}-of-{len(SHARDS)}/train/train.jsonl"),
    log:
        f"{RUN}/logs/sample_train_{{shard}}.log",
    benchmark:
        f"{RUN}/cost/sample_train_{{shard}}.tsv"
    params:
        config=CONFIG_FILE,
        sampler=SAMPLER,
        settings=settings("sample_train"),
        code=code("sample"),
        arm=REFERENCE,
        adapter="",
        work=lambda wildcards, input, output: f"--work {input.prompts} {output}",
        store=f"{RUN}/store/train.{{shard}}-of-{len(SHARDS)}.jsonl",
        of=len(SHARDS),
    message:
        "Sampling training candidates, shard {wildcards.shard}."


rule gather:
    input:
        [f"{RUN}/shards/{shard}-of-{len(SHARDS)}/{{arm}}/{{condition}}.jsonl" for shard in SHARDS],
    output:
        f"{RUN}/samples/{{arm}}/{{condition}}.jsonl",
    log:
        f"{RUN}/logs/gather_{{arm}}_{{condition}}.log",
    benchmark:
        f"{RUN}/cost/gather_{{arm}}_{{condition}}.tsv"
    wildcard_constraints:
        arm="|".join(map(re.escape, [*ARMS, "train"])),
    params:
        code=code("gather"),
    message:
        "Gathering the {wildcards.condition} samples of arm {wildcards.arm}."
    shell:
        "cardproof gather --out {output} {input} 2>&1 | tee {log}"


rule verify:
    input:
        model=verifier_folder,
        prompts=[f"{RUN}/prompts/{condition}.jsonl" for condition in CONDITIONS],
        samples=[f"{RUN}/samples/{{arm}}/{condition}.jsonl" for condition in CONDITIONS],
    output:
        [f"{RUN}/support/{{arm}}/{condition}.jsonl" for condition in CONDITIONS],
    log:
        f"{RUN}/logs/verify_{{arm}}.log",
    benchmark:
        f"{RUN}/cost/verify_{{arm}}.tsv"
    threads: CONFIG.runtime.threads
    resources:
        gpu=GPUS,
        mem_mb=MODEL_MEMORY_MB,
    params:
        config=CONFIG_FILE,
        settings=settings("verify"),
        code=code("verify"),
        work=lambda wildcards, input, output: " ".join(f"--work {p} {s} {o}" for p, s, o in zip(input.prompts, input.samples, output)),
    message:
        "Verifying the answers of arm {wildcards.arm}."
    shell:
        "cardproof support --config {params.config} --model {input.model} {params.work} 2>&1 | tee {log}"


use rule verify as verify_train with:
    input:
        model=verifier_folder,
        prompts=[f"{RUN}/prompts/train.jsonl"],
        samples=[f"{RUN}/samples/train/train.jsonl"],
    output:
        f"{RUN}/support/train/train.jsonl",
    log:
        f"{RUN}/logs/verify_train.log",
    benchmark:
        f"{RUN}/cost/verify_train.tsv"
    message:
        "Verifying the training candidates."


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
    params:
        config=CONFIG_FILE,
        settings=settings("score"),
        code=code("score"),
    message:
        "Scoring {wildcards.arm}/{wildcards.condition}."
    shell:
        "cardproof score --config {params.config} --prompts {input.prompts} --samples {input.samples} --support {input.support}"
        " --out {output} 2>&1 | tee {log}"
