"""Evaluate: the head's figures on data that it never saw, with how they were come by."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from adapters.arrays import take
from adapters.spans import traced
from adapters.tasks import Task
from adapters.training import programs
from adapters.training.data.split import Split
from adapters.training.race.race import RaceResult
from adapters.types import Arrays, Embeddings, Indices, Schema, Targets


class Read(Protocol):
    """Embeddings f32 [N, R], or what is put together from several where rows are asked for."""

    def __getitem__(self, rows: Indices, /) -> Embeddings: ...


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures, and the answers that they are from."""

    figures: dict[str, Any]  # the task's metrics, "evaluation" and "explanation"; ready for JSON
    index: Indices  # [M], positions of the held-out examples
    outputs: Arrays  # M answers, what the head (or a fit without the example) said of them
    schema: Schema  # how they are read


@traced("evaluate")
def evaluate(
    result: RaceResult, task: Task, embeddings: Read, targets: Targets, classes: Sequence[str], split: Split
) -> Measured:
    """The task's metrics on held-out examples; `embeddings` are what the head reads of each.

    On the test set where there is one; otherwise on the race's out-of-fold answers, each from a fit that had not seen
    the example. Those are of the winner among several, its calibration and thresholds, so they flatter it a little.
    `ece_before` is what the calibration error was without calibration.
    """
    schema = Schema(tuple(classes), task.decide(result.outputs, take(targets, result.index), classes))
    if split.evaluation == "holdout":
        index = split.test
        asked = embeddings[index]
        outputs, unscaled = (task.answers(programs.run(p, asked)) for p in (result.program, result.uncalibrated))
    else:
        outputs, unscaled, index = result.outputs, result.unscaled, result.index
    figures = task.metrics(outputs, take(targets, index), schema)
    if "ece" in figures:
        figures["ece_before"] = task.metrics(unscaled, take(targets, index), schema)["ece"]
    about = {"evaluation": split.evaluation, "explanation": split.explanation}
    return Measured(about | figures, index, outputs, schema)
