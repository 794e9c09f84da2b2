"""A program → ONNX, node by node with `onnx.helper`: milliseconds, where a tracing exporter takes seconds.

Input `embedding` f32 [batch, D]; outputs, f32 [batch, K]: `probabilities` and the calibrated `logits` that they are
made from, or `values`; and `novelty` f32 [batch] where the program has it.
Everything a prediction needs is inside, so any ONNX runtime gives the same answer.
"""

import json
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from adapters.errors import CorruptArtifact
from adapters.training import programs
from adapters.types import (
    Affine,
    Clip,
    Ensemble,
    Floats,
    HeadProgram,
    L2Normalize,
    Linear,
    Member,
    Minimum,
    Power,
    Relu,
    Scale,
    Sigmoid,
    Softmax,
    Step,
)

OPSET = 18
IR_VERSION = 10  # onnxruntime 1.18 and later read it
PRODUCER = "espalier"
INPUT, PROBABILITIES, LOGITS, VALUES, NOVELTY = "embedding", "probabilities", "logits", "values", "novelty"
EPSILON = 1e-12  # of L2Normalize; the torch reference has the same


def to_onnx(program: HeadProgram, dimension: int, classes: Sequence[str], metadata: dict[str, str]) -> bytes:
    """The ONNX file of a program; the same program and metadata give the same bytes.

    `labels` (a JSON list, in the order of the outputs) joins `metadata` in metadata_props.
    Raises ValueError for a program that ends in logits, and onnx's ValidationError when the graph is wrong.
    """
    outputs = _outputs(program)
    graph = _Graph()
    name, unnamed = INPUT, len(program.steps) - len(outputs)
    for position, step in enumerate(program.steps):
        target = f"x{position}" if position < unnamed else outputs[position - unnamed]
        name = graph.add(step, name, target, f"s{position}")
    _add_novelty(graph, program)
    model = _model(graph, dimension, len(classes), [*reversed(outputs)], bool(program.novelty))
    helper.set_model_props(model, {**metadata, "labels": json.dumps(list(classes), ensure_ascii=False)})
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def _outputs(program: HeadProgram) -> list[str]:
    """What the last steps' tensors are called."""
    last = program.steps[-1] if program.steps else None
    if isinstance(last, Softmax | Sigmoid):
        return [LOGITS, PROBABILITIES]
    if isinstance(last, Affine):  # back in the units of the targets
        return [VALUES]
    raise ValueError("only a program that ends in probabilities or values can be exported")


def _add_novelty(graph: "_Graph", program: HeadProgram) -> None:
    """The steps of `novelty`; leading ones that the answer begins with, too, are run once."""
    if not program.novelty:
        return
    shared, width = _shared(program), programs.reads(HeadProgram(program.novelty))
    name = f"x{shared - 1}" if shared else INPUT
    if isinstance(program.steps[0], Ensemble) and width is not None:  # it reads more than is compared
        name = graph.columns(INPUT, 0, width, "compared")
    for position, step in enumerate(program.novelty[shared:], start=shared):
        name = graph.add(step, name, f"n{position}", f"t{position}")
    graph.squeeze(name, NOVELTY)


def _shared(program: HeadProgram) -> int:
    """How many first steps the two have in common; only steps without arrays are compared."""
    count = 0
    for one, other in zip(program.steps[:-2], program.novelty, strict=False):
        if not isinstance(one, Power | L2Normalize) or one != other:
            break
        count += 1
    return count


def refuse_external_data(data: bytes) -> None:
    """Raise CorruptArtifact unless the graph carries all its tensors: a path in a model file reads other files."""
    try:
        model = onnx.load_from_string(data)
    except Exception as error:  # protobuf's DecodeError has no public home
        raise CorruptArtifact(f"these bytes are not an ONNX graph ({error})") from error
    for tensor in _tensors(model.graph):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise CorruptArtifact(f"the ONNX graph keeps {tensor.name!r} in another file", item=tensor.name)


def _tensors(graph: onnx.GraphProto) -> list[TensorProto]:
    """Every tensor of a graph: initializers, sparse ones, attributes, and those of graphs inside attributes."""
    found = [*graph.initializer, *(part for s in graph.sparse_initializer for part in (s.values, s.indices))]
    for attribute in (a for node in graph.node for a in node.attribute):
        found += [attribute.t, *attribute.tensors]
        for inner in (attribute.g, *attribute.graphs):
            if inner.node or inner.initializer or inner.sparse_initializer:
                found += _tensors(inner)
    return found


