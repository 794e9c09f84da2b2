"""OUTPUT SEAM: one file per task; the file name is the name. A task says what a head answers.

Each file has the label schema, the targets, the last step of the program, the decoding and the metrics of its kind.
numpy only: the predict path decodes with these files and never loads torch.
"""

import functools
import importlib
import pkgutil
from collections.abc import Sequence
from typing import Any, Protocol, cast

from adapters.errors import InvalidInput
from adapters.trust import HeldOut, Terms
from adapters.types import Example, Floats, Indices, Step


class Task(Protocol):
    """What every file of this folder offers."""

    def parse_label(self, text: str, item: str) -> str:
        """A caller's label → the label we keep; raises InvalidLabel naming `item`."""

    def check_examples(self, examples: Sequence[Example]) -> None:
        """Raise NotEnoughData or InvalidLabel unless a head can be trained and measured on these."""

    def classes(self, labels: Sequence[str]) -> tuple[str, ...]:
        """The distinct labels, in the order of the head's outputs."""

    def targets(self, labels: Sequence[str], classes: Sequence[str]) -> Indices:
        """Labels → what a method fits, i64 [N]."""

    def output_step(self) -> Step:
        """The step after the calibrated logits."""

    def decode(self, output: Floats, classes: Sequence[str], top_k: int) -> dict[str, Any]:
        """One row of the head's output, f32 [K] → the answer in the response."""

    def doubt(self, outputs: Floats) -> Floats:
        """The chance that each answer is wrong, by the head's own calibrated word: f32 [N, K] → f32 [N], 0 to 1."""

    def hesitation(self, outputs: Floats) -> Floats:
        """How near each answer was to being another one: f32 [N, K] → f32 [N], 1 where two are as likely."""

    def metrics(self, probabilities: Floats, targets: Indices, classes: Sequence[str]) -> dict[str, Any]:
        """Predictions f32 [N, K] against targets i64 [N] → plain numbers, ready for JSON."""

    def kinds(self, targets: Indices) -> Indices:
        """Targets → numbers of groups of like examples, i64 [N]: novelty is the distance to the nearest of them."""

    def held_out(self, probabilities: Floats, targets: Indices) -> HeldOut | None:
        """Answers f32 [N, K] on held-out examples → what sets and thresholds to abstain by are made from.

        None where a task has neither: `coverage` and `abstain` are then refused.
        """

    def promised(self, output: Floats, classes: Sequence[str], novelty: float, terms: Terms) -> dict[str, Any]:
        """One row of the head's output, f32 [K] → what `coverage` and `abstain` add to the answer."""


@functools.cache
def names() -> tuple[str, ...]:
    """Every task there is: the files of this folder."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


@functools.cache  # asked for every answer; the folder does not change while we run
def get(name: str) -> Task:
    """The task of that name. Raises InvalidInput that lists what there is."""
    if name not in names():
        raise InvalidInput(f"there is no task {name[:50]!r}; there are: {', '.join(names())}", item="task")
    return cast(Task, importlib.import_module(f"{__name__}.{name}"))
