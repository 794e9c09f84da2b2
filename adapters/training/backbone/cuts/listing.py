"""Where a backbone can be cut: at the ends of its blocks, and before everything."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from math import prod
from typing import Any

import numpy as np
import onnx

from adapters.backbones.cuts import RECORD, UNKNOWN, check
from adapters.training.backbone import blocks, observing
from adapters.training.backbone.blocks import INPUT, End
from adapters.training.backbone.cuts import halves, trainable, work
from adapters.training.backbone.cuts.names import block, completed
from adapters.training.backbone.cuts.work import Rest
from adapters.training.backbone.observing import MadeUp, Seen
from adapters.types import Backbone, Cut

ALL = "all"
# What a tap may be. Of half precision a CPU rounds what is told, and nothing of what it hands on inside of a graph.
DTYPES = ("float32", "uint8")
MOST = 32  # backbones whose cuts are remembered
_known: dict[str, tuple[Cut, ...]] = {}
_lock = threading.Lock()


def of(backbone: Backbone, graph: bytes) -> list[Cut]:
    """The cuts of a backbone: those on record, else worked out of its graph, once by its digest."""
    if RECORD in backbone.details:
        return [Cut(**row | {"shape": tuple(row["shape"])}) for row in backbone.details[RECORD]]
    with _lock:
        if backbone.digest not in _known:
            while len(_known) >= MOST:
                del _known[next(iter(_known))]
            _known[backbone.digest] = tuple(find(graph, observing.of(backbone)))
        return list(_known[backbone.digest])


def facts(cuts: Sequence[Cut]) -> dict[str, Any]:
    """What the details of a backbone keep of them, ready for JSON."""
    return {RECORD: [asdict(cut) | {"shape": list(cut.shape)} for cut in cuts]}


def record(graph: bytes, made_up: MadeUp) -> dict[str, Any]:
    """What the details of a backbone keep of its graph: its cuts, and what keeps it from having more; for JSON."""
    cuts, unknown = listed(graph, made_up)
    return facts(cuts) | ({UNKNOWN: unknown} if unknown else {})


def named(cuts: Sequence[Cut], name: str) -> Cut:
    """The cut of that name. Raises InvalidInput that lists what there is."""
    check([cut.name for cut in cuts], name)
    return next(cut for cut in cuts if cut.name == name)


def find(graph: bytes, made_up: MadeUp) -> list[Cut]:
    """Every cut of a graph that takes such inputs: `all`, then the ends of blocks, shallow ones first.

    Behind each is at least one layer that multiplies, and nothing that cannot be trained: `all` may be missing. So it
    is of sequences: what comes before their first block are tables, of whose rows few examples meet most.
    """
    return listed(graph, made_up)[0]


def listed(graph: bytes, made_up: MadeUp) -> tuple[list[Cut], list[str]]:
    """The same, and operators that cannot be trained, for which cuts are missing. Takes one pass through the graph."""
    model = onnx.load_from_string(graph)
    if not _is_known(model.graph, made_up):
        return [], []
    passed = blocks.passed(model.graph)
    seen = observing.observe(graph, [*passed, *work.interesting(model.graph)], made_up)
    rest = work.after(model.graph, seen)
    ends = _ends(model.graph, passed, seen, rest, made_up)
    return trainable.sorted_out(graph, [*_everything(model.graph, rest, made_up), *ends])


def _is_known(graph: Any, made_up: MadeUp) -> bool:
    """Whether it reads pixels, or a sequence whose mask has a number for each of its pieces."""
    mask = blocks.mask(graph)
    if mask is None or len(graph.input) > 2:
        return mask is None and blocks.source(graph) == INPUT
    given = made_up(graph, 1)
    return given[mask].shape == given[blocks.source(graph)].shape[:2] and given[mask].dtype == np.int64


def _everything(graph: Any, rest: dict[str, Rest], made_up: MadeUp) -> list[Cut]:
    if blocks.mask(graph) is not None:
        return []
    shape = made_up(graph, 1)[INPUT].shape[1:]
    return [Cut(ALL, INPUT, "input", "uint8", shape, None, 1.0, rest[INPUT].bytes)]


def _ends(
    graph: Any, passed: list[str], seen: dict[str, Seen], rest: dict[str, Rest], made_up: MadeUp
) -> Iterator[Cut]:
    total = rest[blocks.source(graph)].multiply_adds
    for name, tensor in _named(graph, passed, seen, rest):
        shape, left = seen[tensor].shape[1:], rest[tensor]
        kind, stride = _kind(graph, blocks.end(tensor, shape), made_up)
        dtype, shape = seen[tensor].dtype, halves.shape(kind, shape)
        if left.multiply_adds not in (0, total) and dtype in DTYPES and _comes_apart(graph, tensor, kind):
            yield Cut(name, tensor, kind, dtype, shape, stride, left.multiply_adds / total, left.bytes)


def _comes_apart(graph: Any, tensor: str, kind: str) -> bool:
    """Whether the halves have the last bit of the whole, and the tail reads nothing else.

    ONNX Runtime makes one step of a convolution and the sum with an earlier map. Where that map is what the graph
    begins with it adds in another order. So inside of a stage of a residual network is no cut.
    """
    summed = kind == "map" and blocks.is_added(graph, tensor)
    return not summed and halves.is_closed(graph, tensor)


def _kind(graph: Any, end: End | None, made_up: MadeUp) -> tuple[Any, int | None]:
    if blocks.mask(graph) is not None:
        return "sequence", None
    if end is None or end.layout == "tokens":
        return "tokens", None
    return "map", made_up(graph, 1)[INPUT].shape[1] // end.size[0]


def _named(graph: Any, passed: list[str], seen: dict[str, Seen], rest: dict[str, Rest]) -> Iterator[tuple[str, str]]:
    """Names of blocks, and the tensors to cut at. Of several blocks that are called alike, the last one."""
    told = {name: seen[name].shape[1:] for name in passed}
    known = [end for name in passed if (end := blocks.end(name, told[name]))]
    marked = blocks.marked(graph, passed, told)
    groups = groupby(blocks.chosen(known, marked), lambda end: end.tensor if end.tensor in marked else end.size)
    found = {}
    for tensor in [list(group)[-1].tensor for _, group in groups]:
        alike = [name for name in passed if rest[name] == rest[tensor] and blocks.layout(told[name])]
        cut = _smallest(alike, seen)
        found[block(graph, tensor if tensor in marked else cut)] = (cut, alike[-1])
    for name, (cut, last) in found.items():
        yield completed(graph, name, last), cut


def _smallest(tensors: list[str], seen: dict[str, Seen]) -> str:
    """What takes the fewest bytes an input: in 8 bits where there is such a one, and behind a pooling.

    Of equals the last one.
    """
    return min(reversed(tensors), key=lambda name: _bytes(seen[name]))


def _bytes(seen: Seen) -> int:
    return prod(seen.shape) * np.dtype(seen.dtype).itemsize
