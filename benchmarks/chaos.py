"""Parts are killed and cut at random while predictions and jobs go on: what is answered, and what is lost.

Two replicas, two workers, Postgres and S3 (SeaweedFS) as processes of their own on one machine. By a seed, every few
seconds one thing happens: `kill -9` of a replica or of a worker, Postgres stopped at once and started again seconds
later, the way to Postgres or to the bucket refusing, swallowing or resetting for seconds. What dies is started again a
second later. A replica is killed only while all are ready and nothing else is broken: two nodes rarely go together.

A prediction is available if it was answered with 200 within 5 seconds by a load balancer that sends each request to a
replica that says it is ready (it asks twice a second), and once more to another one where the first does not answer or
answers 502, 503 or 504, as nginx and Envoy are commonly set (tests/support/balancer.py). At the end all jobs must end,
and the history of the installation is compared with what its callers were told (tests/support/history.py).

Limits: 99.9 % of predictions are available; nothing is lost.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

from adapters.types import TERMINAL
from benchmarks import record
from benchmarks.cluster import Cluster, Recorder, restarting, running

HEADS = ("steady-0", "steady-1", "steady-2")
RATE = 10.0  # predictions a second
ANSWER = 5.0  # seconds that one may take
MIN_AVAILABLE = 0.999
ASKERS = 32  # threads: more than can be waiting at once
SEED = 15
CUTS = ("refuse", "swallow", "reset")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is done."""

    seconds: float
    pause: tuple[float, float]  # seconds between faults
    away: tuple[float, float]  # seconds that a service is away
    job_every: float  # seconds between jobs


FULL = Plan(1200, (5, 15), (1, 6), 5)
QUICK = Plan(60, (3, 6), (1, 3), 5)


@dataclass(slots=True)
class Asked:
    """What became of predictions."""

    seconds: list[float] = field(default_factory=list)  # of those that were answered
    failed: Counter[str] = field(default_factory=Counter)

    @property
    def available(self) -> float:
        """The share that was answered."""
        return len(self.seconds) / max(1, len(self.seconds) + self.failed.total())


def main(quick: bool = False, seed: int = SEED, plan: Plan = FULL) -> dict[str, Any]:
    """Measure and print; returns the results."""
    plan = QUICK if quick else plan
    with running() as cluster, restarting(cluster):
        recorder = Recorder(cluster)
        for head in HEADS:
            recorder.taught(head)
        for replica in cluster.replicas:  # loaded in both
            replica.client.predict(list(HEADS), [_picture(0)])
        asked, faults = Asked(), Counter[str]()
        with _asking(cluster, recorder, asked), _teaching(recorder, plan, seed):
            _break(cluster, plan, random.Random(seed), faults)
        ended = Counter(recorder.end(job)["status"] for job in recorder.accepted)
        violations = recorder.violations()
        again = cluster.balancer.again
    for sentence in violations:
        print(f"  violated: {sentence}", flush=True)
    results = _figures(asked, faults, ended, len(violations), again) | {"seconds": record.spread([plan.seconds])}
    record.show(results)
    return results


def _picture(seed: int) -> bytes:
    from support.pictures import shape

    return bytes(shape("circle", seed))


@contextmanager
def _asking(cluster: Cluster, recorder: Recorder, asked: Asked) -> Iterator[None]:
    """Predictions at a steady pace, whether or not answers come."""
    stop, pictures = threading.Event(), [_picture(seed) for seed in range(64)]

    def ask(number: int) -> None:
        form = {"head": list(HEADS)}
        began = time.monotonic()
        try:
            sent = {"images": pictures[number % len(pictures)]}
            answer = cluster.http.post("/predict", data=form, files=sent, timeout=ANSWER)
        except httpx.TransportError as error:
            asked.failed[type(error).__name__] += 1
            return
        taken = time.monotonic() - began
        if answer.status_code == 200 and taken <= ANSWER:
            asked.seconds.append(taken)
            recorder.answers += answer.json()["predictions"]
        else:
            asked.failed[str(answer.status_code) if taken <= ANSWER else "late"] += 1
            print(f"  {time.strftime('%H:%M:%S')} {answer.status_code} {answer.text[:150]}", flush=True)

    def go_on() -> None:
        with ThreadPoolExecutor(ASKERS) as pool:
            began, number = time.monotonic(), 0
            while not stop.wait(max(0.0, began + number / RATE - time.monotonic())):
                pool.submit(ask, number)
                number += 1

    yield from _beside(go_on, stop)


