"""Answers of fits to examples that they had not seen, by each option that is compared."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from adapters.training.data.split import Fold
from adapters.training.deep import ensembles
from adapters.training.deep.records import Option, Record
from adapters.types import Floats, Indices

# Of examples, each answered by what is chosen on the others; and how many of them tell as much by halves. By halves of
# 172 answers a choice and its temperature were from 86, and a gain of 0.057 ± 0.024 was taken for none (docs/adr/0033).
BLOCKS, PLENTY = 10, 1000


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
        count = len(self.index)
        blocks = 2 if count >= PLENTY else min(BLOCKS, count)
        return [np.arange(block, count, blocks) for block in range(blocks)]


def pooled_answers(
    tried: Sequence[tuple[str, list[Record]]],
    folds: Sequence[Fold],
    weights: Callable[[Option], Sequence[float]],
    beside: Callable[[Indices], Floats | None],
) -> Pool:
    """Answers by each option that all folds of a cut have.

    `weights` of the shallow head to compare; `beside`: what that says of examples, None where it was not asked.
    """
    index = np.concatenate([unseen for _, unseen in folds])
    shallow = beside(index)
    said: list[Floats] = []
    choices: list[Choice] = []
    for name, records in tried:
        for option in records[0].options:
            if all(option in record.options for record in records):
                each = weights(option) if shallow is not None else (0.0,)
                choices += [Choice(len(said), name, option, weight) for weight in each]
                said.append(np.concatenate([record.said[record.options.index(option)] for record in records]))
    return Pool(np.stack(said), index, choices, shallow)
