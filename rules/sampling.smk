# Rollouts: the only expensive fan-out, sharded over items.


# For an engine without NF4: the weights after a round trip through it, made once and read by every shard.
rule dequantise:
    input:
        rules.acquire_model.output,
    output:
        directory(f"{RUN}/models/nf4"),
    log:
        f"{RUN}/logs/dequantise.log",
    benchmark:
        f"{RUN}/cost/dequantise.tsv"
    conda:
        ENVIRONMENT
    resources:
        gpu=GPUS,
        mem_mb=min(MODEL_MEMORY_MB, 16000),  # one file of weights at a time
    params:
        config=CONFIG_FILE,
        settings=settings("dequantise"),
        code=code("dequantise"),
    message:
        "Taking the base model's weights through NF4, for vLLM."
    shell:
        "cardproof dequantise --config {params.config} --model {input} --out {output} 2>&1 | tee {log}"


rule sample:
    input:
        model=sampled_model,
        adapter=adapter_of,
        prompts=[f"{RUN}/prompts/{condition}.jsonl" for condition in CONDITIONS],
    output:
        [temp(f"{RUN}/shards/{{shard}}-of-{len(SHARDS)}/{{arm}}/{condition}.jsonl") for condition in CONDITIONS],
    log:
        f"{RUN}/logs/sample_{{arm}}_{{shard}}.log",
    benchmark:
        f"{RUN}/cost/sample_{{arm}}_{{shard}}.tsv"
    conda:
        ENVIRONMENT
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
        store=f"{FOLDER}/store/{{arm}}.{{shard}}-of-{len(SHARDS)}.jsonl",
        of=len(SHARDS),
    message:
        "Sampling arm {wildcards.arm}, shard {wildcards.shard}: all conditions with one load of the model."
    shell:
        "{params.sampler} sample --config {params.config} --arm {params.arm} --model {input.model} {params.adapter}"
        " --shard {wildcards.shard}/{params.of} --store {params.store} {params.work} 2>&1 | tee {log}"


use rule sample as sample_train with:
    input:
        model=sampled_model,
        prompts=[f"{RUN}/prompts/train.jsonl"],
    output:
        temp(f"{RUN}/shards/{{shard}}-of-{len(SHARDS)}/train/train.jsonl"),
    log:
        f"{RUN}/logs/sample_train_{{shard}}.log",
    benchmark:
        f"{RUN}/cost/sample_train_{{shard}}.tsv"
    priority: 1  # training waits for it, and only the evaluation for the base model's own arm
    params:
        config=CONFIG_FILE,
        sampler=SAMPLER,
        settings=settings("sample_train"),
        code=code("sample"),
        arm=REFERENCE,
        adapter="",
        work=lambda wildcards, input, output: f"--work {input.prompts} {output}",
        store=f"{FOLDER}/store/train.{{shard}}-of-{len(SHARDS)}.jsonl",
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
    localrule: True
    conda:
        ENVIRONMENT
    params:
        code=code("gather"),
    message:
        "Gathering the {wildcards.condition} samples of arm {wildcards.arm}."
    shell:
        "cardproof gather --out {output} {input} 2>&1 | tee {log}"
