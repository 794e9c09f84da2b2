"""A trained tail and its head → one ONNX graph: `tap` in, what a head answers out.

The tail is the backbone's own graph behind the cut with other initializers, and the head's nodes read what it tells: a
tensor inside that is called `embedding`, as a shallow head's input is. Where the shallow head has a say, `embedding` is
an input, too, as that head reads it, and what the tail tells is called `pooled`.
"""

import json
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, version_converter

from adapters.backbones.cuts import TAP
from adapters.runtime.heads import deep_session
from adapters.training import programs
from adapters.training.publish import export
from adapters.types import Cut, Ensemble, HeadProgram

POOLED = "pooled"
JOINED = "joined"  # what the tail tells, and the embedding
PREFIX = "tail/"  # of the tail's tensors and nodes: a head has names of its own


def to_onnx(
    program: HeadProgram, tail: bytes, cut: Cut, dimension: int, classes: Sequence[str], metadata: dict[str, str]
) -> bytes:
    """The ONNX file; the same program, tail and metadata give the same bytes.

    `program` reads the tail's `pooled`, D numbers, and then, of an ensemble, numbers of an embedding. The tail's input
    is `tap` and its output f32 [N, D]. Raises what `export.to_onnx` does.
    """
    beside = reads_beside(program, dimension)
    head = onnx.load_from_string(export.to_onnx(program, dimension + beside, classes, {}))
    body = _converted(onnx.load_from_string(tail))
    named = {TAP: TAP, POOLED: POOLED if beside else export.INPUT}
    for node in body.graph.node:
        node.name = f"{PREFIX}{node.name}" if node.name else ""
        for names in (node.input, node.output):
            names[:] = [named.get(name, f"{PREFIX}{name}") if name else "" for name in names]
    for tensor in body.graph.initializer:
        tensor.name = f"{PREFIX}{tensor.name}"
    if beside:
        _join(head)
    model = _model(body, head, cut, beside)
    told = metadata | ({deep_session.BESIDE: str(beside)} if beside else {})
    told |= {deep_session.CUT: cut.name, "labels": json.dumps(list(classes), ensure_ascii=False)}
    helper.set_model_props(model, told)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def reads_beside(program: HeadProgram, dimension: int) -> int:
    """How many numbers of an embedding a deep program reads beside the tail's `pooled`, D numbers."""
    ensemble = isinstance(program.steps[0], Ensemble)
    return (programs.reads(program) or dimension) - dimension if ensemble else 0


def _join(head: onnx.ModelProto) -> None:
    """Its nodes read what the tail tells and the embedding side by side."""
    for node in head.graph.node:
        node.input[:] = [JOINED if name == export.INPUT else name for name in node.input]
    head.graph.node.insert(0, helper.make_node("Concat", [POOLED, export.INPUT], [JOINED], name=JOINED, axis=1))


def tail_of(graph: bytes, dimension: int) -> bytes:
    """The trained tail in a file of `to_onnx`: `tap` → `pooled` f32 [N, D], under the names that it had."""
    model = onnx.load_from_string(graph)
    nodes = [node for node in model.graph.node if _of_tail(node)]
    for node in nodes:
        node.name = node.name.removeprefix(PREFIX)
        for names in (node.input, node.output):
            names[:] = [POOLED if name == export.INPUT else name.removeprefix(PREFIX) for name in names]
    weights = [tensor for tensor in model.graph.initializer if tensor.name.startswith(PREFIX)]
    for tensor in weights:
        tensor.name = tensor.name.removeprefix(PREFIX)
    pooled = helper.make_tensor_value_info(POOLED, onnx.TensorProto.FLOAT, ["batch", dimension])
    body = helper.make_graph(nodes, "tail", list(model.graph.input), [pooled], weights)
    made = helper.make_model(body, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    onnx.checker.check_model(made, full_check=True)
    return bytes(made.SerializeToString(deterministic=True))


def _of_tail(node: onnx.NodeProto) -> bool:
    """Whether it is behind the tap and before the head."""
    return all(name.startswith(PREFIX) or name == export.INPUT for name in node.output if name)


def _model(body: onnx.ModelProto, head: onnx.ModelProto, cut: Cut, beside: int) -> onnx.ModelProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(cut.dtype))
    shape = ["time", *cut.shape[1:]] if cut.kind == "sequence" else cut.shape
    inputs = [helper.make_tensor_value_info(TAP, kind, ["batch", *shape])]
    if beside:
        inputs.append(helper.make_tensor_value_info(export.INPUT, onnx.TensorProto.FLOAT, ["batch", beside]))
    graph = helper.make_graph(
        [*body.graph.node, *head.graph.node], "head", inputs, list(head.graph.output),
        [*body.graph.initializer, *head.graph.initializer],
    )  # fmt: skip
    version = max(body.ir_version, export.IR_VERSION)
    return helper.make_model(
        graph, opset_imports=list(body.opset_import), ir_version=version, producer_name=export.PRODUCER
    )


def _converted(tail: onnx.ModelProto) -> onnx.ModelProto:
    """In an opset that has what heads are made of."""
    plain = next(entry.version for entry in tail.opset_import if entry.domain in ("", "ai.onnx"))
    if plain >= export.OPSET:
        return tail
    return version_converter.convert_version(tail, export.OPSET)
