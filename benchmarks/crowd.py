"""A full installation: 1,000 heads of 3 tenants, two replicas, two workers, 200 jobs at once, on Postgres and S3.

Predictions of random heads come at a steady pace to both replicas, first alone, then from the first job's first byte to
the last job's end. All processes, the client and the databases share this machine's cores; workers give way as they do
by default.

Limits: all jobs end well; p99 of /predict beside them is at most twice that without.
"""

import json
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

from adapters import tenancy
from benchmarks import load, photos, record, synthetic
from benchmarks.cluster import Cluster, Recorder, espalier, eventually, running, shapes
from benchmarks.load import Load
from service.client import Client

RATE = 20.0  # predictions a second, of both replicas together
MAX_P99 = 2.0  # times
SENDERS = 16  # jobs that are on their way at once
PATIENCE = 1800.0  # seconds that all jobs may take
TENANTS = ("acme", "globex", "initech")
KNOWN = "taught"  # the head that the others are like


@dataclass(frozen=True, slots=True)
class Owned:
    """A head and whose it is."""

    tenant: str
    name: str


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
        Recorder(cluster).taught(KNOWN)
        heads = [Owned(TENANTS[n % 3], f"head-{n}") for n in range(plan.heads)]
        store = synthetic.Store.of(cluster.home, **cluster.direct)
        kept = [tenancy.qualified(head.tenant, head.name) for head in heads]
        synthetic.publish(store, synthetic.copies(store, KNOWN, kept))
        keys = {tenant: _key(cluster, tenant) for tenant in TENANTS}
        _ask(cluster, heads, keys, plan.seconds / 4)  # warms up
        calm = _ask(cluster, heads, keys, plan.seconds)
        done = cluster.folder / "done"
        with _jobs(cluster, heads[:: len(heads) // plan.jobs][: plan.jobs], keys, done) as ended:
            began = time.monotonic()
            busy = _ask(cluster, heads, keys, PATIENCE, done)
            taken = time.monotonic() - began
    results = _figures(calm, busy, Counter(ended), taken)
    record.show(results)
    return results


def _key(cluster: Cluster, tenant: str) -> str:
    """A key of a tenant, once both replicas know it."""
    scopes = [word for verb in ("predict", "read", "teach") for word in ("--scope", verb)]
    made = espalier(
        "keys", "create", "--tenant", tenant, *scopes, "--json", home=cluster.home, check=True, **cluster.direct
    )
    key = str(json.loads(made.stdout)["key"])
    for replica in cluster.replicas:
        with Client(replica.url, key=key) as client:
            eventually(client.heads)
    return key


def _ask(
    cluster: Cluster, heads: Sequence[Owned], keys: dict[str, str], seconds: float, until: Path | None = None
) -> list[Load]:
    """Each replica at half the pace, by a client in a process of its own: what sends jobs would hold it up.

    For so long, or until there is a file.
    """
    ports = [replica.port for replica in cluster.replicas]
    with ProcessPoolExecutor(len(ports), multiprocessing.get_context("spawn")) as pool:
        started = [pool.submit(_load, port, heads, keys, RATE / len(ports), seconds, until) for port in ports]
        return [one.result() for one in started]


def _load(
    port: int, heads: Sequence[Owned], keys: dict[str, str], rate: float, seconds: float, until: Path | None
) -> Load:
    """One replica, asked for heads at random."""
    pictures = [data for data, _ in photos.crops(64)]
    chosen = [heads[n] for n in np.random.default_rng(port).integers(len(heads), size=4096)]
    requests = [
        load.request(
            f"/predict?head={head.name}", pictures[n % len(pictures)], "image/jpeg", port,
            f"Authorization: Bearer {keys[head.tenant]}",
        )
        for n, head in enumerate(chosen)
    ]  # fmt: skip
    return load.paced(requests, port, rate, seconds, going_on=lambda: until is None or not until.exists())


@contextmanager
def _jobs(cluster: Cluster, heads: Sequence[Owned], keys: dict[str, str], done: Path) -> Iterator[list[str]]:
    """One of each head, at once; how they ended, and a file, once all have."""
    ended: list[str] = []

    def send(number: int) -> tuple[Client, str]:
        head, replica = heads[number], cluster.replicas[number % len(cluster.replicas)]
        client = Client(replica.url, key=keys[head.tenant])
        images = shapes(each=5, start=1000 * number)
        return client, client.finetune(head.name, images, method="prototype", deploy="manual")["id"]

    def teach() -> None:
        with ThreadPoolExecutor(SENDERS) as pool:
            sent = list(pool.map(send, range(len(heads))))
        for client, job in sent:
            with client:
                ended.append(client.wait(job, PATIENCE)["status"])
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
