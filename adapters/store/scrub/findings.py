"""A finding: what is wrong with what, and how it is put right."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be."""

    kind: str  # damaged | missing | orphan | inconsistent
    item: str  # "the graph of cats@3"
    detail: str  # what is wrong with it
    fix: str  # what a person does where `mend` cannot or did not
    mend: Callable[[], bool] | None = None  # puts it right without loss; False: it could not

    def __str__(self) -> str:
        return f"{self.kind}: {self.item}: {self.detail}"
