#!/bin/bash
# base.sh [ENGINE]: makes localhost/debian:bookworm-slim out of Debian's archive, where no registry can be reached.
# Needs mmdebstrap; root, or user namespaces. Then: BASE=localhost/debian:bookworm-slim make images
# ARCH=arm64 makes localhost/debian:bookworm-slim-arm64; needs an arm64 machine, or QEMU behind binfmt_misc and arch-test.
set -euo pipefail
engine=${1:-podman}
suite=bookworm mirror=http://deb.debian.org
arch=${ARCH:-} name=localhost/debian:$suite-slim${ARCH:+-$ARCH}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

slim=() # what Debian's own slim images leave out
for path in doc man info locale; do slim+=(--dpkgopt="path-exclude=/usr/share/$path/*"); done
slim+=(--dpkgopt='path-include=/usr/share/doc/*/copyright')

export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-0} # no file is newer, and two bases of one day are equal
mmdebstrap --quiet --variant=minbase --include=ca-certificates "${slim[@]}" ${arch:+--architectures=$arch} $suite "$folder/base.tar" \
    "deb $mirror/debian $suite main" "deb $mirror/debian $suite-updates main" \
    "deb $mirror/debian-security $suite-security main"
if [[ $engine == buildah ]]; then
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$folder/base.tar" /
    if [[ -n $arch ]]; then buildah config --arch "$arch" "$container"; fi
    buildah commit --quiet --rm "$container" "$name"
elif [[ $engine == docker ]]; then
    docker import ${arch:+--platform "linux/$arch"} "$folder/base.tar" "$name"
else
    "$engine" import ${arch:+--arch "$arch"} "$folder/base.tar" "$name"
fi
