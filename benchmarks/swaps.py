"""Swapping versions under load: 200 publishes while requests keep coming, and a soak of 1,000.

Every version has labels and a score of its own, so an answer tells which graph, which labels and which number made it:
they have to belong together, also for two images of one request.

Limits: no failed answer and no mixed one; p99 at half load at most twice that without swaps; resident memory grows by
at most 8 MiB in the last 800 of 1,000 publishes. Replicas look for changes every 20 ms here, so that they load every
version; the cache of the soak holds 100 heads, else old versions would rightly stay in it.
"""

import hashlib
import json
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from adapters.types import Backbone
from benchmarks import load, photos, record, server, synthetic
from benchmarks.serving import multipart

HEAD = "swapped"
POLL = "0.02"  # seconds between a replica's looks
MAX_P99 = 2.0  # times
MAX_GROWTH = 8.0  # MiB
SOAK_HEADS = 100  # that its cache holds
PATIENCE = 120  # seconds that the publisher may take longer than the load
RATE = 10.0  # requests a second during the soak

Order = Callable[[int, float], None]  # publish so many, so many seconds apart


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    repetitions: int
    publishes: int  # in each
    pause: float  # seconds between them
    soak: int


FULL = Plan(5, 40, 0.25, 1000)
QUICK = Plan(1, 5, 0.1, 40)


@dataclass(slots=True)
class AnswerCheck:
    """What the answers said."""

    said: set[tuple[int, str, str, float]] = field(default_factory=set)  # version, digest, label, score
    torn: int = 0  # requests answered by more than one version

    def look(self, answer: load.Answer) -> None:
        """Note one answer."""
        if answer.status == 200:
            rows = json.loads(answer.body)["predictions"]
            self.said |= {(r["version"], r["digest"], r["label"], round(r["score"], 5)) for r in rows}
            self.torn += len({row["version"] for row in rows}) > 1

    def mixed(self, backbone: Backbone) -> int:
        """Answers whose parts do not belong together."""
        return self.torn + sum(not _belongs(backbone, *row) for row in self.said)


def main(quick: bool = False) -> dict[str, Any]:
    """Measure and print; returns the results."""
    plan = QUICK if quick else FULL
    with server.prepared() as home:
        store = synthetic.Store.of(home)
        synthetic.publish(store, [version(store.backbone, 1)])
        with publisher(home) as order:
            results = _under_load(home, store, order, plan) | _soak(home, store, order, plan)
    results["limits"] = {"failed": 0, "mixed": 0, "p99_ratio": MAX_P99, "soak_growth_mib": MAX_GROWTH}
    record.show(results)
    return results


def version(backbone: Backbone, number: int) -> synthetic.Made:
    """The graph of one version: whatever the image, it answers with the score that only this version gives."""
    share = score(number)
    weight = np.zeros((backbone.dimension, 2), np.float32)
    bias = np.array([0, math.log(share / (1 - share))], np.float32)
    return synthetic.linear(backbone, HEAD, weight, bias, [f"not-{number}", f"is-{number}"])


def score(number: int) -> float:
    """Another one for each of 4,000 versions, told apart by four digits."""
    return 0.55 + number * 1e-4


def _belongs(backbone: Backbone, number: int, digest: str, label: str, said: float) -> bool:
    graph = version(backbone, number).graph
    right = (hashlib.sha256(graph).hexdigest(), f"is-{number}")
    return (digest, label) == right and abs(said - score(number)) < 2e-5


@contextmanager
def publisher(home: Path) -> Iterator[Order]:
    """Another process, nice as a worker is, that publishes the next versions in the background; ready when entered."""
    spawn = multiprocessing.get_context("spawn")
    orders: Any = spawn.Queue()
    ready = spawn.Event()
    process = spawn.Process(target=_publish, args=(home, orders, ready), daemon=True)
    process.start()
    assert ready.wait(120), "the publisher did not start"
    try:
        yield lambda count, pause: orders.put((count, pause))
    finally:
        orders.put(None)
        process.join(60)
        process.kill()


