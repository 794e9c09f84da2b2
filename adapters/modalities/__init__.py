"""INPUT SEAM: one file or folder per modality; its name is the modality's. It turns bytes into a backbone's tensors.

Shared code asks for a modality by the name that a backbone has (`of`), and never says "image" where it means any input.
What only training needs, and may import torch for, lies in a sibling: `<m>/alike.py` (see `training_side`), and
`<m>/calibration.py` where a backbone can be had in other precisions.
"""

import functools
import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, Protocol, TypeAlias, cast

from numpy.typing import NDArray

from adapters.errors import InvalidInput
from adapters.modalities import _defaults
from adapters.types import Backbone, Embeddings, Indices, Input, Preview, Probed, Tensors

AUTO, NONE = "auto", "none"  # choices that need no modality: the race decides; no further views
Bytes: TypeAlias = bytes | memoryview


class Modality(Protocol):
    """What every file of this folder offers; what `_defaults` names it may leave out."""

    NOUN: str  # what messages call one input: "image"; the plural adds an s
    FIELD: str  # the friendlier name of the field `inputs`: "images"
    UNIT: str  # what the cost of an input counts: "pixels"
    MOST: int  # of those one input may have, unless the operator says otherwise
    MEDIA_TYPES: tuple[str, ...]  # patterns of the Content-Type of one as a raw body: "image/*"
    SUFFIXES: frozenset[str]  # of files, lower case, with the dot
    FORMATS: tuple[str, ...]  # as people call them
    Spec: type[Any]  # frozen dataclass: how bytes become tensors; ready for JSON, and lists come back as tuples

    def sniff(self, data: Bytes) -> bool:
        """Whether bytes look like one; microseconds."""

    def media_type(self, data: bytes) -> str:
        """The media type of stored bytes; what is not known is `application/octet-stream`."""

    def probe(self, data: Bytes, *, most: int) -> Probed:
        """A cheap check, before anything is stored. Raises a kind of InvalidInput."""

    def verify(self, data: Bytes, *, most: int) -> dict[str, Any]:
        """A full check that keeps nothing: what passes, `decode` reads. Its facts; raises a kind of InvalidInput."""

    def inputs(self, spec: Any) -> tuple[Input, ...]:
        """The input tensors of a graph."""

    def decode(self, data: Bytes, spec: Any, *, most: int) -> Tensors:
        """Bytes of one input → its tensors, without a batch dimension. Raises a kind of InvalidInput."""

    def collate(self, items: Sequence[Tensors], spec: Any, *, pad: bool = False) -> Tensors:
        """Tensors of N inputs → one batch, N first; of one alone without a copy.

        Those of different lengths are padded to the same and masked; with `pad` to one of a few lengths.
        """

    def load(self, size: int) -> float:
        """How many ordinary inputs one of so many bytes is worth in a pass: what admission and estimates sum."""

    def trial(self, spec: Any, count: int, seed: int = 0) -> list[Tensors]:
        """Made-up inputs, the shortest and the longest among a few: to warm up by, and to prove graphs equal."""

    def fingerprint(self, tensors: Tensors, data: Bytes) -> NDArray[Any]:
        """uint8 [F], kept beside an embedding: what near-duplicates are told by."""

    def preview(self, data: Bytes, side: int, *, most: int) -> Preview:
        """What reports show of it, in about side × side pixels. Raises a kind of InvalidInput."""


class Augmented(Modality, Protocol):
    """A modality with further views of an input than the one that is served."""

    VIEWS: Mapping[str, tuple[str, ...]]  # what a head may be trained on beside it: choice → names of views

    def decode_views(self, data: Bytes, spec: Any, names: Sequence[str], *, most: int) -> list[Tensors]:
        """The views of those names from one decode; any other name is the view that is served."""


# Groups that near-duplicates have been joined to so far, i64 [N] → pairs to join besides, i64 [P] each.
Round: TypeAlias = Callable[[Indices], tuple[Indices, Indices]]


class TrainingSide(Protocol):
    """What training asks of a modality besides."""

    def alike(
        self, embeddings: Embeddings, fingerprints: NDArray[Any], cancelled: Callable[[], None]
    ) -> Sequence[Round]:
        """Embeddings f32 [N, D] and fingerprints u8 [N, F] of N ≥ 2 inputs → rounds that join near-duplicates.

        `cancelled` is called often and raises when the job was cancelled.
        """


def names() -> tuple[str, ...]:
    """Every modality there is: the files and folders of this one."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name[0] != "_"))


@functools.cache  # asked for with every input; only found ones are kept
def get(name: str) -> Modality:
    """The modality of that name. Raises InvalidInput that lists what there is."""
    if name not in names():
        raise InvalidInput(f"there is no modality {name[:50]!r}; there are: {', '.join(names())}", item="modality")
    module = importlib.import_module(f"{__name__}.{name}")
    _defaults.complete(module)
    return cast(Modality, module)


def of(backbone: Backbone) -> Modality:
    """The modality of what a backbone reads."""
    return get(backbone.modality)


def training_side(name: str) -> TrainingSide:
    """What training asks of it: `<m>/alike.py`, or the file itself. The predict path never calls this."""
    found = _sibling(name, "alike")
    return cast(TrainingSide, get(name) if found is None else found)


def calibration(name: str) -> Any:
    """`<m>/calibration.py`: inputs that other precisions of a backbone are calibrated on.

    Raises InvalidInput where there is none: such backbones are served in the precision that they come in.
    """
    found = _sibling(name, "calibration")
    if found is None:
        raise InvalidInput(f"a backbone of {get(name).NOUN}s has no other precisions, and no taps to add")
    return found


def _sibling(name: str, file: str) -> ModuleType | None:
    module = get(name)
    path = f"{module.__name__}.{file}"  # type: ignore[attr-defined]
    return importlib.import_module(path) if hasattr(module, "__path__") and importlib.util.find_spec(path) else None


def most_of(name: str, most: Mapping[str, int]) -> int:
    """The most UNITs that one input of a modality may have, where `most` are limits by modality."""
    return most.get(name, get(name).MOST)


def views(modality: Any) -> Mapping[str, tuple[str, ...]]:
    """The choices of further views that a modality offers, the one worth trying unasked first."""
    found: Mapping[str, tuple[str, ...]] = getattr(modality, "VIEWS", {})
    return found


def choices(modality: Any) -> tuple[str, ...]:
    """What may be asked for of a modality's further views."""
    return AUTO, NONE, *views(modality)
