"""A tail's ONNX graph as a torch module: node by node, its weights as parameters. Export is the same graph with others.

So training needs no file of weights and no class of the model, and what is exported differs from what was there in
numbers only. An exported graph has its normalisations folded into convolutions: there are no statistics that could move
while only a part is trained, the classic fault of partly frozen networks.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from adapters.errors import InvalidInput
from adapters.training.backbone import weights
from adapters.training.deep.interpreter import operators
from adapters.types import Floats

TAP, POOLED = "tap", "pooled"
CHUNK = 64  # rows at a time
# Where an initializer of floats is a weight; anywhere else it says how to compute.
WEIGHTS = {"Conv": (1, 2), "Gemm": (1, 2), "MatMul": (0, 1), "LayerNormalization": (1, 2), "BatchNormalization": (1, 2)}
BESIDE = ("Add", "Mul", "Concat", "Expand")  # weights behind the first of those: biases, scales, tokens, positions


@dataclass(frozen=True, slots=True)
class _Call:
    """One node."""

    kind: str
    operator: operators.Operator
    attributes: operators.Attributes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    last: tuple[str, ...]  # what nobody reads after it


class Tail(torch.nn.Module):
    """A tail that can be trained: taps [N, *shape] → pooled f32 [N, D].

    Raises InvalidInput for a graph with an operator that is not known here; a pass, for one that is not known so.
    """

    def __init__(self, graph: bytes) -> None:
        super().__init__()
        self._model = onnx.load_from_string(graph)
        nodes = list(self._model.graph.node)
        found = {tensor.name: _tensor(tensor) for tensor in self._model.graph.initializer}
        self.blocks = _blocks(nodes, found)  # name of a weight → the block that it is in, in the graph's order
        self.names = list(self.blocks)
        self.weights = torch.nn.ParameterList(torch.nn.Parameter(found[name]) for name in self.names)
        self._constants = {name: value for name, value in found.items() if name not in self.blocks}
        self._calls = _calls(nodes)

    def forward(self, tap: torch.Tensor) -> torch.Tensor:
        known = dict(self._constants)
        known |= dict(zip(self.names, self.weights, strict=True))
        known[TAP] = tap
        doubled = any(weight.dtype == torch.float64 for weight in self.weights)
        for call in self._calls:
            given = _beside([known[name] if name else None for name in call.inputs], tap.device)
            made = _made(call, given)
            outputs = (made,) if isinstance(made, torch.Tensor) else made
            if doubled:  # what rounded numbers become is float32 by the graph's own word
                outputs = tuple(each.double() if each.dtype == torch.float32 else each for each in outputs)
            known.update(zip(call.outputs, outputs, strict=False))
            for name in call.last:
                del known[name]
        return known[POOLED]

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Constants go where weights go; what says how to compute (shapes, bounds) stays where Python reads it."""
        super()._apply(fn, recurse)
        self._constants = {k: fn(v) if v.is_floating_point() and v.ndim else v for k, v in self._constants.items()}
        return self

    def groups(self) -> list[tuple[str, list[torch.nn.Parameter]]]:
        """Weights by the block that they are in; the block nearest to the input first."""
        found: dict[str, list[torch.nn.Parameter]] = {}
        for name, weight in zip(self.names, self.weights, strict=True):
            found.setdefault(self.blocks[name], []).append(weight)
        return list(found.items())

    def to_onnx(self) -> bytes:
        """The same graph with the weights as they are now; the same weights give the same bytes."""
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        trained = dict(zip(self.names, self.weights, strict=True))
        for tensor in model.graph.initializer:
            if tensor.name in trained:
                value = trained[tensor.name].detach().float().cpu().numpy()
                tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), tensor.name))
        return bytes(model.SerializeToString(deterministic=True))


def run(tail: bytes, taps: NDArray[Any], dtype: torch.dtype = torch.float32) -> Floats:
    """Taps [N, *shape], as the trunk tells them → pooled f32 [N, D]: what an exported tail has to equal.

    `dtype` is what is computed in: float64 shows how much of a difference is float32's rounding.
    """
    module = Tail(tail).to(dtype)
    with torch.no_grad():
        parts = [module(as_input(part, dtype)) for part in torch.from_numpy(np.ascontiguousarray(taps)).split(CHUNK)]
    return torch.cat(parts).float().numpy()


def as_input(taps: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Stored taps as a tail reads them: halves are made floats, rounded numbers stay."""
    return taps.to(dtype) if taps.is_floating_point() else taps


def _made(call: _Call, given: list[torch.Tensor | None]) -> Any:
    """What a node gives. Raises InvalidInput where its attributes say too little, or what is not known here."""
    try:
        return call.operator(call.attributes, *given)
    except KeyError as error:
        why = f"nothing is known of its {error.args[0]!r}"
        raise InvalidInput(
            f"this backbone has a {call.kind} that cannot be trained here: {why}", item=call.kind
        ) from None


def _beside(given: list[torch.Tensor | None], device: torch.device) -> list[torch.Tensor | None]:
    """Inputs of a node, those that an accelerator computes with on it: an exporter's constants, made as a pass goes.

    Whole numbers say how to compute (shapes, axes), and torch itself brings single numbers along.
    """
    if device.type == "cpu" or all(each is None or each.device != device for each in given):
        return given
    stay = (torch.int32, torch.int64)
    return [each if each is None or not each.ndim or each.dtype in stay else each.to(device) for each in given]


def _tensor(tensor: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(numpy_helper.to_array(tensor)))  # a copy: what is read is not ours to change


def _calls(nodes: list[Any]) -> list[_Call]:
    last_use = {name: position for position, node in enumerate(nodes) for name in node.input if name}
    return [
        _Call(
            node.op_type,
            operators.of(node.op_type) if node.op_type != "Constant" else lambda attributes: attributes["value"],
            {attribute.name: _value(attribute) for attribute in node.attribute},
            tuple(node.input),
            tuple(node.output),
            tuple({name for name in node.input if last_use.get(name) == position}),
        )
        for position, node in enumerate(nodes)
    ]


def _value(attribute: Any) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return _tensor(value)
    return value.decode() if isinstance(value, bytes) else value


def _blocks(nodes: list[Any], constants: dict[str, torch.Tensor]) -> dict[str, str]:
    """Name of each weight → the block that reads it first."""
    stored = {name: name for name, value in constants.items() if value.is_floating_point() and value.numel() > 1}
    found: dict[str, str] = {}
    begun = False
    for node in nodes:
        if node.op_type == "Identity" and node.input[0] in stored:  # an exporter keeps equal weights once
            stored[node.output[0]] = stored[node.input[0]]
            continue
        begun = begun or node.op_type in WEIGHTS
        places = WEIGHTS.get(node.op_type, range(len(node.input)) if begun and node.op_type in BESIDE else ())
        for place in places:
            if place < len(node.input) and node.input[place] in stored:
                found.setdefault(stored[node.input[place]], block(node))
    return found if any("/" in node.name for node in nodes) else weights.blocks(found)


def block(node: Any) -> str:
    """`/blocks/blocks.4/blocks.4.2/conv_pw/Conv` → `blocks.4`, `/conv_head/Conv` → `conv_head`."""
    parts = node.name.strip("/").split("/")[:-1] or [node.name or node.output[0]]
    return next((part for part in parts if "." in part), parts[0])
