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


def residual(outside: int = 32) -> bytes:
    """Two sizes with two residual blocks each, and a wider end: [8, 4, 4] and [16, 2, 2]."""
    net = Network()
    last = net.relu(net.conv(net.start, 3, 8, "/stem/conv/Conv", stride=8), "/stem/act/Relu")
    for block in range(2):
        inner = net.relu(net.conv(last, 8, 8, f"/a/a.{block}/conv/Conv", size=3), f"/a/a.{block}/act1/Relu")
        last = net.relu(net.add(inner, last, f"/a/a.{block}/Add"), f"/a/a.{block}/act2/Relu")
    last = net.conv(last, 8, 16, "/b/down/Conv", stride=2)
    for block in range(2):
        inner = net.relu(net.conv(last, 16, 16, f"/b/b.{block}/conv/Conv", size=3), f"/b/b.{block}/act1/Relu")
        last = net.relu(net.add(inner, last, f"/b/b.{block}/Add"), f"/b/b.{block}/act2/Relu")
    return net.finished(net.relu(net.conv(last, 16, outside, "/head/conv/Conv"), "/head/act/Relu"), outside)


def with_unknown(behind: int | None) -> bytes:
    """Three blocks, and behind one of them an operator that training does not know: LRN."""
    net = Network()
    last, inside = net.start, 3
    for block, (outside, stride) in enumerate([(8, 8), (16, 2), (32, 2)]):
        last = net.relu(net.conv(last, inside, outside, f"/s/s.{block}/Conv", stride=stride), f"/s/s.{block}/Relu")
        last = net.node("LRN", [last], f"/s/s.{block}/LRN", size=3) if block == behind else last
        inside = outside
    return net.finished(last, inside)


def inverted() -> bytes:
    """An inverted residual block without a join, whose narrow end has no activation."""
    net = Network()
    wide = net.relu(net.conv(net.start, 3, 24, "/c/c.0/expand/Conv", stride=8), "/c/c.0/act/Relu")
    narrow = net.conv(wide, 24, 4, "/c/c.0/project/Conv")
    return net.finished(net.relu(net.conv(narrow, 4, 32, "/head/conv/Conv"), "/head/act/Relu"), 32)


def chain() -> bytes:
    """Convolutions and poolings alone, as VGG."""
    net = Network()
    last = net.relu(net.conv(net.start, 3, 4, "/f/f.0/Conv", stride=8, size=3), "/f/f.1/Relu")
    last = net.relu(net.conv(last, 4, 6, "/f/f.2/Conv", size=3), "/f/f.3/Relu")
    last = net.node("MaxPool", [last], "/f/f.4/MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    last = net.relu(net.conv(last, 6, 48, "/f/f.5/Conv", size=3), "/f/f.6/Relu")
    return net.finished(last, 48)


def branching() -> bytes:
    """A branch around everything: no tensor but the last passes all that is seen."""
    net = Network()
    one = net.relu(net.conv(net.start, 3, 8, "/one/Conv", stride=8), "/one/Relu")
    other = net.relu(net.conv(net.start, 3, 8, "/other/Conv", stride=8), "/other/Relu")
    deeper = net.relu(net.conv(net.add(one, one, "/double/Add"), 8, 8, "/deeper/Conv"), "/deeper/Relu")
    return net.finished(net.node("Concat", [deeper, other], "/join/Concat", axis=1), 16)
