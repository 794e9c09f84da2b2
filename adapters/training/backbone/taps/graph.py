"""Taps in the graph: a few nodes behind the ends of blocks, and one more output, `embedding`.

`embedding` is `pooled` followed by the taps, so that a head which reads the first part needs no copy of it. Of maps:

- narrow ones (early blocks): means of four quarters, so that where something is counts, and maxima;
- wide ones: means and standard deviations; four quarters of these would be thousands of numbers that say no more.

Of tokens: the class token, where there is one, and the mean. Maps of one size are joined first, for a pass of the
embedded backbone in int8 takes 2 ms, and forty more nodes of a few microseconds each would be a twentieth of it.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from adapters.training.backbone.blocks import POOLED, End
from adapters.training.backbone.taps.nodes import Nodes
from adapters.training.backbone.taps.told import Part, Tap, is_narrow, listed


def add(graph: Any, ends: Sequence[End], dimension: int, features: Sequence[int]) -> list[Tap]:
    """Put the nodes into an onnx GraphProto; what they tell, in the order of the embedding.

    `dimension` is that of `pooled`; `features` [C, h, w] tells how many tokens are patches: others stand before them.
    """
    nodes = Nodes(graph)
    narrow = [end for end in ends if end.layout != "tokens" and is_narrow(end, dimension)]
    wide = [end for end in ends if end.layout != "tokens" and not is_narrow(end, dimension)]
    tokens = [end for end in ends if end.layout == "tokens"]
    of_maps = [*_of_narrow(nodes, narrow), *_of_wide(nodes, wide)]
    of_tokens = list(_of_tokens(nodes, tokens, features[1] * features[2]))
    quarters, single = ([part for part in of_maps if part.each == each] for each in (4, 1))
    flat = [_flat(nodes, parts) for parts in (quarters, single) if parts]
    taps = list(listed([*quarters, *single, *of_tokens], dimension))
    if not taps:
        return []
    nodes.tell([POOLED, *flat, *(part.tensor for part in of_tokens)], taps[-1].offset + taps[-1].length)
    return taps


def _flat(nodes: Nodes, parts: Sequence[Part]) -> str:
    """[N, C, …] each → [N, L], one behind the other."""
    tensors = [part.tensor for part in parts]
    return nodes.flat(nodes.chain(tensors, f"{tensors[0]}.chain"))


def _of_narrow(nodes: Nodes, ends: list[End]) -> Iterator[Part]:
    for group in _by_size(ends):
        joined = nodes.joined(group)
        yield Part(nodes.quarters(joined, group[0].size), "regions", group, 4)
        yield Part(nodes.add("GlobalMaxPool", [joined], f"{joined}.max"), "max", group)


def _of_wide(nodes: Nodes, ends: list[End]) -> Iterator[Part]:
    groups = _by_size(ends)
    if not groups:
        return
    joined = [nodes.joined(group) for group in groups]
    means = nodes.chain([nodes.mean(tensor) for tensor in joined], "tap.means")
    squares = nodes.chain([nodes.mean(nodes.times(tensor, tensor)) for tensor in joined], "tap.squares")
    inside = [end for group in groups for end in group]
    yield Part(means, "mean", inside)
    yield Part(nodes.deviations(means, squares), "deviation", inside)


def _of_tokens(nodes: Nodes, ends: list[End], patches: int) -> Iterator[Part]:
    for end in ends:
        prefix = max(0, end.size[0] - patches)
        if prefix:
            yield Part(nodes.token(end.tensor), "class", [end])
        yield Part(nodes.mean_token(end.tensor, prefix), "mean", [end])


def _by_size(ends: Sequence[End]) -> list[list[End]]:
    """Ends whose maps can be joined."""
    key: Callable[[End], Any] = lambda end: end.size  # noqa: E731
    return [list(group) for _, group in groupby(ends, key)]
