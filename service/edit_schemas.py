"""The wire contract of a head's life: its examples, changes of its data, and the comparison of versions."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from adapters.errors import InvalidInput
from adapters.types import Assignment, Edit, Example
from service.schemas import Wire

SHA256 = r"^[0-9a-f]{64}$"
MOST = 100_000  # examples or classes that one request may name
Sha256 = Annotated[str, StringConstraints(pattern=SHA256)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class ExampleView(Wire):
    """One labeled image that a head holds."""

    sha256: str
    file_name: str
    label: str
    split: Literal["train", "val", "test"] | None = Field(
        description="Where the newest version put it; null: left out, as a copy of a held-out example."
    )
    group: str | None

    @classmethod
    def of(cls, example: Example, assignment: Assignment) -> "ExampleView":
        return cls(
            sha256=example.sha256, file_name=example.file_name, label=example.label, split=assignment.split,
            group=example.group,
        )  # fmt: skip


class ExamplePage(Wire):
    """Examples by SHA-256."""

    examples: list[ExampleView]
    next: str | None = Field(description="Pass as `after` for the next page; null at the end.")


class LabelRequest(Wire):
    """The right label of one example."""

    label: str


class RelabelRequest(Wire):
    """The right labels of several examples."""

    labels: dict[Sha256, str] = Field(min_length=1, max_length=MOST, description="SHA-256 → label.")


class DeleteExamplesRequest(Wire):
    """Examples to unlearn."""

    sha256: list[Sha256] = Field(min_length=1, max_length=MOST)


class LabelsRequest(Wire):
    """A change of classes: exactly one of these."""

    rename: dict[Label, Label] = Field(default_factory=dict, max_length=MOST, description="Class → its new name.")
    merge: dict[Label, Annotated[list[Label], Field(min_length=1, max_length=MOST)]] = Field(
        default_factory=dict, max_length=MOST, description="Class → the classes that become it."
    )
    drop: list[Label] = Field(default_factory=list, max_length=MOST, description="Classes that go with their examples.")

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

    label: str
    score: float


class Change(Wire):
    """An example that the two versions answer differently."""

    sha256: str
    file_name: str
    label: str = Field(description="What it is.")
    a: Answer
    b: Answer


class Comparison(Wire):
    """Two versions on the same held-out examples, which neither learned from."""

    head: str
    a: int
    b: int
    examples: int = Field(description="Held-out examples that both have an honest answer about.")
    skipped: int = Field(description="Further ones that could not be asked about: no embedding of that backbone.")
    classes: list[str] = Field(description="Those that both know; only their examples count.")
    accuracy_a: float | None
    accuracy_b: float | None
    difference: float | None = Field(description="Accuracy of b less that of a; null without examples.")
    difference_interval: tuple[float, float] | None = Field(description="95 %, paired (Bonett & Price, 2012).")
    p_value: float = Field(description="Exact McNemar test, two-sided.")
    only_a_right: int
    only_b_right: int
    changed_count: int
    changed: list[Change] = Field(description="Examples with another answer, at most `limit`; regressions first.")
