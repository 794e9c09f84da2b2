#!/bin/bash
# build.sh [serve|train]…: builds the images of the Dockerfile, with the commit's time and labels, and writes what is in
# each to dist/. `make images` runs it. From the environment:
#   ENGINE      docker, podman or buildah; else the first of them that answers
#   NAME        of the images: NAME:serve, NAME:train (espalier)
#   BASE, EXTRA build arguments of the Dockerfile
#   ARCH        arm64 or amd64, where it is not this machine's: needs BACKBONES, and QEMU 10 behind binfmt_misc or docker's
#               buildx with a builder of that kind; the tag ends with it (espalier:serve-arm64)
#   BACKBONES   a folder made by `espalier backbones export`, in place of building them (which takes torch)
#   PIP_CONF    pip's configuration during the build, where your packages come from a mirror; not in the image
#   CA_BUNDLE   the certificates of that mirror (PIP_CONF names it as /run/secrets/ca.crt); not in the image
#   OPTIONS     more options of the engine's build; docker's own builder keeps the times of files as they are, one of buildx
#               gives them the commit's with OPTIONS='--output type=docker,rewrite-timestamp=true'
set -euo pipefail
cd "$(dirname "$0")/../.."

answers() { command -v "$1" >/dev/null && "$1" info >/dev/null 2>&1; }

engine() {
    for name in ${ENGINE:-docker podman buildah}; do
        if answers "$name"; then echo "$name" && return; fi
    done
    echo "none of these answers here: ${ENGINE:-docker podman buildah}" >&2
    return 1
}

image() { echo "${NAME:-espalier}:$1${ARCH:+-$ARCH}"; }

options() { # of the build of target $1, one a line
    local epoch revision
    epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
    revision=$(git rev-parse HEAD 2>/dev/null || true)
    printf '%s\n' --file Dockerfile --target "$1" --tag "$(image "$1")" \
        --build-arg "EXTRA=${EXTRA:-cpu}" \
        --label "org.opencontainers.image.revision=$revision" \
        --label "org.opencontainers.image.created=$(date --utc --date "@$epoch" +%Y-%m-%dT%H:%M:%SZ)"
    if [[ -n ${ARCH:-} ]]; then printf '%s\n' --platform "linux/$ARCH"; fi
    if [[ -n ${BASE:-} ]]; then printf '%s\n' --build-arg "BASE=$BASE"; fi
    if [[ -n ${BACKBONES:-} ]]; then printf '%s\n' --build-context "backbones=$BACKBONES"; fi
    if [[ -n ${PIP_CONF:-} ]]; then printf '%s\n' --secret "id=pip.conf,src=$PIP_CONF"; fi
    if [[ -n ${CA_BUNDLE:-} ]]; then printf '%s\n' --secret "id=ca.crt,src=$CA_BUNDLE"; fi
    case $engine in
    docker) printf '%s\n' --build-arg "SOURCE_DATE_EPOCH=$epoch" ;;
    # OCI's own format has no HEALTHCHECK; and buildah 1.28 (Debian 12) mounts nothing of a stage that its cache has.
    *) printf '%s\n' --format docker --layers=false --timestamp "$epoch" ;;
    esac
}

sbom() { # of target $1, out of its image, which is not started for that
    local name=${NAME:-espalier} inside=/usr/share/espalier/sbom.cdx.json container file
    file=dist/${name##*/}-$1${ARCH:+-$ARCH}.cdx.json
    mkdir -p dist
    if [[ $engine == buildah ]]; then
        container=$(buildah from --pull-never ${ARCH:+--arch "$ARCH"} "$(image "$1")")
        cp "$(buildah mount "$container")$inside" "$file"
    else
        container=$("$engine" create ${ARCH:+--platform "linux/$ARCH"} "$(image "$1")")
        "$engine" cp "$container:$inside" "$file"
    fi
    "$engine" rm "$container" >/dev/null
}

engine=$(engine)
for target in "${@:-serve}"; do
    mapfile -t arguments < <(options "$target")
    # shellcheck disable=SC2086  # several options in one variable
    DOCKER_BUILDKIT=1 "$engine" build "${arguments[@]}" ${OPTIONS:-} .
    sbom "$target"
done
