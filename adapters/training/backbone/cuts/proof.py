"""Trunk and tail are the backbone, bit for bit, under the options that serve: at several batch sizes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from adapters.errors import ParityError
from adapters.runtime.onnx import session
from adapters.training.backbone import observing
from adapters.training.backbone.blocks import POOLED
from adapters.training.backbone.cuts import halves
from adapters.training.backbone.cuts.halves import TAP
from adapters.training.backbone.observing import MadeUp
from adapters.types import Backbone, Cut, Tensors

BATCHES = (1, 2, 5)
_proven: set[tuple[str, str]] = set()  # digest of the backbone, name of the cut


def prove_once(backbone: Backbone, graph: bytes, cut: Cut) -> None:
    """The same, once in the life of a process: neither a backbone nor a cut of it changes. Raises ParityError."""
    if (backbone.digest, cut.name) not in _proven:
        prove(graph, cut, observing.of(backbone))
        _proven.add((backbone.digest, cut.name))


def prove(graph: bytes, cut: Cut, made_up: MadeUp) -> None:
    """Raises ParityError where the halves, or the whole with a tap, answer with one other bit than the backbone.

    Of the halves: than the backbone that tells `pooled` alone, as a tail does. Of some networks, not of the embedded
    one, telling `features` as well changes the order of the last mean's sums.
    """
    model = onnx.load_from_string(graph).graph
    outputs, given = [output.name for output in model.output], [made_up(model, count) for count in BATCHES]
    taps = [tap for (tap,) in _answers(halves.trunk(graph, cut), given, [TAP])]
    told = _answers(halves.tail(graph, cut), [{TAP: tap} for tap in taps], [POOLED])
    _same(cut, "trunk and tail", _answers(halves.alone(graph), given, [POOLED]), told)
    wanted = [[*each, tap] for each, tap in zip(_answers(graph, given, outputs), taps, strict=True)]
    told = _answers(halves.whole(graph, cut), given, [*outputs, TAP])
    _same(cut, "the graph with a tap", wanted, told)


def _answers(graph: bytes, batches: Sequence[Tensors], outputs: Sequence[str]) -> list[list[Any]]:
    """Of each batch, the outputs. One graph is open at a time: of some networks they are large."""
    opened = session.create(graph)
    return [opened.run(outputs, dict(batch)) for batch in batches]


def _same(cut: Cut, what: str, wanted: Sequence[Sequence[Any]], told: Sequence[Sequence[Any]]) -> None:
    pairs = [pair for batches in zip(wanted, told, strict=True) for pair in zip(*batches, strict=True)]
    if not all(np.array_equal(one, other) for one, other in pairs):
        raise ParityError(f"cut at {cut.name!r}, {what} answer otherwise than the backbone", item=cut.name)
