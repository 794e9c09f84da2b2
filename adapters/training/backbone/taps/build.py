"""A backbone's graph → the same with taps. Its other outputs stay as they are, bit for bit, and are shown to."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from adapters.errors import ParityError
from adapters.modalities.image import Pixels
from adapters.runtime.onnx import session
from adapters.training.backbone.taps import ends, graph, rounded
from adapters.training.backbone.taps.nodes import EMBEDDING
from adapters.training.backbone.taps.told import facts


def tapped(data: bytes, side: int) -> tuple[bytes, list[dict[str, Any]]]:
    """The graph of a backbone that takes images of `side` pixels, with `embedding`, and what its numbers tell.

    A graph in which no end of a block is found is returned as it is, with nothing to tell. Raises ParityError when
    `pooled` changes by a bit.
    """
    model = onnx.load_from_string(data)
    found = ends.find(model.graph, side, lambda names: _shapes(data, names, side))
    pooled, features = _shapes(data, [ends.POOLED, ends.FEATURES], side)
    taps = rounded.add(model.graph, found, pooled[0]) or graph.add(model.graph, found, pooled[0], features)
    if not taps:
        return data, []
    onnx.checker.check_model(model, full_check=True)
    made = model.SerializeToString(deterministic=True)
    _prove(data, made, side)
    return made, facts(taps)


def without_taps(data: bytes) -> bytes:
    """A backbone's graph with `pooled` and `features` alone, and only the nodes that they need."""
    model = onnx.load_from_string(data)
    wanted = {ends.POOLED, ends.FEATURES}
    kept = []
    for node in reversed(model.graph.node):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    outputs = [output for output in model.graph.output if output.name != EMBEDDING]
    constants = [tensor for tensor in model.graph.initializer if tensor.name in wanted]
    for field, values in (("node", kept[::-1]), ("output", outputs), ("initializer", constants)):
        model.graph.ClearField(field)
        getattr(model.graph, field).extend(values)
    return bytes(model.SerializeToString(deterministic=True))


def _shapes(data: bytes, names: Sequence[str], side: int) -> list[ends.Shape]:
    """What one image makes of tensors; inferred shapes stop at the first padding that is computed."""
    model = onnx.load_from_string(data)
    wanted, types = list(dict.fromkeys(names)), _types(model)
    outputs = {output.name for output in model.graph.output}
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, types.get(name, onnx.TensorProto.FLOAT), None)
        for name in wanted
        if name not in outputs
    )
    answered = session.create(model.SerializeToString()).run(wanted, {"pixels": _noise(1, side)})
    shapes = {name: tuple(value.shape[1:]) for name, value in zip(wanted, answered, strict=True)}
    return [shapes[name] for name in names]


def _types(model: Any) -> dict[str, int]:
    """The element types of tensors: floats, but for what is rounded or still pixels."""
    inferred = onnx.shape_inference.infer_shapes(model)
    return {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}


def _prove(before: bytes, after: bytes, side: int) -> None:
    names = [ends.POOLED, ends.FEATURES]
    old, new = session.create(before), session.create(after)
    for count in (1, 2):
        pixels = _noise(count, side)
        wanted = old.run(names, {"pixels": pixels})
        *got, embedding = new.run([*names, EMBEDDING], {"pixels": pixels})
        same = all(np.array_equal(w, g) for w, g in zip(wanted, got, strict=True))
        if not same or not np.array_equal(embedding[:, : wanted[0].shape[1]], wanted[0]):
            raise ParityError("the graph with taps answers another `pooled` than the one without")
        if not np.isfinite(embedding).all():
            raise ParityError("the taps of the graph are not all numbers")


def _noise(count: int, side: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)
