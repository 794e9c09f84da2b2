"""Taps of a graph in int8, read from its 8-bit maps.

To turn whole maps into floats takes longer than all else that taps do (docs/adr/0010). Here sums are made of whole
numbers, exactly, and only what is told is put in its scale: scales differ from end to end, so each number has its own.
Squares have no place in 8 bits; of a map's at most 255² · h · w are exact in float32, too.

ONNX Runtime keeps 8-bit maps with channels last, so what turns them that way costs nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from onnx import numpy_helper

from adapters.training.backbone.blocks import POOLED, End
from adapters.training.backbone.taps.nodes import Nodes, halves
from adapters.training.backbone.taps.told import Part, Tap, is_narrow, listed


@dataclass(frozen=True, slots=True)
class _Map:
    """The end of a block in 8 bits: its value is scale · (number − zero)."""

    end: End
    tensor: str  # u8 [N, C, h, w]
    scale: float
    zero: int

    @property
    def area(self) -> int:
        """Pixels."""
        return self.end.size[0] * self.end.size[1]


@dataclass(frozen=True, slots=True)
class _Told:
    """A part in units of the maps: number · scale − offset, each its own, is what it tells."""

    part: Part
    maps: Sequence[_Map]
    scales: Sequence[float]  # of each map
    offsets: Sequence[float]

    def spread(self, values: Sequence[float]) -> Any:
        """f32 [L]: a map's for each number that is told of it."""
        return np.repeat(np.array(values, np.float32), [m.end.channels * self.part.each for m in self.maps])


def add(graph: Any, ends: Sequence[End], dimension: int) -> list[Tap]:
    """Put the nodes into an onnx GraphProto in QDQ form; what they tell, in the order of `graph.add`.

    Nothing is done and told where an end is not a rounded map with channels first.
    """
    maps = _maps(graph, ends)
    if not maps:
        return []
    nodes = Nodes(graph)
    narrow = _by_size([m for m in maps if is_narrow(m.end, dimension)])
    wide = _by_size([m for m in maps if not is_narrow(m.end, dimension)])
    told = [*_of_narrow(nodes, narrow), *_of_wide(nodes, wide)]
    taps = list(listed([each.part for each in told], dimension))
    nodes.tell([POOLED, _scaled(nodes, told)], taps[-1].offset + taps[-1].length)
    return taps


def _scaled(nodes: Nodes, told: Sequence[_Told]) -> str:
    """[N, ΣL]: all parts, each number in its scale."""
    joined = nodes.chain([each.part.tensor for each in told], "tap.numbers")
    scales = nodes.constant("tap.scales", np.concatenate([each.spread(each.scales) for each in told]))
    offsets = nodes.constant("tap.offsets", np.concatenate([each.spread(each.offsets) for each in told]))
    return nodes.add("Sub", [nodes.add("Mul", [joined, scales], "tap.scaled"), offsets], "tap.told")


def _maps(graph: Any, ends: Sequence[End]) -> list[_Map]:
    """Of all ends, or of none."""
    made = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    maps = [found for end in ends if (found := _map(end, made, constants))]
    return maps if len(maps) == len(ends) else []


def _map(end: End, made: dict[str, Any], constants: dict[str, Any]) -> _Map | None:
    turned = made.get(end.tensor)
    if turned is None or turned.op_type != "DequantizeLinear" or end.layout != "channels first":
        return None
    tensor, *names = turned.input
    scale, zero = (numpy_helper.to_array(constants[name]) for name in names)
    if zero.dtype != np.uint8 or scale.size != 1:
        return None
    return _Map(end, tensor, float(scale), int(zero))


def _by_size(maps: Sequence[_Map]) -> list[list[_Map]]:
    return [list(group) for _, group in groupby(maps, lambda m: m.end.size)]


def _of_narrow(nodes: Nodes, groups: list[list[_Map]]) -> Iterator[_Told]:
    if not groups:
        return
    joined = [(_joined(nodes, group), group) for group in groups]
    inside = [m for group in groups for m in group]
    ends, scales, offsets = [m.end for m in inside], [m.scale for m in inside], [m.scale * m.zero for m in inside]
    sums = _quarters(nodes, [(_rows(nodes, *pair), pair[1][0].end) for pair in joined])
    of_pixels = [m.scale / _quarter(m.end.size) for m in inside]
    yield _Told(Part(sums, "regions", ends, 4), inside, of_pixels, offsets)
    greatest = _greatest(nodes, [_maxima(nodes, *pair) for pair in joined])
    yield _Told(Part(greatest, "max", ends), inside, scales, offsets)


