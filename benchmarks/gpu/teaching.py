"""What a training worker does with a GPU: embed photos, race, and train the backbone's last part."""

import hashlib
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from adapters import tasks
from adapters.modalities import image
from adapters.store.embeddings import EmbeddingCache
from adapters.training import programs
from adapters.training.backbone import observing
from adapters.training.data.split import split
from adapters.training.deep import deep_round
from adapters.training.deep.examples import Examples
from adapters.training.deep.outcome import DeepResult
from adapters.training.embedding.embed import Embedder
from adapters.training.race.race import race
from adapters.types import Embeddings, Example, Indices
from benchmarks import photos, record
from benchmarks.gpu.findings import Findings
from benchmarks.gpu.scene import PRECISIONS, Scene

MAX_RACE = 0.5  # seconds, 10,000 examples of 100 classes
DEEP, EACH = 1000, 4  # noisy pictures that a deep round is of, at most; and classes
DIMENSION = 1280


def run(scene: Scene, findings: Findings) -> None:
    """Embedding rates, the race and a deep round."""
    for precision in PRECISIONS:
        findings.attempt(f"embedding {precision}", lambda p=precision: _embedding(scene, p))
    findings.attempt("race", lambda: _races(scene))
    findings.attempt("deep round", lambda: _deep(scene))


def _embedding(scene: Scene, precision: str) -> dict[str, Any]:
    """Photos a second from the store through decoder and backbone into the cache, and through the decoder alone."""
    made = [data for data, _ in photos.crops(min(128, scene.plan.photos))]
    pictures = photos.distinct(made, scene.plan.photos)
    shape = scene.backbones[precision].spec
    began = time.perf_counter()
    with ThreadPoolExecutor(scene.lanes) as pool:
        list(pool.map(lambda data: image.pixels(data, shape), pictures))
    decoding = len(pictures) / (time.perf_counter() - began)
    return {
        "decoded_per_second": record.spread([decoding]),
        "embedded_per_second": record.spread([_embedded_a_second(scene, precision, pictures)]),
    }


def _embedded_a_second(scene: Scene, precision: str, pictures: list[bytes]) -> float:
    for data in pictures:
        scene.artifacts.put(data)
    examples = [Example(hashlib.sha256(data).hexdigest(), "x", f"{n}.jpg") for n, data in enumerate(pictures)]
    cache = EmbeddingCache(scene.engine, scene.backbones[precision].digest)
    embedder = Embedder(scene.session(precision), scene.artifacts, cache, scene.lanes, {})
    began = time.perf_counter()
    found = embedder.embed(examples, lambda done, total: None)
    assert found["new"] == len(pictures), found
    return len(pictures) / (time.perf_counter() - began)


def _races(scene: Scene) -> dict[str, Any]:
    times = [race_seconds(scene.plan.examples, scene.plan.classes) for _ in range(scene.plan.repetitions + 1)]
    return {"seconds": record.spread(times[1:])}  # the first warms up


def race_seconds(examples: int, classes: int) -> float:
    """Seconds of a whole race on random embeddings, on torch's own choice of device."""
    import torch

    embeddings, targets = _data(examples, classes)
    nothing: list[Any] = [None] * examples
    parts = split(targets, np.arange(examples), nothing, nothing, 0)
    names = [str(k) for k in range(classes)]
    task = tasks.get("classification")
    began = time.perf_counter()
    race(embeddings, {"class": targets}, names, parts, task, "auto", {}, 0, lambda _: None, lambda: None)
    if programs.device().type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _data(examples: int, classes: int) -> tuple[Embeddings, Indices]:
    """Embeddings f32 [N, D] of classes that overlap, and their numbers i64 [N]."""
    generator = np.random.default_rng(0)
    targets = np.arange(examples) % classes
    centres = generator.normal(size=(classes, DIMENSION))
    return np.abs(centres[targets] + 2 * generator.normal(size=(examples, DIMENSION))).astype(np.float32), targets


def _deep(scene: Scene) -> dict[str, Any]:
    """Seconds of a round of one epoch on noise."""
    pixels, backbone = scene.pixels(min(DEEP, scene.plan.photos)), scene.backbones["fp32"]
    targets = np.arange(len(pixels)) % EACH
    nothing: list[Any] = [None] * len(pixels)
    embeddings = scene.session("fp32").plain({"pixels": pixels})[:, : backbone.dimension]
    parts, task = split(targets, np.arange(len(pixels)), nothing, nothing, 0), tasks.get("classification")
    names = [str(k) for k in range(EACH)]
    given = Examples(
        lambda n: {"pixels": pixels[n]}, embeddings, backbone.dimension, {"class": targets}, names, parts, task
    )
    shallow = race(embeddings, given.targets, names, parts, task, "prototype", {}, 0, lambda _: None, lambda: None)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=scene.home) as folder:
        found = deep_round.run(
            Path(folder), scene.artifacts.get(backbone.artifact), observing.of(backbone), given, shallow, {"epochs": 1},
            0, lambda row: None, lambda state: None, lanes=scene.lanes, device=scene.device, always=True,
        )  # fmt: skip
    assert isinstance(found, DeepResult), found.note
    assert np.isfinite(found.pooled).all()
    return {"seconds": record.spread([time.perf_counter() - began])}
