"""Parts of an embedding that a head may read: its first part, `pooled`, or all of it, `taps`."""

from adapters.errors import InvalidInput
from adapters.types import Backbone

AUTO, POOLED, TAPS = "auto", "pooled", "taps"
CHOICES = (AUTO, POOLED, TAPS)  # what may be asked for; auto: the race decides


def lengths(asked: str, backbone: Backbone) -> dict[str, int]:
    """The parts that a race shall compare, by how many numbers they have; what won most often first.

    Raises InvalidInput for a part that there is not, and for taps of a backbone that has none.
    """
    if asked not in CHOICES:
        raise InvalidInput(f"'reads' must be one of {', '.join(CHOICES)}, not {asked[:50]!r}", item="reads")
    if asked == TAPS and not backbone.taps:
        hint = f"`espalier backbones upgrade {backbone.name}` adds one that has"
        raise InvalidInput(f"the backbone {backbone.name!r} has no taps to read; {hint}", item="reads")
    found = {TAPS: backbone.length} if backbone.taps else {}
    found |= {POOLED: backbone.dimension}
    return found if asked == AUTO else {asked: found[asked]}


def named(length: int, backbone: Backbone) -> str:
    """The part with so many numbers."""
    return POOLED if length == backbone.dimension else TAPS
