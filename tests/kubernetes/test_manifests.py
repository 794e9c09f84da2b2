"""What kustomize makes of deploy/kubernetes: valid, restricted, and about things that Espalier has."""

import os
import re
import subprocess
import sys
import time
import tomllib

import kubernetes_validate
import pytest
import yaml
from support.kubernetes import rendering
from support.kubernetes.rendering import OVERLAYS, VERSIONS, Object
from support.services import MIB, ROOT, eventually

from service.settings import OTHERS, Settings

UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
CUSTOM = {"ServiceMonitor", "PrometheusRule", "ScaledObject"}  # kinds that Kubernetes itself does not know
CHOOSERS = {"Service", "PodDisruptionBudget", "NetworkPolicy", "Deployment", "StatefulSet"}
OWN = {"app.kubernetes.io/name": "espalier", "app.kubernetes.io/instance": "espalier"}
VOLUMES = {"name", "emptyDir", "persistentVolumeClaim", "projected"}
IDLE = {"cpu": 221, "gpu": 2048, "single-node": 221}  # MiB; docs/benchmarks/footprint.md, and what CUDA takes of a host


@pytest.fixture(scope="module", params=OVERLAYS)
def overlay(request) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def objects(overlay: str) -> list[Object]:
    return rendering.kustomize(overlay)


def size(quantity: str) -> int:
    """Bytes."""
    number, unit = re.fullmatch(r"(\d+)(\w*)", quantity).groups()
    return int(number) * UNITS.get(unit, 1)


@pytest.mark.slow
def test_every_object_is_valid_in_every_version_that_is_supported(objects):
    for found in objects:
        if found["kind"] not in CUSTOM:
            for version in VERSIONS:
                kubernetes_validate.validate(found, version, strict=True)


