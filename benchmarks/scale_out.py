"""One job of 20,000 tiny images, embedded by one worker and by two, on Postgres and S3: as fast as what, and the same?

A worker has one thread for embedding here, so that two of them need two cores: by default one alone uses all cores of
its machine, and a second on the same machine gains nothing.

Limits: the embeddings are the same bit for bit; two workers are 1.7 times as fast.
"""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from PIL import Image

from adapters.store import database
from adapters.store.schema import embeddings
from benchmarks import record
from benchmarks.cluster import Cluster, running
from service.client import LabeledImage

SIDE = 32  # pixels
MIN_FASTER = 1.7
PATIENCE = 3600.0  # seconds that a job may take


@dataclass(frozen=True, slots=True)
class Plan:
    """How much there is."""

    images: int


FULL, QUICK = Plan(20_000), Plan(2100)


def main(quick: bool = False) -> dict[str, Any]:
    """Measure and print; returns the results."""
    plan = QUICK if quick else FULL
    seconds, digests = zip(*(_taught(plan, workers) for workers in (1, 2)), strict=True)
    results = {
        "one_worker_s": record.spread([seconds[0]]), "two_workers_s": record.spread([seconds[1]]),
        "times_as_fast": record.spread([seconds[0] / seconds[1]]), "images": record.spread([float(plan.images)]),
        "embeddings_that_differ": record.spread([float(len(digests[0] ^ digests[1]))]),
        "limits": {"times_as_fast": MIN_FASTER, "embeddings_that_differ": 0},
    }  # fmt: skip
    record.show(results)
    return results


def _taught(plan: Plan, workers: int) -> tuple[float, set[str]]:
    """Seconds that embedding took, and a digest of each row that it left."""
    with running(workers=workers, proxied=False, threads=1, worker_niceness=10) as cluster:
        client = cluster.replicas[0].client
        job = client.finetune("many", list(_images(plan.images)), method="prototype", views="none")
        ended = client.wait(job["id"], PATIENCE)
        assert ended["status"] == "succeeded", ended["error"]
        return float(ended["report"]["embedding"]["seconds"]), _rows(cluster)


def _images(count: int) -> Iterator[LabeledImage]:
    """Noise, another for each."""
    random = np.random.default_rng(20)
    for number in range(count):
        file = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(file, "PNG")
        yield LabeledImage(f"{number}.png", file.getvalue, f"class-{number % 2}")


def _rows(cluster: Cluster) -> set[str]:
    engine = database.connect(str(cluster.direct["database_url"]))
    try:
        with database.reading(engine) as connection:
            rows = connection.execute(sa.select(embeddings).execution_options(yield_per=1000))
            return {hashlib.sha256(repr(tuple(row)).encode()).hexdigest() for row in rows}
    finally:
        engine.dispose()
