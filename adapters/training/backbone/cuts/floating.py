"""A tail as it is trained: in float32 throughout, whatever the backbone's precision is."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from adapters.errors import InvalidInput
from adapters.runtime.onnx import session
from adapters.training.backbone.cuts.halves import TAP

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


def floated(tail: bytes) -> bytes:
    """The same tail with weights in float32 and nothing rounded on the way; a rounded `tap` is made a float first.

    Constants are worked out, and nodes put together that standard operators can express, so that little but layers is
    left. Of a tail in float32 the answers stay as they were. Of one in 8 bits they get no farther from fp32's:
    on photos of the sky, traffic signs and blood the cosine of `pooled` with the 8-bit tail is 0.9998 behind `blocks.4`
    of the embedded backbone (0.9996 at worst) and 0.999 of the whole (0.9955 at worst), 40 photos each.

    Raises InvalidInput where something else than weights and activations is rounded.
    """
    model = onnx.load_from_string(tail)
    if any(node.op_type == DEQUANTIZE for node in model.graph.node):
        _unrounded(model.graph)
    _widen(model.graph)
    return _normal(model)


def _normal(model: Any) -> bytes:
    simple = onnx.load_from_string(session.simplified(model.SerializeToString(deterministic=True)))
    nodes = _without_repeated(simple.graph.node)
    used = {node.domain for node in nodes}
    opsets = [entry for entry in simple.opset_import if entry.domain in used]
    read = {name for node in nodes for name in node.input}
    constants = [tensor for tensor in simple.graph.initializer if tensor.name in read]
    graph = helper.make_graph(nodes, "tail", model.graph.input, model.graph.output, constants)
    made = helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version)
    return bytes(made.SerializeToString(deterministic=True))


def _without_repeated(nodes: Any) -> list[Any]:
    """ONNX Runtime makes a float of the tap once for each node that reads it; once is enough."""
    first: dict[tuple[str, ...], str] = {}
    names: dict[str, str] = {}
    kept = []
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        if node.op_type == DEQUANTIZE and tuple(node.input) in first:
            names[node.output[0]] = first[tuple(node.input)]
            continue
        if node.op_type == DEQUANTIZE:
            first[tuple(node.input)] = node.output[0]
        kept.append(node)
    return kept


def _widen(graph: Any) -> None:
    """Half precision becomes float32."""
    for tensor in [*graph.initializer, *(each.t for node in graph.node for each in node.attribute)]:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for attribute in (each for node in graph.node if node.op_type == "Cast" for each in node.attribute):
        if attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
            attribute.i = TensorProto.FLOAT


def _unrounded(graph: Any) -> None:
    """Put float weights in the place of rounded ones, and take rounding of activations out."""
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    rounded = {node.output[0]: node for node in graph.node if node.op_type == QUANTIZE}
    nodes, weights = [], []
    for node in graph.node:
        if node.op_type == QUANTIZE:
            continue
        if node.op_type != DEQUANTIZE or node.input[0] == TAP:
            nodes.append(node)
        elif node.input[0] in stored:
            weights.append(numpy_helper.from_array(_weight(node, stored), node.output[0]))
        elif node.input[0] in rounded:
            nodes.append(_passed_on(rounded[node.input[0]], node, stored, weights))
        else:
            raise InvalidInput(f"the tail rounds {node.input[0]!r} in a way that cannot be taken out", item="backbone")
    read = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in [*graph.initializer, *weights] if tensor.name in read]
    for field, values in (("node", nodes), ("initializer", kept)):
        graph.ClearField(field)
        getattr(graph, field).extend(values)


def _weight(node: Any, stored: dict[str, Any]) -> Any:
    """f32: scale · (number − zero), a scale for each entry of an axis or one for all."""
    number, scale, *zero = (stored[name] for name in node.input if name)
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    whole = number.astype(np.float64) - (_along(zero[0], number, axis).astype(np.float64) if zero else 0)
    return (whole * _along(scale, number, axis)).astype(np.float32)


def _along(values: Any, tensor: Any, axis: int) -> Any:
    """One value, or one for each entry of an axis, so that it fits a tensor."""
    if values.size == 1:
        return values.reshape(())
    return values.reshape([-1 if at == axis % tensor.ndim else 1 for at in range(tensor.ndim)])


def _passed_on(rounding: Any, back: Any, stored: dict[str, Any], weights: list[Any]) -> Any:
    """In the place of rounding and back: nothing, or the activation that its range had swallowed.

    Where no number stands for less than zero, what went in came from ReLU or ReLU6, which the range itself does: the
    quantiser took it out.
    """
    scale, zero = (stored[name] for name in rounding.input[1:3])
    source, target = rounding.input[0], back.output[0]
    if int(zero) != np.iinfo(zero.dtype).min:
        return helper.make_node("Identity", [source], [target], target)
    most = float(scale) * (np.iinfo(zero.dtype).max - int(zero))
    ends = {f"{target}_least": 0.0, f"{target}_most": most}
    weights.extend(helper.make_tensor(name, TensorProto.FLOAT, [], [end]) for name, end in ends.items())
    return helper.make_node("Clip", [source, *ends], [target], target)