def test_a_field_that_is_none_is_not_valid(objects):
    """That the test above can fail."""
    deployment = rendering.one(objects, "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}
    try:
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(deployment, VERSIONS[0], strict=True)
    finally:
        del deployment["spec"]["template"]["spec"]["containers"][0]["livenessprobe"]


def test_every_setting_exists(objects):
    """But for ESPALIER_SIGNS_OF_LIFE, by which a supervisor, and here the kubelet, sees that a worker lives."""
    known = {f"ESPALIER_{name.upper()}" for name in Settings.model_fields} | {"ESPALIER_SIGNS_OF_LIFE"}
    assert "ESPALIER_SIGNS_OF_LIFE" in OTHERS
    named = {variable["name"] for container in rendering.containers(objects) for variable in container.get("env", [])}
    ours = {name for name in named | set(rendering.settings(objects)) if name.startswith("ESPALIER_")}
    assert ours and ours - known == set()


def test_the_settings_are_taken(objects, monkeypatch):
    """Their values, too: Settings refuses a number that is none or is out of bounds."""
    for container in rendering.containers(objects):
        for name, value in rendering.environment(objects, container).items():
            monkeypatch.setenv(name, value)
        assert Settings().threads > 0 or container["name"] == "migrate"


def test_everything_is_as_restricted_as_it_can_be(objects):
    """PodSecurity `restricted`, and beyond it: nothing writes beside its volumes, and nothing gets a token."""
    labels = rendering.one(objects, "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in rendering.pods(objects).values():
        security = pod["securityContext"]
        assert security["runAsNonRoot"] and security["runAsUser"] == security["fsGroup"] == 10001
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False and pod["enableServiceLinks"] is False
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        assert all(v.keys() <= VOLUMES for v in pod["volumes"])
        assert all("sizeLimit" in volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume)
    for container in rendering.containers(objects):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_the_user_is_the_images_own(objects):
    assert re.search(r"\b10001\b", (ROOT / "Dockerfile").read_text() + _scripts())


def _scripts() -> str:
    return "".join(path.read_text() for path in (ROOT / "deploy").rglob("*.sh"))


def test_no_secret_has_a_value(objects):
    """Neither as an object nor in a setting or a variable."""
    assert rendering.of_kind(objects, "Secret") == []
    secret = re.compile(r"SECRET|PASSWORD|KEY|TOKEN|DATABASE_URL|HEADERS")
    assert [name for name in rendering.settings(objects) if secret.search(name)] == []
    for container in rendering.containers(objects):
        for variable in container.get("env", []):
            if secret.search(variable["name"]) and not variable["name"].endswith("_FILE"):
                assert variable.keys() == {"name", "valueFrom"}, variable["name"]


def test_settings_can_name_files_and_traces_a_secret(objects):
    """Of a Secret and a ConfigMap that need not be there, in servers and workers alike."""
    for pod in rendering.pods(objects).values():
        volumes = {volume["name"]: volume.get("projected") for volume in pod["volumes"]}
        for container in pod["containers"]:
            if container["name"] in ("serve", "worker"):
                (named,) = [m["name"] for m in container["volumeMounts"] if m["mountPath"] == "/etc/espalier"]
                given = [source for one in volumes[named]["sources"] for source in one.values()]
                assert given == 2 * [{"name": "espalier-files", "optional": True}]
                (headers,) = [v for v in container["env"] if v["name"] == "OTEL_EXPORTER_OTLP_HEADERS"]
                assert headers["valueFrom"]["secretKeyRef"]["optional"]


def test_nobody_is_answered_without_a_key(objects):
    assert rendering.settings(objects)["ESPALIER_ACCESS"] == "keys"
    server = rendering.pods(objects)["Deployment/espalier-serve"]["containers"][0]
    (key,) = [variable for variable in server["env"] if variable["name"] == "ESPALIER_ADMIN_KEY"]
    assert not key["valueFrom"]["secretKeyRef"].get("optional")
    for monitor in rendering.of_kind(objects, "ServiceMonitor"):
        assert all(endpoint["authorization"]["credentials"] for endpoint in monitor["spec"]["endpoints"])


def test_images_are_of_this_release(objects):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {container["image"].partition(":")[2] for container in rendering.containers(objects)} == {version}
    chart = yaml.safe_load((ROOT / "deploy" / "helm" / "espalier" / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == version
    for job in rendering.of_kind(objects, "Job"):
        assert rendering.HASHED.fullmatch(job["metadata"]["name"])[1].endswith("-" + version.replace(".", "-"))


def test_a_server_has_the_time_that_it_may_need_to_end(objects, overlay):
    """What precedes SIGTERM, what it answers on for, and the longest answer."""
    pod = rendering.pods(objects)["Deployment/espalier-serve"]
    server = pod["containers"][0]
    settings = Settings(**_given(rendering.environment(objects, server)))
    sleep = server["lifecycle"]["preStop"]["sleep"]["seconds"] if overlay != "single-node" else 0
    assert sleep + settings.drain_seconds + settings.predict_seconds < pod["terminationGracePeriodSeconds"]


def test_a_servers_memory_is_the_sum_of_what_it_may_hold(objects, overlay):
    server = rendering.pods(objects)["Deployment/espalier-serve"]["containers"][0]
    settings = Settings(**_given(rendering.environment(objects, server)))
    decoding = settings.threads * settings.max_pixels * 8
    most = IDLE[overlay] * MIB + settings.head_cache_bytes + settings.max_waiting_bytes + decoding
    assert most < size(server["resources"]["limits"]["memory"])


def test_uploads_have_the_room_that_they_may_take(objects):
    pod = rendering.pods(objects)["Deployment/espalier-serve"]
    uploads = int(rendering.settings(objects)["ESPALIER_MAX_UPLOAD_BYTES"])
    (room,) = [size(v["emptyDir"]["sizeLimit"]) for v in pod["volumes"] if v["name"] == "tmp"]
    assert uploads < room < size(pod["containers"][0]["resources"]["limits"]["ephemeral-storage"])


def test_deep_jobs_have_the_room_that_they_may_take(objects):
    """On a volume of its own: whoever writes more than a volume's bound is evicted, and its successor starts over."""
    (pod,) = [pod for pod in rendering.pods(objects).values() if _has(pod, "worker")]
    (worker,) = [container for container in pod["containers"] if container["name"] == "worker"]
    settings = Settings(**_given(rendering.environment(objects, worker)))
    volumes = {mount["mountPath"]: mount["name"] for mount in worker["volumeMounts"]}
    bounds = {v["name"]: size(v["emptyDir"]["sizeLimit"]) for v in pod["volumes"] if "emptyDir" in v}
    assert 0 < settings.deep_bytes < bounds[volumes["/data/deep"]]
    own = sum(bounds.get(name, 0) for name in volumes.values())
    assert own < size(worker["resources"]["limits"]["ephemeral-storage"])


def _has(pod: Object, name: str) -> bool:
    return name in {container["name"] for container in pod["containers"]}


def _given(environment: dict[str, str]) -> dict[str, str]:
    ours = {n: v for n, v in environment.items() if n.startswith("ESPALIER_") and n not in OTHERS}
    return {n.removeprefix("ESPALIER_").lower(): v for n, v in ours.items()}


def test_probes_ask_what_they_mean(objects):
    """Restarted for a loop that does not turn, taken out for what is not ready; neither route asks the database."""
    server = rendering.pods(objects)["Deployment/espalier-serve"]["containers"][0]
    asked = {name: server[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert asked == {"startup": "/livez", "readiness": "/readyz", "liveness": "/livez"}
    ports = {port["name"] for port in server["ports"]}
    assert {server[f"{name}Probe"]["httpGet"]["port"] for name in asked} <= ports


def test_a_workers_probe_sees_that_it_lives(objects, tmp_path):
    """The command of the manifest, about a process that gives its signs in another folder than /tmp."""
    (worker,) = [c for c in rendering.containers(objects) if c["name"] == "worker"]
    assert rendering.environment(objects, worker)["ESPALIER_SIGNS_OF_LIFE"] == "/tmp"
    *shell, script = worker["livenessProbe"]["exec"]["command"]
    probe = [*shell, script.replace("/tmp", str(tmp_path))]
    (tmp_path / "torch_123-4_another.lock").touch()
    assert subprocess.run(probe).returncode != 0
    beat = "from service.processes import liveness; import time; liveness.beat_in_thread(); time.sleep(300)"
    given = os.environ | {"ESPALIER_SIGNS_OF_LIFE": str(tmp_path), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", beat], env=given)
    try:
        eventually(lambda: subprocess.run(probe).returncode == 0)
    finally:
        process.kill()
        process.wait()
    for sign in tmp_path.glob("[0-9]*"):
        os.utime(sign, (0, time.time() - 180))
    assert subprocess.run(probe).returncode != 0


def test_nothing_is_selected_that_is_not_there(objects):
    """Services, budgets, policies and spreads choose pods by labels that those have."""
    labelled = {name: made["metadata"]["labels"] for name, made in rendering.templates(objects).items()}
    for found in objects:
        spec = found.get("spec", {})
        chosen = {
            "Service": spec.get("selector"),
            "PodDisruptionBudget": spec.get("selector", {}).get("matchLabels"),
            "NetworkPolicy": spec.get("podSelector", {}).get("matchLabels"),
            "Deployment": spec.get("selector", {}).get("matchLabels"),
            "StatefulSet": spec.get("selector", {}).get("matchLabels"),
        }.get(found["kind"])
        if found["kind"] in CHOOSERS:
            name = found["metadata"]["name"]
            assert chosen and OWN.items() <= chosen.items(), f"{name} must choose none of another application's pods"
            assert any(chosen.items() <= labels.items() for labels in labelled.values()), name


def test_autoscalers_name_what_is_there_and_leave_replicas_alone(objects, overlay):
    names = {f"{o['kind']}/{o['metadata']['name']}": o for o in objects}
    scalers = rendering.of_kind(objects, "HorizontalPodAutoscaler") + rendering.of_kind(objects, "ScaledObject")
    assert bool(scalers) == (overlay != "single-node")
    for scaler in scalers:
        target = scaler["spec"]["scaleTargetRef"]
        found = names[f"{target.get('kind', 'Deployment')}/{target['name']}"]
        assert "replicas" not in found["spec"]


def test_a_rollout_never_has_fewer_servers_than_before(objects, overlay):
    strategy = rendering.one(objects, "Deployment")["spec"]["strategy"]
    if overlay == "single-node":
        assert strategy == {"type": "Recreate"}  # SQLite's volume is one pod's
    else:
        assert strategy["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_the_volume_of_sqlite_is_one_pods(objects, overlay):
    if overlay == "single-node":
        assert rendering.one(objects, "Deployment")["spec"]["replicas"] == 1
        claim = rendering.one(objects, "PersistentVolumeClaim", "espalier-data")
        assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    else:
        names = {v["name"] for c in rendering.containers(objects) for v in c.get("env", [])}
        assert "ESPALIER_DATABASE_URL" in names


def test_the_guides_example_renders(tmp_path):
    """Images by digest from a registry of one's own, and settings of one's own, on top of an overlay."""
    digest = "sha256:" + "a" * 64
    objects = rendering.beside_a_checkout(rendering.guides("espalier-serve").replace("sha256:…", digest), tmp_path)
    images = {container["image"] for container in rendering.containers(objects)}
    assert images == {f"registry.example.com/espalier-{name}@{digest}" for name in ("serve", "train")}
    settings = rendering.settings(objects)
    assert settings["AWS_REGION"] == "eu-central-1" and settings["ESPALIER_THREADS"] == "2"


@pytest.mark.parametrize(("overlay", "image"), [("cpu", "espalier-serve"), ("gpu", "espalier-serve-gpu")])
def test_a_migration_of_another_image_is_another_job(overlay, image, tmp_path):
    """Kubernetes refuses to change a Job that is there; the same image again is the same Job, whatever else changes."""

    def name(folder: str, digest: str, setting: str) -> str:
        (tmp_path / folder).mkdir()
        objects = rendering.beside_a_checkout(OWN_IMAGE.format(overlay, image, digest * 64, setting), tmp_path / folder)
        (job,) = rendering.of_kind(objects, "Job")
        assert job["spec"]["template"]["spec"]["containers"][0]["image"].endswith("@sha256:" + digest * 64)
        return str(job["metadata"]["name"])

    first = name("first", "a", "1")
    assert name("other", "b", "1") != first == name("again", "a", "2")


OWN_IMAGE = """
resources: [../espalier/deploy/kubernetes/overlays/{}]
images: [{{name: {}, digest: "sha256:{}"}}]
configMapGenerator:
  - {{name: espalier-settings, namespace: espalier, behavior: merge, literals: [ESPALIER_SERVERS={}]}}
"""


def test_the_guides_example_of_tokens_and_traces_renders(tmp_path):
    """The file is where its setting says, and the issuer and the collector can be reached, by their names."""
    objects = rendering.beside_a_checkout(rendering.guides("oidc.toml"), tmp_path)
    given = rendering.settings(objects)
    assert given["ESPALIER_OIDC_RULES"] == "/etc/espalier/oidc.toml" and given["ESPALIER_TRACING"] == "true"
    (made,) = [o for o in rendering.of_kind(objects, "ConfigMap") if "oidc.toml" in o["data"]]
    for volume in rendering.pods(objects)["Deployment/espalier-serve"]["volumes"]:
        if volume["name"] == "files":
            assert volume["projected"]["sources"][1]["configMap"]["name"] == made["metadata"]["name"]
    for policy in rendering.of_kind(objects, "NetworkPolicy"):
        ports = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
        assert ports >= {53, 443, 4318}


def test_no_pod_may_reach_more_than_it_needs(objects, overlay):
    """Each is chosen by a policy for both directions; where nothing but a disk is needed, none may go anywhere."""
    policies = [policy["spec"] for policy in rendering.of_kind(objects, "NetworkPolicy")]
    for name, made in rendering.templates(objects).items():
        labels = made["metadata"]["labels"]
        chosen = [spec for spec in policies if _chooses(spec["podSelector"], labels)]
        assert len(chosen) == 1 and set(chosen[0]["policyTypes"]) == {"Ingress", "Egress"}, name
        assert bool(chosen[0]["egress"]) == (overlay != "single-node"), name
        assert ("ingress" in chosen[0]) == (labels["app.kubernetes.io/component"] == "serve"), name


def _chooses(selector: Object, labels: dict[str, str]) -> bool:
    wanted = [(one["key"], one["values"]) for one in selector.get("matchExpressions", [])]
    return selector["matchLabels"].items() <= labels.items() and all(labels.get(key) in some for key, some in wanted)
