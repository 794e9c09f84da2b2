"""A backbone's graph → the same with taps. Its other outputs stay as they are, bit for bit, and are shown to."""

from typing import Any

import numpy as np
import onnx

from adapters.errors import ParityError
from adapters.runtime.onnx import session
from adapters.training.backbone import observing
from adapters.training.backbone.blocks import FEATURES, POOLED
from adapters.training.backbone.taps import ends, graph, rounded
from adapters.training.backbone.taps.nodes import EMBEDDING
from adapters.training.backbone.taps.told import facts


def tapped(data: bytes, side: int) -> tuple[bytes, list[dict[str, Any]]]:
    """The graph of a backbone that takes images of `side` pixels, with `embedding`, and what its numbers tell.

    A graph in which no end of a block is found is returned as it is, with nothing to tell. Raises ParityError when
    `pooled` changes by a bit.
    """
    model = onnx.load_from_string(data)
    found = ends.find(model.graph, side, lambda names: observing.shapes(data, names, side))
    pooled, features = observing.shapes(data, [POOLED, FEATURES], side)
    if of_bytes := rounded.add(model.graph, found, pooled[0]):
        return _quieter(data, _proven(data, model, side), side), facts(of_bytes)
    taps = graph.add(model.graph, found, pooled[0], features)
    return (_proven(data, model, side), facts(taps)) if taps else (data, [])


def _proven(before: bytes, model: Any, side: int) -> bytes:
    """The model, which answers as the graph before does."""
    onnx.checker.check_model(model, full_check=True)
    made = bytes(model.SerializeToString(deterministic=True))
    _prove(before, made, side)
    return made


def _quieter(before: bytes, data: bytes, side: int) -> bytes:
    """Without the output `features`, which nobody reads: in 8 bits telling it takes 1 % of a pass (docs/adr/0010).

    As it was where that changes a bit of `pooled`.
    """
    model = onnx.load_from_string(data)
    model.graph.output.remove(next(output for output in model.graph.output if output.name == FEATURES))
    try:
        return _proven(before, model, side)
    except ParityError:
        return data


def without_taps(data: bytes) -> bytes:
    """A backbone's graph with `pooled` and `features` alone, and only the nodes that they need."""
    model = onnx.load_from_string(data)
    wanted = {POOLED, FEATURES}
    kept = []
    for node in reversed(model.graph.node):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    outputs = [output for output in model.graph.output if output.name != EMBEDDING]
    if FEATURES not in {output.name for output in outputs}:
        outputs.append(onnx.helper.make_tensor_value_info(FEATURES, onnx.TensorProto.FLOAT, None))
    constants = [tensor for tensor in model.graph.initializer if tensor.name in wanted]
    for field, values in (("node", kept[::-1]), ("output", outputs), ("initializer", constants)):
        model.graph.ClearField(field)
        getattr(model.graph, field).extend(values)
    return bytes(model.SerializeToString(deterministic=True))


def _prove(before: bytes, after: bytes, side: int) -> None:
    channels = observing.channels(onnx.load_from_string(before).graph)
    old, new = session.create(before), session.create(after)
    names = [output.name for output in new.get_outputs() if output.name != EMBEDDING]
    for count in (1, 2):
        pixels = observing.noise(count, side, channels)
        wanted = old.run(names, {"pixels": pixels})
        *got, embedding = new.run([*names, EMBEDDING], {"pixels": pixels})
        same = all(np.array_equal(w, g) for w, g in zip(wanted, got, strict=True))
        if not same or not np.array_equal(embedding[:, : wanted[0].shape[1]], wanted[0]):
            raise ParityError("the graph with taps answers another `pooled` than the one without")
        if not np.isfinite(embedding).all():
            raise ParityError("the taps of the graph are not all numbers")