def _publish(home: Path, orders: Any, ready: Any) -> None:
    os.nice(10)
    store = synthetic.Store.of(home)
    number = 1
    ready.set()
    while (order := orders.get()) is not None:
        for _ in range(order[0]):
            number += 1
            assert synthetic.swap(store, version(store.backbone, number)) == number
            time.sleep(order[1])


def _under_load(home: Path, store: synthetic.Store, order: Order, plan: Plan) -> dict[str, Any]:
    """Turns of half load with and without publishing."""
    answers, rounds, failed = AnswerCheck(), [], 0
    seconds = plan.publishes * (plan.pause + 0.05)
    with server.serving(home, ESPALIER_POLL_SECONDS=POLL) as running:
        requests = _requests(running.port)
        rate = load.run(requests, running.port, 16, seconds / 4).checked().throughput / 2
        for _ in range(plan.repetitions):
            calm = load.paced(requests, running.port, rate, seconds, answers.look)
            before = store.live(HEAD).number
            order(plan.publishes, plan.pause)
            swapping = load.paced(requests, running.port, rate, seconds, answers.look)
            failed += calm.failures + swapping.failures
            for _ in _seconds_until(lambda wanted=before + plan.publishes: store.live(HEAD).number == wanted):
                failed += load.paced(requests, running.port, rate, 1.0, answers.look).failures
            rounds.append((calm.percentile(0.99) * 1e3, swapping.percentile(0.99) * 1e3))
    return {
        "p99_ms_without": record.spread([calm for calm, _ in rounds]),
        "p99_ms_with": record.spread([swapping for _, swapping in rounds]),
        "p99_ratio": record.spread([swapping / calm for calm, swapping in rounds]),
        "publishes": record.spread([plan.repetitions * plan.publishes]),
        "versions_that_answered": record.spread([len({row[0] for row in answers.said})]),
        "failed": record.spread([failed]), "mixed": record.spread([answers.mixed(store.backbone)]),
    }  # fmt: skip


def _requests(port: int) -> list[bytes]:
    """One image as the body, and two in a form."""
    pictures = [data for data, _ in photos.crops(16)]
    one = [load.request(f"/predict?head={HEAD}", data, "image/jpeg", port) for data in pictures]
    two = [load.request("/predict", *multipart(pictures[n : n + 2], [HEAD]), port) for n in range(0, 16, 2)]
    return [request for pair in zip(one, two * 2, strict=True) for request in pair]


def _soak(home: Path, store: synthetic.Store, order: Order, plan: Plan) -> dict[str, Any]:
    """Resident memory by publishes, under a light load."""
    room = str(SOAK_HEADS * len(store.artifacts.get(store.live(HEAD).digest)))
    sizes: list[tuple[int, float]] = []
    with server.serving(home, ESPALIER_POLL_SECONDS=POLL, ESPALIER_HEAD_CACHE_BYTES=room) as running:
        first, requests = store.live(HEAD).number, _requests(running.port)
        order(plan.soak, 0.04)
        while not sizes or sizes[-1][0] < plan.soak:
            load.paced(requests, running.port, RATE, 1.0).checked()
            sizes.append((store.live(HEAD).number - first, running.resident()))
    late = np.array([(done, size) for done, size in sizes if done >= plan.soak / 5])
    steps = late - late.mean(axis=0)
    slope = float((steps[:, 0] * steps[:, 1]).sum() / max((steps[:, 0] ** 2).sum(), 1e-9))
    return {"soak_publishes": record.spread([plan.soak]), "soak_resident_mib": record.spread(late[:, 1].tolist()),
            "soak_growth_mib": record.spread([slope * plan.soak * 0.8])}  # fmt: skip


def _seconds_until(done: Callable[[], bool]) -> Iterator[int]:
    """One item a second for the caller to fill: a busy machine publishes slower than it answers."""
    for second in range(PATIENCE):
        if done():
            return
        yield second
    raise TimeoutError("the publisher did not come to an end")
