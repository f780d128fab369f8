#!/usr/bin/env bash
# Install Debian's Chromium for the tests that open pages in a browser: tools/install-chromium.sh. Prints its path. Needs root and apt-get.
set -euo pipefail

if found=$(command -v chromium || command -v chromium-browser || command -v google-chrome); then
    echo "$found"
    exit 0
fi
if ! command -v apt-get > /dev/null || [ "$(id -u)" != 0 ]; then
    echo "cardproof: error: Chromium is missing, and installing it needs apt-get and root." >&2
    echo "Hint: install your system's package of Chromium, or run this script as root on Debian." >&2
    exit 2
fi
{
    timeout 300 apt-get -q -o DPkg::Lock::Timeout=120 update
    DEBIAN_FRONTEND=noninteractive timeout 600 apt-get -q -o DPkg::Lock::Timeout=120 install -y --no-install-recommends chromium fonts-dejavu-core
} >&2
command -v chromium
