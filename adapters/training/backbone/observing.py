"""What a made-up input makes of a graph's tensors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnx

from adapters import modalities
from adapters.modalities.image import Pixels
from adapters.runtime.onnx import session
from adapters.training.backbone.blocks import INPUT, Shape
from adapters.types import Backbone, Tensors

MadeUp: TypeAlias = Callable[[Any, int], Tensors]  # a graph and a number → so many made-up inputs of it, side by side


@dataclass(frozen=True, slots=True)
class Seen:
    """Of one tensor."""

    shape: Shape  # with the batch dimension first, which windows of Swin are part of
    dtype: str  # numpy's name


def of(backbone: Backbone) -> MadeUp:
    """Inputs as its modality makes them up."""
    modality, spec = modalities.of(backbone), backbone.spec
    return lambda graph, count: modality.collate(modality.trial(spec, count), spec)


def images(side: int) -> MadeUp:
    """Images of `side` pixels."""
    return lambda graph, count: {INPUT: noise(count, side, channels(graph))}


def observe(data: bytes, names: Sequence[str], made_up: MadeUp) -> dict[str, Seen]:
    """Shapes and types of tensors for one input; inferred shapes stop at the first padding that is computed."""
    model = onnx.load_from_string(data)
    wanted, types = list(dict.fromkeys(names)), _types(model)
    outputs = {output.name for output in model.graph.output}
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, types.get(name, onnx.TensorProto.FLOAT), None)
        for name in wanted
        if name not in outputs
    )
    answered = session.create(model.SerializeToString()).run(wanted, dict(made_up(model.graph, 1)))
    return {name: Seen(value.shape, str(value.dtype)) for name, value in zip(wanted, answered, strict=True)}


def shapes(data: bytes, names: Sequence[str], side: int) -> list[Shape]:
    """Of one image, without the batch dimension."""
    seen = observe(data, names, images(side))
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
