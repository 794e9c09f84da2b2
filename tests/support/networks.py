"""Networks of a few nodes whose blocks end in the ways that exported backbones' do."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 32  # pixels


class Network:
    """Nodes in a row; each method returns the name of the tensor that it makes."""

    def __init__(self, name: str = "net") -> None:
        self._name, self._nodes, self._constants = name, [], []
        self._random = np.random.default_rng(0)
        self.node("Cast", ["pixels"], "real", to=TensorProto.FLOAT)
        self.node("Mul", ["real", self.constant(np.float32(1 / 255), "scale")], "scaled")
        self.start = self.node("Transpose", ["scaled"], "x", perm=[0, 3, 1, 2])

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, value: Any, name: str) -> str:
        self._constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def conv(self, source: str, inside: int, outside: int, name: str, stride: int = 1, size: int = 1) -> str:
        weight = self._random.normal(0, 0.5, (outside, inside, size, size)).astype(np.float32)
        pads = [size // 2] * 4
        return self.node(
            "Conv", [source, self.constant(weight, f"{name}.weight")], name, strides=[stride, stride], pads=pads
        )

    def relu(self, source: str, name: str) -> str:
        return self.node("Relu", [source], name)

    def add(self, one: str, other: str, name: str) -> str:
        return self.node("Add", [one, other], name)

    def finished(self, last: str, channels: int) -> bytes:
        """`features` is the last map and `pooled` its mean."""
        self.node("Identity", [last], "features")
        self.node("GlobalAveragePool", ["features"], "mean")
        self.node("Flatten", ["mean"], "pooled")
        return self.model(channels)

    def model(self, channels: int) -> bytes:
        pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])
        outputs = [
            helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["batch", channels]),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", channels, "h", "w"]),
        ]
        graph = helper.make_graph(self._nodes, self._name, [pixels], outputs, self._constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        onnx.checker.check_model(made, full_check=True)
        return bytes(made.SerializeToString())
