"""OUTPUT SEAM: one file per task; the file name is the name. A task says what a head answers.

Each file has the label schema, the targets, the last step of the program, the decoding and the metrics of its kind.
numpy only: the predict path decodes with these files and never loads torch.

A label is kept as text, in one spelling per meaning (`parse_label`); `shown` gives it the shape that callers see.
"""

import functools
import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from adapters.errors import InvalidInput
from adapters.suspicion import Suspects
from adapters.trust import HeldOut, Terms
from adapters.types import Example, Floats, Indices, Objective, Schema, Step, Targets


class Task(Protocol):
    """What every file of this folder offers. N examples, M of them held out, K outputs."""

    OBJECTIVE: Objective  # what its fits make small
    OUTPUT: str  # what the exported graph calls the answers
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
        """What the head's outputs are about, in their order."""

    def targets(self, labels: Sequence[str], classes: Sequence[str]) -> Targets:
        """Labels → what a method fits: class numbers i64 [N], or f32 [N, K]."""

    def strata(self, targets: Targets) -> Indices:
        """Targets → numbers of groups that every part of a split should have its share of, i64 [N]."""

    def kinds(self, targets: Targets) -> Indices:
        """Targets → numbers of groups of like examples, i64 [N]: novelty is the distance to the nearest of them."""

    # Answers
    def output_steps(self) -> tuple[Step, ...]:
        """The steps after calibrated logits or values."""

    def decide(self, outputs: Floats, targets: Targets, classes: Sequence[str]) -> dict[str, Any]:
        """Answers f32 [M, K] to unseen examples and what they are → how to read answers; see `Schema.decision`."""

    def decode(self, output: Floats, schema: Schema, top_k: int) -> dict[str, Any]:
        """One row of the head's output, f32 [K] → the answer in the response: {"label", "score", "top"}."""

    def doubt(self, outputs: Floats) -> Floats:
        """The chance that each answer is wrong, by the head's own calibrated word: f32 [N, K] → f32 [N], 0 to 1."""

    def hesitation(self, outputs: Floats) -> Floats:
        """How near each answer was to being another one: f32 [N, K] → f32 [N], 1 where two are as likely."""

    def agree(self, one: Any, other: Any, schema: Schema) -> bool:
        """Whether two answers ("label") of two versions to one input come to the same; the schema is of the first."""

    # What is answered over time
    def edges(self, outputs: Floats) -> list[list[float]]:
        """Answers f32 [M, K] to held-out examples → where bins of each output end, ascending; none for labels."""

    def bin_names(self, classes: Sequence[str]) -> list[str]:
        """The bins that answers are counted in."""

    def binned(self, label: Any, positions: Mapping[str, int], edges: Sequence[Sequence[float]]) -> Sequence[int]:
        """The bins of an answer ("label"), where `positions` are those of the classes: one for what it says each."""

    # Evidence
    def metrics(self, outputs: Floats, targets: Targets, schema: Schema) -> dict[str, Any]:
        """Answers f32 [M, K] against targets → plain numbers, ready for JSON."""

    def merits(self, outputs: Floats, targets: Targets, schema: Schema) -> Floats:
        """How good each answer is, f32 [M], the higher the better: what versions are compared by, answer by answer."""

    def shares(self, outputs: Floats, targets: Targets, schema: Schema) -> Floats:
        """The same as a share of what could be, f32 [M], 1 at best: what a learning curve shows."""

    def mistakes(self, outputs: Floats, targets: Targets, schema: Schema) -> Floats:
        """How surely or how far each answer is wrong, f32 [M]; 0 where it is right."""

    def suspects(self, outputs: Floats, targets: Targets, schema: Schema) -> Suspects:
        """Which labels M answers to unseen examples speak against."""

    def regret(self, wanted: Floats, answered: Floats, schema: Schema) -> Floats:
        """By how much each decision of `answered` is not the one of `wanted`, f32 [N, K] each → f32 [N]; 0: it is."""

    def units(self, schema: Schema) -> Floats:
        """What counts as one in each output, f32 [K]: 1 for probabilities."""

    def held_out(self, outputs: Floats, targets: Targets, schema: Schema) -> HeldOut:
        """Answers f32 [M, K] to held-out examples → what sets and thresholds to abstain by are made from."""

    def promised(self, output: Floats, schema: Schema, novelty: float, terms: Terms) -> dict[str, Any]:
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
