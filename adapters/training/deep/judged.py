"""What fits to folds come to: the best option, and whether it is better than the shallow winner."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from adapters.arrays import take
from adapters.training import programs
from adapters.training.deep import evidence, outcome
from adapters.training.deep.evidence import Chosen, Pool
from adapters.training.deep.examples import Examples
from adapters.training.deep.records import Option
from adapters.training.race.cross_validation import Data
from adapters.training.race.race import RaceResult
from adapters.types import HeadProgram

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Judged:
    """What the fits to folds come to."""

    pool: Pool
    options: list[tuple[str, Option]]
    found: Chosen
    proof: Row

    @property
    def table(self) -> list[Row]:
        """The best option first."""
        return outcome.table_of(self.options, self.found.losses)

    @property
    def likeliest(self) -> str:
        """The cut of the best option that trained anything."""
        return str(next((row["cut"] for row in self.table if row["mix"]), self.table[0]["cut"]))


def compared(pool: Pool, found: Chosen, shallow: RaceResult, examples: Examples, data: Data, looks: int) -> Row:
    """The evidence, of the examples that the race answered, too: see `evidence.compared`."""
    places = {int(position): row for row, position in enumerate(shallow.index)}
    both = np.array([row for row, position in enumerate(pool.index) if int(position) in places], np.int64)
    theirs = np.array([places[int(position)] for position in pool.index[both]], np.int64)
    deep = data.answers(programs.run(HeadProgram(data.finish), found.calibrated))
    return evidence.compared(
        take(shallow.outputs, theirs), shallow.losses[theirs],
        take(deep, both), data.goal.losses(found.calibrated, data.truth[pool.index])[both],
        examples.task, take(examples.targets, pool.index[both]), examples.classes, looks,
    )  # fmt: skip
