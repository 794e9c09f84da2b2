"""How a head is chosen of few examples: by folds, by more of them, or by folds and then leaving each example out.

    python -m benchmarks.selection [--data weather digits] [--shots 2 5] [--seeds 8] [--method auto ridge]
        [--views none all]

On the same embeddings, training examples and test examples; differences are paired by seed, with 95 % intervals.
`now` is what the product does: folds choose method and inputs, leaving one out settles the λ of ridge. `folds` is the
same without that. The rest race on more folds: `10`, or as many as there are groups of examples, `leave-one-out`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from unittest.mock import patch

import numpy as np
import torch

from adapters import tasks
from adapters.modalities import NONE, image
from adapters.training import programs
from adapters.training.data import split
from adapters.training.embedding.views import Choices, no_views
from adapters.training.race import race
from adapters.types import Embeddings, Indices
from benchmarks import datasets, options
from benchmarks.adaptation import all_of, drawn, log_loss

DATA, SHOTS, SEEDS = ("weather", "digits", "cells", "omniglot"), ("2", "3", "5", "10", "50", "full"), 8
WAYS = ("folds", "now", "10", "leave-one-out")
DEAR = {"10": 700, "leave-one-out": 100}  # training examples from which on a way takes too long


@contextmanager
def choosing(way: str) -> Iterator[None]:
    """Races in it choose in one of the WAYS."""
    folds: Callable[[split._Splitter, Indices], int] = lambda self, rest: min(  # noqa: E731
        10 if way == "10" else len(rest), len(np.unique(self.groups[rest]))
    )
    with (
        patch.object(race, "_settled", race._settled if way == "now" else lambda winner, *_: winner),
        patch.object(split._Splitter, "_count", folds if way in ("10", "leave-one-out") else split._Splitter._count),
    ):
        yield


def measure(name: str, shots: str, seeds: int, method: str, views: str) -> dict[str, np.ndarray]:
    """Accuracy in percent and log-loss of each way, [seeds, 2]; empty where classes are smaller than asked."""
    embeddings, targets, groups = datasets.load(name)
    looks = [datasets.load_views(name)[view] for view in image.VIEWS.get(views, ())]
    choices = {views: np.stack(looks) if looks else no_views(embeddings)}
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for seed in range(seeds):
        train, test = drawn(targets, groups, shots, np.random.default_rng(seed))
        if train is None:
            return {}
        for way in WAYS:
            if len(train) > DEAR.get(way, len(train)):
                continue
            with choosing(way):
                answers = _answers(embeddings, targets, groups, train, test, method, choices)
            right = (answers.argmax(1) == targets[test]).mean()
            found[way].append((100 * float(right), log_loss(answers, targets[test])))
    return {way: np.array(figures) for way, figures in found.items() if figures}


def _answers(
    embeddings: Embeddings,
    targets: Indices,
    groups: Indices,
    train: Indices,
    test: Indices,
    method: str,
    choices: Choices,
) -> np.ndarray:
    nothing, classes = [None] * len(train), [str(k) for k in range(int(targets.max()) + 1)]
    parts = all_of(split.split(targets[train], groups[train], nothing, nothing, 0))
    task, silent = tasks.get("classification"), lambda *_: None
    mine = {name: rows[:, train] for name, rows in choices.items()}
    result = race.race(
        embeddings[train], {"class": targets[train]}, classes, parts, task, method, {}, 0, silent, silent, choices=mine
    )
    return programs.run(result.program, embeddings[test])


def show(name: str, shots: str, what: str, found: dict[str, np.ndarray]) -> None:
    """One line for each way, against folds."""
    for way, figures in found.items():
        less = figures - found["folds"]
        half = 1.96 * less.std(axis=0, ddof=1) / len(less) ** 0.5
        accuracy, loss = figures.mean(axis=0)
        apart = f"{less[:, 0].mean():+.2f} ± {half[0]:.2f}, log-loss {less[:, 1].mean():+.3f} ± {half[1]:.3f}"
        print(f"{name:9} {shots:>4} {what:10} {way:14} {accuracy:6.2f} % {loss:.3f}   {apart}", flush=True)


if __name__ == "__main__":
    parser = options.parser(__doc__, options.Rounds(DATA, SEEDS, SHOTS))
    parser.add_argument("--method", nargs="+", default=("auto", "ridge"))
    parser.add_argument("--views", nargs="+", default=(NONE,))
    asked_for = parser.parse_args()
    torch.set_num_threads(1)
    for asked, seen in product(asked_for.method, asked_for.views):
        for data, count in product(asked_for.data, asked_for.shots):
            show(data, count, f"{asked}, {seen}", measure(data, count, asked_for.seeds, asked, seen))
