"""A head's graph taken apart: the structure, which thousands of heads share, and the weights that are its own.

A session takes 0.2 MB beside its weights and 1.5 ms to make, and heads of one method and so many classes differ in
nothing but numbers. So one session runs them all, and is given the numbers of one with every run: a head is then its
arrays, a fifth of the memory, and loading one is reading them (docs/adr/0008). The answers are the same, bit by bit.
"""

import functools
import threading
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from adapters.runtime.onnx import session
from adapters.types import Floats

FLOAT32 = 1  # TensorProto.DataType
# What is read of a model, as (name, number, kind), numbers from onnx.proto: fields that are not named here stay as they
# are. The onnx package would do the same, and is not in the serving process.
_MESSAGES = {
    "Entry": (("key", 1, "string"), ("value", 2, "string")),
    "Tensor": (("dims", 1, "*int64"), ("data_type", 2, "int32"), ("name", 8, "string"), ("raw_data", 9, "bytes")),
    "TensorType": (("elem_type", 1, "int32"),),
    "Type": (("tensor_type", 1, "TensorType"),),
    "Value": (("name", 1, "string"), ("type", 2, "Type")),
    "Graph": (("initializer", 5, "*Tensor"), ("input", 11, "*Value")),
    "Model": (("graph", 7, "Graph"), ("metadata_props", 14, "*Entry")),
    "Envelope": (("metadata_props", 14, "*Entry"),),
}


@dataclass(frozen=True, slots=True)
class Parts:
    """What a graph consists of."""

    structure: bytes  # a graph whose weights are inputs
    weights: dict[str, Floats]  # by input
    metadata: dict[str, str]


@dataclass(eq=False, slots=True, weakref_slot=True)
class Structure:
    """A session that runs every head of one structure."""

    session: Any
    outputs: tuple[str, ...]
    reads: int  # how many numbers of an embedding, from the first on


class Structures:
    """Sessions by structure, each for as long as a head needs it."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[bytes, Structure] = WeakValueDictionary()
        self._lock = threading.Lock()

    def get(self, graph: bytes) -> tuple[Structure, bool]:
        """The session of a structure, and whether it had to be made."""
        with self._lock:  # single flight: thousands of heads that are loaded at a time make one
            found = self._known.get(graph)
            if found is not None:
                return found, False
            # Ten thousand arenas would be too many, and there is nothing to pack: weights come with each run.
            made = session.create(graph, "cpu", arena=False, prepack=False)
            found = self._known[graph] = Structure(made, tuple(o.name for o in made.get_outputs()), _reads(made))
            return found, True


def _reads(opened: Any) -> int:
    """The length of a session's `embedding`."""
    return next(int(given.shape[1]) for given in opened.get_inputs() if given.name == "embedding")


def take_apart(data: bytes) -> Parts:
    """Structure, weights and metadata of a serialised model.

    Weights are its float32 constants; constants of another type, such as axes, belong to the structure. Raises
    protobuf's DecodeError for other bytes.
    """
    model = _message("Model").FromString(data)
    metadata = _entries(model)
    model.ClearField("metadata_props")
    weights, others = {}, []
    for tensor in model.graph.initializer:
        if _is_weight(tensor):
            weights[tensor.name] = np.frombuffer(tensor.raw_data, "<f4").reshape(tensor.dims)
            model.graph.input.add(name=tensor.name).type.tensor_type.elem_type = FLOAT32
        else:
            others.append(tensor)
    kept = [type(tensor).FromString(tensor.SerializeToString()) for tensor in others]
    model.graph.ClearField("initializer")
    model.graph.initializer.extend(kept)
    return Parts(model.SerializeToString(deterministic=True), weights, metadata)


def metadata_of(data: bytes) -> dict[str, str]:
    """What a serialised model says of itself, without a look at its graph. Raises protobuf's DecodeError."""
    return _entries(_message("Envelope").FromString(data))


def _entries(model: Any) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


def _is_weight(tensor: Any) -> bool:
    """One whose bytes are all there; what lies in another file is left for the session to refuse."""
    return tensor.data_type == FLOAT32 and len(tensor.raw_data) == 4 * int(np.prod(tensor.dims, dtype=np.int64)) > 0


@functools.cache
def _message(name: str) -> Any:
    """A message class."""
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"espalier.{name}"))


@functools.cache
def _pool() -> Any:
    """Descriptions of the messages, made when the first head is loaded."""
    from google.protobuf import descriptor_pb2, descriptor_pool

    file = descriptor_pb2.FileDescriptorProto(name="espalier/head.proto", package="espalier", syntax="proto2")
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, number, kind in fields:
            described.field.add(name=name, number=number, **_field(kind.lstrip("*"), kind.startswith("*")))
    pool = descriptor_pool.DescriptorPool()  # of our own: in the shared one, onnx's own names would be in the way
    pool.Add(file)
    return pool


def _field(kind: str, repeated: bool) -> dict[str, Any]:
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

    label = Field.LABEL_REPEATED if repeated else Field.LABEL_OPTIONAL
    if kind in _MESSAGES:
        return {"label": label, "type": Field.TYPE_MESSAGE, "type_name": f".espalier.{kind}"}
    return {"label": label, "type": getattr(Field, f"TYPE_{kind.upper()}")}
