#!/usr/bin/env bash
# `make test-slurm`: start a one-node SLURM, run the smallest scale on it with four shards, and kill one sampling job on the way. Show that
# its retry continues where it stopped, that all samples equal those of an unsharded run on the host, and that everything started is stopped.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/test-lib.sh
export SLURM_TEST_DIR=${SLURM_TEST_DIR:-$WORK/slurm}
shards=4

[ "$(id -u)" = 0 ] || skipped "test-slurm: starting SLURM's daemons needs root."
timeout 900 tools/slurm-one.sh install || skipped "test-slurm: SLURM cannot be installed here."

host

say "SLURM"
driver=
stop() {
    # When Snakemake is asked to end, it waits for its jobs. So end the jobs first, and ask Snakemake once.
    scancel --quiet --user "$(id -un)" 2> /dev/null || true
    if [ -n "$driver" ]; then
        kill "$driver" 2> /dev/null || true
        for _ in $(seq 40); do kill -0 "$driver" 2> /dev/null || break; sleep 0.25; done
        kill -9 "$driver" 2> /dev/null || true
    fi
    timeout 60 tools/slurm-one.sh down
}
trap stop EXIT
timeout 300 tools/slurm-one.sh up || failed "SLURM did not come up."

run=$WORK/slurm-run
rm -rf "$run"
mkdir -p "$run"
# Run it only in the background: then the process id is Snakemake's own, and ending it ends the run.
submit() {
    exec snakemake "${CONFIG[@]}" --profile "$PROJECT/profiles/slurm-test" --directory "$run" --nolock "$@" < /dev/null
}

say "Requests that no node can meet"
for wrong in slurm_partition=nowhere mem_mb=99999999; do
    said=$(timeout 900 snakemake "${CONFIG[@]}" --profile "$PROJECT/profiles/slurm-test" --directory "$run" --nolock \
        --set-resources "sample:$wrong" 2>&1 < /dev/null) && failed "$wrong was accepted."
    grep -A 1 '^cardproof: error: Rule sample asks for' <<< "$said" || { tail -n 20 <<< "$said"; failed "$wrong: no sentence."; }
    grep -A 1 '^cardproof: error:' <<< "$said" | grep -q '^Hint: ' || failed "$wrong: no hint."
done
[ -z "$(squeue -h -a -t all)" ] || failed "a job was submitted all the same."

say "The whole workflow on SLURM, sampling in $shards shards"
started=$SECONDS
# With few rows at once, items finish one after another, so there is something to resume.
# Each model job asks for one of the node's two GPUs, which are only names; preflight would look for real ones, so its word is there already.
mkdir -p "$run/results/ci"
echo '{}' > "$run/results/ci/preflight.json"
submit --config "sampling={\"shards\": $shards, \"rows\": 2}" 'runtime={"gpus": 1}' > "$WORK/slurm-run.log" 2>&1 &
driver=$!

# Kill the first sampling job that has finished an item and has more to do.
killed=
while kill -0 "$driver" 2> /dev/null && [ $((SECONDS - started)) -lt "$PATIENCE" ]; do
    if [ -z "$killed" ]; then
        for shard in 0 1 2 3; do
            store=$run/results/ci/store/base.$shard-of-$shards.jsonl
            [ -s "$store" ] && [ ! -e "$run/results/ci/samples/base/clean.jsonl" ] || continue
            job=$(squeue -h -t RUNNING -o '%A %k' | awk -v rule="rule_sample_wildcards_${shard}_base" '$2 == rule { print $1; exit }')
            [ -n "$job" ] || continue
            scancel "$job"
            killed=$shard
            echo "scancel $job (arm base, shard $shard): $(wc -l < "$store") items were finished"
            break
        done
    fi
    sleep 0.2
done
if kill -0 "$driver" 2> /dev/null; then failed "the run took longer than $PATIENCE s."; fi
wait "$driver" || { tail -n 40 "$WORK/slurm-run.log"; failed "the run on SLURM did not end well."; }
driver=
echo "done in $((SECONDS - started)) s"

say "Jobs"
listed=$(squeue -a -t all --sort=i -o '%.6A %.12T %.10M %.8P %.4C %.7m %k')
echo "$listed"
jobs=$(squeue -h -a -t all -o '%k' | grep -c '^rule_sample_wildcards_[0-9]*_base$') || true
[ "$jobs" -ge $shards ] || failed "only $jobs jobs sampled the base arm."

say "The killed job"
[ -n "$killed" ] || failed "no sampling job could be caught while it ran."
squeue -h -a -t CANCELLED -o '%k' | grep -q "^rule_sample_wildcards_${killed}_base$" || failed "no job was cancelled."
grep -h 'already sampled' "$run/results/ci/logs/sample_base_$killed.log" | tail -n 1
grep -qE '[1-9][0-9]* already sampled' "$run/results/ci/logs/sample_base_$killed.log" || failed "the retry started from the beginning."

say "GPUs"
grep -ho 'this job has GPU .*' "$run"/results/ci/logs/sample_*.log | sort | uniq -c
for gpu in 0 1; do grep -q "this job has GPU $gpu\$" "$run"/results/ci/logs/sample_*.log || failed "no job had GPU $gpu."; done

say "Comparison"
same "$run" samples support evaluation training/grounded/metrics.json
# The number of shards is a setting.
same_verdicts "$run" config.yaml

say "Stopping"
trap - EXIT
stop
for daemon in slurmd slurmctld munged; do
    if [ -s "$SLURM_TEST_DIR/$daemon.pid" ] && kill -0 "$(cat "$SLURM_TEST_DIR/$daemon.pid")" 2> /dev/null; then failed "$daemon still runs."; fi
done
[ ! -e /etc/slurm/slurm.conf ] || failed "settings were left behind."
echo "everything started was stopped"
say "The jobs, once more"
echo "$listed"
echo "1 passed, 0 failed"
