"""The chart makes what kustomize makes, and refuses values that would be mistakes."""

import subprocess

import pytest
from support.kubernetes import rendering
from support.kubernetes.rendering import DEPLOY, OVERLAYS
from support.services import PATIENCE


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_chart_renders_what_the_overlay_does(overlay):
    chart = rendering.comparable(rendering.helm(*rendering.example(overlay)))
    overlays = rendering.comparable(rendering.kustomize(overlay))
    assert chart.keys() == overlays.keys()
    for name, made in chart.items():
        assert made == overlays[name], name


def test_with_its_defaults_it_needs_nothing_but_kubernetes():
    """No custom resource, and no autoscaler that somebody else must answer."""
    objects = rendering.helm()
    assert {found["apiVersion"] for found in objects} <= {
        "v1", "apps/v1", "batch/v1", "policy/v1", "networking.k8s.io/v1",
    }  # fmt: skip
    assert rendering.one(objects, "Deployment")["spec"]["replicas"] == 2


def test_two_releases_in_one_namespace_share_nothing():
    one, other = (rendering.helm(release=release) for release in ("espalier", "another"))
    names = [{(o["kind"], o["metadata"]["name"]) for o in objects} for objects in (one, other)]
    assert not names[0] & names[1]
    selectors = [rendering.one(objects, "Service", name)["spec"]["selector"]
                 for objects, name in ((one, "espalier"), (other, "another"))]  # fmt: skip
    assert selectors[0] != selectors[1]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], [53, 53, 5432, 443, 9000]),
        (["--set", "networkPolicy.egressPorts={443,4318}"], [53, 53, 443, 4318]),
        (["--set", "mode=single-node"], []),
        (["--set", "mode=single-node", "--set", "networkPolicy.egressPorts={443}"], [53, 53, 443]),
        (["--set-json", "networkPolicy.egressPorts=[]"], []),
    ],
)
def test_pods_may_go_out_to_the_ports_that_are_given_and_no_others(options, expected):
    """A rule without ports would allow all of them."""
    for policy in rendering.of_kind(rendering.helm(*options), "NetworkPolicy"):
        assert [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]] == expected


def test_a_changed_setting_replaces_the_pods():
    before, after = (
        rendering.one(rendering.helm("--set-string", f"settings.ESPALIER_THREADS={n}"), "Deployment") for n in (2, 4)
    )
    assert before["spec"]["template"]["metadata"] != after["spec"]["template"]["metadata"]


@pytest.mark.parametrize("mode", ["cluster", "single-node"])
def test_an_image_is_named_by_registry_and_digest(mode):
    """Each by its own: a digest of the one in the other's repository is of nothing that could be pulled."""
    serve, train = ("sha256:" + letter * 64 for letter in "ab")
    own = f"image.registry=registry.example.com/team,image.serveTag={serve},image.trainTag={train}"
    objects = rendering.helm("--set", f"mode={mode},backup.enabled=true,{own}")
    names = {"worker": f"espalier-train@{train}"}
    for container in rendering.containers(objects):
        expected = names.get(container["name"], f"espalier-serve@{serve}")
        assert container["image"] == f"registry.example.com/team/{expected}"
    assert {container["name"] for container in rendering.containers(objects)} >= {"serve", "worker", "backup"}


def test_a_tag_is_of_both_images_but_of_one_that_has_its_own():
    objects = rendering.helm("--set", "image.tag=1.2,image.trainTag=1.3")
    tags = {c["name"]: c["image"].partition(":")[2] for c in rendering.containers(objects)}
    assert tags == {"serve": "1.2", "migrate": "1.2", "worker": "1.3"}


@pytest.mark.parametrize("option", ["image.tag={0}", "image.serveTag={0},image.trainTag={0}"])
def test_one_digest_for_two_images_is_refused(option):
    done = template("--set", option.format("sha256:" + "a" * 64))
    assert done.returncode != 0 and "give image.serveTag and image.trainTag" in done.stderr


def test_an_upgrade_takes_the_migration_before_it_away():
    """Kubernetes refuses to change a Job that is there."""
    annotations = rendering.one(rendering.helm(), "Job")["metadata"]["annotations"]
    assert "pre-upgrade" in annotations["helm.sh/hook"].split(",")
    assert "before-hook-creation" in annotations["helm.sh/hook-delete-policy"].split(",")


@pytest.mark.parametrize(
    "option",
    [
        "settings.ESPALIER_DATABASE_URL=postgresql://u:p@host/db",  # a secret, which would lie in a ConfigMap
        "settings.AWS_SECRET_ACCESS_KEY=x",
        "settings.OTEL_EXPORTER_OTLP_HEADERS=authorization=x",
        "mode=cloud",
        "autoscaling.kind=vpa",
        "serve.replicaCount=3",  # a word of other charts, which would have no effect
    ],
)
def test_a_value_that_would_be_a_mistake_is_refused(option):
    done = template("--set-string", option)
    assert done.returncode != 0 and "schema" in done.stderr


def template(*options: str) -> subprocess.CompletedProcess[str]:
    command = [rendering.tool("helm"), "template", "espalier", str(DEPLOY / "helm" / "espalier"), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)


def test_helm_lint_finds_nothing():
    command = [rendering.tool("helm"), "lint", "--strict", str(DEPLOY / "helm" / "espalier")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
