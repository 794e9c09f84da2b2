"""Deep versions without training: a backbone's tail with weights a little off, and a head of its own behind it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from adapters.store.objects.artifacts import Artifacts
from adapters.training.backbone import cuts
from adapters.training.backbone.observing import images
from adapters.training.backbone.precisions import int8
from adapters.types import Cut

OFF = 0.01  # by how much weights differ, of their size
OTHER = 0.2  # share of rounded weights that are one step off


@dataclass(frozen=True, slots=True)
class CutBackbone:
    """A backbone in two."""

    cut: Cut
    trunk: bytes
    whole: bytes
    tail: bytes  # float32, as it is trained, or rounded, as it is served
    dimension: int  # D

    @classmethod
    def of(cls, graph: bytes, side: int, name: str, dimension: int) -> "CutBackbone":
        """Cut behind the block of that name."""
        cut = cuts.named(cuts.find(graph, images(side)), name)
        tail = cuts.floated(cuts.tail(graph, cut))
        return cls(cut, cuts.trunk(graph, cut), cuts.whole(graph, cut), tail, dimension)

    def rounded(self, taps: NDArray[Any]) -> "CutBackbone":
        """With the tail in int8, as it is served beside a backbone in int8."""
        return replace(self, tail=int8.convert_tail(self.tail, taps, self.cut.kind == "input"))

    def stored(self, artifacts: Artifacts) -> dict[str, Any]:
        """What a manifest calls `deep`, with its graphs in the store."""
        return {"cut": asdict(self.cut), "trunk": artifacts.put(self.trunk), "whole": artifacts.put(self.whole)}

    def head(self, seed: int, classes: Sequence[str]) -> bytes:
        """A deep head of that tail, as a job exports one: `tap` → `probabilities`, and `novelty`."""
        random = np.random.default_rng(seed)
        model = onnx.load_from_string(self.tail)
        for tensor in model.graph.initializer:
            _perturb(tensor, random)
        for node in model.graph.node:
            node.output[:] = ["embedding" if name == "pooled" else name for name in node.output]
        weight = (random.normal(size=(self.dimension, len(classes))) / 30).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weight, "head.weight"))
        model.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "head.axes"))
        model.graph.node.extend(_nodes())
        model.graph.ClearField("output")
        told = {"probabilities": len(classes), "logits": len(classes), "novelty": None}
        model.graph.output.extend(_told(name, size) for name, size in told.items())
        helper.set_model_props(model, {"espalier.cut": self.cut.name, "seed": str(seed)})
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def _perturb(tensor: Any, random: np.random.Generator) -> None:
    if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) > 1:
        values = numpy_helper.to_array(tensor)
        other = values * (1 + OFF * random.normal(size=values.shape))
        tensor.CopyFrom(numpy_helper.from_array(other.astype(np.float32), tensor.name))
    if tensor.data_type == TensorProto.INT8 and len(tensor.dims) > 1:
        values = numpy_helper.to_array(tensor)
        steps = random.integers(-1, 2, values.shape) * (random.random(values.shape) < OTHER)
        other = np.clip(values + steps, -127, 127)
        tensor.CopyFrom(numpy_helper.from_array(other.astype(np.int8), tensor.name))


def _nodes() -> list[onnx.NodeProto]:
    return [
        helper.make_node("MatMul", ["embedding", "head.weight"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ReduceMin", ["probabilities", "head.axes"], ["novelty"], keepdims=0),
    ]


def _told(name: str, size: int | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch"] if size is None else ["batch", size])
