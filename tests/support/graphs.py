"""A backbone of a few nodes, which a test can make in a millisecond."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from adapters.modalities.image import Preprocessing
from adapters.types import Backbone

SIDE, DIMENSION = 8, 4
TINY = Backbone(
    name="tiny", digest="t" * 64, artifact="", precision="fp32", dimension=DIMENSION, channels=DIMENSION,
    spec=Preprocessing(SIDE, 1.0, "nearest", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
)  # fmt: skip


def tiny(*, stray: bool = False, channels: int = 3) -> bytes:
    """uint8 [N, 8, 8, channels] → means f32 [N, 4] and map f32 [N, 4, 8, 8] of a convolution; one node reads shapes.

    `stray`: the means go through an operator that no GPU has.
    """
    weight = np.random.default_rng(0).normal(size=(DIMENSION, channels, 1, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["pixels"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["real"], ["x"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["x", "weight"], ["features"]),
        helper.make_node("GlobalAveragePool", ["features"], ["averages" if stray else "mean"]),
        helper.make_node("Shape", ["pixels"], ["shape"], start=0, end=1),
        helper.make_node("Concat", ["shape", "rest"], ["flat"], axis=0),
        helper.make_node("Reshape", ["mean", "flat"], ["pooled"]),
    ]
    if stray:
        nodes.insert(4, helper.make_node("Binarizer", ["averages"], ["mean"], domain="ai.onnx.ml", threshold=0.0))
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", SIDE, SIDE, channels])
    outputs = [
        helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["batch", DIMENSION]),
        helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", DIMENSION, SIDE, SIDE]),
    ]
    constants = [
        numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(np.array([DIMENSION], np.int64), "rest"),
    ]  # fmt: skip
    graph = helper.make_graph(nodes, "tiny", [pixels], outputs, constants)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 1)], ir_version=10
    )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
