"""int8, for CPUs: static quantisation in QDQ form, weights per channel, activations per tensor.

Four things decide whether the embeddings survive; docs/adr/0004 has figures for each:

- Weights have 8 bits. x86 without VNNI would add pairs of their products in 16 bits, which overflow (the mean cosine
  with fp32 was 0.81): every session is told to take exact kernels there (`runtime.onnx.session`), so sums are the
  same on all processors.
- Weights are rounded so that layers answer as before (`adapters.training.backbone.rounding`).
- The first convolution, and a depthwise one behind it, stay in float: what rounding does to a flat background it does
  everywhere alike, so nothing averages it out later. They take no longer, with their few channels.
- A range leaves out what one value in ten thousand exceeds: all others get the finer steps.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from adapters.backbones.cuts import TAP
from adapters.modalities.image import Pixels
from adapters.runtime.onnx import session
from adapters.training.backbone import rounding
from adapters.training.backbone.blocks import INPUT
from adapters.training.backbone.rounding import Inputs, Shape
from adapters.training.backbone.taps import build
from adapters.training.backbone.taps.nodes import EMBEDDING

LEAST_MEAN, LEAST_WORST = 0.97, 0.9
SAMPLED = 1000  # values of a tensor, of each image
COVERED = 0.9999  # the share of values that are within a range at either end
ACTIVATIONS = ("Clip", "Relu")
# Global pooling is not among them: the pooled output is averaged from features in float, not rounded once more.
QUANTIZED = ("Add", "Clip", "Conv", "Gemm", "MatMul", "MaxPool", "Pad", "Relu")


@dataclass(slots=True)
class Seen:
    """What calibration images made of one tensor."""

    some: list[Any] = field(default_factory=list)  # f32 [SAMPLED] of each image
    inputs: list[Inputs] = field(default_factory=list)  # of plain convolutions that take it

    def look(self, values: Any, random: np.random.Generator) -> None:
        """Take note of one image's values, f32 [1, C, …]."""
        self.some.append(values.reshape(-1)[random.integers(0, values.size, SAMPLED)])
        for inputs in self.inputs:
            inputs.look(values)

    @property
    def range(self) -> tuple[np.float32, np.float32]:
        """Least and largest value that a rounded tensor can have; zero is always among them."""
        low, high = np.quantile(np.concatenate(self.some), (1 - COVERED, COVERED))
        return np.float32(min(low, 0)), np.float32(max(high, 0))


def convert(graph: bytes, pixels: Pixels) -> bytes:
    """The graph in int8, calibrated on the images: ranges of activations, and weights that fit them.

    Taps are read from the 8-bit maps where they can be (`adapters.training.backbone.taps.rounded`), else as in float.
    """
    plain = build.without_taps(graph)
    small = _rounded(plain, INPUT, pixels)
    again, _ = build.tapped(small, pixels.shape[1])
    return again if _width(again) == _width(graph) else _rounded(graph, INPUT, pixels)


def convert_tail(tail: bytes, taps: NDArray[Any], begins: bool) -> bytes:
    """A trained tail in int8, calibrated on what it reads, [N, *shape]; `begins`: that is what the network does.

    Of 774 traffic signs that it had not seen, a tail behind `blocks.5` answered with the same labels as in float32 and
    with a log-loss of 0.1859 for 0.1860, in 0.4 of the time and a quarter of the bytes.
    """
    return _rounded(tail, TAP, taps, begins)


def _width(graph: bytes) -> list[int]:
    """Numbers of an embedding, in a list; an empty one where there are no taps."""
    outputs = onnx.load_from_string(graph).graph.output
    return [o.type.tensor_type.shape.dim[1].dim_value for o in outputs if o.name == EMBEDDING]


