"""Does a backbone session with a thread a core pay beside one with a single thread? `python -m benchmarks threads`.

Two arrangements of one backbone, by callers at a time: `one` thread a run, which serves what comes side by side, and
`all` cores in one run, which serves an image that is alone. All pays where it is faster with one caller, and one where
it is with a caller a core. The second session takes about 30 MiB.
"""

import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from adapters.backbones.cards import DEFAULT, embedded_card
from adapters.runtime.onnx import processor, session
from adapters.store import database
from adapters.store.objects.artifacts import Artifacts
from adapters.training.backbone.build import build
from benchmarks import record

REPETITIONS = 7
SECONDS = 2.0  # of each turn
PIXELS = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)


def main() -> dict[str, Any]:
    """Measure and print; returns the results."""
    graph, cores = embedded_graph(), processor.cores()
    one = session.create(graph)
    _run(one)
    every = session.create(graph, threads=cores)
    _run(every)
    rows: dict[str, list[float]] = {}
    for _ in range(REPETITIONS):
        for callers in sorted({1, cores, 2 * cores}):
            for name, backbone in (("one", one), ("all", every)):
                rows.setdefault(f"{name}_{callers}_callers_images_per_second", []).append(_rate(backbone, callers))
    results = {name: record.spread(values) for name, values in rows.items()}
    for name, row in results.items():
        print(f"  {name:40} {row}")
    return results


def embedded_graph() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        engine, artifacts = database.connect(f"sqlite:///{folder}/x.sqlite"), Artifacts(str(Path(folder) / "blobs"))
        database.migrate(engine)
        return artifacts.get(build(embedded_card(DEFAULT), engine, artifacts).artifact)


def _run(backbone: Any) -> None:
    backbone.run(["pooled"], {"pixels": PIXELS})


def _rate(backbone: Any, callers: int) -> float:
    """Images a second with so many threads that call without a pause."""
    counts = [0] * callers
    stop = time.perf_counter() + SECONDS

    def call(number: int) -> None:
        while time.perf_counter() < stop:
            _run(backbone)
            counts[number] += 1

    threads = [threading.Thread(target=call, args=(n,)) for n in range(callers)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)


if __name__ == "__main__":
    record.save("threads", main())
