#!/bin/bash
# base.sh [ENGINE]: makes localhost/debian:bookworm-slim out of Debian's archive, where no registry can be reached.
# Needs mmdebstrap; root, or user namespaces. Then: BASE=localhost/debian:bookworm-slim make images
set -euo pipefail
engine=${1:-podman}
suite=bookworm mirror=http://deb.debian.org
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

slim=() # what Debian's own slim images leave out
for path in doc man info locale; do slim+=(--dpkgopt="path-exclude=/usr/share/$path/*"); done
slim+=(--dpkgopt='path-include=/usr/share/doc/*/copyright')

export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-0} # no file is newer, and two bases of one day are equal
mmdebstrap --quiet --variant=minbase --include=ca-certificates "${slim[@]}" $suite "$folder/base.tar" \
    "deb $mirror/debian $suite main" "deb $mirror/debian $suite-updates main" \
    "deb $mirror/debian-security $suite-security main"
if [[ $engine == buildah ]]; then
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$folder/base.tar" /
    buildah commit --quiet --rm "$container" localhost/debian:$suite-slim
else
    "$engine" import "$folder/base.tar" localhost/debian:$suite-slim
fi
