"""What a deep round comes to: a trained tail with its head, or that the shallow winner stays."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from adapters.modalities import NONE
from adapters.training.deep.ensembles import Joined
from adapters.training.deep.pool import Choice
from adapters.training.deep.records import END, Option, Record
from adapters.training.trust.novelty import Apart
from adapters.types import Arrays, Cut, Embeddings, HeadProgram, Indices

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DeepResult:
    """A trained tail and its head, ready to export, and the evidence."""

    cut: Cut
    tail: bytes  # trained, f32: tap → pooled
    program: HeadProgram  # pooled f32 [N, D] of that tail, or an ensemble's [N, D + R] → the task's output
    uncalibrated: HeadProgram  # the same without calibration
    finish: int  # how many of the program's last steps are not the head's: calibration and the task's own
    pooled: Embeddings  # f32 [N, D] of every example, through that tail
    hyperparameters: Row  # all of them, as they were used, with "epochs_kept" and "mix"; ready for JSON
    outputs: Arrays  # for `index`, M answers from fits that had not seen them
    unscaled: Arrays  # the same without calibration
    index: Indices  # [M], positions
    unlearned: list[Apart]  # how far from the taught the tails of fits to folds see what they did not; none: as a race
    calibration: Row  # ready for JSON
    curves: list[Row]  # {"fit", "epoch", "train_loss", "held_out_loss", "kept"}, ready for JSON
    evidence: Row  # see `evidence.compared`
    table: list[Row]  # a row for each cut that was tried
    note: str  # what was tried, and what was not for want of time
    seconds: float  # of all attempts
    earlier: float  # of these, those of attempts before the last
    beside: Embeddings | None = None  # f32 [N, R], what the programs read after `pooled` of an ensemble
    method: str = "deep"
    views: str = NONE

    @property
    def reads(self) -> int:
        """D."""
        return self.pooled.shape[1]

    @property
    def read(self) -> Embeddings | Joined:
        """What the programs read of each example."""
        return self.pooled if self.beside is None else Joined((self.pooled, self.beside))


@dataclass(frozen=True, slots=True)
class Declined:
    """The shallow winner stays: by the evidence, or because no cut fits the budget."""

    evidence: Row
    table: list[Row]
    curves: list[Row]
    note: str
    seconds: float
    earlier: float = 0.0


def epochs_of(option: Option, records: list[Record]) -> int:
    """That the final fit makes: those of the option, or as many as the fits to folds made."""
    if option[0] != END:
        return option[0]
    return round(float(np.mean([len(record.curves) for record in records])))


def table_of(choices: list[Choice], losses: list[float]) -> list[Row]:
    """A row for each choice, best first."""
    rows = [
        {"cut": each.cut, "epochs": each.option[0], "mix": each.option[1], "ensemble": each.weight, "loss": loss}
        for each, loss in zip(choices, losses, strict=True)
    ]
    return sorted(rows, key=lambda row: row["loss"])


def kept(curves: Iterable[Row], epochs: int) -> list[Row]:
    """Curves that say which epoch of each fit is that of the version."""
    return [row | {"kept": row["epoch"] == epochs} for row in curves]


def unlearned(option: Option, records: Iterable[Record]) -> list[Apart]:
    """What the fits to folds say of an option."""
    return [found for record in records if (found := record.apart(option)) is not None]
