"""A full installation: 1,000 heads on two replicas, two workers, and 200 jobs sent at once, on Postgres and S3.

Predictions of random heads come at a steady pace to both replicas, first alone, then from the first job's first byte to
the last job's end. All processes, the client and the databases share this machine's cores; workers give way as they do
by default.

Limits: all jobs end well; p99 of /predict beside them is at most twice that without.
"""

import multiprocessing
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import load, photos, record, synthetic
from benchmarks.cluster import Cluster, Recorder, running
from benchmarks.load import Load

RATE = 20.0  # predictions a second, of both replicas together
MAX_P99 = 2.0  # times
SENDERS = 16  # jobs that are on their way at once
PATIENCE = 1800.0  # seconds that all jobs may take
KNOWN = "taught"  # the head that the others are like


@dataclass(frozen=True, slots=True)
class Plan:
    """How much there is."""

    heads: int
    jobs: int
    seconds: float  # of predictions alone


FULL = Plan(1000, 200, 60.0)
QUICK = Plan(30, 8, 4.0)


def main(quick: bool = False) -> dict[str, Any]:
    """Measure and print; returns the results."""
    plan = QUICK if quick else FULL
    with running(proxied=False, worker_niceness=10) as cluster:
        recorder = Recorder(cluster)
        recorder.taught(KNOWN)
        names = [f"tenant{n % 3}.head-{n}" for n in range(plan.heads)]
        store = synthetic.Store.of(cluster.home, **cluster.direct)
        synthetic.publish(store, synthetic.copies(store, KNOWN, names))
        _ask(cluster, names, plan.seconds / 4)  # warms up
        calm = _ask(cluster, names, plan.seconds)
        done = cluster.folder / "done"
        with _jobs(recorder, names, plan.jobs, done) as ended:
            began = time.monotonic()
            busy = _ask(cluster, names, PATIENCE, done)
            taken = time.monotonic() - began
    results = _figures(calm, busy, Counter(ended), taken)
    record.show(results)
    return results


def _ask(cluster: Cluster, names: Sequence[str], seconds: float, until: Path | None = None) -> list[Load]:
    """Each replica at half the pace, by a client in a process of its own: what sends jobs would hold it up.

    For so long, or until there is a file.
    """
    ports = [replica.port for replica in cluster.replicas]
    with ProcessPoolExecutor(len(ports), multiprocessing.get_context("spawn")) as pool:
        started = [pool.submit(_load, port, names, RATE / len(ports), seconds, until) for port in ports]
        return [one.result() for one in started]


def _load(port: int, names: Sequence[str], rate: float, seconds: float, until: Path | None) -> Load:
    """One replica, asked for heads at random."""
    pictures = [data for data, _ in photos.crops(64)]
    chosen = np.random.default_rng(port).choice(names, 4096)
    requests = [
        load.request(f"/predict?head={head}", pictures[n % len(pictures)], "image/jpeg", port)
        for n, head in enumerate(chosen)
    ]
    return load.paced(requests, port, rate, seconds, going_on=lambda: until is None or not until.exists())


@contextmanager
def _jobs(recorder: Recorder, names: Sequence[str], count: int, done: Path) -> Iterator[list[str]]:
    """So many at once, each of another head; how they ended, and a file, once all have."""
    ended: list[str] = []

    def teach() -> None:
        with ThreadPoolExecutor(SENDERS) as pool:
            heads = [names[n * len(names) // count] for n in range(count)]
            sent = list(pool.map(lambda head: recorder.teach(head, deploy="manual"), heads))
        found = [recorder.service.client.wait(job, PATIENCE)["status"] for job in sent]
        ended.extend(found)
        done.touch()

    thread = threading.Thread(target=teach)
    thread.start()
    try:
        yield ended
    finally:
        thread.join()


def _figures(calm: list[Load], busy: list[Load], ended: Counter[str], taken: float) -> dict[str, Any]:
    without, beside = _p99(calm), _p99(busy)
    well = ended["succeeded"] + ended["rejected"]
    figures = {
        "p99_ms_without": without, "p99_ms_with": beside, "p99_ratio": beside / without, "jobs": ended.total(),
        "jobs_that_did_not_end_well": ended.total() - well, "jobs_s": taken,
        "predictions_failed": sum(one.failures for one in [*calm, *busy]),
        "predictions": sum(len(one.latencies) for one in [*calm, *busy]),
    }  # fmt: skip
    limits = {"p99_ratio": MAX_P99, "jobs_that_did_not_end_well": 0, "predictions_failed": 0}
    return {name: record.spread([float(value)]) for name, value in figures.items()} | {"limits": limits}


def _p99(loads: list[Load]) -> float:
    """Milliseconds."""
    return float(np.percentile([s for one in loads for s in one.latencies], 99)) * 1e3
