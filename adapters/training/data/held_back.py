"""Examples that the weights which a fit begins with were fitted to: they may be learned again, and prove nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from adapters.errors import NotEnoughData
from adapters.store import keeping
from adapters.tasks import Task
from adapters.training.data.split import Split
from adapters.types import HeadVersion, Indices


def never_held_out(split: Split, learned: Indices, version: HeadVersion, known: Mapping[str, Indices]) -> Split:
    """The same without these positions i64, and near-duplicates of theirs, among what is measured on.

    `version` is what had learned them, and `known` are the positions of each class that it knows. Raises NotEnoughData
    where nothing is left to measure on of one of them.
    """
    held_back = _with_copies(split, learned)
    if len(held_back):
        split = _without(split, held_back, version)
    missing = [name for name, positions in known.items() if not _asked(split, positions)]
    if missing:
        raise keeping.unasked(version, missing)
    return split


def positions(task: Task, labels: Sequence[str], classes: Sequence[str]) -> dict[str, Indices]:
    """Those of the examples whose labels speak of each of these classes, i64."""
    found: dict[str, list[int]] = {name: [] for name in classes}
    for position, label in enumerate(labels):
        for name in task.names(label):
            if name in found:
                found[name].append(position)
    return {name: np.array(each, np.int64) for name, each in found.items()}


def _with_copies(split: Split, learned: Indices) -> Indices:
    if not len(split.groups):
        return learned
    return np.flatnonzero(np.isin(split.groups, split.groups[learned])).astype(np.int64)


def _without(split: Split, held_back: Indices, version: HeadVersion) -> Split:
    folds = [(train, np.setdiff1d(unseen, held_back)) for train, unseen in split.folds]
    folds = [(train, unseen) for train, unseen in folds if len(unseen)]
    test = np.setdiff1d(split.test, held_back)
    if not folds or (split.evaluation == "holdout" and not len(test)):
        raise NotEnoughData(
            f"version {version.number} has learned all that could be held out of what came: nothing would be left to "
            "measure what is forgotten; send examples that it has not seen"
        )
    said = (
        f" {len(held_back):,} that version {version.number} had learned from, or near-duplicates of such, were trained "
        "on and not asked about."
    )
    train = np.union1d(split.train, np.intersect1d(split.test, held_back))
    return replace(split, folds=folds, test=test, train=train, explanation=split.explanation + said)


def _asked(split: Split, kind: Indices) -> bool:
    """Whether one of these positions is held out where a fit is chosen by it, and where it is measured."""
    unseen = np.concatenate([unseen for _, unseen in split.folds])
    measured = split.test if split.evaluation == "holdout" else unseen
    return bool(np.isin(kind, unseen).any() and np.isin(kind, measured).any())
