"""The precision that a deep version's tail is served in: its backbone's, where answers measure the same.

A tail is trained in float32. That a backbone is in int8 says that its users' machines compute faster in 8 bits: so does
a tail, and in a quarter of the memory. The graph in float32 is what is proved; the one in 8 bits is then held against
it on other examples than its ranges are from. Its numbers cannot be the same to 1e-4; figures are in
docs/adr/0029-deep-versions.md.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters import arrays
from adapters.errors import ParityError
from adapters.runtime.heads.head import NOVELTY, Head
from adapters.runtime.heads.pairs import Pairs
from adapters.spans import traced
from adapters.tasks import Task
from adapters.training.backbone import precisions
from adapters.training.publish import verify
from adapters.types import Arrays, Cut, Rows, Schema

log = logging.getLogger("espalier.training")
PLAIN = "fp32"
CALIBRATED_ON, COMPARED_ON = 40, 120  # examples
LEAST = 40  # below which ranges would be those of a few
# Mean of the largest difference of an example, in units of its answers (a probability, the spread of a value); share of
# decisions that are others.
MOST_MOVED, MOST_CHANGED = 0.005, 0.005
TIE = 0.02  # of a probability: which of two answers so close is given says nothing
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tail:
    """A trained tail, and what is needed to serve it in another precision."""

    data: bytes  # f32: tap → pooled
    plain: bytes  # the graph with it, with the head: what was proved
    cut: Cut
    task: Task
    schema: Schema
    graph_of: Callable[[bytes], bytes]  # a tail → the graph that is served, with the head


@traced("precision")
def chosen(
    tail: Tail, precision: str, taps: Callable[[Sequence[int]], Rows], count: int, plain: str | None = None
) -> tuple[bytes, Json]:
    """The graph to serve, and {"precision", "why"} with what was measured, ready for JSON.

    `precision` is the backbone's; `taps` gives those of some of `count` examples, or `Pairs`; `plain` says why it is
    not to be rounded, if so.
    """
    few = f"{count} examples are too few to round by" if count < LEAST else None
    if why := plain or few:
        return _kept(tail, why)
    some = np.random.default_rng(0).permutation(count)
    apart = min(CALIBRATED_ON, count // 2)
    calibrated, compared = taps(some[:apart].tolist()), taps(some[apart : apart + COMPARED_ON].tolist())
    graph = _converted(tail, precision, calibrated.taps if isinstance(calibrated, Pairs) else calibrated)
    if graph is None:
        return _kept(tail, f"this tail cannot be had in {precision}")
    return _compared(tail, precision, graph, compared)


def _kept(tail: Tail, why: str, **measured: Any) -> tuple[bytes, Json]:
    return tail.plain, {"precision": PLAIN, "why": why} | measured


def _converted(tail: Tail, precision: str, taps: NDArray[Any]) -> bytes | None:
    """None where it cannot be done."""
    try:
        small = precisions.get(precision).convert_tail(tail.data, taps, tail.cut.kind == "input")
        return None if small is None else tail.graph_of(small)
    except Exception as error:  # the quantiser's own kinds, of operators that it does not know
        log.warning("a tail behind %s stays in %s: %s", tail.cut.name, PLAIN, error)
        return None


def _compared(tail: Tail, precision: str, graph: bytes, taps: Rows) -> tuple[bytes, Json]:
    wanted, answered = (_said(each, taps) for each in (tail.plain, graph))
    units = {**tail.task.units(tail.schema), NOVELTY: 1.0}
    apart = [np.abs(answered[name] - wanted[name]) / unit for name, unit in units.items() if name in wanted]
    moved = max(float(each.reshape(len(taps), -1).max(axis=1).mean()) for each in apart)
    changed = float((tail.task.regret(wanted, answered, tail.schema) > TIE).mean())
    found = {"compared": len(taps), "moved": round(moved, 6), "changed": round(changed, 4)}
    limits = {"most_moved": MOST_MOVED, "most_changed": MOST_CHANGED}
    if not moved <= MOST_MOVED or changed > MOST_CHANGED:  # a number that is none is more than any
        return _kept(tail, f"in {precision} it answers otherwise", **found, **limits)
    try:
        verify.verify_rounded(graph, taps, tail.task, tail.schema)
    except ParityError as error:
        return _kept(tail, f"in {precision} {error.message}", **found, **limits)
    return graph, {"precision": precision, "why": "it answers the same as in float32"} | found | limits


def _said(graph: bytes, taps: Rows) -> Arrays:
    """One by one, as it is mostly asked."""
    head = Head.from_bytes(graph)
    return arrays.joined([head.answer(taps[i : i + 1]).arrays for i in range(len(taps))])
