#!/usr/bin/env bash
# `make test-apptainer`: build the CPU image from a local base, run the smallest scale in it without a network, and compare its card and
# numbers with those of a run on the host.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/test-lib.sh

# wrong SENTENCE HINT OPTION...: check the error when the workflow cannot run in containers
wrong() {
    local sentence=$1 hint=$2 said
    shift 2
    said=$(timeout 900 snakemake "${CONFIG[@]}" --directory "$WORK/wrong" --cores 1 --nolock -n --use-apptainer "$@" 2>&1 < /dev/null) &&
        failed "'$sentence' was expected."
    said=$(grep -A 1 '^cardproof: error:' <<< "$said") || failed "no sentence where '$sentence' was expected."
    [[ $said == *"$sentence"*$'\nHint: '*"$hint"* ]] || failed "'$sentence' and '$hint' were expected: $said"
    echo "$said"
}

say "Errors when something is missing"
mkdir -p "$WORK/wrong"
if command -v apptainer singularity > /dev/null; then
    echo "not shown: this machine has Apptainer on PATH"
else
    wrong "neither apptainer nor singularity is on PATH" "install Apptainer"
fi
bin=$(timeout 900 tools/install-apptainer.sh "${APPTAINER_PREFIX:-/opt/apptainer}") || skipped "test-apptainer: Apptainer cannot be installed here."
export PATH=$bin:$PATH
apptainer --version
wrong "no/such.sif does not exist" "make container" --config 'runtime={"image": "no/such.sif"}'

say "Image"
timeout 2000 tools/container.sh cpu local || failed "the image cannot be built."
timeout 900 apptainer test containers/cpu.sif || failed "the image's own test."
digest=$(sha256sum containers/cpu.sif | cut -d ' ' -f 1)
echo "image containers/cpu.sif sha256 $digest"
apptainer inspect containers/cpu.sif | grep -E 'cardproof|image.(version|revision)'

# Only root can cut off the network. Other users run in the hub's offline mode, as all steps except the fetching ones always do.
arguments=--cleanenv
if [ "$(id -u)" = 0 ]; then
    arguments="--cleanenv --net --network none"
    if timeout 300 apptainer exec --net --network none containers/cpu.sif python -c \
        'import socket; socket.create_connection(("192.0.2.1", 9), 5)' 2> "$WORK.net"; then
        failed "the container has a network."
    fi
    grep -q unreachable "$WORK.net" || { cat "$WORK.net"; failed "the network namespace was not cut off."; }
    rm -f "$WORK.net"
    echo "network: cut off (unreachable)"
fi

say "The whole workflow in containers"
run=$WORK/contained
rm -rf "$run"
mkdir -p "$run/hub"
started=$SECONDS
HF_HOME=$run/hub timeout "$PATIENCE" snakemake "${CONFIG[@]}" --directory "$run" --cores all --use-apptainer --apptainer-args="$arguments" \
    --nolock --config 'sampling={"shards": 1}' > "$WORK/contained.log" 2>&1 ||
    { tail -n 40 "$WORK/contained.log"; failed "the run in containers did not end well."; }
echo "done in $((SECONDS - started)) s"

say "What Snakemake recorded of each output"
python - "$run" "$PROJECT/containers/cpu.sif" "sha256:$digest" << 'END'
import json, sys
from base64 import b64decode
from pathlib import Path

run, image, digest = sys.argv[1:]
records = {b64decode(p.name.removeprefix("@")).decode(): json.loads(p.read_text()) for p in Path(run, ".snakemake/metadata").rglob("*") if p.is_file()}
by_rule = {}
for name, record in records.items():
    by_rule.setdefault(record["rule"], []).append(name)
    assert record["container_img_url"] == image, f"{name} (rule {record['rule']}) was not made in {image}: {record['container_img_url']}"
    assert any(digest in str(p) for p in record["params"]), f"{name} (rule {record['rule']}): no parameter names {digest}"
assert len(by_rule) >= 15, sorted(by_rule)
print(f"{len(records)} outputs of {len(by_rule)} rules, each made in {image}: {', '.join(sorted(by_rule))}")
END

host
say "Comparison"
same "$run" samples support evaluation card/README.md figures
# The image has another patch release of Python, which the training metrics record. The run on the host may continue one of an earlier
# version, whose configuration has the same settings and other comments.
same_verdicts "$run" training/grounded/metrics.json config.yaml
echo "image containers/cpu.sif sha256 $digest"
echo "1 passed, 0 failed"