def _model(graph: "_Graph", dimension: int, classes: int, names: list[str], novelty: bool) -> onnx.ModelProto:
    inputs = [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", dimension])]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", classes]) for name in names]
    if novelty:
        outputs.append(helper.make_tensor_value_info(NOVELTY, TensorProto.FLOAT, ["batch"]))
    proto = helper.make_graph(graph.nodes, "head", inputs, outputs, graph.initializers)
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(proto, opset_imports=opset, ir_version=IR_VERSION, producer_name=PRODUCER)


class _Graph:
    """Nodes and constants, gathered step by step."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[TensorProto] = []

    def add(self, step: Step, source: str, target: str, prefix: str) -> str:
        """Append the nodes of one step, from tensor `source` to tensor `target`; returns `target`."""
        match step:
            case Power(exponent):
                self._power(exponent, source, target, prefix)
            case L2Normalize():
                self._norm(source, prefix)
                self._node("Max", [f"{prefix}.norm", self._constant(f"{prefix}.eps", EPSILON)], f"{prefix}.safe")
                self._node("Div", [source, f"{prefix}.safe"], target)
            case Affine(shift, scale):
                self._node("Sub", [source, self._constant(f"{prefix}.shift", shift)], f"{prefix}.centred")
                self._node("Mul", [f"{prefix}.centred", self._constant(f"{prefix}.scale", scale)], target)
            case Linear(weight, bias):
                parameters = [self._constant(f"{prefix}.weight", weight), self._constant(f"{prefix}.bias", bias)]
                self._node("Gemm", [source, *parameters], target)
            case Relu():
                self._node("Relu", [source], target)
            case Scale(factor):
                self._node("Mul", [source, self._constant(f"{prefix}.factor", factor)], target)
            case Softmax():
                self._node("Softmax", [source], target, axis=1)
            case Sigmoid():
                self._node("Sigmoid", [source], target)
            case Minimum():
                self._node("ReduceMin", [source, self._axes(prefix)], target, keepdims=1)
            case Clip(low, high):
                bounds = [self._constant(f"{prefix}.low", low), self._constant(f"{prefix}.high", high)]
                self._node("Clip", [source, *bounds], target)
            case Ensemble(members):
                self._ensemble(members, source, target, prefix)
        return target

    def _ensemble(self, members: Sequence[Member], source: str, target: str, prefix: str) -> None:
        weighted, begin = [], 0
        for number, member in enumerate(members):
            mine = f"{prefix}.m{number}"
            name = self.columns(source, begin, begin + member.width, f"{mine}.read")
            for position, step in enumerate(member.steps):
                name = self.add(step, name, f"{mine}.x{position}", f"{mine}.s{position}")
            weighted.append(self.add(Scale(member.weight), name, f"{mine}.said", mine))
            begin += member.width
        self._node("Sum", weighted, target)

    def columns(self, source: str, begin: int, end: int, target: str) -> str:
        """[batch, D] → [batch, end - begin]."""
        bounds = [("begin", begin), ("end", end), ("axis", 1)]
        for name, value in bounds:
            self.initializers.append(numpy_helper.from_array(np.array([value], np.int64), f"{target}.{name}"))
        self._node("Slice", [source, *(f"{target}.{name}" for name, _ in bounds)], target)
        return target

    def squeeze(self, source: str, target: str) -> None:
        """[batch, 1] → [batch]."""
        self._node("Squeeze", [source, self._axes(target)], target)

    def _norm(self, source: str, prefix: str) -> None:
        """Not by ReduceL2, which adds up one number after the other: of 3,464 numbers its norm was 3e-6 off, always to
        the same side, and a novelty 5e-4 (ONNX Runtime 1.31; ReduceSum adds up many side by side: 5e-7).
        """
        self._node("Mul", [source, source], f"{prefix}.squares")
        self._node("ReduceSum", [f"{prefix}.squares", self._axes(prefix)], f"{prefix}.sum", keepdims=1)
        self._node("Sqrt", [f"{prefix}.sum"], f"{prefix}.norm")

    def _power(self, exponent: float, source: str, target: str, prefix: str) -> None:
        self._node("Sign", [source], f"{prefix}.sign")
        self._node("Abs", [source], f"{prefix}.abs")
        self._node("Pow", [f"{prefix}.abs", self._constant(f"{prefix}.exponent", exponent)], f"{prefix}.power")
        self._node("Mul", [f"{prefix}.sign", f"{prefix}.power"], target)

    def _node(self, operator: str, inputs: list[str], output: str, **attributes: int) -> None:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))

    def _constant(self, name: str, value: Floats | float) -> str:
        self.initializers.append(numpy_helper.from_array(np.asarray(value, dtype=np.float32), name))
        return name

    def _axes(self, prefix: str) -> str:
        name = f"{prefix}.axes"
        self.initializers.append(numpy_helper.from_array(np.array([1], dtype=np.int64), name))
        return name
