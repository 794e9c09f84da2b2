"""Evaluate: the head's figures on data that it never saw, with how they were come by."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adapters.tasks import Task
from adapters.training import programs
from adapters.training.race import RaceResult
from adapters.training.split import Split
from adapters.types import Embeddings, Floats, Indices


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures, and the answers that they are from."""

    figures: dict[str, Any]  # the task's metrics, "evaluation" and "explanation"; ready for JSON
    index: Indices  # [M], positions of the held-out examples
    probabilities: Floats  # [M, K], what the head (or a fit without the example) said of them


def evaluate(
    result: RaceResult, task: Task, embeddings: Embeddings, targets: Indices, classes: Sequence[str], split: Split
) -> Measured:
    """The task's metrics on held-out examples.

    On the test set where there is one; otherwise on the race's out-of-fold probabilities, each from a fit that had not
    seen the example. Those are of the winner among several and of its temperature, so they flatter it a little.
    """
    if split.evaluation == "holdout":
        probabilities, index = programs.run(result.program, embeddings[split.test]), split.test
    else:
        probabilities, index = result.probabilities, result.index
    figures = task.metrics(probabilities, targets[index], classes)
    about = {"evaluation": split.evaluation, "explanation": split.explanation}
    return Measured(about | figures, index, probabilities)
