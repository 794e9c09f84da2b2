"""Examples that the weights which a fit begins with were fitted to: they may be learned again, and prove nothing."""

from dataclasses import replace

import numpy as np

from adapters.errors import NotEnoughData
from adapters.training.data.split import Split
from adapters.types import HeadVersion, Indices


def never_held_out(split: Split, learned: Indices, version: HeadVersion) -> Split:
    """The same without these positions i64 among what is measured on; `version` is what had learned them.

    Raises NotEnoughData where nothing is left to measure on.
    """
    if not len(learned):
        return split
    folds = [(train, np.setdiff1d(unseen, learned)) for train, unseen in split.folds]
    folds = [(train, unseen) for train, unseen in folds if len(unseen)]
    test = np.setdiff1d(split.test, learned)
    if not folds or (split.evaluation == "holdout" and not len(test)):
        raise NotEnoughData(
            f"version {version.number} has learned all that could be held out of what came: nothing would be left to "
            "measure what is forgotten; send examples that it has not seen"
        )
    said = f" {len(learned):,} that version {version.number} had learned from were trained on and not asked about."
    train = np.union1d(split.train, np.intersect1d(split.test, learned))
    return replace(split, folds=folds, test=test, train=train, explanation=split.explanation + said)