@contextmanager
def _teaching(recorder: Recorder, plan: Plan, seed: int) -> Iterator[None]:
    """A job every so often, of a head that is asked."""
    stop, chance = threading.Event(), random.Random(seed + 1)

    def go_on() -> None:
        while not stop.wait(plan.job_every):
            recorder.teach(chance.choice(HEADS), mode="replace")

    yield from _beside(go_on, stop)


def _beside(work: Callable[[], None], stop: threading.Event) -> Iterator[None]:
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _break(cluster: Cluster, plan: Plan, chance: random.Random, faults: Counter[str]) -> None:
    """One fault after the other until the time is up; all is whole at the end."""
    until = time.monotonic() + plan.seconds
    while time.monotonic() < until:
        time.sleep(chance.uniform(*plan.pause))
        name, fault = chance.choice(list(FAULTS.items()))
        if name != "replica killed" or all(replica.client.is_ready() for replica in cluster.replicas):
            faults[name] += 1
            print(f"  {time.strftime('%H:%M:%S')} {name}", flush=True)
            fault(cluster, chance, chance.uniform(*plan.away))


def _kill_replica(cluster: Cluster, chance: random.Random, away: float) -> None:
    chance.choice(cluster.replicas).kill()


def _kill_worker(cluster: Cluster, chance: random.Random, away: float) -> None:
    chance.choice(cluster.workers).kill()


def _stop_postgres(cluster: Cluster, chance: random.Random, away: float) -> None:
    cluster.postgres.stop("immediate")
    time.sleep(away)
    cluster.postgres.start()


def _cut_postgres(cluster: Cluster, chance: random.Random, away: float) -> None:
    _cut(cluster.database, chance, away)


def _cut_bucket(cluster: Cluster, chance: random.Random, away: float) -> None:
    _cut(cluster.bucket, chance, away)


def _cut(proxy: Any, chance: random.Random, away: float) -> None:
    proxy.set(chance.choice(CUTS))
    time.sleep(away)
    proxy.set("ok")


FAULTS: dict[str, Callable[[Cluster, random.Random, float], None]] = {
    "replica killed": _kill_replica, "worker killed": _kill_worker, "Postgres killed": _stop_postgres,
    "Postgres cut off": _cut_postgres, "bucket cut off": _cut_bucket,
}  # fmt: skip


def _figures(asked: Asked, faults: Counter[str], ended: Counter[str], violations: int, again: int) -> dict[str, Any]:
    well = ended["succeeded"] + ended["rejected"]
    counts = {
        "predictions": len(asked.seconds) + asked.failed.total(), "predictions_failed": asked.failed.total(),
        "asked_of_another_replica": again, "jobs": ended.total(), "jobs_that_did_not_end_well": ended.total() - well,
        "violations_of_history": violations,
    }  # fmt: skip
    assert set(ended) <= TERMINAL
    return {
        "availability": record.spread([asked.available]),
        **{name: record.spread([float(count)]) for name, count in counts.items()},
        "p50_ms": record.spread([float(np.percentile(asked.seconds, 50)) * 1e3]),
        "p99_ms": record.spread([float(np.percentile(asked.seconds, 99)) * 1e3]),
        "faults": {name: record.spread([float(faults[name])]) for name in FAULTS},
        "limits": {"availability": MIN_AVAILABLE, "violations_of_history": 0, "jobs_that_did_not_end_well": 0},
        "notes": {"failed predictions by kind": str(dict(asked.failed)), "seed": str(SEED)},
    }  # fmt: skip
