"""One large job, embedded by one worker and by two: 20,000 tiny pictures, on Postgres and S3.

Each run has an installation of its own, whose cache is empty. What is timed is the job's phase `embedding`, from its
start to its end, as a client sees it ten times a second; what is compared are the bytes of all embeddings in the cache.

Measured twice. *A core each*: every worker is bound to one core, as a container with a limit of one is; two have two.
*Shared*: nothing is bound. There one worker already embeds on all cores of the machine, so that a second can bring
nothing but what the first leaves idle: more workers pay on more machines, or where each is bound.

Measured on two cores, 1.58 with a core each: Postgres, the object store and the replica run on the same two. One worker
took 159 s beside a core that was free for these; two took 100 s with both cores full, 200 s of processor for 159 s of
embedding and 41 s of the others.

Limits: the same embeddings, bit for bit; with a core each 1.7 times as fast.
"""

import hashlib
import io
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from sqlalchemy.engine import Engine

from adapters.store import backbones, database
from adapters.store.embeddings import EmbeddingCache
from adapters.types import ORIGINAL
from benchmarks import record
from benchmarks.cluster import Cluster, running
from service.client import Client, LabeledImage

CLASSES, SIDE = 4, 16
MIN_FASTER = 1.7  # times
LOOK = 0.1  # seconds
PATIENCE = 1800.0  # seconds
WORKERS = (1, 2)
HEAD = "many"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is sent, and how often."""

    pictures: int
    repetitions: int


FULL, QUICK = Plan(20_000, 1), Plan(2_400, 1)


@dataclass(frozen=True, slots=True)
class Run:
    """One job."""

    seconds: float  # of embedding
    digest: str  # of all embeddings


def main(quick: bool = False, plan: Plan = FULL) -> dict[str, Any]:
    """Measure and print; returns the results."""
    plan = QUICK if quick else plan
    pictures = [LabeledImage(f"{n}.png", lambda n=n: _file(n), f"class-{n % CLASSES}") for n in range(plan.pictures)]
    shas = [hashlib.sha256(picture.data()).hexdigest() for picture in pictures]
    results: dict[str, Any] = {}
    digests = set()
    for name, bound in (("a_core_each", True), ("shared", False)):
        runs = {count: [_run(pictures, shas, count, bound) for _ in range(plan.repetitions)] for count in WORKERS}
        digests |= {run.digest for all in runs.values() for run in all}
        results |= _figures(name, runs)
    results["different_results"] = record.spread([float(len(digests) - 1)])
    results["limits"] = {"a_core_each_times_as_fast": MIN_FASTER, "different_results": 0}
    record.show(results)
    return results


def _figures(name: str, runs: dict[int, list[Run]]) -> dict[str, Any]:
    seconds = {count: [run.seconds for run in all] for count, all in runs.items()}
    one, two = (seconds[count] for count in WORKERS)
    found = {f"{name}_seconds_{count}": record.spread(all) for count, all in seconds.items()}
    return found | {f"{name}_times_as_fast": record.spread([a / b for a, b in zip(one, two, strict=True)])}


def _file(number: int) -> bytes:
    random = np.random.default_rng(number)
    colour = 60 + 40 * np.roll(np.arange(CLASSES), number)[:3]
    file = io.BytesIO()
    Image.fromarray(random.normal(colour, 30, (SIDE, SIDE, 3)).clip(0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def _run(pictures: list[LabeledImage], shas: list[str], workers: int, bound: bool) -> Run:
    with running(replicas=1, workers=0, proxied=False) as cluster:
        with _working(cluster, workers, bound):
            client = Client(cluster.replicas[0].url, timeout=PATIENCE)
            job = client.finetune(HEAD, pictures, method="prototype", views="none")
            seconds = _embedding(client, job["id"])
        return Run(seconds, _digest(cluster, shas))


@contextmanager
def _working(cluster: Cluster, count: int, bound: bool) -> Iterator[None]:
    """So many workers; `bound`: each to a core of its own."""
    cores = sorted(os.sched_getaffinity(0))
    for number in range(count):
        worker = cluster.worker()
        if bound:
            worker.command[:0] = ["taskset", "--cpu-list", str(cores[number % len(cores)])]
        worker.start()
    yield


def _embedding(client: Client, job_id: str) -> float:
    """Seconds of that phase of a job."""
    began, deadline = 0.0, time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        job, now = client.job(job_id), time.monotonic()
        if job["status"] in ("failed", "cancelled", "rejected"):
            raise RuntimeError(f"{job['status']}: {job['error']}")
        if not began and job["status"] == "embedding":
            began = now
        elif began and job["status"] != "embedding":
            return now - began
        time.sleep(LOOK)
    raise TimeoutError(f"{job_id} was not embedded in {PATIENCE:g} s")


def _digest(cluster: Cluster, shas: list[str]) -> str:
    """Of the embeddings of all pictures, in their order."""
    engine = database.connect(str(cluster.direct["database_url"]))
    try:
        cache = EmbeddingCache(engine, _of_images(engine))
        vectors, _ = cache.get(shas)
        return hashlib.sha256(np.ascontiguousarray(vectors).tobytes()).hexdigest()
    finally:
        engine.dispose()


def _of_images(engine: Engine) -> str:
    """The digest of the backbone that pictures are taught on."""
    return next(backbone.digest for backbone in backbones.list_all(engine) if backbone.modality == ORIGINAL)
