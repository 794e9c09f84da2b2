"""What one made-up image makes of a graph's tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from adapters.modalities.image import Pixels
from adapters.runtime.onnx import session
from adapters.training.backbone.blocks import INPUT, Shape


@dataclass(frozen=True, slots=True)
class Seen:
    """Of one tensor."""

    shape: Shape  # with the batch dimension first, which windows of Swin are part of
    dtype: str  # numpy's name


def observe(data: bytes, names: Sequence[str], side: int) -> dict[str, Seen]:
    """Shapes and types of tensors for one image; inferred shapes stop at the first padding that is computed."""
    model = onnx.load_from_string(data)
    wanted, types = list(dict.fromkeys(names)), _types(model)
    outputs = {output.name for output in model.graph.output}
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, types.get(name, onnx.TensorProto.FLOAT), None)
        for name in wanted
        if name not in outputs
    )
    answered = session.create(model.SerializeToString()).run(wanted, {INPUT: noise(1, side, channels(model.graph))})
    return {name: Seen(value.shape, str(value.dtype)) for name, value in zip(wanted, answered, strict=True)}


def shapes(data: bytes, names: Sequence[str], side: int) -> list[Shape]:
    """Of one image, without the batch dimension."""
    seen = observe(data, names, side)
    return [seen[name].shape[1:] for name in names]


def noise(count: int, side: int, channels: int = 3) -> Pixels:
    """The same pixels every time, uint8 [N, S, S, C]."""
    return np.random.default_rng(0).integers(0, 256, (count, side, side, channels), np.uint8)


def channels(graph: Any) -> int:
    """C of the pixels that a graph reads."""
    return int(graph.input[0].type.tensor_type.shape.dim[-1].dim_value)


def _types(model: Any) -> dict[str, int]:
    """The element types of tensors: floats, but for what is rounded or still pixels."""
    inferred = onnx.shape_inference.infer_shapes(model)
    return {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
