"""The examples that candidates are compared on: all of them, or of very many a stratified draw.

A race keeps some ten copies of what it compares on, so it is memory that bounds it. Which candidate is best shows on a
part of so many examples; the winner is then fitted to all of them.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from adapters.training.data.split import Split
from adapters.types import Indices


def drawn(split: Split, strata: Indices, most: int, seed: int) -> Split:
    """A split whose folds hold about `most` examples of the rest in all, with the same share of each class in each.

    Strata i64 [N]; the test set stays whole. The split itself where the rest is not more.
    """
    if len(split.rest) <= most:
        return split
    kept = _kept(split, strata, most / len(split.rest), seed)
    folds = [(train[kept[train]], val[kept[val]]) for train, val in split.folds]
    return replace(split, train=split.train[kept[split.train]], val=split.val[kept[split.val]], folds=folds)


def _kept(split: Split, strata: Indices, share: float, seed: int) -> NDArray[np.bool_]:
    """Which examples are drawn, [N]: a share of each class in each fold, at least one."""
    place = np.zeros(len(strata), np.int64)
    for number, (_, val) in enumerate(split.folds, start=1):
        place[val] = number
    order = np.random.default_rng(seed).permutation(split.rest)
    key = strata[order] * (len(split.folds) + 1) + place[order]
    order = order[np.argsort(key, kind="stable")]
    _, starts, counts = np.unique(np.sort(key), return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(starts, counts)
    kept = np.zeros(len(strata), np.bool_)
    kept[order[rank < np.repeat(np.ceil(share * counts), counts)]] = True
    return kept
