"""Answers of fits to examples that they had not seen, by each option that is compared."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from adapters.training.data.split import Fold
from adapters.training.deep import ensembles
from adapters.training.deep.records import Option, Record
from adapters.types import Floats, Indices

BLOCKS = 2  # of one fold


@dataclass(frozen=True, slots=True)
class Choice:
    """What may be taken: an option of a cut, and the weight of the shallow head beside it."""

    row: int  # of `Pool.said`
    cut: str
    option: Option
    weight: float = 0.0


@dataclass(frozen=True, slots=True)
class Pool:
    """Answers of fits to M examples that they had not seen."""

    said: Floats  # raw outputs by each option, f32 [O, M, K]
    index: Indices  # [M], positions
    folds: list[int]  # how many of them, in order, each fold has
    choices: list[Choice]
    shallow: Floats | None = None  # f32 [M, K], calibrated raw outputs of the race's winner

    def raw(self, choice: Choice) -> Floats:
        """Raw outputs f32 [M, K]."""
        own: Floats = self.said[choice.row]
        if self.shallow is None or not choice.weight:
            return own
        return ensembles.mixed(own, self.shallow, choice.weight)

    @property
    def blocks(self) -> list[Indices]:
        """Rows of each block."""
        rows = np.arange(len(self.index))
        if len(self.folds) == 1:
            return [rows[block::BLOCKS] for block in range(BLOCKS)]
        return list(np.split(rows, np.cumsum(self.folds)[:-1]))


def pooled_answers(
    tried: Sequence[tuple[str, list[Record]]],
    folds: Sequence[Fold],
    weights: Callable[[Option], Sequence[float]],
    beside: Callable[[Indices], Floats | None],
) -> Pool:
    """Answers by each option that all folds of a cut have.

    `weights` of the shallow head to compare; `beside`: what that says of examples, None where it was not asked.
    """
    unseen = [held for _, held in folds]
    index = np.concatenate(unseen)
    shallow = beside(index)
    said: list[Floats] = []
    choices: list[Choice] = []
    for name, records in tried:
        for option in records[0].options:
            if all(option in record.options for record in records):
                each = weights(option) if shallow is not None else (0.0,)
                choices += [Choice(len(said), name, option, weight) for weight in each]
                said.append(np.concatenate([record.said[record.options.index(option)] for record in records]))
    return Pool(np.stack(said), index, [len(held) for held in unseen], choices, shallow)
