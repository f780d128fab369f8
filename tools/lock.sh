#!/usr/bin/env bash
# Write the lock files in envs/ from pyproject.toml and envs/*.in, with uv: `make lock`. How to update: docs/environments.md.
# tools/lock.sh [PACKAGE...]: these packages get their newest version that the requirements allow.
#
# Versions that are locked stay as they are while the requirements allow them, so a second call changes nothing. The locks are for Linux:
# the script resolves for Python 3.11 on x86-64, and checks that Python 3.12 and 64-bit ARM need the same packages.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${UV:-.venv/bin/uv}
cpu_index=$(sed -n 's/^CPU_INDEX=//p' envs/install.sh)
# uv does not read pip's settings.
if [ -n "${PIP_INDEX_URL:-}" ]; then export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}; fi
if [ -n "${PIP_CERT:-}" ]; then export SSL_CERT_FILE=${SSL_CERT_FILE:-$PIP_CERT}; fi
export UV_CUSTOM_COMPILE_COMMAND="make lock"
upgrade=()
for package in "$@"; do upgrade+=(--upgrade-package "$package"); done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "cardproof: error: $1" >&2
    echo "Hint: $2" >&2
    exit 2
}

# compile LOCK INPUT...: resolve; the versions that LOCK has already come first
compile() {
    local lock=$1
    shift
    "$uv" pip compile -q --python-version "${python:-3.11}" --python-platform "${machine:-x86_64}-manylinux_2_28" --generate-hashes \
        --no-annotate -o "$lock" "${upgrade[@]}" "$@" ||
        fail "uv cannot resolve what ${lock##*/} needs (its own words are above)." "change a pin in pyproject.toml or in envs/*.in."
}

# pins LOCK: its lines name==version, without hashes
pins() { sed -nE 's/^([a-z0-9.-]+==[^ ;]+).*/\1/p' "$1"; }

# without NAME...: options that leave packages out of a lock, which are resolved all the same
without() { printf -- '--no-emit-package %s\n' "$@"; }

# together COMMAND...: side by side, since each waits for the index most of the time; ends where one of them failed
together() {
    local command started=()
    for command in "$@"; do
        $command &
        started+=($!)
    done
    for command in "${started[@]}"; do wait "$command" || exit 2; done
}

everything=(pyproject.toml --all-extras)
{ pins envs/lock-project.txt; pins envs/lock-torch-cuda.txt; } > "$work/all.txt"
compile "$work/all.txt" "${everything[@]}"

# same PYTHON MACHINE: check that these need the same packages
same() {
    local other=$work/$1-$2.txt
    pins "$work/all.txt" > "$other"
    python=$1 machine=$2 compile "$other" "${everything[@]}"
    diff <(pins "$work/all.txt") <(pins "$other") >&2 ||
        fail "Python $1 on $2 needs other packages (above)." "choose versions in pyproject.toml that are the same for all."
}
together "same 3.12 x86_64" "same 3.11 aarch64" "same 3.12 aarch64"

# torch is installed from one of two files: its build for CPUs, or the one for GPUs with the CUDA libraries that it names.
mapfile -t with_cuda < <(pins "$work/all.txt" | sed 's/==.*//' | grep -E '^(torch|triton|nvidia-.*|cuda-.*)$')
mapfile -t without_cuda < <(pins "$work/all.txt" | sed 's/==.*//' | grep -vE '^(torch|triton|nvidia-.*|cuda-.*)$')
pins "$work/all.txt" > "$work/pins.txt"
torch=$(grep '^torch==' "$work/pins.txt")
# vLLM requires older versions of a few packages (envs/vllm-older.txt names them); all others are the project's.
grep -vE "^($(paste -sd '|' envs/vllm-older.txt)|nvidia-.*|cuda-.*)==" "$work/pins.txt" > "$work/held.txt"
echo "$torch" > "$work/torch.txt"
echo "$torch+cpu" > "$work/torch-cpu.txt"
printf '%s\n' torchaudio torchcodec torchvision > "$work/unused.txt" # vLLM's build for CPUs asks for them; language models never use them

# shellcheck disable=SC2046 # the options are words of their own
project() { compile envs/lock-project.txt "${everything[@]}" -c "$work/pins.txt" $(without "${with_cuda[@]}"); }
# shellcheck disable=SC2046
torch_cuda() { compile envs/lock-torch-cuda.txt "$work/torch.txt" -c "$work/pins.txt" $(without "${without_cuda[@]}"); }
torch_cpu() {
    "$uv" pip compile -q --no-deps --default-index "$cpu_index" --python-version 3.11 --generate-hashes --no-annotate \
        -o envs/lock-torch-cpu.txt "$work/torch-cpu.txt" 2> /dev/null && return
    grep -q "^$torch+cpu " envs/lock-torch-cpu.txt || fail "PyTorch's index of CPU builds cannot be reached." "run \`make lock\` where it can be."
    echo "PyTorch's index of CPU builds cannot be reached, so envs/lock-torch-cpu.txt stays as it is: $torch+cpu."
}
# shellcheck disable=SC2046
vllm_cpu() {
    compile envs/lock-vllm.txt envs/vllm-cpu.in -c "$work/held.txt" --overrides "$work/torch.txt" --excludes "$work/unused.txt" \
        $(without "${with_cuda[@]}")
}
vllm_gpu() { compile envs/lock-vllm-gpu.txt envs/vllm-gpu.in -c "$work/held.txt"; }
data() { compile envs/lock-data.txt envs/data.in --no-deps; }
together project torch_cuda torch_cpu vllm_cpu vllm_gpu data

for kind in cpu-torch-cpu gpu-torch-cuda; do
    hash=$(cat "envs/lock-${kind#*-}.txt" envs/lock-project.txt envs/lock-data.txt | sha256sum | cut -d ' ' -f 1)
    sed -i "s/^# locks sha256 .*/# locks sha256 $hash/" "envs/${kind%%-*}.yaml"
done
for lock in envs/lock-*.txt; do echo "$lock: $(pins "$lock" | wc -l) packages"; done
