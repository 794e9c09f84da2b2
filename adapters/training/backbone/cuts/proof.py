"""Trunk and tail are the backbone, bit for bit, under the options that serve: at several batch sizes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from adapters.errors import ParityError
from adapters.runtime.onnx import session
from adapters.training.backbone import observing
from adapters.training.backbone.blocks import INPUT, POOLED
from adapters.training.backbone.cuts import halves
from adapters.training.backbone.cuts.halves import TAP
from adapters.types import Cut

BATCHES = (1, 2, 5)


def prove(graph: bytes, cut: Cut, side: int) -> None:
    """Raises ParityError where the halves, or the whole with a tap, answer with one other bit than the backbone.

    Of the halves: than the backbone that tells `pooled` alone, as a tail does. Of some networks, not of the embedded
    one, telling `features` as well changes the order of the last mean's sums.
    """
    made = (graph, _alone(graph, side), halves.trunk(graph, cut), halves.tail(graph, cut), halves.whole(graph, cut))
    backbone, alone, trunk, tail, both = (session.create(each) for each in made)
    outputs = [output.name for output in backbone.get_outputs()]
    for count in BATCHES:
        pixels = observing.noise(count, side)
        (tap,) = trunk.run([TAP], {INPUT: pixels})
        _same(cut, "trunk and tail", alone.run([POOLED], {TAP: pixels}), tail.run([POOLED], {TAP: tap}))
        told = both.run([*outputs, TAP], {INPUT: pixels})
        _same(cut, "the graph with a tap", [*backbone.run(outputs, {INPUT: pixels}), tap], told)


def _alone(graph: bytes, side: int) -> bytes:
    """All of the nodes that make `pooled`, which are a tail, too."""
    return halves.tail(graph, Cut("all", INPUT, "input", "uint8", (side, side, 3), None, 1.0, 0))


def _same(cut: Cut, what: str, wanted: Sequence[Any], answered: Sequence[Any]) -> None:
    if not all(np.array_equal(one, other) for one, other in zip(wanted, answered, strict=True)):
        raise ParityError(f"cut at {cut.name!r}, {what} answer otherwise than the backbone", item=cut.name)
