"""Which cuts can be offered: those whose tail is made of operators that training knows."""

from collections.abc import Sequence

import onnx

from adapters.errors import InvalidInput
from adapters.training.backbone.cuts import halves
from adapters.training.backbone.cuts.floating import DEQUANTIZE, floated
from adapters.training.deep.interpreter import operators
from adapters.types import Cut


def sorted_out(graph: bytes, cuts: Sequence[Cut]) -> tuple[list[Cut], list[str]]:
    """Those of the cuts whose tails can be trained, and the operators that the others have and training does not know.

    Of the tail as it is trained, in which constants are worked out and nodes put together. The first of the cuts has
    all nodes that the others have: where it is known, so are they.
    """
    if not cuts or not unknown(graph, cuts[0]):
        return list(cuts), []
    found = {cut: unknown(graph, cut) for cut in cuts}
    kinds = {kind for several in found.values() for kind in several}
    return [cut for cut in cuts if not found[cut]], sorted(kinds)


def unknown(graph: bytes, cut: Cut) -> list[str]:
    """Operators of the tail behind a cut that cannot be trained, by name."""
    try:
        tail = floated(halves.tail(graph, cut))
    except InvalidInput:  # it rounds in a way that cannot be taken out
        return [DEQUANTIZE]
    return operators.unknown(node.op_type for node in onnx.load_from_string(tail).graph.node)
