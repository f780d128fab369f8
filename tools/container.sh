#!/usr/bin/env bash
# Build an image from containers/: tools/container.sh cpu|gpu [registry|local]. `make container` calls it.
#
# registry: the base that the definition names. local: a bare Debian 12 made on this machine (tools/base-root.sh). This machine's pip fetches
# the wheels of the lock files from its own index, and the build needs no network.
# An image that is newer than everything it is made from is not built again.
set -euo pipefail
cd "$(dirname "$0")/.."
kind=${1:-cpu}
base=${2:-registry}
image=containers/$kind.sif
definition=containers/$kind.def
build=containers/.build
python=.venv/bin/python

fail() {
    echo "cardproof: error: $1" >&2
    echo "Hint: $2" >&2
    exit 2
}

[ -f "$definition" ] || fail "$definition does not exist." "cpu or gpu: make container IMAGE=cpu"
[ "$base" = registry ] || [ "$base" = local ] || fail "The base is 'registry' or 'local', found '$base'." "make container BASE=local"
command -v apptainer > /dev/null || fail "The command apptainer is missing." "install it with your system's packages, or on Debian: tools/install-apptainer.sh"

# The code in an image is for use without a checkout; the workflow's jobs run the checkout's code (docs/containers.md). So an image is out of
# date only if something that decides the environment has changed.
if [ -f "$image" ] && [ -z "$(find "$definition" envs pyproject.toml -newer "$image" -print -quit)" ]; then
    echo "$image is up to date: $(sha256sum "$image" | cut -d ' ' -f 1)"
    exit 0
fi

mkdir -p "$build"
options=(--force --build-arg "SOURCE=$(git rev-parse HEAD 2> /dev/null || echo unknown)")
options+=(--mksquashfs-args "${SQUASHFS_ARGS:--comp lz4}") # seconds instead of half a minute, for a somewhat larger file
if [ "$base" = local ]; then
    "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2> /dev/null ||
        fail "Wheels for the image are fetched by .venv with Python 3.11, and there is none." "make setup PYTHON=python3.11"
    tools/base-root.sh "$build/root"
    wheels=$build/wheels-$kind-$(cat envs/lock-*.txt | sha256sum | cut -c 1-12)
    if [ ! -e "$wheels/.complete" ]; then
        rm -rf "$build/wheels-$kind-"*
        build_of_torch=$([ "$kind" = gpu ] && echo cuda || echo cpu)
        envs/install.sh "torch-$build_of_torch,project,data" timeout 1500 .venv/bin/pip wheel -qq --disable-pip-version-check --wheel-dir "$wheels"
        touch "$wheels/.complete"
    fi
    options+=(--build-arg BOOTSTRAP=localimage --build-arg "BASE=$PWD/$build/root" --bind "$PWD/$wheels:/mnt")
fi
started=$SECONDS
APPTAINER_TMPDIR=${APPTAINER_TMPDIR:-$PWD/$build} timeout 2400 apptainer build "${options[@]}" "$build/$kind.sif" "$definition"
mv "$build/$kind.sif" "$image"
apptainer exec "$image" cat /opt/cardproof/sbom.cdx.json > "containers/$kind.sbom.json"
echo "$image: $(du -h "$image" | cut -f 1), built in $((SECONDS - started)) s, sha256 $(sha256sum "$image" | cut -d ' ' -f 1)"
