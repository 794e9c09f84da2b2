"""What answers are counted by: bins of labels and of novelty."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

NOVELTY_BINS = 20  # of equal width


def novelty_bin(novelty: float) -> int:
    """Of a novelty from 0 to 1: 0 … NOVELTY_BINS − 1."""
    return min(int(novelty * NOVELTY_BINS), NOVELTY_BINS - 1)


def histogram(bins: Sequence[int], size: int) -> list[int]:
    """Bins that answers fell into → counts [size]."""
    counts = [0] * size
    for one in bins:
        counts[one] += 1
    return counts


@dataclass(slots=True)
class Window:
    """Counts of one version's answers in one hour; only bins that something fell into."""

    answers: int = 0
    labels: dict[int, int] = field(default_factory=dict)
    novelty: dict[int, int] = field(default_factory=dict)

    def add(self, label_bins: Sequence[int], novelty: float | None) -> None:
        """One answer."""
        self.answers += 1
        labels = self.labels
        for one in label_bins:
            labels[one] = labels.get(one, 0) + 1
        if novelty is not None:
            at = novelty_bin(novelty)
            self.novelty[at] = self.novelty.get(at, 0) + 1

    def plus(self, other: "Window") -> "Window":
        """Both."""
        return Window(self.answers + other.answers, _sum(self.labels, other.labels), _sum(self.novelty, other.novelty))

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON, whose keys are texts."""
        return {
            "answers": self.answers,
            "labels": {str(key): value for key, value in self.labels.items()},
            "novelty": {str(key): value for key, value in self.novelty.items()},
        }

    @classmethod
    def of_json(cls, stored: Mapping[str, Any]) -> "Window":
        """The inverse."""
        read = ({int(key): int(value) for key, value in stored[name].items()} for name in ("labels", "novelty"))
        return cls(stored["answers"], *read)


def dense(counts: Mapping[int, int], size: int) -> list[int]:
    """Counts [size]; what is beyond is of another reference, and left out."""
    return [counts.get(one, 0) for one in range(size)]


def _sum(one: Mapping[int, int], other: Mapping[int, int]) -> dict[int, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in one.keys() | other.keys()}
