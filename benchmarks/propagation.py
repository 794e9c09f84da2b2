"""How soon a change is served by a replica that was not told of it by its caller: two replicas on Postgres and S3.

An alias is moved to and fro on one replica. From its answer on, the other is asked again and again until it answers
with the version that was meant: an answer of its own is part of the time, and the graph that it loads. Then the same
with `wait=all`, where the next answer of the other must be the right one.

Limits: a second at the most; no wrong answer after `wait=all`.
"""

import time
from dataclasses import dataclass
from typing import Any

from benchmarks import photos, record, swaps, synthetic
from benchmarks.cluster import Cluster, running

MOST = 1.0  # seconds
HEAD = swaps.HEAD


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    moves: int
    waits: int


FULL, QUICK = Plan(200, 50), Plan(6, 3)


def main(quick: bool = False) -> dict[str, Any]:
    """Measure and print; returns the results."""
    plan = QUICK if quick else FULL
    with running(workers=0, proxied=False) as cluster:
        store = synthetic.Store.of(cluster.home, **cluster.direct)
        for number in (1, 2):
            synthetic.swap(store, swaps.version(store.backbone, number))
        picture = photos.crops(1)[0][0]
        for replica in cluster.replicas:
            replica.client.predict([HEAD], [picture])
        seen = [_until_seen(cluster, picture, 1 + n % 2) for n in range(plan.moves)]
        waited, wrong = zip(*(_wait(cluster, picture, 1 + n % 2) for n in range(plan.waits)), strict=True)
    results = {
        "seen_s": record.spread(seen), "wait_all_s": record.spread(waited),
        "wrong_after_wait_all": record.spread([float(sum(wrong))]),
        "slowest_s": record.spread([max(seen)]),
        "limits": {"slowest_s": MOST, "wrong_after_wait_all": 0},
    }  # fmt: skip
    record.show(results)
    return results


def _until_seen(cluster: Cluster, picture: bytes, number: int) -> float:
    """Seconds from the answer of one replica to the first right answer of the other."""
    one, other = cluster.replicas
    one.client.set_alias(HEAD, "live", number)
    began = time.perf_counter()
    while _version(other.client, picture) != number:
        pass
    return time.perf_counter() - began


def _wait(cluster: Cluster, picture: bytes, number: int) -> tuple[float, bool]:
    """Seconds of a `wait=all`, and whether an answer after it was wrong."""
    one, other = cluster.replicas
    began = time.perf_counter()
    one.client.set_alias(HEAD, "live", number, everywhere=True)
    taken = time.perf_counter() - began
    return taken, any(_version(replica.client, picture) != number for replica in (other, one))


def _version(client: Any, picture: bytes) -> int:
    return int(client.predict([HEAD], [picture])["predictions"][0]["version"])
