"""When `auto` tries a deep round at all."""

from collections.abc import Sequence

import numpy as np

from adapters.arrays import take
from adapters.tasks import Task
from adapters.training.data.split import Split
from adapters.training.race import objectives
from adapters.training.race.race import RaceResult
from adapters.types import Schema, Targets

LEAST, LEAST_EACH = 200, 20  # examples to learn from, and of the median class: below, a linear head has won
LEAST_WRONG = 5.0  # held-out answers that a shallow head gets wrong: of fewer, all mended, chance could have done it


def worth_it(split: Split, task: Task, targets: Targets, outputs: int) -> str | None:
    """Why not, in a sentence; None where there is enough to learn from. `outputs` is K."""
    rest = split.rest
    if len(rest) < LEAST:
        return f"a deep round wants {LEAST} examples to learn from, there are {len(rest)}"
    counts = objectives.get(task.OBJECTIVE).counts(task.fitted(targets)[rest], outputs)
    if np.median(counts) < LEAST_EACH:
        return f"a deep round wants {LEAST_EACH} examples of the median class, there are {int(np.median(counts))}"
    return None


def room(shallow: RaceResult, task: Task, targets: Targets, classes: Sequence[str]) -> str | None:
    """Why nothing is left to be gained over the shallow winner, in a sentence; None where there is."""
    truth = take(targets, shallow.index)
    schema = Schema(tuple(classes), task.decide(shallow.outputs, truth, classes))
    wrong = float((1 - task.shares(shallow.outputs, truth, schema)).sum())
    if wrong >= LEAST_WRONG:
        return None
    count = len(shallow.index)
    return f"the shallow version errs on {wrong:.0f} of {count} held-out answers: nothing is left that could be shown"
