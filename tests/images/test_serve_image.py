"""The image `serve`, built from a clean clone and run as narrowly as it can be: what is in it, and that it answers."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import containers
from support.containers import Engine
from support.pictures import shape, shapes
from support.services import MIB, PATIENCE, ROOT, environment, espalier, eventually, free_port

from service.client import Client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
LARGEST = 700e6  # bytes
NAME = "localhost/espalier-test"
USER = 10001
KEY = "of-the-operator-" * 3
TMP = 128 * MIB


@pytest.fixture(scope="module")
def engine() -> Engine:
    return containers.find()


@pytest.fixture(scope="module")
def clone(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is committed, and nothing else that lies around."""
    folder = tmp_path_factory.mktemp("clone") / "espalier"
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", str(folder)], check=True)
    return folder


@pytest.fixture(scope="module")
def backbones(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded backbones, built here: it takes torch, and the image has none."""
    home = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("export") / "home"))
    for name in ("tf_efficientnet_lite0", "minilm"):
        espalier("backbones", "export", name, str(home.parent / "backbones"), home=home)
    return home.parent / "backbones"


@pytest.fixture(scope="module")
def image(engine: Engine, clone: Path, backbones: Path) -> Iterator[str]:
    yield containers.build(engine, clone, "serve", backbones, NAME)
    engine("rmi", "--force", f"{NAME}:serve", check=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that is /data, the only one that stays."""
    folder = tmp_path_factory.mktemp("data")
    for parent in (folder, folder.parent, folder.parent.parent):
        parent.chmod(parent.stat().st_mode | 0o111)
    os.chown(folder, USER, USER)
    return folder


@pytest.fixture(scope="module")
def served(engine: Engine, image: str, data: Path) -> Iterator[tuple[str, Client]]:
    """(container, client) of the image: root file system read-only, no capabilities, no new privileges, no root."""
    port = free_port()
    narrow = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "200"]
    narrow += ["--tmpfs", f"/tmp:rw,noexec,nosuid,size={TMP},mode=1777", "--volume", f"{data}:/data"]
    narrow += ["--read-only-tmpfs=false"] if engine.name == "podman" else []
    secret = data.parent / "admin-key"
    secret.write_text(KEY)
    narrow += ["--volume", f"{secret}:/run/admin-key:ro", "--env", "ESPALIER_ADMIN_KEY_FILE=/run/admin-key"]
    with containers.container(engine, image, [*narrow, "--publish", f"127.0.0.1:{port}:3000"]) as name:
        client = Client(f"http://127.0.0.1:{port}", key=KEY, timeout=PATIENCE)
        try:
            client.wait_ready(PATIENCE)
        except TimeoutError:
            raise AssertionError(containers.log(engine, name)) from None
        yield name, client
        client.close()


@pytest.fixture(scope="module")
def worker(served: tuple[str, Client], data: Path) -> Iterator[None]:
    """A worker on the same folder: of the checkout, as the image for it takes torch, some GB, into a test."""
    command = [sys.executable, "-m", "service.cli", "worker"]
    kept = {**environment(data), "ESPALIER_PRECISION": "auto"}
    # Not the image's user, who may not read the checkout: so what it writes may be written by all.
    with (data.parent / "worker.log").open("wb") as log:
        process = subprocess.Popen(command, env=kept, stdout=log, stderr=log, umask=0)
    yield
    process.terminate()
    process.wait(30)


def python_packages(engine: Engine, image: str) -> set[tuple[str, str]]:
    """(name, version) of what is installed."""
    program = "import importlib.metadata as m; print(*(f'{d.name.lower()}=={d.version}' for d in m.distributions()))"
    pairs = (item.partition("==") for item in engine.inside(image, "python", "-c", program).split())
    return {(name, version) for name, _, version in pairs}


def shell(engine: Engine, image: str, command: str) -> str:
    """What a command prints in the image, as root."""
    return engine.inside(image, "sh", "-c", f"{command} 2>/dev/null || true")


