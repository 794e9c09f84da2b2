"""OUTPUT SEAM: one file per task; the file name is the name. A task says what a head answers.

Each file has the label schema, the targets, the last step of the program, the decoding and the metrics of its kind.
Answers and targets are named arrays with N first, and the task alone knows their names: whoever shows, compares, gates
or reports answers asks here and passes them on (`adapters/arrays`).
numpy only: the predict path decodes with these files and never loads torch.

A label is kept as text, in one spelling per meaning (`parse_label`); `shown` gives it the shape that callers see.
"""

import functools
import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from adapters.arrays import Shapes
from adapters.errors import InvalidInput
from adapters.suspicion import Suspects
from adapters.trust import HeldOut, Terms
from adapters.types import Arrays, Example, Fitted, Floats, Indices, Objective, Schema, Step, Targets


@dataclass(frozen=True, slots=True)
class Chosen:
    """Answers that choose one class each, and what is true of the same M examples."""

    truth: Indices  # [M], positions of classes
    said: Indices  # [M]
    confidence: Floats  # [M], the probability of the class that was chosen


class Task(Protocol):
    """What every file of this folder offers. N examples, M of them held out, K classes."""

    OBJECTIVE: Objective  # what its fits make small
    MERIT: str  # what the mean of `merits` is called
    ALONG: int  # bins of answers over time that lie on one line; 0 where they are labels
    SHARE: str  # what the mean of `shares` is called, in words

    # Labels
    def parse_label(self, text: str, item: str) -> str:
        """A caller's label → the label we keep; raises InvalidLabel naming `item`."""

    def shown(self, label: str) -> Any:
        """A label that we keep, in the shape that answers have."""

    def names(self, label: str) -> tuple[str, ...]:
        """The classes that a label speaks of."""

    def renamed(self, label: str, names: Mapping[str, str | None]) -> str | None:
        """A label after its classes got other names, or went (None); None where nothing is left of it."""

    def check_examples(self, examples: Sequence[Example]) -> None:
        """Raise NotEnoughData or InvalidLabel unless a head can be trained and measured on these."""

    # Targets
    def classes(self, labels: Sequence[str]) -> tuple[str, ...]:
        """What the head's answers are about, in their order."""

    def targets(self, labels: Sequence[str], classes: Sequence[str]) -> Targets:
        """Labels → what they say, as named arrays with N first."""

    def fitted(self, targets: Targets) -> Fitted:
        """Of targets, what the objective fits: class numbers i64 [N], or f32 [N, K]."""

    def strata(self, targets: Targets) -> Indices:
        """Targets → numbers of groups that every part of a split should have its share of, i64 [N]."""

    def stratum_names(self, classes: Sequence[str]) -> tuple[str, ...]:
        """What strata are called in messages; empty where they have no names."""

    def kinds(self, targets: Targets) -> Indices:
        """Targets → numbers of groups of like examples, i64 [N]: novelty is the distance to the nearest of them."""

    # Answers: named arrays with N first, called as the outputs of the exported graph are
    def shapes(self, classes: Sequence[str]) -> Shapes:
        """The arrays of answers, and the shape of each for one example. A graph's novelty [N] comes beside them."""

    def output_steps(self) -> tuple[Step, ...]:
        """The steps after calibrated logits or values."""

    def answers(self, output: Floats) -> Arrays:
        """What the last step of a program gives, f32 [N, K] → answers."""

    # Shown
    def decide(self, answers: Arrays, targets: Targets, classes: Sequence[str]) -> dict[str, Any]:
        """M answers to unseen examples and what they are → how to read answers; see `Schema.decision`."""

    def decode(self, answer: Arrays, schema: Schema, top_k: int) -> dict[str, Any]:
        """One row of answers → the answer in the response: {"label", "score", "top"}."""

    def promised(self, answer: Arrays, schema: Schema, novelty: float, terms: Terms) -> dict[str, Any]:
        """One row of answers → what `coverage` and `abstain` add to the answer."""

    def doubt(self, answers: Arrays) -> Floats:
        """The chance that each answer is wrong, by the head's own calibrated word: f32 [N], 0 to 1."""

    def hesitation(self, answers: Arrays) -> Floats:
        """How near each answer was to being another one: f32 [N], 1 where two are as likely."""

    # Compared and gated
    def among(self, answers: Arrays, schema: Schema, shared: Sequence[str]) -> tuple[Arrays, Schema]:
        """Answers as they are when only `shared` classes may be chosen, and how these are read."""

    def merits(self, answers: Arrays, targets: Targets, schema: Schema) -> Floats:
        """How good each answer is, f32 [M], the higher the better: what versions are compared by, answer by answer."""

    def agree(self, one: Any, other: Any, schema: Schema) -> bool:
        """Whether two answers ("label") of two versions to one input come to the same; the schema is of the first."""

    def regret(self, wanted: Arrays, answered: Arrays, schema: Schema) -> Floats:
        """By how much each decision of `answered` is not the one of `wanted`, N answers each → f32 [N]; 0: it is."""

    def units(self, schema: Schema) -> Mapping[str, Floats]:
        """What counts as one in each array of answers, by its name, f32 of an example's shape: 1 for probabilities."""

    # What is answered over time
    def edges(self, answers: Arrays) -> list[list[float]]:
        """M answers to held-out examples → where bins of each output end, ascending; none for labels."""

    def bin_names(self, classes: Sequence[str]) -> list[str]:
        """The bins that answers are counted in."""

    def binned(self, label: Any, positions: Mapping[str, int], edges: Sequence[Sequence[float]]) -> Sequence[int]:
        """The bins of an answer ("label"), where `positions` are those of the classes: one for what it says each."""

    # Measured and reported
    def metrics(self, answers: Arrays, targets: Targets, schema: Schema) -> dict[str, Any]:
        """M answers against targets → plain numbers, ready for JSON."""

    def shares(self, answers: Arrays, targets: Targets, schema: Schema) -> Floats:
        """Merits as a share of what could be, f32 [M], 1 at best: what a learning curve shows."""

    def mistakes(self, answers: Arrays, targets: Targets, schema: Schema) -> Floats:
        """How surely or how far each answer is wrong, f32 [M]; 0 where it is right."""

    def chosen(self, answers: Arrays, targets: Targets) -> Chosen | None:
        """The class that each of M answers chose; None where answers are not one class each."""

    def suspects(self, answers: Arrays, targets: Targets, schema: Schema) -> Suspects:
        """Which labels M answers to unseen examples speak against."""

    def held_out(self, answers: Arrays, targets: Targets, schema: Schema) -> HeldOut:
        """M answers to held-out examples → what sets and thresholds to abstain by are made from."""


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
