"""Taps of sequences: what a trunk tells of each piece, and behind it 1 where there is one and 0 where a row is padded.

So a tap is one tensor, [N, T, W + 1], as it is of images: it is cached, kept and handed on like those, and a tail has
the mask that attention and means need. T is whatever the inputs of a pass have; rows of several passes are padded with
zeros to the longest, as inputs are.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from adapters.training.backbone import blocks

PREFIX = "tap."  # of the tensors here


def shape(told: Sequence[int]) -> tuple[int, ...]:
    """Of a tap by what is told of each piece, (T, W)."""
    length, width = told
    return length, width + 1


def packed(graph: Any, tensor: str, tap: str) -> list[Any]:
    """Nodes that make a tap of that tensor and the mask; their constants become the graph's."""
    _keep(graph, last=[-1])
    return [
        _node("Cast", [str(blocks.mask(graph))], ["shown"], to=TensorProto.FLOAT),
        _node("Unsqueeze", [f"{PREFIX}shown", f"{PREFIX}last"], ["column"]),
        helper.make_node("Concat", [tensor, f"{PREFIX}column"], [tap], f"{PREFIX}packed", axis=2),
    ]


def unpacked(graph: Any, tensor: str, tap: str, width: int) -> list[Any]:
    """Nodes that give that tensor and the mask back, for a tap of so many numbers a piece.

    What is seen is told as the mask, too: a tail reads nothing of it but its shape, see `read_by_shape`.
    """
    _keep(graph, last=[-1], sizes=[width - 1, 1])
    mask, source = str(blocks.mask(graph)), blocks.source(graph)
    return [
        helper.make_node("Split", [tap, f"{PREFIX}sizes"], [tensor, f"{PREFIX}column"], f"{PREFIX}split", axis=2),
        _node("Squeeze", [f"{PREFIX}column", f"{PREFIX}last"], ["shown"]),
        helper.make_node("Cast", [f"{PREFIX}shown"], [mask], f"{PREFIX}mask", to=TensorProto.INT64),
        helper.make_node("Identity", [mask], [source], f"{PREFIX}source"),
    ]


def read_by_shape(graph: Any, nodes: Iterable[Any]) -> bool:
    """Whether of what is seen nothing but its shape gets to the end of these nodes, in their order."""
    carried = {blocks.source(graph)}
    for node in nodes:
        if node.op_type != "Shape" and carried & set(node.input):
            carried |= set(node.output)
    return blocks.POOLED not in carried


def _node(kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    names = [f"{PREFIX}{name}" for name in outputs]
    return helper.make_node(kind, inputs, names, names[0], **attributes)


def _keep(graph: Any, **constants: list[int]) -> None:
    for name, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), f"{PREFIX}{name}"))
