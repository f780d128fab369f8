# Functions the rules use: settings and code they depend on, and files that depend on the configuration.


def settings(step, **wildcards):
    """Fingerprint of the settings a step depends on: given as a parameter, so that changing one reruns what depends on it."""
    return settings_fingerprint(CONFIG, step, **wildcards)[:16]


def code(step):
    """Fingerprint of a step's code, and the image of its jobs: editing a module or changing the image reruns the steps that use it."""
    return f"{code_fingerprint(step, CONFIG.sampling.backend)[:16]} {IMAGE_IDENTITY}".strip()


def write_configuration():
    """Write the resolved configuration, unless the file has these settings already."""
    try:
        if not reading.same(Path(CONFIG_FILE), CONFIG):
            write_text(Path(CONFIG_FILE), texts.to_yaml(CONFIG))
    except OSError as error:
        print(f"cardproof: error: {of_system(error)}", file=sys.stderr)
        sys.exit(CardproofError.exit_code)


def begin(wildcards):
    """What waits for the preflight alone. In a module, whose onstart is not called, the configuration is written when this is planned."""
    if IMPORTED and workflow.executor_plugin and not workflow.dryrun:
        write_configuration()
    return PREFLIGHT


def outside(path):
    """An input that is not the run's own: neither a module's prefix nor a storage applies to it."""
    return local(str(path))


def source_files(folder, pattern="*"):
    """The files of a folder of the checkout."""
    return [outside(path) for path in sorted(Path(SOURCE, folder).rglob(pattern)) if path.is_file()]


# With --sdm conda: Python from conda, and the locks by envs/*.post-deploy.sh, which finds them by this variable.
ENVIRONMENT = f"../envs/{'gpu' if GPUS else 'cpu'}.yaml"
os.environ.update(CARDPROOF_CHECKOUT=str(CHECKOUT))


# vLLM may live in an environment of its own; everything else stays in this one.
SAMPLER = (
    f"{shlex.quote(CONFIG.sampling.python)} -m cardproof" if CONFIG.sampling.backend == "vllm" and CONFIG.sampling.python else "cardproof"
)


# The card that the run is judged by; without one nothing is audited, and the claims say so. The project's own is beside the Snakefile, any
# other where its path says.
CLAIMS_FILE = outside(Path(SOURCE, PUBLISHED)) if CONFIG.of_the_subject else outside(CONFIG.published) if CONFIG.published else None
CLAIMS_OPTION = f"--claims {shlex.quote(CLAIMS_FILE)}" if CLAIMS_FILE else ""
SELECTED = f"{RUN}/distill/selection.json" if TRAINED else []  # a run that trains nothing distils nothing
AUDITED = f"{RUN}/audit.json" if CLAIMS_FILE else []
DRAWN = figures_of(CONFIG)
STANDING = {
    "embedded": ", on embedded stand-ins: not a reproduction of the published card",
    "benchmark": ", with another model: not a reproduction of the published card",
}.get(CONFIG.scale, "; the card says whether it compares with the published one")
if not CLAIMS_FILE:
    STANDING = ""


def revision(source):
    """The option that names a hub revision, as a word of a command; none where none is pinned."""
    return f"--revision {shlex.quote(source.revision)}" if source.revision else ""


def sampled_model(wildcards):
    """The base model's folder as the engine needs it: vLLM has no NF4, and takes weights that went through it."""
    through_nf4 = CONFIG.sampling.backend == "vllm" and CONFIG.model.sampling_quantization == "nf4"
    return rules.dequantise.output if through_nf4 else rules.acquire_model.output


def adapter_of(wildcards):
    """The adapter folder of an arm: trained in this run, fetched, or none."""
    arm = CONFIG.sampled_arms[wildcards.arm]
    if arm.adapter == "none":
        return []
    return f"{RUN}/training/{arm.variant}/adapter" if arm.adapter == "trained" else f"{RUN}/adapters/{wildcards.arm}"


def verifier_folder(wildcards):
    """The verifier: trained in this run, or fetched."""
    return rules.train_verifier.output.model if CONFIG.verifier.source == "embedded" else rules.acquire_verifier.output


def request(job):
    """What a planned job asks of a cluster."""
    ask = job.resources.get
    return cluster.Request(job.name, ask("slurm_partition"), int(ask("mem_mb") or 0), int(ask("gpu") or 0))


def behind(wildcards):
    """What the results rest on. A configuration that was removed is written at once: `onstart` is not called where nothing is to be done."""
    if not workflow.dryrun and not Path(CONFIG_FILE).exists() and Path(FOLDER, CLAIMS).exists():
        write_configuration()
    return behind_results()


def behind_results():
    """The files that the results rest on, and that their records name: one that is missing is made again. A replay brings its own."""
    arms = [(arm, condition) for arm in ARMS for condition in CONDITIONS]
    files = [f"{RUN}/{kind}/{arm}/{condition}.jsonl" for kind in ("samples", "support") for arm, condition in arms]
    files += [f"{RUN}/scores/{arm}/{condition}.parquet" for arm, condition in arms]
    files += [f"{RUN}/prompts/{condition}.jsonl" for condition in CONDITIONS]
    files += [f"{RUN}/training/{variant}/metrics.json" for variant in TRAINED]
    files += [*flat(SELECTED), f"{RUN}/split/leakage.json", f"{RUN}/verifier/metrics.json", *rules.provenance.output]
    if not CONFIG.replay:
        files += [*PREFLIGHT, *rules.acquire_benchmark.output, *rules.split.output, *rules.acquire_model.output]
        trained = rules.train_verifier.output if CONFIG.verifier.source == "embedded" else []
        files += [*rules.acquire_verifier.output, *trained]
        files += [f"{RUN}/adapters/{name}" for name, arm in CONFIG.sampled_arms.items() if arm.adapter not in ("none", "trained")]
        files += flat(sampled_model(None))
    if not CONFIG.replay and TRAINED:
        kinds = (("prompts", "jsonl"), ("samples/train", "jsonl"), ("support/train", "jsonl"), ("scores/train", "parquet"))
        files += [f"{RUN}/{kind}/train.{end}" for kind, end in kinds]
        files += [*rules.distill.output, *(f"{RUN}/training/{variant}/adapter" for variant in TRAINED)]
    return list(dict.fromkeys(files))


def flat(files):
    """One file or several, as a list."""
    return [files] if isinstance(files, str) else list(files)
