# From outside into the run: models and adapters. Before all else that could run: what cannot be had, or does not fit, is
# known before anything is computed.


rule acquire_model:
    input:
        begin,
    output:
        directory(f"{RUN}/models/base"),
    log:
        f"{RUN}/logs/acquire_model.log",
    benchmark:
        f"{RUN}/cost/acquire_model.tsv"
    priority: 1
    conda:
        ENVIRONMENT
    params:
        source=CONFIG.model.source,
        id=CONFIG.model.id,
        revision=revision(CONFIG.model),
        record=f"{FOLDER}/revisions",
        use=f"--model-of {CONFIG_FILE}",
        code=code("acquire_model"),
    message:
        "Fetching the base model {params.id} ({params.source})."
    shell:
        "cardproof acquire-model --source {params.source} --id {params.id:q} {params.revision} --record {params.record} {params.use} --out {output} 2>&1 | tee {log}"


rule acquire_verifier:
    input:
        begin,
    output:
        directory(f"{RUN}/models/{'encoder' if CONFIG.verifier.source == 'embedded' else 'verifier'}"),
    log:
        f"{RUN}/logs/acquire_verifier.log",
    benchmark:
        f"{RUN}/cost/acquire_verifier.tsv"
    priority: 1
    conda:
        ENVIRONMENT
    resources:
        mem_mb=min(MODEL_MEMORY_MB, 8000),  # the verifier, two gigabytes, is loaded to see that it can judge
    params:
        source=CONFIG.verifier.source,
        id=CONFIG.verifier.id,
        revision=revision(CONFIG.verifier),
        record=f"{FOLDER}/revisions",
        use="" if CONFIG.verifier.source == "embedded" else f"--verifier-of {CONFIG_FILE}",
        code=code("acquire_model"),
    message:
        "Fetching the verifier {params.id} ({params.source})."
    shell:
        "cardproof acquire-model --source {params.source} --id {params.id:q} {params.revision} --record {params.record} {params.use} --out {output} 2>&1 | tee {log}"


rule acquire_adapter:
    input:
        begin,
        base=rules.acquire_model.output,
    output:
        directory(f"{RUN}/adapters/{{arm}}"),
    log:
        f"{RUN}/logs/acquire_adapter_{{arm}}.log",
    benchmark:
        f"{RUN}/cost/acquire_adapter_{{arm}}.tsv"
    priority: 1
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,  # the base is built without weights, to see that the adapter fits
    params:
        source=lambda wildcards: CONFIG.sampled_arms[wildcards.arm].adapter,
        id=lambda wildcards: CONFIG.sampled_arms[wildcards.arm].id,
        revision=lambda wildcards: revision(CONFIG.sampled_arms[wildcards.arm]),
        record=f"{FOLDER}/revisions",
        code=code("acquire_adapter"),
    message:
        "Fetching the adapter of arm {wildcards.arm}."
    shell:
        "cardproof acquire-model --source {params.source} --id {params.id:q} {params.revision} --record {params.record} --base {input.base} --out {output} 2>&1 | tee {log}"
