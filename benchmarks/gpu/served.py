"""A real service on the GPU: /predict from photos to labels, and how a worker's race on the same GPU is felt."""

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from adapters.runtime.onnx import devices
from benchmarks import load, photos, record, server
from benchmarks.gpu import teaching
from benchmarks.gpu.findings import Findings
from benchmarks.gpu.scene import PRECISIONS, Scene
from service.client import Client, LabeledImage

SECONDS = 6  # turns of `Plan.seconds` that a service is measured for
RATE = 20.0  # requests a second beside a race: few, since it is their time that is asked for
PATIENCE = 120.0  # seconds until the racing process has torch and its data


def run(scene: Scene, findings: Findings) -> None:
    """One service for all of it; it starts, or refuses to."""
    findings.attempt("service", lambda: _service(scene, findings))


def _service(scene: Scene, findings: Findings) -> dict[str, Any]:
    devices.resolve(scene.device)  # raises at once where the service would refuse to start, which looks like waiting
    began = time.perf_counter()
    pictures = photos.distinct([data for data, _ in photos.crops(64)], 4 * max(scene.plan.connections))
    with server.serving_and_training(scene.home, ESPALIER_DEVICE=scene.device) as running:
        ready = time.perf_counter() - began
        for precision in PRECISIONS:
            findings.attempt(f"predict {precision}", lambda p=precision: _predict(scene, running, p, pictures))
        findings.attempt("beside a race", lambda: _beside_a_race(scene, running.port, pictures))
    return {"ready_s": record.spread([ready])}


def _predict(scene: Scene, running: server.Running, precision: str, pictures: list[bytes]) -> dict[str, Any]:
    with running.client() as client:
        _teach(client, precision, scene.backbones[precision].name)
    return _rates(scene, running.port, precision, pictures)


def _teach(client: Client, head: str, backbone: str) -> None:
    """A head named like the precision of its backbone."""
    images = [LabeledImage(f"{i}.jpg", lambda d=d: d, label) for i, (d, label) in enumerate(photos.crops(48, 4))]
    job = client.wait(client.finetune(head, images, backbone=backbone, method="logistic")["id"])
    assert job["status"] == "succeeded", job["error"]
    client.predict([head], [bytes(images[0].data())])  # loads the backbone


def _rates(scene: Scene, port: int, head: str, pictures: list[bytes]) -> dict[str, Any]:
    """Images a second and p99 by connections, a photo a request, no photo twice at a time."""
    requests = [load.request(f"/predict?head={head}", data, "image/jpeg", port) for data in pictures]
    rows: dict[str, Any] = {}
    for connections in scene.plan.connections:
        turns = [
            load.run(requests, port, connections, SECONDS * scene.plan.seconds).checked()
            for _ in range(scene.plan.repetitions)
        ]
        rows[f"images_per_second_{connections}"] = record.spread([seen.throughput for seen in turns])
        rows[f"p99_ms_{connections}"] = record.spread([seen.percentile(0.99) * 1e3 for seen in turns])
    return rows


def _beside_a_race(scene: Scene, port: int, pictures: list[bytes]) -> dict[str, Any]:
    """Milliseconds of /predict at a low rate, alone on the GPU and beside a process that races without a pause."""
    requests = [load.request("/predict?head=fp16", data, "image/jpeg", port) for data in pictures]
    seconds = 2 * SECONDS * scene.plan.seconds
    calm = load.paced(requests, port, RATE, seconds).checked()
    with _racing(scene.plan.examples, scene.plan.classes):
        busy = load.paced(requests, port, RATE, seconds).checked()
    return {
        f"p{share}_ms_{name}": record.spread([seen.percentile(share / 100) * 1e3])
        for name, seen in (("alone", calm), ("beside", busy))
        for share in (50, 99)
    }


@contextmanager
def _racing(examples: int, classes: int) -> Iterator[None]:
    """A process that races on the same GPU, as a training worker does."""
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Event()
    process = spawn.Process(target=_race_on, args=(examples, classes, ready), daemon=True)
    process.start()
    try:
        assert ready.wait(PATIENCE), "the racing process did not get ready"
        yield
        assert process.is_alive(), "the racing process died"
    finally:
        process.kill()
        process.join()


def _race_on(examples: int, classes: int, ready: Any) -> None:
    teaching.race_seconds(examples, classes)  # loads and warms what a worker has warm
    ready.set()
    while True:
        teaching.race_seconds(examples, classes)
