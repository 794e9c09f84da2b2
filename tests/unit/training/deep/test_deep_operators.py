"""Operators in torch against ONNX Runtime, one node at a time."""

from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from adapters.errors import InvalidInput
from adapters.runtime.onnx import session
from adapters.training.deep import interpreter
from adapters.training.deep.interpreter import operators

MAP, ROWS, TOKENS = (2, 6, 9, 9), (2, 12), (2, 5, 8)
I64 = np.int64


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, I64)


KERNEL = {"kernel_shape": [3, 3]}
# (operator, shape of what is seen, further inputs, attributes)
CASES: list[tuple[str, tuple[int, ...], list[Any], dict[str, Any]]] = [
    ("Conv", MAP, [random(4, 6, 3, 3), random(4)], {"pads": [1, 1, 1, 1]}),
    ("Conv", MAP, [random(6, 1, 3, 3)], {"group": 6, "strides": [2, 2], "pads": [0, 0, 1, 1]}),
    ("Conv", MAP, [random(4, 3, 3, 3)], {"group": 2, "dilations": [2, 2], "pads": [2, 1, 2, 1]}),
    ("MaxPool", MAP, [], KERNEL | {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("MaxPool", MAP, [], KERNEL | {"strides": [2, 2], "pads": [0, 0, 1, 1]}),
    ("MaxPool", MAP, [], {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("AveragePool", MAP, [], KERNEL | {"pads": [1, 1, 1, 1]}),
    ("AveragePool", MAP, [], KERNEL | {"pads": [1, 1, 1, 1], "count_include_pad": 1}),
    ("AveragePool", MAP, [], KERNEL | {"pads": [0, 0, 1, 1], "strides": [2, 2]}),
    ("AveragePool", MAP, [], KERNEL | {"pads": [0, 0, 1, 1], "strides": [2, 2], "count_include_pad": 1}),
    ("GlobalAveragePool", MAP, [], {}),
    ("GlobalMaxPool", MAP, [], {}),
    ("Pad", MAP, [ints(0, 0, 1, 2, 0, 0, 3, 0)], {}),
    ("Pad", MAP, [ints(0, 0, 1, 2, 0, 0, 3, 0), np.float32(-1.5)], {"mode": "constant"}),
    ("Pad", MAP, [ints(0, 0, 1, 2, 0, 0, 3, 0)], {"mode": "reflect"}),
    ("Gemm", ROWS, [random(7, 12), random(7)], {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    ("MatMul", TOKENS, [random(8, 3)], {}),
    ("LayerNormalization", TOKENS, [random(8), random(8)], {"epsilon": 1e-6, "axis": -1}),
    ("BatchNormalization", MAP, [random(6), random(6), random(6), np.abs(random(6)) + 0.1], {}),
    ("Add", TOKENS, [random(8)], {}),
    ("Sub", TOKENS, [random(5, 8)], {}),
    ("Mul", TOKENS, [np.float32(0.7)], {}),
    ("Div", TOKENS, [np.float32(1.4142135)], {}),
    ("Pow", TOKENS, [np.float32(2.0)], {}),
    *((name, TOKENS, [], {}) for name in ("Erf", "Tanh", "Exp", "Abs", "Neg", "Relu", "Sigmoid", "HardSwish")),
    *((name, TOKENS, [], {}) for name in ("Identity", "LeakyRelu", "Elu", "HardSigmoid", "Softmax")),
    ("HardSigmoid", TOKENS, [], {"alpha": 1 / 6, "beta": 0.5}),
    ("Gelu", TOKENS, [], {}),
    ("Gelu", TOKENS, [], {"approximate": "tanh"}),
    ("Clip", TOKENS, [np.float32(0), np.float32(0.5)], {}),
    ("Softmax", TOKENS, [], {"axis": 1}),
    ("Concat", TOKENS, [random(2, 3, 8)], {"axis": 1}),
    ("Transpose", MAP, [], {"perm": [0, 2, 3, 1]}),
    ("Reshape", TOKENS, [ints(0, -1)], {}),
    ("Flatten", MAP, [], {"axis": 1}),
    ("Squeeze", (2, 1, 3, 1), [ints(1, 3)], {}),
    ("Unsqueeze", ROWS, [ints(1, -1)], {}),
    ("Slice", TOKENS, [ints(1, 0), ints(4, 2**62), ints(1, 2), ints(1, 3)], {}),
    ("Slice", TOKENS, [ints(-1), ints(-(2**62)), ints(2), ints(-2)], {}),
    ("Gather", TOKENS, [np.array(0, I64)], {"axis": 1}),
    ("Gather", TOKENS, [ints(-1, 2)], {"axis": 2}),
    ("Expand", (1, 1, 8), [ints(2, 5, 1)], {}),
    ("Tile", ROWS, [ints(1, 2)], {}),
    ("ReduceMean", MAP, [ints(2, 3)], {"keepdims": 0}),
    ("ReduceMean", TOKENS, [ints(-1)], {}),
    ("ReduceSum", TOKENS, [ints(1)], {"keepdims": 0}),
    ("ReduceMax", MAP, [ints(2, 3)], {}),
    ("ReduceL2", MAP, [ints(2, 3)], {}),
    ("ReduceL2", TOKENS, [ints(-1)], {"keepdims": 0}),
    ("ReduceL2", ROWS, [], {}),
    ("Cast", TOKENS, [], {"to": TensorProto.INT32}),
    *((name, TOKENS, [random(8)], {}) for name in ("Max", "Min", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")),
    ("IsNaN", TOKENS, [], {}),
    ("GatherND", TOKENS, [np.array([[0, 1], [1, -1]], I64)], {}),
]  # fmt: skip


def model_of(
    name: str, shape: tuple[int, ...], further: list[Any], attributes: dict[str, Any], outputs: int = 1
) -> Any:
    constants = [numpy_helper.from_array(np.asarray(value), f"c{n}") for n, value in enumerate(further)]
    names = ["pooled", *(f"other{n}" for n in range(1, outputs))]
    node = helper.make_node(name, ["tap", *(c.name for c in constants)], names, name="/block/node", **attributes)
    seen = helper.make_tensor_value_info("tap", TensorProto.FLOAT, shape)
    told = [helper.make_empty_tensor_value_info(each) for each in names]
    graph = helper.make_graph([node], "one", [seen], told, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize(("name", "shape", "further", "attributes"), CASES)
def test_an_operator_computes_what_onnx_runtime_does(name, shape, further, attributes):
    """As exported backbones use it."""
    data, seen = model_of(name, shape, further, attributes).SerializeToString(), random(*shape)
    wanted = session.create(data).run(None, {"tap": seen})[0]
    got = interpreter.Tail(data)(torch.from_numpy(seen)).detach().numpy()
    assert got.shape == wanted.shape and got.dtype == wanted.dtype
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "count"), [("And", 2), ("Or", 2), ("Not", 1)])
def test_what_is_true_of_masks(name, count):
    given = [torch.tensor([True, True, False, False]), torch.tensor([True, False, True, False])][:count]
    model = model_of(name, (4,), [each.numpy() for each in given[1:]], {})
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.BOOL
    (wanted,) = session.create(model.SerializeToString()).run(None, {"tap": given[0].numpy()})
    assert operators.of(name)({}, *given).tolist() == wanted.tolist()


def test_positions_are_counted_as_onnx_runtime_does():
    model = model_of("Range", (), [np.array(9, I64), np.array(2, I64)], {})
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    (wanted,) = session.create(model.SerializeToString()).run(None, {"tap": np.array(3, I64)})
    got = operators.of("Range")({}, *(torch.tensor(value) for value in (3, 9, 2)))
    assert got.dtype == torch.int64 and got.tolist() == wanted.tolist()


def test_looking_up_in_several_at_a_time_is_refused():
    """`batch_dims`, which no exporter of a backbone here writes."""
    model = model_of("GatherND", TOKENS, [np.array([[1], [2]], I64)], {"batch_dims": 1})
    with pytest.raises(InvalidInput, match="batch_dims"):
        interpreter.run(model.SerializeToString(), random(*TOKENS))


def test_the_length_of_nothing_but_zeros_has_a_slope():
    """Global response normalisation (ConvNeXt V2) takes it of maps that an activation may have silenced."""
    seen = torch.zeros(2, 12, requires_grad=True)
    (slope,) = torch.autograd.grad(
        interpreter.Tail(model_of("ReduceL2", ROWS, [], {}).SerializeToString())(seen).sum(), seen
    )
    assert torch.isfinite(slope).all()


def test_a_square_root_of_what_is_not_negative():
    """Where normalisations are exported in single operators."""
    data, seen = model_of("Sqrt", ROWS, [], {}).SerializeToString(), np.abs(random(*ROWS))
    np.testing.assert_allclose(interpreter.run(data, seen), session.create(data).run(None, {"tap": seen})[0], rtol=1e-6)


@pytest.mark.parametrize(("further", "attributes"), [([ints(3, 5)], {}), ([], {"num_outputs": 2})])
def test_a_split_has_all_parts(further, attributes):
    """Of given sizes, or of equal ones."""
    model = model_of("Split", TOKENS, further, attributes | {"axis": 2}, outputs=2)
    seen = random(*TOKENS)
    wanted = session.create(model.SerializeToString()).run(None, {"tap": seen})
    got = operators.of("Split")(dict(attributes, axis=2), torch.from_numpy(seen), *map(torch.from_numpy, further))
    for mine, theirs in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs)


@pytest.mark.parametrize("scale", [np.float32(0.02), np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], np.float32)])
def test_a_rounded_tap_is_what_it_stands_for(scale):
    """One scale, or one for each channel."""
    zero = np.full(np.shape(scale), 7, np.uint8)
    model = model_of("DequantizeLinear", MAP, [scale, zero], {"axis": 1})
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    seen = np.random.default_rng(0).integers(0, 256, MAP, np.uint8)
    wanted = session.create(model.SerializeToString()).run(None, {"tap": seen})[0]
    np.testing.assert_array_equal(interpreter.run(model.SerializeToString(), seen), wanted)


def test_an_operator_that_is_not_known_is_named():
    """So that whoever brings such a backbone knows why it has no deep versions."""
    data = model_of("LRN", MAP, [], {"size": 3}).SerializeToString()
    with pytest.raises(InvalidInput, match="LRN") as caught:
        interpreter.Tail(data)
    assert caught.value.item == "LRN"


@pytest.mark.parametrize(
    ("name", "attributes", "what"),
    [("Split", {"axis": 2}, "num_outputs"), ("Pad", {"mode": "wrap"}, "wrap"), ("Cast", {"to": 16}, "16")],
)
def test_an_operator_that_says_too_little_or_what_is_not_known_is_named_with_that(name, attributes, what):
    further = [ints(0, 0, 1, 0, 0, 1)] if name == "Pad" else []
    module = interpreter.Tail(model_of(name, TOKENS, further, attributes).SerializeToString())
    with pytest.raises(InvalidInput, match=f"a {name} that cannot be trained here: .*{what}") as caught:
        module(torch.from_numpy(random(*TOKENS)))
    assert caught.value.item == name
