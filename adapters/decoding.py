"""What heads said of inputs, in the words of their tasks: by input, then by head."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adapters import tasks
from adapters.errors import EspalierError
from adapters.monitoring.monitor import Monitor
from adapters.runtime.heads.head import NOVELTY, HeadAnswers
from adapters.runtime.heads.loaded import LiveHead
from adapters.trust import Terms
from adapters.types import Schema

NOTHING = Terms()
AROUND = 10  # numbers that the rest of one answer is worth: its dictionaries, digest and name


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one head says of one input."""

    index: int
    head: LiveHead
    answer: dict[str, Any]  # the task's: {"label", "score", "top"}; and novelty


@dataclass(slots=True)
class Decoder:
    """The heads of a request with what is asked of each and what it said; not those that failed."""

    asked: list[tuple[LiveHead, Terms, HeadAnswers]]
    top_k: int
    monitor: Monitor | None  # who counts what is answered

    @classmethod
    def of(
        cls, heads: Sequence[LiveHead], terms: Sequence[Terms], outputs: Sequence[HeadAnswers | EspalierError],
        top_k: int, monitor: Monitor | None = None,
    ) -> "Decoder":  # fmt: skip
        """Of all heads, side by side."""
        each = zip(heads, terms, outputs, strict=True)
        asked = [(head, wanted, said) for head, wanted, said in each if isinstance(said, HeadAnswers)]
        return cls(asked, top_k, monitor)

    @property
    def numbers(self) -> int:
        """How many all heads say of one input, about: what making an answer of them costs goes by it."""
        return sum([AROUND + head.numbers for head, _, _ in self.asked])

    def __call__(self, rows: Sequence[tuple[int, int]]) -> list[Prediction]:
        """Of some inputs: (row, index in the request). In any thread."""
        found = [
            Prediction(index, head, _said(head, terms, answers, row, self.top_k))
            for row, index in rows
            for head, terms, answers in self.asked
        ]
        if self.monitor is not None:
            self.monitor.count(found)
        return found


def _said(head: LiveHead, terms: Terms, answers: HeadAnswers, row: int, top_k: int) -> dict[str, Any]:
    task, answer = tasks.get(head.task), answers.row(row)
    schema = Schema(head.classes, head.version.manifest.get("decision", {}))
    novelty = float(answer[NOVELTY]) if NOVELTY in answer else None
    said = task.decode(answer, schema, top_k) | {"novelty": novelty}
    if terms == NOTHING:
        return said
    return said | task.promised(answer, schema, novelty or 0.0, terms)
