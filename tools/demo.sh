#!/usr/bin/env bash
# `make demo`: run the demo, or continue one that was killed, and print where its results are. Needs .venv/bin on PATH.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! mkdir -p .snakemake results 2>/dev/null || ! { : > .snakemake/demo.lock; } 2>/dev/null; then
    echo "cardproof: error: $PWD cannot be written." >&2
    echo "Hint: clone into a folder of your own; results are written to its folder results/." >&2
    exit 2
fi
# Snakemake and Matplotlib keep caches in the home folder, and end or complain where they cannot.
if ! mkdir -p "${XDG_CACHE_HOME:-$HOME/.cache}/snakemake" 2>/dev/null || ! [ -w "${XDG_CACHE_HOME:-$HOME/.cache}/snakemake" ]; then
    export XDG_CACHE_HOME="$PWD/.snakemake/cache" MPLCONFIGDIR="$PWD/.snakemake/cache/matplotlib"
    mkdir -p "$MPLCONFIGDIR"
fi

exec 9> .snakemake/demo.lock
if ! flock -n 9; then
    echo "cardproof: error: another make demo runs in this folder." >&2
    echo "Hint: wait for it, or clone into another folder." >&2
    exit 2
fi

# Find Snakemake, or one of its jobs, running in this folder: a program of that name, or Python running it.
at_work() {
    local process
    for process in /proc/[0-9]*; do
        [ "$(readlink "$process/cwd")" = "$PWD" ] || continue
        if head -z -n 2 "$process/cmdline" 2>/dev/null | tr '\0' '\n' | grep -qE '(^|/)(snakemake|cardproof)$'; then
            basename "$process"
            return 0
        fi
    done
    return 1
}

# A killed run leaves its lock behind. Remove it only if no process of that run is alive.
if [ -n "$(ls -A .snakemake/locks 2>/dev/null)" ]; then
    if process=$(at_work); then
        echo "cardproof: error: a run is going on in this folder (process $process)." >&2
        echo "Hint: wait for it, or end it, and run make demo again; finished work is kept." >&2
        exit 2
    fi
    snakemake --unlock --configfile config/demo.yaml > /dev/null 2>&1
fi

# One line says how far the run is; all that Snakemake and the jobs say goes to LOG. Ctrl-C ends the jobs, and what they say then is kept.
LOG=.snakemake/demo.log
progress() {
    trap '' INT
    exec cardproof progress --log "$LOG"
}

started=$SECONDS
if ! TQDM_DISABLE=1 snakemake --cores all --configfile config/demo.yaml 2>&1 9>&- | progress 9>&-; then
    # From the first error on, or the last lines where none is named.
    told=$(sed -n '/^\(Error\|.*Error in rule\|.*Error:\|.*Exception\|Traceback\|cardproof: error\)/,$p' "$LOG")
    { if [ -n "$told" ]; then echo "$told"; else tail -n 40 "$LOG"; fi; echo "All that was said: $LOG"; } >&2
    exit 1
fi
# Done is what follows from its inputs, with every file that it rests on.
run=results/$(cardproof config --configfile config/demo.yaml | sed -n 's/^run: "\(.*\)"$/\1/p')
said=$(cardproof verify "$run" 2>&1) || { echo "$said" >&2; exit 4; }
seconds=$((SECONDS - started))
echo
cardproof claims --run "$run" | sed '/^$/,$d' # the answer; the verdicts follow it
echo
echo "Done in $((seconds / 60)) min $((seconds % 60)) s."
echo "  card     $run/card/README.md"
echo "  report   $run/report/index.html (open it in a browser)"
echo "  figures  $run/figures/"
echo "  verdicts $run/claims.json"
