"""In which bins an answer counts: by its version's own reference."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters import tasks
from adapters.drift.windows import Window
from adapters.runtime.heads.loaded import LiveHead

Binned = Callable[[Any, Mapping[str, int], Sequence[Sequence[float]]], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Bins:
    """Those of one version."""

    binned: Binned | None  # None: it was made before there were references, and is counted by novelty alone
    positions: dict[str, int]
    edges: Sequence[Sequence[float]]

    @classmethod
    def of(cls, head: LiveHead) -> "Bins":
        reference = head.version.manifest.get("trust", {}).get("reference")
        if reference is None:
            return cls(None, {}, ())
        positions = {name: position for position, name in enumerate(head.classes)}
        return cls(tasks.get(head.task).binned, positions, reference["edges"])

    def count(self, window: Window, answer: Mapping[str, Any]) -> None:
        """One answer."""
        at = () if self.binned is None else self.binned(answer["label"], self.positions, self.edges)
        window.add(at, answer["novelty"])
