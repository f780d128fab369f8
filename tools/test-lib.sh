# shellcheck shell=bash
# For the tests of containers and of SLURM: they source it. Needs .venv/bin on PATH.
# Every run has its own folder below WORK, so the project's results/ stay untouched.
WORK=${CARDPROOF_TEST_DIR:-${TMPDIR:-/tmp}/cardproof-tests}
PROJECT=$PWD
PATIENCE=3000 # seconds; a run that takes longer hangs. On a busy machine a run takes many times as long as on an idle one
CONFIG=(--snakefile "$PROJECT/Snakefile" --configfile "$PROJECT/config/ci.yaml")

say() { printf '\n== %s\n' "$1"; }

failed() {
    echo "FAILED: $1" >&2
    echo "0 passed, 1 failed"
    exit 1
}

# skipped REASON: CI continues, but nobody can overlook the reason.
skipped() {
    printf '\n%s\n' "########################################################################" "SKIPPED: $1" \
        "########################################################################"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
}

# host: the run to compare others with: on this machine, with one shard. It runs once; a second call continues it.
host() {
    say "The same run without container and without SLURM"
    mkdir -p "$WORK/host"
    timeout "$PATIENCE" snakemake "${CONFIG[@]}" --directory "$WORK/host" --cores all --nolock --config 'sampling={"shards": 1}' \
        > "$WORK/host.log" 2>&1 || { tail -n 30 "$WORK/host.log"; failed "the run to compare with failed."; }
}

# same FOLDER WHAT...: check that these results are equal, byte for byte, to those of the run on the host
same() {
    local folder=$1 file count=0
    shift
    while read -r file; do
        cmp "$WORK/host/results/ci/$file" "$folder/results/ci/$file" || failed "$file differs."
        count=$((count + 1))
    done < <(cd "$WORK/host/results/ci" && find "$@" -type f | sort)
    [ $count -gt 0 ] || failed "nothing was compared."
    echo "equal to the run on the host, byte for byte: $count files of $*"
}

# same_verdicts FOLDER FILE...: check that verdicts, their numbers and evidence equal those of the run on the host; only the hashes of these
# files may differ
same_verdicts() {
    local folder=$1
    shift
    python - "$WORK/host/results/ci" "$folder/results/ci" "$@" << 'END'
import hashlib, json, sys
from pathlib import Path

def verdicts(run, files):
    text = Path(run, "claims.json").read_text()
    for file in files:
        text = text.replace(hashlib.sha256(Path(run, file).read_bytes()).hexdigest(), f"of {file}")
    return json.loads(text)

host, other, *files = sys.argv[1:]
expected = verdicts(host, files)
assert expected == verdicts(other, files), "the verdicts differ"
print(f"equal: all {len(expected['claims'])} verdicts with their evidence, except the hashes of {' and '.join(files)}")
END
}
