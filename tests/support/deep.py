"""Deep versions of the tiny backbone, made by hand: its trunk, its whole, and graphs that own a tail of it.

The cut is behind the convolution. In u8 its numbers are rounded there, as int8 backbones tell theirs.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from adapters.store.objects.artifacts import Artifacts
from support.graphs import DIMENSION, SIDE, tiny

Dtype = Literal["float32", "uint8"]
SHAPE = (DIMENSION, SIDE, SIDE)
_NUMBERS = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8}


@dataclass(frozen=True)
class TinyCut:
    """A cut of the tiny backbone, as manifests tell it."""

    dtype: Dtype = "float32"
    name: str = "blocks.0"
    share: float = 0.25
    beside: int = 0  # numbers of an embedding that heads read as well
    told: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        told = {
            "name": self.name, "tensor": "features", "kind": "map", "dtype": self.dtype, "shape": list(SHAPE),
            "stride": 1, "share": self.share, "bytes": 1000,
        }  # fmt: skip
        object.__setattr__(self, "told", told)

    def trunk(self) -> bytes:
        """u8 pixels [N, 8, 8, 3] → `tap` [N, 4, 8, 8]."""
        model = onnx.load_from_string(tiny())
        kept = [node for node in model.graph.node if node.op_type in ("Cast", "Transpose", "Conv")]
        return _with(model, [*kept, *self._tap()], [self._told()])

    def whole(self) -> bytes:
        """The tiny backbone with `tap` as one more output."""
        model = onnx.load_from_string(tiny())
        return _with(model, [*model.graph.node, *self._tap()], [*model.graph.output, self._told()])

    def head(self, seed: int, classes: int = 3, metadata: dict[str, str] | None = None) -> bytes:
        """`tap` → probabilities and novelty, through a tail with weights of its own."""
        random, pooled = np.random.default_rng(seed), "pooled" if self.beside else "embedding"
        constants = {
            "tail.weight": random.normal(size=(DIMENSION, DIMENSION, 1, 1)) / 20,
            "head.weight": random.normal(size=(DIMENSION, classes)) / 20, "head.bias": random.normal(size=classes),
            "novelty.weight": random.normal(size=(DIMENSION, 1)) / 20,
        }  # fmt: skip
        nodes = [
            helper.make_node("Cast", ["tap"], ["real"], to=TensorProto.FLOAT),
            helper.make_node("Conv", ["real", "tail.weight"], ["map"]),
            helper.make_node("GlobalAveragePool", ["map"], ["mean"]),
            helper.make_node("Flatten", ["mean"], [pooled]),
            helper.make_node("Gemm", [pooled, "head.weight", "head.bias"], ["own"]),
            *self._with_beside(),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
            helper.make_node("MatMul", [pooled, "novelty.weight"], ["far"]),
            helper.make_node("Sigmoid", ["far"], ["near"]),
            helper.make_node("Squeeze", ["near", "axes"], ["novelty"]),
        ]
        outputs = [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", classes]),
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes]),
            helper.make_tensor_value_info("novelty", TensorProto.FLOAT, ["batch"]),
        ]
        weights = [numpy_helper.from_array(np.asarray(v, np.float32), name) for name, v in constants.items()]
        weights.append(numpy_helper.from_array(np.array([1], np.int64), "axes"))
        inputs = [self._told()]
        if self.beside:
            theirs = np.asarray(random.normal(size=(self.beside, classes)) / 20, np.float32)
            weights.append(numpy_helper.from_array(theirs, "beside.weight"))
            inputs.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", self.beside]))
        graph = helper.make_graph(nodes, "head", inputs, outputs, weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        about = {"espalier.cut": self.name, "espalier.trunk": "t"}
        about |= {"espalier.beside": str(self.beside)} if self.beside else {}
        helper.set_model_props(model, about | (metadata or {}))
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())

    def stored(self, artifacts: Artifacts) -> dict[str, Any]:
        """What a manifest says, with its graphs in the store."""
        told = {"cut": self.told, "trunk": artifacts.put(self.trunk()), "whole": artifacts.put(self.whole())}
        return told | ({"beside": self.beside} if self.beside else {})

    def _with_beside(self) -> list[onnx.NodeProto]:
        """`own` → `logits`."""
        if not self.beside:
            return [helper.make_node("Identity", ["own"], ["logits"])]
        theirs = helper.make_node("MatMul", ["embedding", "beside.weight"], ["theirs"])
        return [theirs, helper.make_node("Add", ["own", "theirs"], ["logits"])]

    def _tap(self) -> list[onnx.NodeProto]:
        if self.dtype == "float32":
            return [helper.make_node("Identity", ["features"], ["tap"])]
        return [
            helper.make_node("Abs", ["features"], ["positive"]),
            helper.make_node("Cast", ["positive"], ["tap"], to=TensorProto.UINT8),
        ]

    def _told(self) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info("tap", _NUMBERS[self.dtype], ["batch", *SHAPE])


def _with(model: onnx.ModelProto, nodes: list[onnx.NodeProto], outputs: list[onnx.ValueInfoProto]) -> bytes:
    nodes, outputs = list(nodes), list(outputs)  # views of what is cleared
    copied = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    told = [onnx.ValueInfoProto.FromString(output.SerializeToString()) for output in outputs]
    model.graph.ClearField("node")
    model.graph.ClearField("output")
    model.graph.node.extend(copied)
    model.graph.output.extend(told)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
