"""When `auto` tries a deep round at all."""

import numpy as np

from adapters.tasks import Task
from adapters.training.data.split import Split
from adapters.training.race import objectives
from adapters.types import Targets

LEAST, LEAST_EACH = 200, 20  # examples to learn from, and of the median class: below, a linear head has won


def worth_it(split: Split, task: Task, targets: Targets, outputs: int) -> str | None:
    """Why not, in a sentence; None where there is enough to learn from. `outputs` is K."""
    rest = split.rest
    if len(rest) < LEAST:
        return f"a deep round wants {LEAST} examples to learn from, there are {len(rest)}"
    counts = objectives.get(task.OBJECTIVE).counts(task.fitted(targets)[rest], outputs)
    if np.median(counts) < LEAST_EACH:
        return f"a deep round wants {LEAST_EACH} examples of the median class, there are {int(np.median(counts))}"
    if not split.folds:
        return "a deep round wants examples held out to be compared on, there are none"
    return None
