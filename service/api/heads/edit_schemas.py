"""The wire contract of a head's life: its examples, changes of its data, and the comparison of versions."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict
from pydantic.types import JsonValue

from adapters.errors import InvalidInput
from adapters.tasks import Task
from adapters.types import Assignment, Edit, Example
from service.intake.labels import MOST, AnyLabel, Sha256
from service.limits.slices import FIRST_ERROR, in_slices
from service.wire import Wire

Label = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Labels = Annotated[list[Label], FIRST_ERROR, Field(min_length=1, max_length=MOST)]


class ExampleView(Wire):
    """One labeled input that a head holds."""

    sha256: str
    file_name: str
    label: Any = Field(description="In the shape of its task: a class, a list of labels, a number or numbers by name.")
    split: Literal["train", "val", "test"] | None = Field(
        description="Where the newest version put it; null: left out, as a copy of a held-out example."
    )
    group: str | None

    @classmethod
    def of(cls, task: Task, example: Example, assignment: Assignment) -> "ExampleView":
        return cls(
            sha256=example.sha256, file_name=example.file_name, label=task.shown(example.label),
            split=assignment.split, group=example.group,
        )  # fmt: skip


class ExamplePage(Wire):
    """Examples by SHA-256."""

    examples: list[ExampleView]
    next: str | None = Field(description="Pass as `after` for the next page; null at the end.")


class LabelRequest(Wire):
    """The right label of one example."""

    label: AnyLabel


class RelabelRequest(Wire):
    """The right labels of several examples."""

    labels: Annotated[dict[Sha256, AnyLabel], in_slices(MOST)] = Field(
        min_length=1, max_length=MOST, description="SHA-256 → label.", json_schema_extra={"additionalProperties": False}
    )


class DeleteExamplesRequest(Wire):
    """Examples to unlearn."""

    sha256: Annotated[list[Sha256], FIRST_ERROR] = Field(min_length=1, max_length=MOST)


def _only(name: str, count: str) -> JsonDict:
    return {"required": [name], "properties": {name: {count: 1}}}


CHANGES: list[JsonValue] = [
    _only("rename", "minProperties"),
    _only("merge", "minProperties"),
    _only("drop", "minItems"),
]


class LabelsRequest(Wire):
    """A change of classes: exactly one of these."""

    model_config = ConfigDict(json_schema_extra={"oneOf": CHANGES})
    rename: Annotated[dict[Label, Label], in_slices(MOST)] = Field(
        default_factory=dict, max_length=MOST, description="Class → its new name."
    )
    merge: Annotated[dict[Label, Labels], in_slices(MOST)] = Field(
        default_factory=dict, max_length=MOST, description="Class → the classes that become it."
    )
    drop: Annotated[list[Label], FIRST_ERROR] = Field(
        default_factory=list, max_length=MOST, description="Classes that go with their examples."
    )

    def edit(self) -> Edit:
        """The one change. Raises InvalidInput for none or several: each is a job with a version of its own."""
        if sum(map(bool, (self.rename, self.merge, self.drop))) != 1:
            example = '{"rename": {"old": "new"}}, {"merge": {"into": ["from"]}} or {"drop": ["label"]}'
            raise InvalidInput(f"send exactly one of rename, merge and drop: {example}", item="labels")
        return Edit(rename=self.rename, merge=self.merge, drop=self.drop)


class RebuildRequest(Wire):
    """Which backbone to train on, from the stored examples."""

    backbone: str
    deploy: Literal["auto", "manual"] = "auto"


class Answer(Wire):
    """What one version says of one example, among the classes that both know."""

    label: Any
    score: float | None


class Change(Wire):
    """An example that the two versions answer differently."""

    sha256: str
    file_name: str
    label: Any = Field(description="What it is.")
    a: Answer
    b: Answer


class Comparison(Wire):
    """Two versions on the same held-out examples, which neither learned from."""

    head: str
    a: int
    b: int
    examples: int = Field(description="Held-out examples that neither had learned from when it answered.")
    skipped: int = Field(description="Further ones that could not be asked about: no embedding of that backbone.")
    classes: list[str] = Field(description="Those that both know; only their examples count.")
    forgetting: dict[str, Any] | None = Field(
        description="Where b has learned further classes: merit on the earlier ones before and after, each version "
        "choosing among all that it knows; null else."
    )
    merit: str = Field(description="What answers are compared by: accuracy, label_accuracy, neg_mean_absolute_error.")
    merit_a: float | None
    merit_b: float | None
    difference: float | None = Field(description="Merit of b less that of a; null without examples.")
    difference_interval: tuple[float, float] | None = Field(
        description="95 %, paired: Bonett & Price (2012) for accuracies, else the mean's."
    )
    p_value: float = Field(description="Exact sign test, two-sided; for right and wrong it is McNemar's.")
    a_better: int = Field(description="Examples that a answers better.")
    b_better: int
    changed_count: int
    changed: list[Change] = Field(description="Examples with another answer, at most `limit`; regressions first.")
