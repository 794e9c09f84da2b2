"""A backbone's graph → its trunk, its tail, and itself with the tap as one more output.

Nodes and weights are the graph's own, and the bytes are the same every time.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from adapters.training.backbone import blocks
from adapters.training.backbone.blocks import INPUT, POOLED
from adapters.training.backbone.cuts import sequences
from adapters.types import Cut

TAP = "tap"


def trunk(graph: bytes, cut: Cut) -> bytes:
    """An input → `tap`, of the cut's dtype [N, *shape]. Before everything it hands on the pixels."""
    model = onnx.load_from_string(graph)
    if cut.kind == "input":
        return _made(model, "trunk", [_handed_on(INPUT)], model.graph.input, [_told(cut)])
    nodes = _needed(model.graph, {cut.tensor}, set())
    if cut.kind == "sequence":
        nodes = [*nodes, *sequences.packed(model.graph, cut.tensor, TAP)]
        return _made(model, "trunk", nodes, model.graph.input, [_told(cut)])
    return _made(model, "trunk", _renamed(nodes, cut.tensor), model.graph.input, [_told(cut)])


def tail(graph: bytes, cut: Cut) -> bytes:
    """`tap` → `pooled`, f32 [N, D]."""
    model = onnx.load_from_string(graph)
    nodes = _needed(model.graph, {POOLED}, {cut.tensor})
    if cut.kind == "sequence":
        nodes = [*sequences.unpacked(model.graph, cut.tensor, TAP, cut.shape[-1]), *nodes]
    else:
        nodes = _renamed(nodes, cut.tensor)
    return _made(model, "tail", nodes, [_told(cut)], _pooled(model.graph))


def whole(graph: bytes, cut: Cut) -> bytes:
    """The graph with `tap` as one more output: one pass for shallow heads and for deep ones."""
    model = onnx.load_from_string(graph)
    outputs = list(model.graph.output)
    if cut.kind == "sequence":
        nodes = [*model.graph.node, *sequences.packed(model.graph, cut.tensor, TAP)]
    elif cut.tensor in {INPUT, *(output.name for output in outputs)}:
        nodes = [*model.graph.node, _handed_on(cut.tensor)]
    else:
        nodes = _renamed(model.graph.node, cut.tensor)  # without a node more, and so without a copy
    return _made(model, "whole", nodes, model.graph.input, [*outputs, _told_beside(cut)])


def alone(graph: bytes) -> bytes:
    """The graph without outputs other than `pooled`."""
    model = onnx.load_from_string(graph)
    return _made(model, "alone", _needed(model.graph, {POOLED}, set()), model.graph.input, _pooled(model.graph))


def shape(kind: str, told: Sequence[int]) -> tuple[int, ...]:
    """Of a tap, without the batch dimension, by that of the tensor that is cut at."""
    return sequences.shape(told) if kind == "sequence" else tuple(told)


def is_closed(graph: Any, tensor: str) -> bool:
    """Whether a tail needs that tensor alone, beside the mask: a node may read the shape of an earlier one.

    Of a sequence, whose length a mask has, too, it may read the shape of what is seen.
    """
    nodes = _needed(graph, {POOLED}, {tensor})
    made = {name for node in nodes for name in node.output} | {each.name for each in graph.initializer}
    given, mask = {tensor}, blocks.mask(graph)
    if mask is not None and sequences.read_by_shape(graph, nodes):
        given |= {mask, blocks.source(graph)}
    read = {name for node in nodes for name in node.input if name} - made
    return tensor in read and read <= given


def _pooled(graph: Any) -> list[Any]:
    return [output for output in graph.output if output.name == POOLED]


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
    it together, which it does not see in the backbone, and another last bit would come out. Of a sequence with its
    width, or it would not see that two scales of attention are one.
    """
    free: dict[str, list[Any]] = {"tokens": [None, None], "sequence": ["time", *cut.shape[1:]]}
    return helper.make_tensor_value_info(TAP, _type(cut), ["batch", *free.get(cut.kind, cut.shape)])


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
