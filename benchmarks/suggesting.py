"""What to label next, by what it teaches: images chosen by `pooled`, by all of an embedding (what the service does), or
at random, with the same number of labels.

    python -m benchmarks suggesting
    python -m benchmarks.suggesting [--data weather digits] [--seeds 2]

A third of each data set is the test set of a seed. `typical` begins with one label a class, `uncertain` with ten, and
four more a class (at most 60) are added; the judge is always the same ridge regression on all of an embedding, so
that only the choice of images differs: accuracies on the test set, of the same seeds.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from adapters import suggest
from adapters.sampling.selection import uncertain
from adapters.types import Embeddings, Floats, Indices
from benchmarks import datasets, options, record

DATA = ("weather", "digits", "cells", "gtsrb")
SEEDS = 20
BEGUN = {"typical": 1, "uncertain": 10}  # labels a class to begin with
MORE, MOST = 4, 60  # labels a class to add, and in all
STRENGTH = 1000.0  # of the judge
SEEN: dict[str, Callable[[Embeddings], Embeddings]] = {
    "pooled": lambda x: x[:, : datasets.POOLED],
    "all": lambda x: x,
}


def main(names: Sequence[str] = DATA, seeds: int = SEEDS) -> dict[str, Any]:
    """Measure and print; returns the results."""
    results = {}
    for name in names:
        for strategy in BEGUN:
            rounds = [_round(*datasets.load(name, taps=True)[:2], strategy, seed) for seed in range(seeds)]
            key = f"{name}: {strategy}"
            results[key] = {what: record.spread([r[what] for r in rounds]) for what in rounds[0]}
            print(key, {what: round(row["median"], 3) for what, row in results[key].items()}, flush=True)
    return results


def _round(x: Embeddings, y: Indices, strategy: str, seed: int) -> dict[str, float]:
    """Accuracies of one seed."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(x))
    test, rest = order[: len(x) // 3], order[len(x) // 3 :]
    labeled = np.concatenate([rest[y[rest] == c][: BEGUN[strategy]] for c in np.unique(y)])
    pool = np.setdiff1d(rest, labeled)
    count = min(MORE * len(np.unique(y)), MOST)
    chosen: dict[str, np.ndarray] = {"random": random.permutation(len(pool))[:count]}
    hesitation = _hesitation(x, y, labeled, pool)
    for name, form in SEEN.items():
        seen = form(x)
        chosen[name] = np.array(
            suggest.typical(seen[pool], seen[labeled], count)
            if strategy == "typical"
            else uncertain(seen[pool], hesitation, count)
        )
    return {name: _accuracy(x, y, np.concatenate([labeled, pool[rows]]), test) for name, rows in chosen.items()}


def _judge(x: Embeddings, y: Indices) -> Any:
    roots = FunctionTransformer(lambda values: np.sign(values) * np.sqrt(np.abs(values)))
    return make_pipeline(roots, StandardScaler(), RidgeClassifier(STRENGTH)).fit(x, y)


def _hesitation(x: Embeddings, y: Indices, labeled: Indices, pool: Indices) -> Floats:
    """f32 [N], 1 is most: how near the two likeliest classes are."""
    best = np.sort(_judge(x[labeled], y[labeled]).decision_function(x[pool]), axis=1)
    hesitation: Floats = np.clip(1 - (best[:, -1] - best[:, -2]) / 2, 0, 1).astype(np.float32)
    return hesitation


def _accuracy(x: Embeddings, y: Indices, train: Indices, test: Indices) -> float:
    return float(_judge(x[train], y[train]).score(x[test], y[test]))


if __name__ == "__main__":
    asked = options.rounds(__doc__, options.Rounds(DATA, SEEDS, ()))
    record.save("suggesting", main(asked.data, asked.seeds))
