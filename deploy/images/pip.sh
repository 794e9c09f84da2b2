# pip.sh VENV ARGUMENTS: `pip install` into a virtual environment with the pip of another stage, so that none is left in it.
set -eu
venv=$1 && shift
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
if [ -e /run/secrets/ca.crt ]; then export PIP_CERT=/run/secrets/ca.crt; fi
if [ ! -e "$venv" ]; then python3 -m venv --without-pip "$venv"; fi
python3 "$(echo /mnt/wheels/pip-*.whl)/pip" --python "$venv/bin/python" install --quiet --no-compile "$@"
