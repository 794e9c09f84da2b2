"""An encoder of sequences of a few nodes: two blocks of masked attention, and the mean of what the mask shows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from adapters import padding
from adapters.types import Tensors

WORDS, WIDTH = 20, 8


def encoder(seen_again: bool = False) -> bytes:
    """ids i64 [N, T], mask i64 [N, T] → `pooled` f32 [N, 8]; `seen_again`: ids are read once more behind them."""
    random = np.random.default_rng(0)
    constants = {"table": random.normal(size=(WORDS, WIDTH)), "least": np.array(-1e4), "one": np.array(1.0)}
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["words"]),
        helper.make_node("Cast", ["mask"], ["shown"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["shown", "middle"], ["keys"]),  # [N, 1, T]
        helper.make_node("Sub", ["one", "keys"], ["hidden"]),
        helper.make_node("Mul", ["hidden", "least"], ["bias"]),
    ]
    before = "words"
    for number in range(2):
        constants |= _weights(number, random)
        nodes += _attention(number, before)
        before = f"joined{number}"
    if seen_again:
        nodes.append(helper.make_node("Gather", ["table", "ids"], ["again"]))
        nodes.append(helper.make_node("Add", [before, "again"], ["both"]))
        before = "both"
    nodes += [
        helper.make_node("Unsqueeze", ["shown", "last"], ["rows"]),
        helper.make_node("Mul", [before, "rows"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["rows", "middle"], ["count"], keepdims=0),
        helper.make_node("Div", ["sum", "count"], ["pooled"]),
    ]
    return _model(nodes, constants)


def _weights(number: int, random: np.random.Generator) -> dict[str, Any]:
    return {
        f"net.layer.{number}.{name}.weight": random.normal(size=(WIDTH, WIDTH)) / WIDTH**0.5
        for name in ("query", "value")
    }


def _attention(number: int, x: str) -> list[Any]:
    def named(name: str) -> str:
        return f"{name}{number}"

    weight = f"net.layer.{number}.{{}}.weight".format
    return [
        helper.make_node("MatMul", [x, weight("query")], [named("q")]),
        helper.make_node("Transpose", [x], [named("k")], perm=[0, 2, 1]),
        helper.make_node("MatMul", [named("q"), named("k")], [named("meet")]),
        helper.make_node("Add", [named("meet"), "bias"], [named("biased")]),
        helper.make_node("Softmax", [named("biased")], [named("share")], axis=-1),
        helper.make_node("MatMul", [x, weight("value")], [named("v")]),
        helper.make_node("MatMul", [named("share"), named("v")], [named("told")]),
        helper.make_node("Add", [x, named("told")], [named("joined")]),
    ]


def _model(nodes: list[Any], constants: dict[str, Any]) -> bytes:
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["N", "T"]) for name in ("ids", "mask")]
    output = helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["N", WIDTH])
    kept = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()]
    kept += [numpy_helper.from_array(np.array([at]), name) for name, at in (("middle", 1), ("last", -1))]
    graph = helper.make_graph(nodes, "sequences", inputs, [output], kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def sequence(numbers: Sequence[int]) -> Tensors:
    """Of these words, each 0 to 19."""
    ids = np.array(numbers, np.int64)
    return {"ids": ids, "mask": np.ones_like(ids)}


def several(count: int, seed: int = 0) -> list[Tensors]:
    """Of 2 to 11 words each."""
    random = np.random.default_rng(seed)
    return [sequence(random.integers(0, WORDS, random.integers(2, 12)).tolist()) for _ in range(count)]


def made_up(graph: Any, count: int) -> Tensors:
    """As `observing.MadeUp`."""
    return padding.collate(several(count), pad=False)
