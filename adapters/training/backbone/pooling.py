"""An encoder's ONNX graph → a backbone's: numbers of pieces and a mask in, one vector of length 1 a text out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from adapters.errors import InvalidInput
from adapters.types import Input

POOLED = "pooled"
TYPES = "token_type_ids"  # which of two texts a piece is of; ours are one
TINY = 1e-12  # a vector of zeros stays one


def with_pooling(data: bytes, inputs: Sequence[Input]) -> bytes:
    """Append the mean over what the mask shows, and its division by its length, as sentence-transformers has them.

    Raises InvalidInput where the graph does not read those inputs and answer f32 [N, T, D].
    """
    model = _loaded(data)
    hidden, width = _signature(model, inputs)
    graph = model.graph
    _without_types(graph, inputs[0].name)
    graph.node.extend(_nodes(hidden, inputs[1].name))
    graph.initializer.extend(_constants())
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(POOLED, TensorProto.FLOAT, ["batch", width]))
    return _clean(model)


def _loaded(data: bytes) -> Any:
    try:
        model = onnx.load_from_string(data)
    except Exception as error:
        raise InvalidInput("the encoder is not an ONNX file") from error
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise InvalidInput("the encoder keeps weights in other files; one that is whole is needed")
    return model


def _signature(model: Any, inputs: Sequence[Input]) -> tuple[str, int]:
    """The name and the width D of the output f32 [N, T, D]."""
    wanted = {each.name for each in inputs}
    found = {each.name: _shape(each) for each in model.graph.input}
    if not wanted <= found.keys() <= wanted | {TYPES} or any(kind != TensorProto.INT64 for kind, _ in found.values()):
        raise InvalidInput(f"the encoder must read int64 {', '.join(sorted(wanted))}; it reads {', '.join(found)}")
    outputs = [(each.name, *_shape(each)) for each in model.graph.output]
    if len(outputs) != 1 or outputs[0][1] != TensorProto.FLOAT or len(outputs[0][2]) != 3 or not outputs[0][2][2]:
        raise InvalidInput(f"the encoder must answer one f32 [N, T, D]; it answers {outputs}")
    return outputs[0][0], outputs[0][2][2]


def _shape(value: Any) -> tuple[int, list[int]]:
    """Element type and dimensions, 0 for those that vary."""
    kind = value.type.tensor_type
    return kind.elem_type, [d.dim_value for d in kind.shape.dim]


def _without_types(graph: Any, ids: str) -> None:
    """Where the encoder asks which of two texts a piece is of, answer 0 inside the graph."""
    for position, value in enumerate(graph.input):
        if value.name == TYPES:
            del graph.input[position]
            graph.node.insert(0, helper.make_node("Sub", [ids, ids], [TYPES], "one_text"))
            return


def _nodes(hidden: str, mask: str) -> list[Any]:
    """Nodes that every opset from 13 has: sums instead of ReduceL2, whose axes moved in 18."""
    steps = [
        ("Cast", [mask], "pool_shown", {"to": TensorProto.FLOAT}),
        ("Unsqueeze", ["pool_shown", "pool_last"], "pool_weights", {}),  # [N, T, 1]
        ("Mul", [hidden, "pool_weights"], "pool_seen", {}),
        ("ReduceSum", ["pool_seen", "pool_time"], "pool_sum", {"keepdims": 0}),  # [N, D]
        ("ReduceSum", ["pool_weights", "pool_time"], "pool_count", {"keepdims": 0}),  # [N, 1]
        ("Div", ["pool_sum", "pool_count"], "pool_mean", {}),
        ("Mul", ["pool_mean", "pool_mean"], "pool_squares", {}),
        ("ReduceSum", ["pool_squares", "pool_time"], "pool_square", {"keepdims": 1}),  # [N, 1]
        ("Sqrt", ["pool_square"], "pool_norm", {}),
        ("Max", ["pool_norm", "pool_tiny"], "pool_length", {}),
        ("Div", ["pool_mean", "pool_length"], POOLED, {}),
    ]
    return [helper.make_node(kind, names, [out], out, **options) for kind, names, out, options in steps]


def _constants() -> list[Any]:
    values = {"pool_last": np.array([-1]), "pool_time": np.array([1]), "pool_tiny": np.array(TINY, np.float32)}
    return [numpy_helper.from_array(value, name) for name, value in values.items()]


def _clean(model: Any) -> bytes:
    """Without traces of the machine that made it; checked."""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    del model.graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)
