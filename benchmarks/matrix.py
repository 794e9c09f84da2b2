"""/predict against its bare loop in every combination: connections, images a request, sizes of JPEG.

Goals of the middle of it, medium photos one a request: at least 0.92 of the bare loop at 16 connections, and at most
1.5 ms more at one. Combinations with more than 384 MiB under way at a time are left out.
"""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from adapters.runtime.onnx import processor
from benchmarks import load, photos, record, server, serving

SIZES = {"small": (224, 224), "medium": (640, 427), "large": (4000, 3000)}
MOST_UNDER_WAY = 384 * 2**20  # bytes
MIN_THROUGHPUT = 0.92
MAX_ADDED = 1.5  # ms


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    repetitions: int
    seconds: float  # of each turn
    sizes: tuple[str, ...]
    connections: tuple[int, ...]
    images: tuple[int, ...]


FULL = Plan(5, 1.0, tuple(SIZES), (1, 4, 16, 64), (1, 16))
QUICK = Plan(1, 0.3, ("medium",), (1, 16), (1,))

Cell = tuple[str, int, int]  # size, images a request, connections
Bare = tuple[Callable[[bytes], int], Callable[[bytes], int]]  # the loop with one core an image, and with all


def main(quick: bool = False) -> dict[str, Any]:
    """Measure and print; returns the results."""
    plan = QUICK if quick else FULL
    pictures = {size: [data for data, _ in photos.crops(16, 10, *SIZES[size])] for size in plan.sizes}
    cells = list(_cells(plan, pictures))
    with server.running(
        ESPALIER_MAX_WAITING="4096", ESPALIER_MAX_WAITING_SECONDS="60"
    ) as running:  # 64 × 16 images are no flood here
        with running.client() as client:
            serving.teach(client, photos.crops(64))
        bare = serving.bare(running.home), serving.bare(running.home, alone=True)
        rounds = [_round(bare, running.port, pictures, cells, plan) for _ in range(plan.repetitions + 1)]
    results = {key: record.spread([r[key] for r in rounds[1:]]) for key in rounds[0]}  # the first warms up
    results["limits"] = {
        f"{_name('medium', 1, 16)} ratio": MIN_THROUGHPUT,
        f"{_name('medium', 1, 1)} added_ms": MAX_ADDED,
    }
    record.show(results)
    return results


def _cells(plan: Plan, pictures: dict[str, list[bytes]]) -> Iterator[Cell]:
    for size, images, connections in product(plan.sizes, plan.images, plan.connections):
        if connections * images * max(map(len, pictures[size])) <= MOST_UNDER_WAY:
            yield size, images, connections


def _name(size: str, images: int, connections: int) -> str:
    return f"{size}, {images} a request, {connections} connections:"


def _round(
    bare: Bare, port: int, pictures: dict[str, list[bytes]], cells: list[Cell], plan: Plan
) -> dict[str, float]:  # fmt: skip
    """Each cell right after its bound, so that the machine has no time to change in between."""
    found: dict[str, float] = {}
    for cell in cells:
        size, images, connections = cell
        bound = _bound(bare, pictures[size], cell[1:] == (1, 1), plan.seconds)
        requests = _requests(pictures[size], images, connections, port)
        seen = load.run(requests, port, connections, plan.seconds).checked()
        found |= {f"{_name(*cell)} {key}": value for key, value in _figures(seen, images, bound).items()}
        if cell[1:] == (1, 1):
            found[f"{_name(*cell)} added_ms"] = found[f"{_name(*cell)} median_ms"] - 1e3 / bound
    return found


def _bound(bare: Bare, pictures: list[bytes], alone: bool, seconds: float) -> float:
    """Images a second of the bare loop; one that is alone runs through the backbone on all cores, decoded on one."""
    one, lone = bare
    if alone:
        return 1 / statistics.median(serving.bare_latencies(lone, pictures, seconds))
    return serving.bare_throughput(one, pictures, processor.cores(), seconds)


def _figures(seen: load.Load, images: int, bound: float) -> dict[str, float]:
    speed = seen.throughput * images
    return {
        "images_per_second": speed, "ratio": speed / bound, "median_ms": statistics.median(seen.latencies) * 1e3,
        "p99_ms": seen.percentile(0.99) * 1e3,
    }  # fmt: skip


def _requests(pictures: list[bytes], images: int, connections: int, port: int) -> list[bytes]:
    """Twice as many as are under way at a time, no image twice: what is embedded once for two would be no measure."""
    files = photos.distinct(pictures, 2 * connections * images)
    if images == 1:
        return [load.request("/predict?head=bench", data, "image/jpeg", port) for data in files]
    forms = (files[start : start + images] for start in range(0, len(files), images))
    return [load.request("/predict", *serving.multipart(form), port) for form in forms]
