#!/usr/bin/env bash
# Make a bare Debian 12 with Python 3.11, as a base for images without a registry: tools/base-root.sh FOLDER. Needs root and apt-get.
set -euo pipefail
folder=${1:?usage: tools/base-root.sh FOLDER}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

fail() {
    echo "cardproof: error: $1" >&2
    echo "Hint: $2" >&2
    exit 2
}

if [ -x "$folder/usr/bin/python3.11" ] && [ -e "$folder/.complete" ]; then exit 0; fi
command -v apt-get > /dev/null || fail "A local base needs Debian's tools, but this machine has no apt-get." "build from the registry base instead: make container."
[ "$(id -u)" = 0 ] || fail "Making a base root needs root." "run it as root, or build from the registry base: make container."
if ! command -v mmdebstrap > /dev/null; then
    timeout 300 apt-get -q -o DPkg::Lock::Timeout=120 update >&2
    DEBIAN_FRONTEND=noninteractive timeout 300 apt-get -q -o DPkg::Lock::Timeout=120 install -y --no-install-recommends mmdebstrap >&2
fi
mirror=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources 2> /dev/null | head -n 1)
[ -n "$mirror" ] || mirror=$(awk '$1 == "deb" { print $(/^deb \[/ ? 3 : 2); exit }' /etc/apt/sources.list)
[ -n "$mirror" ] || fail "No Debian mirror is named in /etc/apt." "name one in /etc/apt/sources.list."
rm -rf "$folder"
mkdir -p "$(dirname "$folder")"
timeout 600 mmdebstrap --quiet --variant=minbase --include=python3-minimal,python3-venv,ca-certificates --keyring="$keyring" \
    bookworm "$folder" "$mirror"
touch "$folder/.complete"
