"""PRECISION SEAM: one file per precision that a backbone can be had in beside fp32; the file name is the name."""

import functools
import importlib
import pkgutil
from typing import Any, Protocol, cast

from numpy.typing import NDArray

from adapters.errors import InvalidInput
from adapters.modalities.image import Pixels


class Precision(Protocol):
    """What every file of this folder offers."""

    LEAST_MEAN: float  # cosine with fp32 embeddings of held-out images, below which a variant is refused
    LEAST_WORST: float  # the same, of the worst of these images

    def convert(self, graph: bytes, pixels: Pixels) -> bytes:
        """An fp32 backbone → one of this precision, with the same inputs, `pooled` and `embedding`.

        `pixels`, uint8 [N, S, S, 3], are calibration images.
        """

    def convert_tail(self, tail: bytes, taps: NDArray[Any], begins: bool) -> bytes | None:
        """A trained tail, `tap` → `pooled`, in fp32 → one of this precision; None: such tails stay in fp32.

        `taps`, [N, *shape] as the trunk of a backbone in this precision tells them, are for calibration; `begins`: the
        tail is all of the network.
        """


@functools.cache
def names() -> tuple[str, ...]:
    """Every precision there is: the files of this folder."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def get(name: str) -> Precision:
    """The precision of that name. Raises InvalidInput that lists what there is."""
    if name not in names():
        raise InvalidInput(f"there is no precision {name[:50]!r} to convert to; there are: {', '.join(names())}")
    return cast(Precision, importlib.import_module(f"{__name__}.{name}"))
