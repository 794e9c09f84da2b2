"""Parts of an embedding that a head may read: its first part, `pooled`, or all of it, `taps`."""

from adapters.errors import InvalidInput
from adapters.types import Backbone

AUTO, POOLED, TAPS = "auto", "pooled", "taps"
CHOICES = (AUTO, POOLED, TAPS)  # what may be asked for; auto: the race decides
# Numbers in all, 160 MB, of which a race keeps some ten copies: 11,500 examples of the embedded backbone. Of more
# examples, taps are read by those who ask for them.
MOST = 40_000_000


def lengths(asked: str, backbone: Backbone, examples: int = 0) -> dict[str, int]:
    """The parts that a race over so many examples shall compare, by how many numbers they have; the likeliest first.

    Raises InvalidInput for a part that there is not, and for taps of a backbone that has none.
    """
    if asked not in CHOICES:
        raise InvalidInput(f"'reads' must be one of {', '.join(CHOICES)}, not {asked[:50]!r}", item="reads")
    if asked == TAPS and not backbone.taps:
        hint = f"`espalier backbones upgrade {backbone.name}` adds one that has"
        raise InvalidInput(f"the backbone {backbone.name!r} has no taps to read; {hint}", item="reads")
    known = {TAPS: backbone.length, POOLED: backbone.dimension}
    if asked != AUTO:
        return {asked: known[asked]}
    return known if backbone.taps and examples * backbone.length <= MOST else {POOLED: backbone.dimension}


def excuse(asked: str, compared: dict[str, int], backbone: Backbone) -> str:
    """Why a race left taps out unasked; empty where it did not."""
    if asked != AUTO or not backbone.taps or TAPS in compared:
        return ""
    return f"; taps were not read, as of so many examples they would take too much memory: {TAPS} asks for them"


def named(length: int, backbone: Backbone) -> str:
    """The part with so many numbers."""
    return POOLED if length == backbone.dimension else TAPS
