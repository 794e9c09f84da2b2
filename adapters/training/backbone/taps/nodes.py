"""Nodes and constants that are put behind those of a graph."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from adapters.training.backbone.blocks import End

EMBEDDING = "embedding"


def halves(length: int) -> tuple[slice, slice]:
    """The first and the last half of a side of a map; of an odd length they share the middle."""
    half = (length + 1) // 2
    return slice(0, half), slice(length // 2, length // 2 + half)


class Nodes:
    """Adds to an onnx GraphProto."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self._flat = self.constant("tap.flat", np.array([0, -1], np.int64))

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """A node of one output, by whose name it goes."""
        self._graph.node.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: Any) -> str:
        """An array, once by each name."""
        if all(tensor.name != name for tensor in self._graph.initializer):
            self._graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def tell(self, parts: Sequence[str], length: int) -> None:
        """The output `embedding`, f32 [N, length], of parts [N, L] one behind the other."""
        self.add("Concat", parts, EMBEDDING, axis=1)
        self._graph.output.append(helper.make_tensor_value_info(EMBEDDING, TensorProto.FLOAT, ["batch", length]))

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

    def deviations(self, means: str, squares: str) -> str:
        """Of means and means of squares.

        E[x²] − E[x]²: a second pass over the map would cost more than all other taps. What rounding leaves of a flat
        map may be negative.
        """
        rest = self.add("Sub", [squares, self.times(means, means)], "tap.rest")
        return self.add("Sqrt", [self.add("Abs", [rest], "tap.variance")], "tap.deviations")

    def chain(self, tensors: Sequence[str], name: str, axis: int = 1) -> str:
        """One behind the other."""
        return tensors[0] if len(tensors) == 1 else self.add("Concat", tensors, name, axis=axis)

    def flat(self, tensor: str) -> str:
        """[N, …] → [N, L]."""
        return self.add("Reshape", [tensor, self._flat], f"{tensor}.flat")

    def floats(self, tensor: str) -> str:
        """Whole numbers → f32."""
        return self.add("Cast", [tensor], f"{tensor}.float", to=TensorProto.FLOAT)

    def token(self, tensor: str) -> str:
        """The first of tokens [N, T, C], [N, C]."""
        first = self.constant(f"{tensor}.first", np.array(0, np.int64))
        return self.add("Gather", [tensor, first], f"{tensor}.class", axis=1)

    def mean_token(self, tensor: str, prefix: int) -> str:
        """The mean of those of patches, [N, C]."""
        bounds = [self.constant(f"{tensor}.{key}", np.array([value], np.int64)) for key, value in
                  (("from", prefix), ("to", np.iinfo(np.int64).max), ("axis", 1))]  # fmt: skip
        patches = self.add("Slice", [tensor, *bounds], f"{tensor}.patches") if prefix else tensor
        return self.add("ReduceMean", [patches, bounds[-1]], f"{tensor}.mean", keepdims=0)

    def _channels_first(self, end: End) -> str:
        if end.layout == "channels first":
            return end.tensor
        return self.add("Transpose", [end.tensor], f"{end.tensor}.turned", perm=[0, 3, 1, 2])
