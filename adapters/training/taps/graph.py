"""Taps in the graph: a few nodes behind the ends of blocks, and one more output, `embedding`.

`embedding` is `pooled` followed by the taps, so that a head which reads the first part needs no copy of it. Of maps:

- narrow ones (early blocks): means of four quarters, so that where something is counts, and maxima;
- wide ones: means and standard deviations; four quarters of these would be thousands of numbers that say no more.

Of tokens: the class token, where there is one, and the mean. Maps of one size are joined first, for a pass of the
embedded backbone in int8 takes 2 ms, and forty more nodes of a few microseconds each would be a twentieth of it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from adapters.training.taps.ends import POOLED, End, Shape

EMBEDDING = "embedding"
NARROW = 1 / 8  # of pooled's channels: a map with as many or fewer


@dataclass(frozen=True, slots=True)
class Tap:
    """Numbers of an embedding that tell one thing of the end of one block."""

    name: str  # of the block
    statistic: str  # regions | max | mean | deviation | class
    offset: int  # in the embedding
    length: int


@dataclass(frozen=True, slots=True)
class _Part:
    """A tensor [N, C, 2, 2], [N, C, 1, 1] or [N, C], and what it tells of which ends, in order."""

    tensor: str
    statistic: str
    ends: list[End]
    each: int = 1  # numbers a channel


def add(graph: Any, ends: Sequence[End], dimension: int, features: Shape) -> list[Tap]:
    """Put the nodes into an onnx GraphProto; what they tell, in the order of the embedding.

    `dimension` is that of `pooled`; `features` [C, h, w] tells how many tokens are patches: others stand before them.
    """
    nodes = _Nodes(graph)
    narrow = [end for end in ends if end.layout != "tokens" and end.channels <= NARROW * dimension]
    wide = [end for end in ends if end.layout != "tokens" and end not in narrow]
    tokens = [end for end in ends if end.layout == "tokens"]
    of_maps = [*_of_narrow(nodes, narrow), *_of_wide(nodes, wide)]
    of_tokens = list(_of_tokens(nodes, tokens, features[1] * features[2]))
    quarters, single = ([part for part in of_maps if part.each == each] for each in (4, 1))
    flat = [nodes.flat([part.tensor for part in parts]) for parts in (quarters, single) if parts]
    taps = list(_listed([*quarters, *single, *of_tokens], dimension))
    if not taps:
        return []
    nodes.add("Concat", [POOLED, *flat, *(part.tensor for part in of_tokens)], EMBEDDING, axis=1)
    length = taps[-1].offset + taps[-1].length
    graph.output.append(helper.make_tensor_value_info(EMBEDDING, TensorProto.FLOAT, ["batch", length]))
    return taps


def _listed(parts: Sequence[_Part], offset: int) -> Iterator[Tap]:
    for part in parts:
        for end in part.ends:
            tap = Tap(end.name, part.statistic, offset, part.each * end.channels)
            yield tap
            offset += tap.length


def facts(taps: Sequence[Tap]) -> list[dict[str, Any]]:
    """Ready for JSON."""
    return [asdict(tap) for tap in taps]


def _of_narrow(nodes: "_Nodes", ends: list[End]) -> Iterator[_Part]:
    for group in _by_size(ends):
        joined = nodes.joined(group)
        yield _Part(nodes.quarters(joined, group[0].size), "regions", group, 4)
        yield _Part(nodes.add("GlobalMaxPool", [joined], f"{joined}.max"), "max", group)


def _of_wide(nodes: "_Nodes", ends: list[End]) -> Iterator[_Part]:
    groups = _by_size(ends)
    if not groups:
        return
    joined = [nodes.joined(group) for group in groups]
    means = nodes.chain([nodes.mean(tensor) for tensor in joined], "tap.means")
    squares = nodes.chain([nodes.mean(nodes.times(tensor, tensor)) for tensor in joined], "tap.squares")
    # E[x²] − E[x]²: a second pass over the map for its deviations would cost more than all other taps. What rounding
    # leaves of a flat map may be negative.
    variance = nodes.add("Abs", [nodes.add("Sub", [squares, nodes.times(means, means)], "tap.rest")], "tap.variance")
    inside = [end for group in groups for end in group]
    yield _Part(means, "mean", inside)
    yield _Part(nodes.add("Sqrt", [variance], "tap.deviations"), "deviation", inside)


def _of_tokens(nodes: "_Nodes", ends: list[End], patches: int) -> Iterator[_Part]:
    for end in ends:
        prefix = max(0, end.size[0] - patches)
        if prefix:
            yield _Part(nodes.token(end.tensor), "class", [end])
        yield _Part(nodes.mean_token(end.tensor, prefix), "mean", [end])


def _by_size(ends: Sequence[End]) -> list[list[End]]:
    """Ends whose maps can be joined."""
    key: Callable[[End], Any] = lambda end: end.size  # noqa: E731
    return [list(group) for _, group in groupby(ends, key)]


class _Nodes:
    """Nodes and constants, put behind those of a graph."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self._flat = self._constant("tap.flat", [0, -1])

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """A node of one output, by whose name it goes."""
        self._graph.node.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

    def joined(self, ends: Sequence[End]) -> str:
        """The maps of ends of one size as one, [N, ΣC, h, w]."""
        maps = [self._channels_first(end) for end in ends]
        return self.add("Concat", maps, "tap." + "x".join(map(str, ends[0].size)) + f".{ends[0].channels}", axis=1)

    def quarters(self, tensor: str, size: Sequence[int]) -> str:
        """Means of the four quarters, [N, C, 2, 2]; of an odd size they share the middle."""
        kernel, strides = [(length + 1) // 2 for length in size], [length // 2 for length in size]
        return self.add("AveragePool", [tensor], f"{tensor}.quarters", kernel_shape=kernel, strides=strides)

    def mean(self, tensor: str) -> str:
        """[N, C, 1, 1]."""
        return self.add("GlobalAveragePool", [tensor], f"{tensor}.mean")

    def times(self, left: str, right: str) -> str:
        """Element by element."""
        return self.add("Mul", [left, right], f"{left}.square")

    def chain(self, tensors: Sequence[str], name: str) -> str:
        """One behind the other, by channels."""
        return tensors[0] if len(tensors) == 1 else self.add("Concat", tensors, name, axis=1)

    def flat(self, tensors: Sequence[str]) -> str:
        """[N, C, …] each → [N, L], one behind the other."""
        chained = self.chain(tensors, f"{tensors[0]}.chain")
        return self.add("Reshape", [chained, self._flat], f"{chained}.flat")

    def token(self, tensor: str) -> str:
        """The first of tokens [N, T, C], [N, C]."""
        return self.add("Gather", [tensor, self._constant(f"{tensor}.first", 0)], f"{tensor}.class", axis=1)

    def mean_token(self, tensor: str, prefix: int) -> str:
        """The mean of those of patches, [N, C]."""
        bounds = [self._constant(f"{tensor}.{key}", [value]) for key, value in
                  (("from", prefix), ("to", np.iinfo(np.int64).max), ("axis", 1))]  # fmt: skip
        patches = self.add("Slice", [tensor, *bounds], f"{tensor}.patches") if prefix else tensor
        return self.add("ReduceMean", [patches, bounds[-1]], f"{tensor}.mean", keepdims=0)

    def _channels_first(self, end: End) -> str:
        if end.layout == "channels first":
            return end.tensor
        return self.add("Transpose", [end.tensor], f"{end.tensor}.turned", perm=[0, 3, 1, 2])

    def _constant(self, name: str, value: Any) -> str:
        self._graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), name))
        return name
