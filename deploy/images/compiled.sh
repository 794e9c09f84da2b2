# compiled.sh PATHS: bytecode beside every module there, as nothing can be written there later.
# It has the source's hash in it and not its time, so that two builds make the same; nobody checks it, as the source stays.
set -eu
PYTHONHASHSEED=0 /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash "$@"
