"""Taps of a graph in int8, read from its 8-bit maps.

To turn whole maps into floats takes longer than all else that taps do (docs/adr/0010). Here sums are made of whole
numbers, exactly, and only what is told becomes floats: scales differ from end to end, so each number has its own.
Deviations need squares, which have no place in 8 bits.

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
    rounding: tuple[str, str]  # names of scale and zero
    scale: float
    zero: int

    def told(self, value: float, each: int = 1) -> Any:
        """f32 [C · each]: the same for every number that is told of this end."""
        return np.full(self.end.channels * each, value, np.float32)


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
    parts = [*_of_narrow(nodes, narrow), *_of_wide(nodes, wide)]
    taps = list(listed(parts, dimension))
    nodes.tell([POOLED, *(part.tensor for part in parts)], taps[-1].offset + taps[-1].length)
    return taps


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
    return _Map(end, tensor, (names[0], names[1]), float(scale), int(zero))


def _by_size(maps: Sequence[_Map]) -> list[list[_Map]]:
    return [list(group) for _, group in groupby(maps, lambda m: m.end.size)]


def _of_narrow(nodes: Nodes, groups: list[list[_Map]]) -> Iterator[Part]:
    if not groups:
        return
    joined = [(nodes.chain([m.tensor for m in group], f"{group[0].tensor}.joined"), group) for group in groups]
    inside = [m for group in groups for m in group]
    ends = [m.end for m in inside]
    yield Part(_quarters(nodes, [(_rows(nodes, *pair), pair[1][0].end) for pair in joined], inside), "regions", ends, 4)
    yield Part(_maxima(nodes, [_greatest(nodes, *pair) for pair in joined], inside), "max", ends)


def _rows(nodes: Nodes, tensor: str, group: list[_Map]) -> str:
    """[N, h · w, C]."""
    size, channels = group[0].end.size, sum(m.end.channels for m in group)
    turned = nodes.add("Transpose", [tensor], f"{tensor}.turned", perm=[0, 2, 3, 1])
    shape = nodes.constant(f"{tensor}.rows.shape", np.array([0, size[0] * size[1], channels], np.int64))
    return nodes.add("Reshape", [turned, shape], f"{tensor}.rows")


def _quarters(nodes: Nodes, rows: list[tuple[str, End]], maps: list[_Map]) -> str:
    """Means of the four quarters, [N, ΣC · 4]: sums of whole numbers, then scaled."""
    sums = [nodes.add("MatMulInteger", [_quartered(nodes, end), r], f"{r}.quarters") for r, end in rows]
    turned = nodes.add("Transpose", [nodes.chain(sums, "tap.sums", axis=2)], "tap.sums.turned", perm=[0, 2, 1])
    scales = np.concatenate([m.told(m.scale / _quarter(m.end.size), 4) for m in maps])
    offsets = np.concatenate([m.told(m.scale * m.zero, 4) for m in maps])
    scaled = nodes.scaled(nodes.flat(turned), scales)
    return nodes.add("Sub", [scaled, nodes.constant("tap.offsets", offsets)], "tap.quarters")


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


def _greatest(nodes: Nodes, tensor: str, group: list[_Map]) -> str:
    """u8 [N, C, 1, 1]."""
    return nodes.add("MaxPool", [tensor], f"{tensor}.max", kernel_shape=list(group[0].end.size))


def _maxima(nodes: Nodes, greatest: list[str], maps: list[_Map]) -> str:
    """[N, ΣC]."""
    flat = nodes.flat(nodes.chain(greatest, "tap.greatest"))
    zeros = np.concatenate([m.told(m.zero) for m in maps]).astype(np.uint8)
    return nodes.scaled(flat, np.concatenate([m.told(m.scale) for m in maps]), zeros)


def _of_wide(nodes: Nodes, groups: list[list[_Map]]) -> Iterator[Part]:
    if not groups:
        return
    pairs = [_moments(nodes, group) for group in groups]
    ends = [m.end for group in groups for m in group]
    means = nodes.chain([mean for mean, _ in pairs], "tap.means")
    yield Part(means, "mean", ends)
    yield Part(nodes.deviations(means, nodes.chain([square for _, square in pairs], "tap.squares")), "deviation", ends)


def _moments(nodes: Nodes, group: list[_Map]) -> tuple[str, str]:
    """Means of maps and of their squares, [N, ΣC] each."""
    first = group[0].end
    maps = [nodes.add("DequantizeLinear", [m.tensor, *m.rounding], f"{m.tensor}.float") for m in group]
    rows = _rows(nodes, nodes.chain(maps, f"{maps[0]}.joined"), group)
    area = first.size[0] * first.size[1]
    equal = nodes.constant(f"tap.equal.{area}", np.full(area, 1 / area, np.float32))
    mean = nodes.add("MatMul", [equal, rows], f"{rows}.mean")
    return mean, nodes.add("MatMul", [equal, nodes.times(rows, rows)], f"{rows}.squared")
