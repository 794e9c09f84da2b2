"""A backbone's graph → its trunk, its tail, and itself with the tap as one more output.

Nodes and weights are the graph's own, and the bytes are the same every time.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from adapters.training.backbone.blocks import INPUT, POOLED
from adapters.types import Cut

TAP = "tap"


def trunk(graph: bytes, cut: Cut) -> bytes:
    """Pixels → `tap`, of the cut's dtype [N, *shape]. Before everything it hands on the pixels."""
    model = onnx.load_from_string(graph)
    if cut.kind == "input":
        return _made(model, "trunk", [_handed_on(INPUT)], model.graph.input, [_told(cut)])
    nodes = _needed(model.graph, {cut.tensor}, set())
    return _made(model, "trunk", _renamed(nodes, cut.tensor), model.graph.input, [_told(cut)])


def tail(graph: bytes, cut: Cut) -> bytes:
    """`tap` → `pooled`, f32 [N, D]."""
    model = onnx.load_from_string(graph)
    nodes = _renamed(_needed(model.graph, {POOLED}, {cut.tensor}), cut.tensor)
    pooled = [output for output in model.graph.output if output.name == POOLED]
    return _made(model, "tail", nodes, [_told(cut)], pooled)


def whole(graph: bytes, cut: Cut) -> bytes:
    """The graph with `tap` as one more output: one pass for shallow heads and for deep ones."""
    model = onnx.load_from_string(graph)
    outputs = list(model.graph.output)
    if cut.tensor in {INPUT, *(output.name for output in outputs)}:
        nodes = [*model.graph.node, _handed_on(cut.tensor)]
    else:
        nodes = _renamed(model.graph.node, cut.tensor)  # without a node more, and so without a copy
    return _made(model, "whole", nodes, model.graph.input, [*outputs, _told_beside(cut)])


def is_closed(graph: Any, tensor: str) -> bool:
    """Whether a tail needs that tensor alone: a node may read the shape of an earlier one."""
    nodes = _needed(graph, {POOLED}, {tensor})
    made = {name for node in nodes for name in node.output} | {each.name for each in graph.initializer}
    return {name for node in nodes for name in node.input if name} - made == {tensor}


def _needed(graph: Any, wanted: Iterable[str], given: set[str]) -> list[Any]:
    """The nodes that tensors are made by, in order, without those that make what is given."""
    wanted, kept = set(wanted), []
    for node in reversed(graph.node):
        if wanted & set(node.output) - given:
            wanted |= set(node.input)
            kept.append(node)
    return kept[::-1]


def _renamed(nodes: Iterable[Any], tensor: str) -> list[Any]:
    """The same nodes with that tensor called `tap`."""
    renamed = list(nodes)
    for node in renamed:
        for names in (node.input, node.output):
            names[:] = [TAP if name == tensor else name for name in names]
    return renamed


def _handed_on(tensor: str) -> Any:
    return helper.make_node("Identity", [tensor], [TAP], TAP)


def _told(cut: Cut) -> Any:
    """Of tokens without their numbers: from these ONNX Runtime would see that it can put a sum and the LayerNorm behind
    it together, which it does not see in the backbone, and another last bit would come out.
    """
    shape = ["batch", None, None] if cut.kind == "tokens" else ["batch", *cut.shape]
    return helper.make_tensor_value_info(TAP, _type(cut), shape)


def _told_beside(cut: Cut) -> Any:
    """As one more output: of tokens not even how many dimensions there are, for the same reason."""
    return helper.make_tensor_value_info(TAP, _type(cut), None) if cut.kind == "tokens" else _told(cut)


def _type(cut: Cut) -> int:
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(cut.dtype)))


def _made(model: Any, name: str, nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any]) -> bytes:
    """A model of these nodes, with the constants that they read and no others."""
    read = {each for node in nodes for each in node.input}
    constants = [tensor for tensor in model.graph.initializer if tensor.name in read]
    graph = helper.make_graph(list(nodes), name, list(inputs), list(outputs), constants)
    made = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return bytes(made.SerializeToString(deterministic=True))
