"""int8, for CPUs: static quantisation in QDQ form, weights per channel, activations per tensor.

Three things decide whether the embeddings survive; docs/adr/0004 has figures for each:

- Weights have 8 bits. x86 without VNNI would add pairs of their products in 16 bits, which overflow (the mean cosine
  with fp32 was 0.81): every session is told to take exact kernels there (`adapters.runtime.session`), so the same
  bits come out on all processors.
- Rounding a weight shifts the mean of its channel, most in depthwise convolutions: the bias takes the shift back.
  That is "bias correction" of Nagel et al., ICCV 2019, with means from calibration images.
- The bytes of the image are not rounded once more (`adapters.training.raw_pixels`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from adapters.runtime import session
from adapters.training import raw_pixels
from adapters.types import Pixels

LEAST_MEAN, LEAST_WORST = 0.97, 0.9
# Global pooling is not among them: the pooled output is averaged from features in float, not rounded once more.
QUANTIZED = ("Add", "Clip", "Conv", "Gemm", "MatMul", "MaxPool", "Pad", "Relu")


@dataclass(slots=True)
class Seen:
    """What calibration images made of one tensor."""

    lowest: float = np.inf
    highest: float = -np.inf
    channels: Any = 0.0  # f64 [C], sum over images of the mean of each channel

    def look(self, values: Any) -> None:
        """Take note of one image's values, f32 [1, C, …]."""
        self.lowest, self.highest = min(self.lowest, float(values.min())), max(self.highest, float(values.max()))
        if values.ndim == 4:
            self.channels = self.channels + values.mean(axis=(0, 2, 3), dtype=np.float64)


def convert(graph: bytes, pixels: Pixels) -> bytes:
    """The graph in int8, calibrated on the images: ranges of activations, and means for the biases."""
    model = _used_domains(onnx.load_from_string(session.simplified(graph)))
    raw = raw_pixels.fold(model)
    seen = _observe(model, pixels)
    ranges = {name: (np.float32(tensor.lowest), np.float32(tensor.highest)) for name, tensor in seen.items()}
    ranges |= {raw.tensor: raw.range} if raw else {}
    _correct_biases(model, _quantize(model, ranges), seen, len(pixels))
    quantized = _quantize(model, ranges)
    if raw:
        raw_pixels.bypass(quantized, raw)
    onnx.checker.check_model(quantized, full_check=True)
    return bytes(quantized.SerializeToString(deterministic=True))


def _observe(model: Any, pixels: Pixels) -> dict[str, Seen]:
    """Ranges and channel means of every tensor that is quantised, from fp32 runs on one image at a time."""
    known = {tensor.name for tensor in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type in QUANTIZED]
    seen = {name: Seen() for node in nodes for name in (*node.input, *node.output) if name and name not in known}
    open_model = onnx.ModelProto.FromString(model.SerializeToString())
    outputs = {output.name for output in model.graph.output}
    open_model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in seen if name not in outputs
    )
    runner = session.create(open_model.SerializeToString())
    for picture in pixels:
        for tensor, values in zip(seen.values(), runner.run(list(seen), {"pixels": picture[None]}), strict=True):
            tensor.look(values)
    return seen


def _quantize(model: Any, ranges: dict[str, tuple[np.float32, np.float32]]) -> Any:
    copy = onnx.shape_inference.infer_shapes(model)
    quantizer = QDQQuantizer(
        copy, per_channel=True, reduce_range=False,
        weight_qType=QuantType.QInt8, activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, ranges), nodes_to_quantize=[], nodes_to_exclude=[],
        op_types_to_quantize=list(QUANTIZED), extra_options={},
    )  # fmt: skip
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    return quantizer.model.model


def _correct_biases(model: Any, quantized: Any, seen: dict[str, Seen], count: int) -> None:
    """Add to each convolution's bias what rounding its weights takes from the mean of its output."""
    rounded = {tensor.name: tensor for tensor in quantized.graph.initializer}
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in _convolutions(model):
        source, weight, *bias = node.input
        if not bias or bias[0] not in tensors or f"{weight}_quantized" not in rounded:
            continue
        lost = _array(tensors[weight]) - _weight(rounded, weight)  # f64 [O, I / groups, h, w]
        shift = _through(lost.sum(axis=(2, 3)), seen[source].channels / count, _groups(node))
        tensor = tensors[bias[0]]
        tensor.CopyFrom(numpy_helper.from_array((_array(tensor) + shift).astype(np.float32), tensor.name))


def _weight(rounded: dict[str, Any], name: str) -> Any:
    """The weight that a quantised graph computes with, f64 [O, I / groups, h, w]."""
    scale = _array(rounded[f"{name}_scale"]).reshape(-1, 1, 1, 1)
    return _array(rounded[f"{name}_quantized"]) * scale


def _through(weights: Any, means: Any, groups: int) -> Any:
    """Weights f64 [O, I / groups] on channel means f64 [I] → f64 [O]."""
    blocks = weights.reshape(groups, -1, weights.shape[1])
    return (blocks @ means.reshape(groups, -1, 1)).reshape(-1)


def _convolutions(model: Any) -> list[Any]:
    return [node for node in model.graph.node if node.op_type == "Conv"]


def _groups(node: Any) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)


def _array(tensor: Any) -> Any:
    return numpy_helper.to_array(tensor).astype(np.float64)


def _used_domains(model: Any) -> Any:
    """Without the operator sets that ONNX Runtime declares and no node needs: the checker does not know them."""
    used = {node.domain for node in model.graph.node}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return model
