"""What each part of a graph costs: multiply-adds, and weights."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import onnx
from onnx import TensorProto

from adapters.training.backbone import blocks
from adapters.training.backbone.blocks import ROUNDING
from adapters.training.backbone.observing import Seen

MULTIPLY = ("Conv", "Gemm", "MatMul")  # all else is little beside them
WEIGHTS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
ROUNDED = (TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32)  # where they are kept in fewer bits
FLOAT = 4  # bytes


@dataclass(frozen=True, slots=True)
class Rest:
    """What comes after a tensor."""

    multiply_adds: int  # of one input
    bytes: int  # of weights in float32


def interesting(graph: Any) -> list[str]:
    """Names of tensors whose shapes have to be seen for `after`."""
    nodes = [node for node in blocks.between(graph) if node.op_type in MULTIPLY]
    made = {name for node in blocks.between(graph) for name in node.output}
    return [name for node in nodes for name in (node.input[0], node.output[0]) if name in made]


def after(graph: Any, seen: Mapping[str, Seen]) -> dict[str, Rest]:
    """What comes after each tensor between what is seen and `pooled`, and after what is seen itself.

    Of a tensor that every path passes: all later nodes depend on it.
    """
    nodes, constants = blocks.between(graph), _Constants(graph)
    work, weights = 0, dict[str, int]()
    found = {}
    for node in reversed(nodes):
        found[node.output[0]] = Rest(work, sum(weights.values()))
        work += _multiply_adds(node, constants, seen)
        weights |= dict(constants.weights(node))
    return found | {blocks.source(graph): Rest(work, sum(weights.values()))}


class _Constants:
    """What a graph is made of beside its nodes: stored tensors, and what is worked out from them."""

    def __init__(self, graph: Any) -> None:
        self._stored = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self._stored[node.output[0]] = node.attribute[0].t
        self._carrying = {name for node in blocks.between(graph) for name in node.output}
        self._made_by = {name: node for node in graph.node for name in node.output if name not in self._carrying}

    def shape(self, name: str) -> Sequence[int] | None:
        """Of a weight, rounded or not; None for what is none."""
        found = next(self._leaves(name), None)
        return None if found is None else list(found[1].dims)

    def weights(self, node: Any) -> Iterator[tuple[str, int]]:
        """Names of the weights that a node reads, and the bytes that they take in float32."""
        for name in node.input[:1] if node.op_type in ROUNDING else node.input:
            for leaf, tensor in self._leaves(name):
                yield leaf, FLOAT * prod(tensor.dims)

    def _leaves(self, name: str) -> Iterator[tuple[str, Any]]:
        """Stored weights that a tensor is made of; those of a rounded one are not its scale and its zero."""
        if name in self._stored:
            tensor = self._stored[name]
            if tensor.dims and tensor.data_type in WEIGHTS + ROUNDED:
                yield name, tensor
            return
        maker = self._made_by.get(name)
        inputs = [] if maker is None else maker.input
        for source in inputs[:1] if maker is not None and maker.op_type in ROUNDING else inputs:
            yield from self._leaves(source)


def _multiply_adds(node: Any, constants: _Constants, seen: Mapping[str, Seen]) -> int:
    """Of one input; of a node that does not multiply, 0."""
    if node.op_type not in MULTIPLY:
        return 0
    outputs = prod(seen[node.output[0]].shape)
    if node.op_type == "Conv":
        return outputs * prod((constants.shape(node.input[1]) or [0, 0])[1:])
    turned = next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == "transA"), 0)
    return outputs * seen[node.input[0]].shape[0 if turned else -1] if node.input[0] in seen else 0
