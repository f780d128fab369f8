#!/usr/bin/env bash
# Install locks: envs/install.sh LOCK[,LOCK...] PIP [ARGUMENT...]. LOCK is the middle of a file's name here, lock-LOCK.txt; PIP is a command such
# as `.venv/bin/pip install -q`. pip compares every file with the sha256 in its lock, and takes nothing that no lock names.
#
# `torch-cpu` is torch's build for CPUs. PyPI has only the build for GPUs, with gigabytes of CUDA libraries, so it is fetched from PyTorch's own
# index. Where that cannot be reached, pip's own index is asked for the same file, and then for the build for GPUs, which computes on a CPU too.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
CPU_INDEX=https://download.pytorch.org/whl/cpu
IFS=, read -ra locks <<< "$1"
shift

locked() { "$@" --no-deps --require-hashes; }

torch_cpu() {
    local said
    # Only that index: pip adds the extra ones of its own configuration otherwise. An index that does not answer is given up after seconds.
    if said=$(PIP_INDEX_URL=$CPU_INDEX PIP_EXTRA_INDEX_URL=$CPU_INDEX PIP_FIND_LINKS=$here PIP_RETRIES=0 PIP_DEFAULT_TIMEOUT=10 \
        locked "$@" -r "$here/lock-torch-cpu.txt" 2>&1); then
        echo "torch: the build for CPUs."
        return
    elif [[ $said == *"DO NOT MATCH THE HASHES"* ]]; then
        echo "$said" >&2
        return 1
    fi
    echo "PyTorch's own index of CPU builds cannot be reached; going on with pip's index."
    if locked "$@" -r "$here/lock-torch-cpu.txt" > /dev/null 2>&1; then
        echo "torch: the build for CPUs, from pip's index."
    else
        echo "torch: pip's index has no build for CPUs; installing the one for GPUs, some gigabytes."
        locked "$@" -r "$here/lock-torch-cuda.txt"
    fi
}

for lock in "${locks[@]}"; do
    if [ "$lock" = torch-cpu ]; then torch_cpu "$@"; else locked "$@" -r "$here/lock-$lock.txt"; fi
done