def _rounded(graph: bytes, given: str, examples: NDArray[Any], begins: bool = True) -> bytes:
    """The graph in int8; `given` is its input, and `begins` whether its first layers are the network's."""
    model = _used_domains(onnx.load_from_string(session.simplified(graph)))
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"node-{number}"  # those that stay in float are told by their names
    floats = _beginning(model) if begins else []
    rounded = [node for node in _convolutions(model) if node.name not in floats]
    inputs = _inputs(model, rounded)
    seen = _seen(model, rounded, inputs)
    _observe(model, given, examples, seen)
    quantized = _quantize(model, {name: tensor.range for name, tensor in seen.items()}, floats)
    rounding.replace(quantized, _fitted(model, quantized, inputs))
    onnx.checker.check_model(quantized, full_check=True)
    return bytes(quantized.SerializeToString(deterministic=True))


def _inputs(model: Any, rounded: list[Any]) -> dict[str, Inputs]:
    """By the weight of each plain convolution that is rounded, what goes into it."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    shapes = {
        node.input[1]: Shape.of(node, numpy_helper.to_array(tensors[node.input[1]]))
        for node in rounded
        if node.input[1] in tensors
    }
    return {name: Inputs(shape) for name, shape in shapes.items() if shape}


def _fitted(model: Any, quantized: Any, inputs: dict[str, Inputs]) -> dict[str, Any]:
    """By its name in the quantised model, each plain convolution's weight in int8.

    The scales are the quantiser's: it enlarges those of channels that are nearly dead, so that their biases fit.
    """
    tensors = {tensor.name: tensor for graph in (model, quantized) for tensor in graph.graph.initializer}
    return {
        f"{name}_quantized": rounding.fitted(_array(tensors[name]), _array(tensors[f"{name}_scale"]), seen)
        for name, seen in inputs.items()
    }


def _seen(model: Any, rounded: list[Any], inputs: dict[str, Inputs]) -> dict[str, Seen]:
    """Of every tensor that is quantised, what will be seen of it."""
    known = {tensor.name for tensor in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type in QUANTIZED]
    seen = {name: Seen() for node in nodes for name in (*node.input, *node.output) if name and name not in known}
    for node in rounded:
        seen[node.input[0]].inputs += [inputs[node.input[1]]] if node.input[1] in inputs else []
    return seen


def _observe(model: Any, given: str, examples: NDArray[Any], seen: dict[str, Seen]) -> None:
    """What fp32 runs on one example at a time make of each tensor."""
    open_model = onnx.ModelProto.FromString(model.SerializeToString())
    outputs = {output.name for output in model.graph.output}
    open_model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in seen if name not in outputs
    )
    runner, random = session.create(open_model.SerializeToString()), np.random.default_rng(0)
    for example in examples:
        for tensor, values in zip(seen.values(), runner.run(list(seen), {given: example[None]}), strict=True):
            tensor.look(values, random)


def _quantize(model: Any, ranges: dict[str, tuple[np.float32, np.float32]], floats: list[str]) -> Any:
    copy = onnx.shape_inference.infer_shapes(model)
    quantizer = QDQQuantizer(
        copy, per_channel=True, reduce_range=False,
        weight_qType=QuantType.QInt8, activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, ranges), op_types_to_quantize=list(QUANTIZED),
        nodes_to_quantize=[], nodes_to_exclude=floats, extra_options={},
    )  # fmt: skip
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    return quantizer.model.model


def _beginning(model: Any) -> list[str]:
    """Names of the nodes that stay in float: the first convolution, a depthwise one behind it, their activations."""
    convolutions = _convolutions(model)
    kept = convolutions[:1] + [node for node in convolutions[1:2] if _groups(node) > 1]
    ends = {name for node in kept for name in node.output}
    return [
        node.name
        for node in model.graph.node
        if node in kept or (ends & set(node.input) and node.op_type in ACTIVATIONS)
    ]


def _groups(node: Any) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)


def _convolutions(model: Any) -> list[Any]:
    return [node for node in model.graph.node if node.op_type == "Conv"]


def _array(tensor: Any) -> Any:
    return numpy_helper.to_array(tensor).astype(np.float64)


def _used_domains(model: Any) -> Any:
    """Without the operator sets that ONNX Runtime declares and no node needs: the checker does not know them."""
    used = {node.domain for node in model.graph.node}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return model
