"""The race alone, on cached embeddings: a wide one against its limit, and the classical recipe beside `auto`.

Limit: at least 60 candidates on 1,000 embeddings of 10 classes within 3 s on 2 cores.
The recipe is that of transfer-learning tutorials: frozen backbone, pooling, Dense(128, ReLU), softmax, Adam with 0.001
for 10 epochs of batches of 32. On the weather photos where they are at hand (see benchmarks/datasets.py), else digits.
"""

import time
from typing import Any

import numpy as np

from adapters import tasks
from adapters.training import programs
from adapters.training.data.split import split
from adapters.training.race.race import RaceResult, race
from adapters.types import Embeddings, Indices
from benchmarks import datasets, photo_sets, record
from benchmarks.adaptation import drawn

RECIPE = {
    "inputs": "plain", "hidden": 128, "dropout": 0, "weight_decay": 0, "label_smoothing": 0, "optimizer": "adam",
    "learning_rate": 0.001, "schedule": "constant", "warmup": 0, "batch_size": 32, "epochs": 10, "patience": 0,
}  # fmt: skip
REPETITIONS = 5
EXAMPLES, CLASSES = 1000, 10
WIDE = 30.0  # seconds of budget: enough for every linear candidate
LEAST, MAX_SECONDS = 60, 3.0  # candidates; seconds that they may take


def main() -> dict[str, Any]:
    """Measure and print; returns the results."""
    rows = [_wide() for _ in range(REPETITIONS + 1)][1:]  # the first warms up
    results: dict[str, Any] = {name: record.spread([row[name] for row in rows]) for name in rows[0]}
    assert results["wide_candidates"]["min"] >= LEAST
    rounds = [_recipe(seed) for seed in range(REPETITIONS)]
    results |= {name: record.spread([row[name] for row in rounds]) for name in rounds[0]}
    results["limits"] = {"wide_race_s": MAX_SECONDS}
    for name, row in results.items():
        print(f"  {name:34} {row}")
    return results


def _wide() -> dict[str, float]:
    """Seconds of a race of all linear candidates: digits, 100 of each class."""
    embeddings, targets, groups = datasets.load("digits")
    rows = np.concatenate([np.flatnonzero(targets == k)[: EXAMPLES // CLASSES] for k in range(CLASSES)])
    result = _raced(embeddings[rows], targets[rows], groups[rows], "auto", {}, WIDE)
    return {"wide_race_s": result.seconds, "wide_candidates": len(result.table)}


def _recipe(seed: int) -> dict[str, float]:
    embeddings, targets, groups = datasets.load("weather" if (photo_sets.DATA / "weather").exists() else "digits")
    train, test = drawn(targets, groups, "full", np.random.default_rng(seed))
    assert train is not None
    found: dict[str, float] = {}
    for name, method, setting in (("recipe", "mlp", RECIPE), ("auto", "auto", {})):
        began = time.perf_counter()
        result = _raced(embeddings[train], targets[train], groups[train], method, dict(setting), None)
        found[f"{name}_s"] = time.perf_counter() - began
        answers = programs.run(result.program, embeddings[test])
        found[f"{name}_accuracy"] = float((answers.argmax(axis=1) == targets[test]).mean())
    return found


def _raced(
    embeddings: Embeddings,
    targets: Indices,
    groups: Indices,
    method: str,
    setting: dict[str, Any],
    budget: float | None,
) -> RaceResult:
    nothing: list[Any] = [None] * len(targets)
    classes = [str(k) for k in range(int(targets.max()) + 1)]
    parts = split(targets, groups, nothing, nothing, 0)
    task = tasks.get("classification")
    return race(
        embeddings, {"class": targets}, classes, parts, task, method, setting, 0, lambda _: None, lambda: None, budget
    )  # fmt: skip


if __name__ == "__main__":
    record.save("training", main())