def _joined(nodes: Nodes, group: list[_Map]) -> str:
    """Maps of one size as one, u8 [N, ΣC, h, w]."""
    return nodes.chain([m.tensor for m in group], f"{group[0].tensor}.joined")


def _rows(nodes: Nodes, tensor: str, group: list[_Map]) -> str:
    """[N, h · w, C]."""
    channels = sum(m.end.channels for m in group)
    turned = nodes.add("Transpose", [tensor], f"{tensor}.turned", perm=[0, 2, 3, 1])
    shape = nodes.constant(f"{tensor}.rows.shape", np.array([0, group[0].area, channels], np.int64))
    return nodes.add("Reshape", [turned, shape], f"{tensor}.rows")


def _quarters(nodes: Nodes, rows: list[tuple[str, End]]) -> str:
    """Sums of the four quarters, f32 [N, ΣC · 4]."""
    sums = [nodes.add("MatMulInteger", [_quartered(nodes, end), r], f"{r}.quarters") for r, end in rows]
    turned = nodes.add("Transpose", [nodes.chain(sums, "tap.sums", axis=2)], "tap.sums.turned", perm=[0, 2, 1])
    return nodes.floats(nodes.flat(turned))


def _quartered(nodes: Nodes, end: End) -> str:
    """u8 [4, h · w]: which pixels of a map are in which quarter; of an odd size they share the middle."""
    height, width = end.size
    rows, columns = halves(height), halves(width)
    inside = np.zeros((4, height, width), np.uint8)
    for number, (row, column) in enumerate((r, c) for r in rows for c in columns):
        inside[number, row, column] = 1
    return nodes.constant(f"tap.quarters.{height}x{width}", inside.reshape(4, -1))


def _quarter(size: Sequence[int]) -> int:
    """Pixels in a quarter."""
    return ((size[0] + 1) // 2) * ((size[1] + 1) // 2)


def _maxima(nodes: Nodes, tensor: str, group: list[_Map]) -> str:
    """u8 [N, C, 1, 1]."""
    return nodes.add("MaxPool", [tensor], f"{tensor}.max", kernel_shape=list(group[0].end.size))


def _greatest(nodes: Nodes, maxima: list[str]) -> str:
    """f32 [N, ΣC]."""
    return nodes.floats(nodes.flat(nodes.chain(maxima, "tap.greatest")))


def _of_wide(nodes: Nodes, groups: list[list[_Map]]) -> Iterator[_Told]:
    if not groups:
        return
    pairs = [_moments(nodes, group) for group in groups]
    inside = [m for group in groups for m in group]
    ends, scales = [m.end for m in inside], [m.scale for m in inside]
    means = nodes.chain([mean for mean, _ in pairs], "tap.means")
    yield _Told(Part(means, "mean", ends), inside, scales, [m.scale * m.zero for m in inside])
    rest = nodes.chain([rest for _, rest in pairs], "tap.rest")
    of_pixels = [m.scale / m.area**0.5 for m in inside]
    yield _Told(
        Part(nodes.add("Sqrt", [rest], "tap.deviations"), "deviation", ends), inside, of_pixels, [0] * len(ends)
    )


def _moments(nodes: Nodes, group: list[_Map]) -> tuple[str, str]:
    """Means of maps, and sums of the squares of what differs from them, f32 [N, ΣC] each.

    Σx² − Σx · mean. Sums are exact, and so is the mean of a flat map, of which nothing is left then; of any other at
    least 1 − 1 / (h · w) is, more than rounding can take away: nothing is negative.
    """
    rows = nodes.floats(_rows(nodes, _joined(nodes, group), group))
    ones = nodes.constant(f"tap.ones.{group[0].area}", np.ones(group[0].area, np.float32))
    total = nodes.add("MatMul", [ones, rows], f"{rows}.sum")
    mean = nodes.add("Div", [total, nodes.constant(f"tap.{group[0].area}", np.float32(group[0].area))], f"{rows}.mean")
    squares = nodes.add("MatMul", [ones, nodes.times(rows, rows)], f"{rows}.squared")
    return mean, nodes.add("Sub", [squares, nodes.add("Mul", [total, mean], f"{rows}.even")], f"{rows}.rest")
