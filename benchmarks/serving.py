"""/predict against its limit: a bare loop with the same decoder, graph and threads, and no HTTP.

Limits: at 16 connections at least 0.92 of the bare loop's throughput; at one connection at most 1.5 ms more.
Interleaved: bare loop and service take turns in one run, because the machine's speed drifts. ESPALIER_PRECISION=fp32
measures with a backbone that is slower, and of which what is added is a smaller share.
"""

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from adapters.modalities import image
from adapters.runtime.backbone import BackboneSession
from adapters.runtime.heads.head import Head
from adapters.runtime.onnx import processor
from adapters.store import backbones, database, heads
from adapters.store.objects.artifacts import Artifacts
from adapters.types import HeadRef
from benchmarks import load, photos, record, server
from service.client import LabeledImage
from service.processes import default_backbone
from service.settings import Settings

REPETITIONS = 7
SECONDS = 4.0  # of each kind in a repetition
CROWDED_TURN = 1.0  # seconds
TURN = 0.25  # seconds, of one connection
MIN_THROUGHPUT = 0.92  # of the bare loop, 16 connections
MAX_ADDED = 1.5  # milliseconds over the bare loop, one connection


def main() -> dict[str, Any]:
    """Measure and print; returns the results."""
    pictures = photos.crops(64)
    with server.running() as running:
        with running.client() as client:
            teach(client, pictures)
        one, lone = bare(running.home), bare(running.home, alone=True)
        requests = [load.request("/predict?head=bench", data, "image/jpeg", running.port) for data, _ in pictures]
        form = [load.request("/predict", *multipart([data]), running.port) for data, _ in pictures]
        rounds = [
            _round((one, lone), [d for d, _ in pictures], requests, form, running.port) for _ in range(REPETITIONS + 1)
        ]
    results = {name: record.spread([r[name] for r in rounds[1:]]) for name in rounds[0]}  # the first warms up
    results["limits"] = {"throughput_ratio": MIN_THROUGHPUT, "added_ms": MAX_ADDED}
    record.show(results)
    return results


def teach(client: Any, pictures: list[tuple[bytes, str]]) -> None:
    """Make the head `bench` from labeled photos."""
    client.wait_ready()
    images = [LabeledImage(f"{i}.jpg", lambda d=data: d, label) for i, (data, label) in enumerate(pictures)]
    job = client.wait(client.finetune("bench", images)["id"])
    assert job["status"] == "succeeded", job


def bare(home: Path, *, alone: bool = False) -> Callable[[bytes], int]:
    """Decode → backbone → head → best class, as short as it can be written; `alone`: with every core, as we serve."""
    settings = Settings(home=home)
    engine, artifacts = database.connect(settings.database), Artifacts(settings.artifacts)
    backbone = backbones.find(engine, default_backbone.name(settings, engine))
    loaded = BackboneSession(backbone, artifacts.get(backbone.artifact))
    if alone:
        loaded.widen(artifacts.get(backbone.artifact), processor.cores())
    head = Head.from_bytes(artifacts.get(heads.resolve(engine, HeadRef("bench")).digest))

    def one(data: bytes) -> int:
        tensors = image.decode(data, backbone.spec)
        return int(head.answer(loaded.embed([tensors], alone)).arrays["probabilities"].argmax())

    return one


def multipart(images: Sequence[bytes], heads: Sequence[str] = ("bench",)) -> tuple[bytes, str]:
    """A form with images and heads: (body, content type)."""
    mark = "----espalier"
    fields = [f'--{mark}\r\nContent-Disposition: form-data; name="head"\r\n\r\n{head}\r\n' for head in heads]
    disposition = 'Content-Disposition: form-data; name="images"; filename="a.jpg"\r\nContent-Type: image/jpeg'
    files = [f"--{mark}\r\n{disposition}\r\n\r\n".encode() + data + b"\r\n" for data in images]
    body = "".join(fields).encode() + b"".join(files) + f"--{mark}--\r\n".encode()
    return body, f"multipart/form-data; boundary={mark}"


def _round(
    bare: tuple[Callable[[bytes], int], Callable[[bytes], int]],
    pictures: list[bytes], requests: list[bytes], form: list[bytes], port: int,
) -> dict[str, float]:  # fmt: skip
    """One turn of everything."""
    one, lone = bare
    limit, raw, multi = _crowded(one, pictures, requests, form, port)
    alone, single = _alone(lone, pictures, requests, port)
    return {
        "bare_images_per_second": limit,
        "predict_images_per_second": raw,
        "throughput_ratio": raw / limit,
        "multipart_throughput_ratio": multi / limit,
        "bare_ms": alone * 1e3,
        "predict_ms": single * 1e3,
        "added_ms": (single - alone) * 1e3,
    }


def _crowded(
    one: Callable[[bytes], int], pictures: list[bytes], requests: list[bytes], form: list[bytes], port: int
) -> tuple[float, float, float]:
    """Images a second, bare, as raw bodies and as forms, in short turns: within seconds the machine drifts by more."""
    bare, raw, multi = [], [], []
    for _ in range(round(SECONDS / CROWDED_TURN)):
        bare.append(bare_throughput(one, pictures, processor.cores(), CROWDED_TURN))
        raw.append(load.run(requests, port, 16, CROWDED_TURN).checked().throughput)
        multi.append(load.run(form, port, 16, CROWDED_TURN).checked().throughput)
    return statistics.mean(bare), statistics.mean(raw), statistics.mean(multi)


def _alone(
    lone: Callable[[bytes], int], pictures: list[bytes], requests: list[bytes], port: int
) -> tuple[float, float]:
    """Median seconds of one image, bare and over HTTP."""
    bare, served = [], []
    for _ in range(round(SECONDS / TURN)):
        bare += bare_latencies(lone, pictures, TURN)
        served += load.run(requests, port, 1, TURN).checked().latencies
    return statistics.median(bare), statistics.median(served)


def bare_throughput(one: Callable[[bytes], int], pictures: list[bytes], threads: int, seconds: float) -> float:
    """Images a second of the loop in so many threads."""
    counts = [0] * threads
    stop = time.perf_counter() + seconds

    def loop(lane: int) -> None:
        while time.perf_counter() < stop:
            one(pictures[(counts[lane] * threads + lane) % len(pictures)])
            counts[lane] += 1

    lanes = [threading.Thread(target=loop, args=(lane,)) for lane in range(threads)]
    began = time.perf_counter()
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    return sum(counts) / (time.perf_counter() - began)


def bare_latencies(one: Callable[[bytes], int], pictures: list[bytes], seconds: float) -> list[float]:
    """Seconds of each image, one after the other."""
    times: list[float] = []
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop:
        began = time.perf_counter()
        one(pictures[len(times) % len(pictures)])
        times.append(time.perf_counter() - began)
    return times


if __name__ == "__main__":
    record.save("serving", main())
