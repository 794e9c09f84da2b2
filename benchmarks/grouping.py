"""What running a head once for many requests could save: 64 runs of one embedding against one run of 64.

In microseconds of processor an image, of heads with their novelty, as they are served. The conclusion is in
docs/adr/0006.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from adapters.runtime.heads.head import Head
from adapters.training.data.split import split
from adapters.training.publish import export
from adapters.training.trust import novelty
from adapters.types import Embeddings, HeadProgram, Indices, L2Normalize, Linear, Power, Softmax
from benchmarks import record

CLASSES = (2, 10, 100, 1000)
DIMENSION, ROWS = 1280, 64
REPETITIONS = 15


def main(quick: bool = False) -> dict[str, Any]:
    """Measure and print; returns the results."""
    counts = CLASSES[:1] if quick else CLASSES
    results: dict[str, Any] = {f"{count} classes": _saved(count, 1 if quick else REPETITIONS) for count in counts}
    record.show(results)
    return results


def _saved(classes: int, repetitions: int) -> dict[str, Any]:
    embeddings, targets = _data(classes)
    head, rows = Head.from_bytes(_graph(embeddings, targets, classes)), embeddings[:ROWS]
    pairs = [(_each(head, rows), _all(head, rows)) for _ in range(repetitions + 1)][1:]  # the first warms up
    return {
        "each_us": record.spread([each for each, _ in pairs]),
        "together_us": record.spread([together for _, together in pairs]),
        "saved_us": record.spread([each - together for each, together in pairs]),
    }


def _each(head: Head, rows: Embeddings) -> float:
    return _microseconds(lambda: [head.answer(row[None]) for row in rows])


def _all(head: Head, rows: Embeddings) -> float:
    """With the gathering of rows, which grouping would need."""
    return _microseconds(lambda: head.answer(np.stack(list(rows))))


def _microseconds(action: Callable[[], Any]) -> float:
    """Of processor, for each of the rows."""
    began = time.thread_time()
    for _ in range(10):
        action()
    return (time.thread_time() - began) / (10 * ROWS) * 1e6


def _data(classes: int) -> tuple[Embeddings, Indices]:
    """Embeddings f32 [N, D] and their classes i64 [N], four of each."""
    targets = np.arange(max(4 * classes, ROWS)) % classes
    values = np.random.default_rng(0).normal(size=(len(targets), DIMENSION))
    return np.abs(values).astype(np.float32), targets


def _graph(embeddings: Embeddings, targets: Indices, classes: int) -> bytes:
    """A linear head on power-normalised embeddings, which is what mostly wins, with its novelty."""
    nothing: list[Any] = [None] * len(targets)
    parts = split(targets, np.arange(len(targets)), nothing, nothing, 0)
    weight = np.random.default_rng(1).normal(size=(DIMENSION, classes)).astype(np.float32)
    steps = (Power(0.5), L2Normalize(), Linear(weight, np.zeros(classes, np.float32)), Softmax())
    program = HeadProgram(steps, novelty.fit(embeddings, targets, parts).steps)
    return export.to_onnx(program, DIMENSION, [str(k) for k in range(classes)], {})


if __name__ == "__main__":
    record.save("grouping", main())
