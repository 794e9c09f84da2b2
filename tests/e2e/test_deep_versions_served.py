"""A deep version beside shallow ones in a running service: swapped under load, told of, looked after and backed up."""

import shutil
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pytest
from support.pictures import shape
from support.services import Service, espalier, eventually

from adapters.modalities.image import decode
from adapters.store import heads
from adapters.store.objects.artifacts import Artifacts
from adapters.types import HeadRef
from benchmarks import synthetic
from benchmarks.deep_copies import CutBackbone

pytestmark = pytest.mark.slow  # what it shows over HTTP, quick tests show of its parts

CLASSES = ("circle", "square", "triangle")
IMAGES = [shape(kind, 0) for kind in CLASSES]


class Publisher:
    """Publishes versions into a home as a worker does, without training any."""

    def __init__(self, home: Path) -> None:
        self.store = synthetic.Store.of(home)
        base = self.store.backbone
        self.cut = CutBackbone.of(self.store.artifacts.get(base.artifact), base.spec.size, "blocks.5", base.dimension)

    def shallow(self, head: str, seed: int) -> int:
        base = self.store.backbone
        weight = np.random.default_rng(seed).normal(size=(base.dimension, 3)).astype(np.float32) / 30
        made = synthetic.linear(base, head, weight, np.full(3, seed, np.float32), CLASSES)
        return synthetic.swap(self.store, made)

    def deep(self, head: str, seed: int) -> int:
        base = self.store.backbone
        manifest: dict[str, Any] = {
            "task": "classification", "method": "deep", "classes": list(CLASSES), "metrics": {}, "trust": {},
            "backbone": {"name": base.name, "digest": base.digest, "precision": base.precision},
            "deep": self.cut.stored(self.store.artifacts), "reads": "tap",
        }  # fmt: skip
        return synthetic.swap(self.store, synthetic.Made(head, self.cut.head(seed, CLASSES), manifest))


@pytest.fixture(scope="module")
def served(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    home = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("deep-served") / "home"))
    publisher = Publisher(home)
    publisher.shallow("cats", 1)
    publisher.shallow("plain", 2)
    publisher.deep("deep", 3)
    service = Service(home, {"embedding_cache_bytes": 0})
    try:
        yield service.start(), publisher
    finally:
        service.stop()
        publisher.store.engine.dispose()


def asked(service: Service, names: list[str], images: list[bytes]) -> list[dict]:
    files = [("images", (f"{n}.png", data, "image/png")) for n, data in enumerate(images)]
    response = httpx.post(f"{service.url}/predict", data={"head": names}, files=files, timeout=60)
    assert response.status_code == 200, response.text
    return response.json()["predictions"]


def test_deep_and_shallow_heads_of_one_request_answer_as_alone(served):
    service, _ = served
    together = asked(service, ["plain", "deep"], IMAGES)
    apart = [asked(service, [name], IMAGES) for name in ("plain", "deep")]
    assert together == [one for pair in zip(*apart, strict=True) for one in pair]


def test_a_head_becomes_deep_and_shallow_again_under_load(served):
    """No request fails, and each is answered by one version."""
    service, publisher = served
    stop, failures, seen = threading.Event(), [], set()

    def ask() -> None:
        while not stop.is_set():
            try:
                found = asked(service, ["cats", "plain", "cats"], IMAGES[:2])
                versions = {one["version"] for one in found if one["head"] == "cats"}
                assert len(versions) == 1 and len(found) == 6
                seen.update(versions)
            except Exception as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for number in (2, 3, 4):
            made = (publisher.deep if number % 2 == 0 else publisher.shallow)("cats", number)
            assert made == number
            eventually(lambda number=number: number in seen)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == [] and seen >= {2, 3, 4}


def test_a_version_says_whether_it_is_deep_and_where_it_is_cut(served):
    service, _ = served
    (version,) = service.http.get("/heads/deep").json()["versions"]
    assert (version["depth"], version["cut"]) == ("deep", "blocks.5")
    (version,) = service.http.get("/heads/plain").json()["versions"]
    assert (version["depth"], version["cut"]) == ("shallow", None)
    listed = {head["name"]: head["versions"][0] for head in service.http.get("/heads").json()["heads"]}
    assert {name: listed[name]["cut"] for name in ("deep", "plain")} == {"deep": "blocks.5", "plain": None}


def test_a_downloaded_trunk_and_head_answer_as_the_service(served):
    """By onnxruntime alone; a shallow version has no trunk."""
    service, publisher = served
    pixels = decode(IMAGES[0], publisher.store.backbone.spec, most=10**6)["pixels"][None]
    trunk, head = (onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
                   for graph in (service.client.trunk("deep", 1), service.client.graph("deep", 1)))  # fmt: skip
    (tap,) = trunk.run(["tap"], {"pixels": pixels})
    (said,) = head.run(["probabilities"], {"tap": tap})
    top = {one["label"]: one["score"] for one in asked(service, ["deep"], IMAGES[:1])[0]["top"]}
    assert [top[name] for name in CLASSES] == pytest.approx(said[0].tolist(), abs=1e-4)
    refused = service.http.get("/heads/plain/versions/1/trunk.onnx")
    assert refused.status_code == 404 and "shallow" in refused.json()["detail"]


def test_runs_of_tails_are_measured(served):
    service, _ = served
    before = _count(service)
    asked(service, ["deep"], IMAGES)
    assert _count(service) == before + 1, "three images of a head that does an eighth of the work are one run"


def _count(service: Service) -> float:
    lines = service.http.get("/metrics").text.splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith("espalier_tail_seconds_count"))


def test_checks_and_backups_know_what_a_deep_version_reads(served, tmp_path):
    """Its trunk and its whole are neither orphans nor forgotten; one that is lost is named with its version."""
    service, publisher = served
    assert espalier("check", home=service.home, check=False).returncode == 0
    espalier("backup", str(tmp_path / "backup.tar"), home=service.home)
    espalier("restore", str(tmp_path / "backup.tar"), home=tmp_path / "new")
    deep = heads.resolve(publisher.store.engine, HeadRef("deep")).manifest["deep"]
    restored = Artifacts(str(tmp_path / "new" / "artifacts"))
    assert restored.get(deep["trunk"]) == publisher.cut.trunk and restored.get(deep["whole"]) == publisher.cut.whole
    (tmp_path / "new" / "artifacts" / "blobs" / deep["trunk"][:2] / deep["trunk"]).unlink()
    said = espalier("check", home=tmp_path / "new", check=False)
    assert said.returncode == 1 and "the trunk that" in said.stdout and "rebuild" in said.stdout