def test_it_is_small_enough(engine, image):
    assert engine.inspect(image)["Size"] <= LARGEST


def test_it_says_what_it_is_and_runs_as_somebody_without_rights(engine, image, clone):
    found = engine.inspect(image)
    labels, revision = found["Config"]["Labels"], subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=clone)
    assert labels["org.opencontainers.image.revision"] == revision.decode().strip()
    assert {"title", "description", "licenses", "created", "version"} <= {name.rpartition(".")[2] for name in labels}
    assert found["Config"]["User"] == f"{USER}:{USER}"  # as a number, or Kubernetes cannot tell that it is not root
    assert found["Config"]["ExposedPorts"] == {"3000/tcp": {}}


def test_nothing_that_trains_or_builds_is_in_it(engine, image):
    names = {name for name, _ in python_packages(engine, image)}
    assert {"bentoml", "onnxruntime", "espalier"} <= names
    assert not names & {"torch", "torchvision", "timm", "onnx", "scikit-learn", "dbos", "pip", "setuptools", "wheel"}
    assert shell(engine, image, "command -v pip pip3 gcc git curl wget") == ""


def test_nothing_of_the_build_is_left_in_it(engine, image):
    """Neither pip's configuration and certificates nor folders that were mounted have files in them."""
    assert shell(engine, image, "find /mnt /run/secrets /etc/pip.conf /root/.cache /root/.config /tmp ! -type d") == ""
    assert shell(engine, image, "find /var/cache /var/log /var/lib/apt/lists -type f") == ""


def test_every_module_is_compiled(engine, image):
    """Nothing can be written beside them later."""
    program = """
import importlib.util, pathlib
sources = [path for top in ("/opt/venv/lib", "/app") for path in pathlib.Path(top).rglob("*.py")]
print(len(sources), *(path for path in sources if not pathlib.Path(importlib.util.cache_from_source(path)).exists()))
"""
    count, *missing = engine.inside(image, "python", "-c", program).split()
    assert int(count) > 3000 and missing == []


def test_its_user_may_write_to_data_alone(engine, image):
    """Also where the root file system is not read-only. (Temporary folders are everybody's.)"""
    writable = f"find / -xdev ( -user {USER} -o -perm -o+w ) ! -type l ! -path /tmp ! -path /var/tmp"
    places = shell(engine, image, writable.replace("(", "\\(").replace(")", "\\)")).split()
    assert [at for at in places if not at.startswith(("/dev", "/run/lock", "/proc", "/sys"))] == ["/data"]


def test_the_list_of_what_is_in_it_is_complete(engine, image, clone, backbones):
    """CycloneDX: every Python package and Debian package at its version, and each backbone by its digest."""
    inside = engine.inside(image, "cat", "/usr/share/espalier/sbom.cdx.json")
    assert (clone / "dist" / "espalier-test-serve.cdx.json").read_text() == inside
    document: dict[str, Any] = json.loads(inside)
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    found = {(part["name"].lower(), part.get("version")) for part in document["components"]}
    assert {pair for pair in python_packages(engine, image) if pair[0] != "espalier"} <= found
    debian = engine.inside(image, "dpkg-query", "-W", "-f", "${Package} ${Version}\n").splitlines()
    assert len(debian) > 50 and {tuple(line.split()) for line in debian} <= found
    known = [json.loads(path.read_text())["artifact"] for path in sorted(backbones.glob("*.json"))]
    models = [part for part in document["components"] if part["type"] == "machine-learning-model"]
    told = [model["hashes"] for model in models]
    assert len(known) == 2 and told == [[{"alg": "SHA-256", "content": digest}] for digest in known]
    assert document["metadata"]["component"]["name"] == "espalier"


