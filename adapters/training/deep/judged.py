"""What fits to folds come to: the best option, and whether it is better than the shallow winner."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from adapters.arrays import take
from adapters.recipe import Hyperparameters
from adapters.training import programs
from adapters.training.data.split import Fold
from adapters.training.deep import ensembles, evidence, outcome
from adapters.training.deep.evidence import Chosen
from adapters.training.deep.examples import Examples
from adapters.training.deep.pool import Pool, pooled_answers
from adapters.training.deep.records import Record
from adapters.training.race.cross_validation import Data
from adapters.training.race.race import RaceResult
from adapters.types import Floats, HeadProgram, Indices

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Judged:
    """What the fits to folds come to."""

    pool: Pool
    found: Chosen
    proof: Row

    @property
    def table(self) -> list[Row]:
        """The best option first."""
        return outcome.table_of(self.pool.choices, self.found.losses)

    @property
    def likeliest(self) -> str:
        """The cut of the best option that trained anything."""
        return str(next((row["cut"] for row in self.table if row["mix"]), self.table[0]["cut"]))


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """Compares what fits answered, with each other and with the shallow winner."""

    recipe: Hyperparameters
    shallow: RaceResult
    examples: Examples
    data: Data  # of `pooled` alone
    ensembles: bool  # whether the winner may have a say: not where fits go on from a version, which stands in its place

    def judged(self, tried: Sequence[tuple[str, list[Record]]], folds: Sequence[Fold], looks: int) -> Judged:
        """The best choice of some cuts, and the evidence for it; `looks` as `evidence.compared` has it."""
        pool = self._pool(tried, folds)
        found = evidence.chosen(pool, self.data)
        return Judged(pool, found, self._compared(pool, found, looks))

    def has_brought(self, cut: str, records: list[Record], folds: Sequence[Fold]) -> bool:
        """Whether anything that a cut's fits trained answers better than their start, and than the winner."""
        pool = self._pool([(cut, records)], folds)
        losses = evidence.losses(pool, self.data)
        trained = [loss for choice, loss in losses if choice.option[1]]
        still = [loss for choice, loss in losses if not choice.option[1]]
        if pool.shallow is not None:
            still.append(evidence.loss(pool.shallow, self.data.truth[pool.index], self.data))
        return min(trained, default=math.inf) < min(still, default=math.inf)

    def _pool(self, tried: Sequence[tuple[str, list[Record]]], folds: Sequence[Fold]) -> Pool:
        return pooled_answers(tried, folds, partial(ensembles.weights, self.recipe), self._beside)

    def _beside(self, index: Indices) -> Floats | None:
        return ensembles.said(self.shallow, index) if self.ensembles and self.recipe.ensemble else None

    def _compared(self, pool: Pool, found: Chosen, looks: int) -> Row:
        """Of the examples that the race answered, too."""
        places = {int(position): row for row, position in enumerate(self.shallow.index)}
        both = np.array([row for row, position in enumerate(pool.index) if int(position) in places], np.int64)
        theirs = np.array([places[int(position)] for position in pool.index[both]], np.int64)
        deep = self.data.answers(programs.run(HeadProgram(self.data.finish), found.calibrated))
        losses = self.data.goal.losses(found.calibrated, self.data.truth[pool.index])
        return evidence.compared(
            take(self.shallow.outputs, theirs), self.shallow.losses[theirs], take(deep, both), losses[both],
            self.examples.task, take(self.examples.targets, pool.index[both]), self.examples.classes, looks,
        )  # fmt: skip
