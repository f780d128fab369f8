#!/usr/bin/env bash
# Install Apptainer if it is missing: tools/install-apptainer.sh [PREFIX]. Prints the folder to put on PATH.
#
# Debian 12 has no Apptainer package. This script puts Debian sid's package, and the C library that it needs (trixie's), into a separate
# folder; it replaces none of the system's libraries. Needs root and apt-get. On other systems use the system's own package.
set -euo pipefail
prefix=${1:-/opt/apptainer}

fail() {
    echo "cardproof: error: $1" >&2
    echo "Hint: $2" >&2
    exit 2
}

if found=$(command -v apptainer) && apptainer --version > /dev/null 2>&1; then
    dirname "$found"
    exit 0
fi
if "$prefix/bin/apptainer" --version > /dev/null 2>&1; then
    echo "$prefix/bin"
    exit 0
fi

[[ $prefix = /* ]] || fail "PREFIX must be an absolute path, found '$prefix'." "tools/install-apptainer.sh /opt/apptainer"
command -v apt-get > /dev/null || fail "This script works only on Debian, but this machine has no apt-get." "install apptainer with your system's packages."
[ "$(id -u)" = 0 ] || fail "Installing needs root." "run it as root, or ask your administrator for the apptainer package."
[ "$(uname -m)" = x86_64 ] || fail "Only x86_64 is known here, this is $(uname -m)." "install apptainer with your system's packages."

exec 3>&1 1>&2 # apt's chatter goes to stderr: stdout is the answer
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
apt=(timeout 300 apt-get -q -o DPkg::Lock::Timeout=120)
"${apt[@]}" update
DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends \
    patchelf squashfs-tools squashfuse uidmap fuse-overlayfs fuse2fs

# The mirror that the system's sources name.
mirror=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources 2> /dev/null | head -n 1)
[ -n "$mirror" ] || mirror=$(awk '$1 == "deb" { print $(/^deb \[/ ? 3 : 2); exit }' /etc/apt/sources.list)
[ -n "$mirror" ] || fail "No Debian mirror is named in /etc/apt." "install apptainer by hand."

# download SUITE PACKAGE...: from another release, without adding it to the system's sources
download() {
    local suite=$1 here=$work/$1
    shift
    mkdir -p "$here"/{lists/partial,cache/archives/partial,deb}
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" > "$here/sources.list"
    cat > "$here/apt.conf" << END
Dir::Etc::sourcelist "$here/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "$here/lists";
Dir::Cache "$here/cache";
APT::Sandbox::User "root";
Acquire::Languages "none";
END
    APT_CONFIG=$here/apt.conf "${apt[@]}" update
    (cd "$here/deb" && APT_CONFIG=$here/apt.conf "${apt[@]}" download "$@")
}
download trixie libc6 libseccomp2 libsqlite3-0
download sid apptainer

rm -rf "$prefix"
mkdir -p "$prefix"/{bin,glibc,root}
for package in "$work"/trixie/deb/*.deb; do dpkg -x "$package" "$prefix/glibc"; done
dpkg -x "$work"/sid/deb/apptainer_*.deb "$prefix/root"
library=$prefix/glibc/usr/lib/x86_64-linux-gnu
root=$prefix/root
for program in "$root/usr/bin/apptainer" "$root/usr/lib/x86_64-linux-gnu/apptainer/bin/starter"; do
    patchelf --set-interpreter "$library/ld-linux-x86-64.so.2" --force-rpath --set-rpath "$library" "$program"
done
# Apptainer looks for its parts relative to itself: settings are in usr/etc, and for the starter below usr/lib.
mv "$root/etc" "$root/usr/etc"
ln -s ../etc "$root/usr/lib/etc"
mkdir -p "$root"/usr/{,lib/}var/lib/apptainer/mnt/session
rm -rf "${root:?}/usr/share" "${prefix:?}/glibc/usr/share"
cat > "$prefix/bin/apptainer" << END
#!/bin/sh
# Root without CAP_SYS_RESOURCE (in a virtual machine or a container) cannot pass it on.
if [ "\$(id -u)" = 0 ]; then export APPTAINER_DROP_CAPS="\${APPTAINER_DROP_CAPS-CAP_SYS_RESOURCE}"; fi
exec "$root/usr/bin/apptainer" "\$@"
END
chmod +x "$prefix/bin/apptainer"
"$prefix/bin/apptainer" --version
echo "$prefix/bin" >&3