def test_two_builds_of_a_commit_are_equal(engine, image, clone, backbones, tmp_path):
    """Every file: its bytes, mode, owner and (but with docker, see build.sh) time. An engine mounts some of its own."""
    again = containers.build(engine, clone, "serve", backbones, f"{NAME}-again", "--no-cache")
    mounted = {"etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab"}
    times = engine.name != "docker"
    one, other = (containers.files(engine, built, tmp_path, times) for built in (image, again))
    engine("rmi", "--force", again, check=False)
    assert len(one) > 10_000
    assert {path for path in one.keys() | other.keys() if one.get(path) != other.get(path)} - mounted == set()


def test_it_refuses_to_listen_without_a_key(engine, image):
    """And says what to do."""
    done = engine("run", "--rm", "--network", "none", "--tmpfs", "/tmp", *engine.limits, image, check=False)
    assert done.returncode != 0 and "ESPALIER_ADMIN_KEY" in done.stdout + done.stderr


def test_it_answers_teaches_and_predicts_with_a_read_only_root(engine, served, worker, data):
    name, client = served
    job = eventually(lambda: client.finetune("shapes", shapes()))  # refused until a worker has started
    job = client.wait(job["id"])
    assert job["status"] == "succeeded", job["error"]
    predictions = eventually(lambda: client.predict(["shapes"], [shape("circle", 99)])["predictions"])
    assert predictions[0]["label"] == "circle"
    assert len(client.embed(texts=["Where is my card?"])["embeddings"][0]) == 384, "and it reads texts, without torch"
    page = client._http.get("/heads/shapes/report", headers={"Accept": "text/html"})
    assert page.status_code == 200 and "<svg" in page.text
    assert client._http.get("/docs").status_code == 200
    assert httpx.get(f"{client._http.base_url}/heads").status_code == 401
    assert "Traceback" not in containers.log(engine, name)


def test_an_upload_that_tmp_has_no_room_for_is_refused_alone(served):
    _, client = served
    beyond = {"images": ("a/big.png", bytes(TMP + 16 * MIB), "image/png")}
    answer = client._http.post("/finetune", data={"head": "big"}, files=beyond)
    assert (answer.status_code, answer.json()["code"]) == (507, "storage_full"), answer.text
    assert client.predict(["shapes"], [shape("circle", 98)])["predictions"][0]["label"] == "circle"


def test_it_has_no_rights_and_can_write_nowhere_else(engine, served):
    name, _ = served
    status = dict(line.split(":\t", 1) for line in engine("exec", name, "cat", "/proc/1/status").stdout.splitlines())
    assert status["CapEff"] == status["CapBnd"] == "0" * 16 and status["NoNewPrivs"] == "1"
    assert set(status["Uid"].split()) == {str(USER)}
    for folder in ("/", "/app", "/opt/venv", "/usr", "/var/tmp", "/etc"):
        assert engine("exec", name, "touch", f"{folder}/x", check=False).returncode != 0, folder
    for folder in ("/data", "/tmp"):
        assert engine("exec", name, "touch", f"{folder}/x", check=False).returncode == 0, folder


def test_its_healthcheck_says_that_it_is_well(engine, image, served):
    name, _ = served
    known = engine.inspect(image)
    check = (known.get("HealthCheck") or known.get("Healthcheck") or known["Config"]["Healthcheck"])["Test"]
    assert check[0] == "CMD" and engine("exec", name, *check[1:], check=False).returncode == 0
    wrong = [part.replace(":3000", ":3001") for part in check[1:]]
    assert engine("exec", name, *wrong, check=False).returncode != 0


def test_it_stops_in_order_and_keeps_what_it_learned(engine, image, served):
    name, client = served
    engine("stop", "--time", "60", name)
    state = json.loads(engine("inspect", name).stdout)[0]["State"]
    assert state["ExitCode"] in (0, 143) and not state.get("OOMKilled"), state
    engine("start", name)
    assert client.wait_ready(PATIENCE) is None
    assert client.predict(["shapes"], [shape("square", 99)])["predictions"][0]["label"] == "square"
