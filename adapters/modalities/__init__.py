"""INPUT SEAM: one file per modality; the file name is the name. A modality turns bytes into backbone input.

Each file has `probe(data)`, a cheap check before anything is stored, and `decode(data, preprocessing)`. One that can
look at an input in other ways, too, has `VIEWS` and `decode_views`; nobody misses them of one that cannot.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from adapters.types import Pixels, Preprocessing

AUTO, NONE = "auto", "none"  # choices that need no modality: the race decides; no further views


class Modality(Protocol):
    """What every file of this folder offers."""

    def probe(self, data: bytes | memoryview, *, max_pixels: int) -> dict[str, Any]:
        """Check the bytes without paying for a full decode; raises InvalidImage or ImageTooLarge."""

    def decode(self, data: bytes | memoryview, preprocessing: Preprocessing, *, max_pixels: int) -> Pixels:
        """Bytes → uint8 [size, size, 3]; raises InvalidImage or ImageTooLarge."""


class Augmented(Modality, Protocol):
    """A modality with further views of an input than the one that is served."""

    VIEWS: Mapping[str, tuple[str, ...]]  # what a head may be trained on beside it: choice → names of views

    def decode_views(
        self, data: bytes | memoryview, preprocessing: Preprocessing, names: Sequence[str], *, max_pixels: int
    ) -> list[Pixels]:
        """The views of those names from one decode; any other name is the view that is served."""


def views(modality: Any) -> Mapping[str, tuple[str, ...]]:
    """The choices of further views that a modality offers, the one worth trying unasked first."""
    found: Mapping[str, tuple[str, ...]] = getattr(modality, "VIEWS", {})
    return found


def choices(modality: Any) -> tuple[str, ...]:
    """What may be asked for of a modality's further views."""
    return AUTO, NONE, *views(modality)
