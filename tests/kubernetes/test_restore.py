"""The pod that restores a backup: valid, restricted, of the new release in all but the backups that it reads."""

from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from support.kubernetes import rendering
from support.kubernetes.rendering import DEPLOY, VERSIONS, Object
from support.services import ROOT

from service.cli import main

FILE = DEPLOY / "kubernetes" / "restore.yaml"
NO_PODS = ["--set", "secret=espalier-restored,serve.replicas=0,worker.replicas=0"]
STORES = {"ESPALIER_DATABASE_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


@pytest.fixture(scope="module")
def pod() -> Object:
    return dict(yaml.safe_load(FILE.read_text()))


@pytest.fixture(scope="module")
def restored() -> list[Object]:
    """The release that the guide tells to install."""
    return rendering.helm(*NO_PODS, release="restored")


@pytest.mark.parametrize("version", VERSIONS)
def test_it_is_valid_in_every_version_that_is_supported(pod, version):
    kubernetes_validate.validate(pod, version, strict=True)


def test_it_has_the_new_releases_stores_and_rights_and_no_more(pod, restored):
    server = rendering.pods(restored)["Deployment/restored-serve"]
    (container,) = pod["spec"]["containers"]
    (like,) = server["containers"]
    for name in ("securityContext", "serviceAccountName", "automountServiceAccountToken", "enableServiceLinks"):
        assert pod["spec"][name] == server[name]
    assert container["securityContext"] == like["securityContext"] and container["image"] == like["image"]
    assert container["envFrom"] == like["envFrom"]
    named = sorted((variable for variable in like["env"] if variable["name"] in STORES), key=lambda v: v["name"])
    assert sorted(container["env"], key=lambda v: v["name"]) == named


def test_its_network_policy_is_one_of_the_new_release(pod, restored):
    labels = pod["metadata"]["labels"]
    (policy,) = [p for p in rendering.of_kind(restored, "NetworkPolicy") if p["metadata"]["name"] == "restored-worker"]
    chosen = policy["spec"]["podSelector"]
    (among,) = chosen["matchExpressions"]
    assert chosen["matchLabels"].items() <= labels.items() and labels[among["key"]] in among["values"]


def test_it_reads_the_backups_of_the_old_release_which_are_in_its_namespace(pod):
    made = rendering.one(rendering.helm("--set", "backup.enabled=true"), "PersistentVolumeClaim", "espalier-backups")
    (claim,) = [v["persistentVolumeClaim"] for v in pod["spec"]["volumes"] if "persistentVolumeClaim" in v]
    assert claim["claimName"] == made["metadata"]["name"]
    assert pod["metadata"]["namespace"] == made["metadata"]["namespace"]


def test_its_command_is_one_that_there_is(pod, tmp_path: Path):
    program, name, folder = pod["spec"]["containers"][0]["args"]
    assert program == "espalier" and Path(folder).parent == Path("/backups")
    context = main.make_context("espalier", [name, "--dry-run", str(tmp_path)], resilient_parsing=True)
    assert main.get_command(context, name) is not None


@pytest.mark.parametrize("mode", ["cluster", "single-node"])
def test_the_release_that_is_filled_has_no_pods_meanwhile(mode):
    objects = rendering.helm("--set", f"mode={mode}", *NO_PODS, release="restored")
    made = rendering.of_kind(objects, "Deployment") + rendering.of_kind(objects, "StatefulSet")
    assert {found["spec"]["replicas"] for found in made} == {0}


def test_the_guide_names_the_file_and_the_options():
    guide = (ROOT / "docs" / "guides" / "kubernetes.md").read_text()
    assert "deploy/kubernetes/restore.yaml" in guide and NO_PODS[1] in guide
