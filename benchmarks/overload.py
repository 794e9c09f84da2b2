"""Four times what the service can do, for a minute: what it still answers, how it refuses, and what is left of it.

Limits: answers at least 0.9 of capacity; every refusal is a 429 with Retry-After; resident memory grows by at most
256 MiB; it is itself again within 2 s after the flood. The flood comes from the same cores, so part of what is lost
is the client's: 30 µs a request.
"""

import resource
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import load, photos, record, server, synthetic

HEAD = "flooded"
DISTINCT = 4096  # files, more than may wait at a time: what is under way already would be embedded once for all
TIMES = 4  # the capacity
MIN_GOODPUT = 0.9
MAX_GROWTH = 256.0  # MiB
MAX_RECOVERY = 2.0  # seconds
HEALTHY = 2.0  # times the calm latency: what counts as recovered
FILES = 16384  # open connections: without waiting for answers, thousands may be under way


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    repetitions: int
    seconds: float


FULL = Plan(5, 60.0)
QUICK = Plan(1, 3.0)


def main(quick: bool = False) -> dict[str, Any]:
    """Measure and print; returns the results."""
    plan = QUICK if quick else FULL
    _allow_connections()
    with server.prepared() as home:
        store = synthetic.Store.of(home)
        weight = np.random.default_rng(0).normal(0, 0.05, (store.backbone.dimension, 4)).astype(np.float32)
        made = synthetic.linear(store.backbone, HEAD, weight, np.zeros(4, np.float32), list("abcd"))
        synthetic.publish(store, [made])
        with server.serving(home) as running:
            rounds = [_round(running, plan.seconds) for _ in range(plan.repetitions)]
    results: dict[str, Any] = {key: record.spread([r[key] for r in rounds]) for key in rounds[0]}
    results["limits"] = {
        "goodput_over_capacity": MIN_GOODPUT, "wrong_refusals": 0, "growth_mib": MAX_GROWTH, "recovery_s": MAX_RECOVERY,
    }  # fmt: skip
    record.show(results)
    return results


def _round(running: server.Running, seconds: float) -> dict[str, float]:
    """Capacity and latency in the calm, then the flood, then how long until the calm is back."""
    pictures = photos.distinct([data for data, _ in photos.crops(64)], DISTINCT)
    requests = [load.request(f"/predict?head={HEAD}", data, "image/jpeg", running.port) for data in pictures]
    capacity = load.run(requests, running.port, 16, max(seconds / 10, 1.0)).checked().throughput
    calm = statistics.median(load.run(requests, running.port, 1, 1.0).checked().latencies)
    answers: list[load.Answer] = []
    before, began = running.resident(), time.perf_counter()
    with _highest(running) as sizes:
        flood = load.paced(requests, running.port, TIMES * capacity, seconds, answers.append)
    recovery = max(0.0, flood.seconds - seconds) + _until_calm(requests, running.port, calm)
    good = [a for a in answers if a.status == 200 and a.sent_at + a.seconds < began + seconds]
    refused = [a for a in answers if a.status != 200]
    return {
        "capacity_images_per_second": capacity, "goodput_over_capacity": len(good) / seconds / capacity,
        "refused": len(refused), "wrong_refusals": sum(not _proper(a) for a in refused),
        "p99_ms_of_answers": float(np.percentile([a.seconds for a in good] or [0.0], 99)) * 1e3,
        "growth_mib": max(sizes) - before, "recovery_s": recovery,
    }  # fmt: skip


def _proper(refusal: load.Answer) -> bool:
    return refusal.status == 429 and b"\r\nretry-after:" in refusal.head


def _until_calm(requests: list[bytes], port: int, calm: float) -> float:
    """Seconds until one request alone takes about as long as before; a minute at most."""
    began = time.perf_counter()
    while time.perf_counter() - began < 60:
        seen = load.run(requests, port, 1, 0)
        if not seen.failures and seen.latencies[0] <= HEALTHY * calm:
            break
    return time.perf_counter() - began


@contextmanager
def _highest(running: server.Running) -> Iterator[list[float]]:
    """MiB resident, twice a second."""
    sizes, stop = [running.resident()], threading.Event()

    def watch() -> None:
        while not stop.wait(0.5):
            sizes.append(running.resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield sizes
    finally:
        stop.set()
        watcher.join()


def _allow_connections() -> None:
    """Many open files for us and, by inheritance, for the server."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if most == resource.RLIM_INFINITY else min(FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
