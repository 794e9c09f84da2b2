"""Thousands of heads: throughput and p99 by their number, many heads in one request, memory of each, a cold one.

Heads are copies of a trained one with weights of their own, drawn as people use things: the n-th most popular one
n times as seldom as the first (Zipf with exponent 1).

Limits: 10,000 heads at least 0.95 of the throughput of one; 0.2 MiB resident a loaded head; what is resident stays
flat (16 MiB) once heads are evicted; the first answer of a cold head at most 10 ms later than the next.
"""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import load, photos, record, server, synthetic
from benchmarks.serving import multipart
from service.client import Client, LabeledImage

MIB = 2**20
CONNECTIONS = 16
TOGETHER = 16  # heads in one request
CLASSES = 4
COLD = 50  # heads kept aside, never asked before they are timed
PAGE = 200  # heads a request while warming up; the service takes 256
TOURS = 2  # of all heads under the bound, after the one that fills it
DRAWS = 1024  # requests of a turn, sent round and round
MIN_KEPT = 0.95
MAX_MIB = 0.2
MAX_GROWTH = 16.0  # MiB
MAX_COLD = 10.0  # ms


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    counts: tuple[int, ...]
    repetitions: int
    seconds: float  # of each turn
    kept: int  # heads that the bounded cache holds


FULL = Plan((1, 100, 10_000), 5, 4.0, 500)
QUICK = Plan((1, 10, 60), 1, 0.3, 20)


def main(quick: bool = False) -> dict[str, Any]:
    """Measure and print; returns the results."""
    plan = QUICK if quick else FULL
    pictures = [data for data, _ in photos.crops(64)]
    with server.prepared() as home:
        size = _fill(home, plan)
        found = _unbounded(home, plan, pictures) | {"head_graph_mib": record.spread([size / MIB])}
        found |= _bounded(home, plan, pictures[0], size * plan.kept)
    most = plan.counts[-1]
    found["limits"] = {
        f"kept_with_{most}": MIN_KEPT, "resident_mib_a_head": MAX_MIB, "growth_under_bound_mib": MAX_GROWTH,
        "cold_added_ms": MAX_COLD,
    }  # fmt: skip
    record.show(found)
    return found


def name(number: int) -> str:
    """The head of that popularity."""
    return f"head-{number}"


def _fill(home: Path, plan: Plan) -> int:
    """Train one head, copy it; returns the bytes of its graph."""
    with server.serving_and_training(home) as running, running.client() as client:
        _teach(client)
    store = synthetic.Store.of(home)
    names = [*map(name, range(plan.counts[-1])), *(f"cold-{n}" for n in range(COLD))]
    synthetic.publish(store, synthetic.copies(store, "original", names))
    return len(store.artifacts.get(store.live("original").digest))


def _teach(client: Client) -> None:
    examples = photos.crops(48, classes=CLASSES)
    images = [LabeledImage(f"{i}.jpg", lambda d=d: d, label) for i, (d, label) in enumerate(examples)]
    job = client.wait(client.finetune("original", images, method="logistic")["id"])
    assert job["status"] == "succeeded", job


def _unbounded(home: Path, plan: Plan, pictures: list[bytes]) -> dict[str, Any]:
    """Everything that is measured with all heads in memory."""
    room = 16 * 1024 * MIB
    with server.serving(home, ESPALIER_HEAD_CACHE_BYTES=str(room)) as running, running.client() as client:
        cold = record.spread(list(_cold(client, pictures[0])))
        grown = _load_all(running, client, pictures[0], plan.counts[-1])
        rounds = [_round(running.port, plan, pictures, number) for number in range(plan.repetitions + 1)]
    results = {key: record.spread([r[key] for r in rounds[1:]]) for key in rounds[0]}  # the first warms up
    return results | {"resident_mib_a_head": record.spread([grown / plan.counts[-1]]), "cold_added_ms": cold}


def _cold(client: Client, picture: bytes) -> Iterator[float]:
    """How many ms later than its next answer the first one of a head comes."""
    client.predict(["original"], [picture])
    for number in range(COLD):
        first = server.seconds(lambda n=number: client.predict([f"cold-{n}"], [picture]))
        again = [server.seconds(lambda n=number: client.predict([f"cold-{n}"], [picture])) for _ in range(3)]
        yield (first - statistics.median(again)) * 1e3


def _load_all(running: server.Running, client: Client, picture: bytes, count: int) -> float:
    """Ask every head once; returns by how many MiB the process grew."""
    before = running.resident()
    for start in range(0, count, PAGE):
        client.predict([name(n) for n in range(start, min(start + PAGE, count))], [picture])
    return running.resident() - before


def _round(port: int, plan: Plan, pictures: list[bytes], seed: int) -> dict[str, float]:
    """One turn of each number of heads, and of heads together and apart."""
    found: dict[str, float] = {}
    for count in plan.counts:
        asked = [load.request(f"/predict?head={name(n)}", data, "image/jpeg", port) for n, data in
                 zip(_zipf(count, DRAWS, seed), pictures * (DRAWS // len(pictures)), strict=True)]  # fmt: skip
        seen = load.run(asked, port, CONNECTIONS, plan.seconds).checked()
        found |= {f"images_per_second_{count}": seen.throughput, f"p99_ms_{count}": seen.percentile(0.99) * 1e3}
    one, most = (found[f"images_per_second_{count}"] for count in (plan.counts[0], plan.counts[-1]))
    return found | {f"kept_with_{plan.counts[-1]}": most / one} | _together(port, plan, pictures)


def _together(port: int, plan: Plan, pictures: list[bytes]) -> dict[str, float]:
    """Answers a second: 16 heads in one request, and the same 16 in as many requests."""
    heads = [name(n) for n in range(TOGETHER)]
    one = [load.request("/predict", *multipart([data], heads), port) for data in pictures]
    each = [load.request("/predict", *multipart([data], [head]), port) for data in pictures for head in heads]
    together = load.run(one, port, CONNECTIONS, plan.seconds).checked().throughput * TOGETHER
    apart = load.run(each, port, CONNECTIONS, plan.seconds).checked().throughput
    return {"answers_per_second_16_heads_together": together, "answers_per_second_16_requests": apart,
            "together_over_apart": together / apart}  # fmt: skip


def _zipf(count: int, draws: int, seed: int) -> list[int]:
    """Heads by popularity, exponent 1."""
    weights = 1 / np.arange(1, count + 1)
    return np.random.default_rng(seed).choice(count, draws, p=weights / weights.sum()).tolist()


def _bounded(home: Path, plan: Plan, picture: bytes, limit: int) -> dict[str, Any]:
    """Every head in turn under a bound that holds some: what is resident after the first tour, and how it grows."""
    with server.serving(home, ESPALIER_HEAD_CACHE_BYTES=str(limit)) as running, running.client() as client:
        _load_all(running, client, picture, plan.counts[-1])
        first = running.resident()
        grown = [_load_all(running, client, picture, plan.counts[-1]) for _ in range(TOURS)]
    resident = {"resident_mib_under_bound": record.spread([first]), "heads_under_bound": record.spread([plan.kept])}
    return resident | {"growth_under_bound_mib": record.spread([sum(grown)])}
