"""checkov's rules for Kubernetes, all but those that we have a reason against."""

import json
import subprocess

import pytest
import yaml
from support.kubernetes import rendering
from support.kubernetes.rendering import OVERLAYS

AGAINST = {
    "CKV_K8S_15": "`Always` makes each start depend on the registry; a release's tag does not move, a digest cannot",
    "CKV_K8S_35": "the libraries for PostgreSQL and S3 are given theirs in the environment, by reference to a Secret",
    "CKV_K8S_43": "the digest is known once an image is pushed, to a registry of yours: the guide tells to set it",
    "CKV_K8S_9": "nobody sends a worker anything, so there is nothing for which it could be ready",
}


@pytest.mark.slow
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_checkov_finds_nothing_else(overlay, tmp_path):
    checkov = rendering.tool("checkov")
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(yaml.safe_dump_all(rendering.kustomize(overlay)))
    command = [checkov, "--file", str(manifest), "--framework", "kubernetes", "--output", "json", "--compact",
               "--skip-download", "--skip-check", ",".join(AGAINST)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    report = json.loads(done.stdout)
    assert report["summary"]["passed"] > 50, "it looked at what is there"
    assert [(c["check_id"], c["resource"]) for c in report["results"]["failed_checks"]] == []
