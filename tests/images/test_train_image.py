"""The image `train`, run as narrowly as a worker of the manifests: it has torch for CUDA, and teaches on a CPU as well.

Building it takes GB and many minutes: ESPALIER_TEST_TRAIN_IMAGE names one that `make images IMAGES=train` has built.
"""

import os
from collections.abc import Iterator

import pytest
from support import containers
from support.containers import Engine
from support.pictures import shape, shapes
from support.services import PATIENCE, eventually, free_port

from service.client import Client

IMAGE = os.environ.get("ESPALIER_TEST_TRAIN_IMAGE", "")
USER = 10001
KEY = "of-the-operator-" * 3
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not IMAGE, reason="ESPALIER_TEST_TRAIN_IMAGE names no image"),
]
NARROW = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "300"]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return containers.find()


@pytest.fixture(scope="module")
def client(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Of `espalier serve` in it: a server and a worker, which a cluster has in containers of their own."""
    folder, port = tmp_path_factory.mktemp("data"), free_port()
    for parent in (folder, folder.parent, folder.parent.parent):
        parent.chmod(parent.stat().st_mode | 0o111)
    os.chown(folder, USER, USER)
    options = [*NARROW, "--tmpfs", "/tmp:rw,noexec,nosuid,size=256m,mode=1777", "--volume", f"{folder}:/data"]
    options += ["--env", f"ESPALIER_ADMIN_KEY={KEY}", "--publish", f"127.0.0.1:{port}:3000"]
    options += ["--read-only-tmpfs=false"] if engine.name == "podman" else []
    command = ["espalier", "serve", "--host", "0.0.0.0"]
    with containers.container(engine, IMAGE, options, command) as name:
        client = Client(f"http://127.0.0.1:{port}", key=KEY, timeout=PATIENCE)
        try:
            client.wait_ready(3 * PATIENCE)  # the backbone is exported first
        except TimeoutError:
            raise AssertionError(containers.log(engine, name)) from None
        yield client
        client.close()


def test_it_has_torch_for_cuda_and_what_that_loads(engine):
    program = """
from pathlib import Path
import torch, torchvision, timm, onnx, dbos
libraries = {part.name for part in (Path(torch.__file__).parents[1] / "nvidia").rglob("lib*.so*")}
assert any(name.startswith("libcudnn") for name in libraries) and any("cublas" in name for name in libraries)
print(torch.version.cuda, len(libraries), (torch.ones(2) @ torch.ones(2)).item())
"""
    cuda, count, product = engine.inside(IMAGE, "python", "-c", program).split()
    assert int(cuda.partition(".")[0]) >= 13 and int(count) > 10 and product == "2.0"


def test_nothing_that_builds_is_in_it(engine):
    found = engine.inside(IMAGE, "sh", "-c", "command -v pip pip3 gcc git curl wget || true")
    assert found == ""
    assert engine.inspect(IMAGE)["Config"]["User"] == f"{USER}:{USER}"


def test_it_teaches_with_a_read_only_root(client: Client):
    job = eventually(lambda: client.finetune("shapes", shapes()))  # refused until the worker has started
    job = client.wait(job["id"])
    assert job["status"] == "succeeded", job["error"]
    answer = client.predict(["shapes"], [shape("circle", 99)], min_generation=job["report"]["generation"])
    assert answer["predictions"][0]["label"] == "circle"
