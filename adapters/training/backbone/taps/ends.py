"""Which ends of blocks are read for taps: the last of each run of blocks of one shape."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from adapters.training.backbone import blocks
from adapters.training.backbone.blocks import FEATURES, POOLED, End, Shape

FINEST = 8  # pixels a step of the map: finer ones take longer to read, and said no more (docs/adr/0010)
DEPTHS = (0.5, 0.75)  # of a transformer, whose blocks are all of one shape


def find(graph: Any, side: int, shapes: Callable[[Sequence[str]], list[Shape]]) -> list[End]:
    """The last end of each run of blocks of one shape, shallow ones first; of transformers those at two depths.

    `graph` is an onnx GraphProto that takes images of `side` pixels; `shapes` runs it and tells the shape that tensors
    have for one image. What `pooled` is the mean of is left out: it would be said twice.
    """
    passed = blocks.passed(graph)
    told = dict(zip([*passed, FEATURES], shapes([*passed, FEATURES]), strict=True))
    known = [end for tensor in passed if (end := _end(tensor, told[tensor], side)) and tensor != FEATURES]
    marked = blocks.marked(graph, passed, told)
    chosen = blocks.chosen(known, marked)
    runs = [list(run) for _, run in groupby(chosen, lambda end: (end.size, _width(end, marked)))]
    last = [end for run in runs for end in _of_run(run)]
    return [end for end in last if not _is_pooled(end, told[FEATURES], told[POOLED])]


def _width(end: End, marked: set[str]) -> int:
    """Unmarked maps of one size are one run, whatever their channels."""
    return end.channels if end.tensor in marked else 0


def _of_run(run: list[End]) -> list[End]:
    if run[0].layout != "tokens":
        return run[-1:]
    return [run[round(depth * len(run)) - 1] for depth in DEPTHS] if len(run) > 2 else run


def _is_pooled(end: End, features: Shape, pooled: Shape) -> bool:
    """Whether an end is the last map in all but its last activation or normalisation."""
    return end.layout != "tokens" and end.channels == pooled[0] and end.size == features[1:]


def _end(tensor: str, shape: Shape, side: int) -> End | None:
    """None for a tensor that is no map, a map too fine to read, or one without room for regions."""
    end = blocks.end(tensor, shape)
    if end is None:
        return None
    coarse = end.layout == "tokens" or (1 < max(end.size) <= side // FINEST)
    return end if coarse else None
