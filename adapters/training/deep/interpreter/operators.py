"""What ONNX operators compute, in torch: each takes its node's attributes and inputs, and gives one tensor or several.

Of opset 13 to 20, as far as exported backbones use it; semantics are those of onnx/docs/Operators.md. Inputs that say
how to compute (axes, shapes, bounds) are tensors, too.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch.nn import functional

from adapters.errors import InvalidInput
from adapters.training.deep.interpreter import depthwise, masks

Attributes = dict[str, Any]
Operator = Callable[..., Any]
_TYPES = {
    1: torch.float32, 2: torch.uint8, 3: torch.int8, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16,
    11: torch.float64,
}  # fmt: skip


def of(kind: str) -> Operator:
    """The operator of that name. Raises InvalidInput for one that is not known here."""
    if kind not in _OPERATORS:
        raise InvalidInput(f"this backbone has an operator that cannot be trained here: {kind}", item=kind)
    return _OPERATORS[kind]


def unknown(kinds: Iterable[str]) -> list[str]:
    """Those of these operators that are not known here, in order of their names; constants are nobody's work."""
    return sorted(set(kinds) - _OPERATORS.keys() - {"Constant"})


def _ints(values: torch.Tensor | None) -> list[int]:
    return [] if values is None else [int(value) for value in values.flatten().tolist()]


def _axes(attributes: Attributes, given: torch.Tensor | None) -> list[int]:
    """An attribute in older opsets, an input in newer ones."""
    return list(attributes["axes"]) if "axes" in attributes else _ints(given)


# Convolutions and pools
def _padded(x: torch.Tensor, attributes: Attributes, value: float) -> tuple[torch.Tensor, list[int]]:
    """The input, and what is left for the operator to pad, which does it on both sides alike."""
    if attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise InvalidInput("this backbone pads by its input's size, which cannot be trained here", item="auto_pad")
    pads = list(attributes.get("pads", [0] * (2 * (x.ndim - 2))))
    before, after = pads[: len(pads) // 2], pads[len(pads) // 2 :]
    if before == after:
        return x, before
    sides = [side for pair in zip(before[::-1], after[::-1], strict=True) for side in pair]
    return functional.pad(x, sides, value=value), [0] * len(before)


def _conv(attributes: Attributes, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Any:
    x, padding = _padded(x, attributes, 0.0)
    ones = [1] * len(padding)
    strides, dilations = attributes.get("strides", ones), attributes.get("dilations", ones)
    groups = attributes.get("group", 1)
    if depthwise.suits(x, weight, dilations, groups):
        return depthwise.convolved(x, weight, bias, strides, padding)
    return functional.conv2d(x, weight, bias, strides, padding, dilations, groups)


def _max_pool(attributes: Attributes, x: torch.Tensor) -> torch.Tensor:
    x, padding = _padded(x, attributes, -torch.inf)
    kernel = attributes["kernel_shape"]
    strides, dilations = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    return functional.max_pool2d(x, kernel, strides, padding, dilations, bool(attributes.get("ceil_mode", 0)))


def _average_pool(attributes: Attributes, x: torch.Tensor) -> torch.Tensor:
    counted = bool(attributes.get("count_include_pad", 0))
    padded, padding = _padded(x, attributes, 0.0)
    if padded is not x and not counted:  # of one side only: a mean of ones tells how many were counted
        ones = _average_pool(attributes | {"count_include_pad": 1}, torch.ones_like(x[:1, :1]))
        return _average_pool(attributes | {"count_include_pad": 1}, x) / ones
    strides, ceil = attributes.get("strides", [1, 1]), bool(attributes.get("ceil_mode", 0))
    return functional.avg_pool2d(padded, attributes["kernel_shape"], strides, padding, ceil, counted)


def _pad(attributes: Attributes, x: torch.Tensor, pads: Any = None, value: Any = None, axes: Any = None) -> Any:
    sides, places = _ints(pads), _ints(axes) or list(range(x.ndim))
    each = [(0, 0)] * x.ndim
    for number, axis in enumerate(places):
        each[axis] = (sides[number], sides[number + len(places)])
    flat = [side for pair in each[::-1] for side in pair]
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}[attributes.get("mode", "constant")]
    if mode == "constant":
        return functional.pad(x, flat, value=float(value) if value is not None else 0.0)
    return functional.pad(x, flat[: 2 * (x.ndim - 2)], mode=mode)


def _over_map(reduce: Callable[..., torch.Tensor]) -> Operator:
    return lambda attributes, x: reduce(x, dim=tuple(range(2, x.ndim)), keepdim=True)


# Products and norms
def _gemm(attributes: Attributes, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor | None = None) -> torch.Tensor:
    a, b = (m.T if attributes.get(f"trans{name}") else m for m, name in ((a, "A"), (b, "B")))
    product = attributes.get("alpha", 1.0) * (a @ b)
    return product if c is None else product + attributes.get("beta", 1.0) * c


def _layer_norm(attributes: Attributes, x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None = None) -> Any:
    shape = x.shape[attributes.get("axis", -1) % x.ndim :]
    offset = None if bias is None else bias.expand(shape)
    return functional.layer_norm(x, shape, scale.expand(shape), offset, attributes.get("epsilon", 1e-5))


def _batch_norm(
    attributes: Attributes, x: torch.Tensor, scale: Any, bias: Any, mean: torch.Tensor, variance: torch.Tensor
) -> torch.Tensor:
    """With the statistics that it was exported with: they do not move."""
    moments = mean.detach(), variance.detach()  # an exporter keeps equal arrays once: one may be a weight elsewhere
    return functional.batch_norm(x, *moments, scale, bias, False, 0.0, attributes.get("epsilon", 1e-5))


def _dequantize(attributes: Attributes, x: torch.Tensor, scale: torch.Tensor, zero: Any = None) -> torch.Tensor:
    if scale.ndim == 1 and len(scale) > 1:
        shape = [1] * x.ndim
        shape[attributes.get("axis", 1)] = -1
        scale, zero = scale.reshape(shape), None if zero is None else zero.reshape(shape)
    return (x.float() - (0.0 if zero is None else zero.float())) * scale


# Shapes
def _reshape(attributes: Attributes, x: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
    wanted = _ints(shape)
    if not attributes.get("allowzero", 0):
        wanted = [x.shape[axis] if length == 0 else length for axis, length in enumerate(wanted)]
    return x.reshape(wanted)


def _flatten(attributes: Attributes, x: torch.Tensor) -> torch.Tensor:
    axis = attributes.get("axis", 1)
    return x.reshape(math.prod(x.shape[:axis]), -1)


def _squeeze(attributes: Attributes, x: torch.Tensor, axes: Any = None) -> torch.Tensor:
    given = _axes(attributes, axes)
    return x.squeeze(tuple(given)) if given else x.squeeze()


def _unsqueeze(attributes: Attributes, x: torch.Tensor, axes: Any = None) -> torch.Tensor:
    given = _axes(attributes, axes)
    rank = x.ndim + len(given)
    for axis in sorted(axis % rank for axis in given):
        x = x.unsqueeze(axis)
    return x


def _slice(
    attributes: Attributes, x: torch.Tensor, starts: Any, ends: Any, axes: Any = None, steps: Any = None
) -> torch.Tensor:
    begin, end = _ints(starts), _ints(ends)
    for number, axis in enumerate(_ints(axes) or range(len(begin))):
        step = _ints(steps)[number] if steps is not None else 1
        places = range(x.shape[axis])[begin[number] : end[number] : step]  # a step may lead back
        if step == 1:
            x = x.narrow(axis, places.start, len(places))
        else:
            x = x.index_select(axis, torch.tensor(list(places), device=x.device))
    return x


def _split(attributes: Attributes, x: torch.Tensor, sizes: Any = None) -> Sequence[torch.Tensor]:
    axis = attributes.get("axis", 0)
    if sizes is not None or "split" in attributes:
        return x.split(_ints(sizes) if sizes is not None else list(attributes["split"]), dim=axis)
    parts = attributes["num_outputs"]
    return x.split(-(-x.shape[axis] // parts), dim=axis)


def _gather(attributes: Attributes, x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    axis = attributes.get("axis", 0) % x.ndim
    length = x.shape[axis]
    flat = torch.where(index < 0, index + length, index).to(x.device)
    found = x.index_select(axis, flat.reshape(-1).long())
    return found.reshape([*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]])


def _shape(attributes: Attributes, x: torch.Tensor) -> torch.Tensor:
    return torch.tensor(x.shape[attributes.get("start", 0) : attributes.get("end")], dtype=torch.int64)


def _expand(attributes: Attributes, x: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, _ints(shape)))


def _constant_of_shape(attributes: Attributes, shape: torch.Tensor) -> torch.Tensor:
    value = attributes.get("value", torch.zeros(1))
    return value.reshape(()).expand(_ints(shape))


def _reduce(reduce: Callable[..., torch.Tensor]) -> Operator:
    def run(attributes: Attributes, x: torch.Tensor, axes: Any = None) -> torch.Tensor:
        given = tuple(_axes(attributes, axes)) or tuple(range(x.ndim))
        return reduce(x, dim=given, keepdim=bool(attributes.get("keepdims", 1)))

    return run


def _clip(attributes: Attributes, x: torch.Tensor, low: Any = None, high: Any = None) -> torch.Tensor:
    least = attributes.get("min") if low is None else float(low)
    most = attributes.get("max") if high is None else float(high)
    if least is None or most is None or not x.is_floating_point():
        return x.clamp(least, most)
    return functional.hardtanh(x, least, most)  # the same, whose slope takes one pass: a sixth of a step was clamp's


def _gelu(attributes: Attributes, x: torch.Tensor) -> torch.Tensor:
    return functional.gelu(x, approximate=attributes.get("approximate", "none"))


def _plain(function: Callable[..., Any]) -> Operator:
    """An operator without attributes."""
    return lambda attributes, *inputs: function(*inputs)


def _divided(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    whole = not a.is_floating_point()
    return torch.div(a, b, rounding_mode="trunc") if whole else a / b


_OPERATORS: dict[str, Operator] = {
    "Conv": _conv, "MaxPool": _max_pool, "AveragePool": _average_pool, "Pad": _pad,
    "GlobalAveragePool": _over_map(torch.mean), "GlobalMaxPool": _over_map(torch.amax),
    "Gemm": _gemm, "MatMul": _plain(torch.matmul), "LayerNormalization": _layer_norm,
    "BatchNormalization": _batch_norm, "DequantizeLinear": _dequantize,
    "Add": _plain(torch.add), "Sub": _plain(torch.sub), "Mul": _plain(torch.mul), "Div": _plain(_divided),
    "Pow": _plain(torch.pow), "Sqrt": _plain(torch.sqrt), "Erf": _plain(torch.erf), "Tanh": _plain(torch.tanh),
    "Exp": _plain(torch.exp), "Abs": _plain(torch.abs), "Neg": _plain(torch.neg),
    "Reciprocal": _plain(torch.reciprocal), "Relu": _plain(torch.relu), "Sigmoid": _plain(torch.sigmoid),
    "HardSwish": _plain(functional.hardswish), "Gelu": _gelu, "Clip": _clip,
    "HardSigmoid": lambda attributes, x: (attributes.get("alpha", 0.2) * x + attributes.get("beta", 0.5)).clamp(0, 1),
    "LeakyRelu": lambda attributes, x: functional.leaky_relu(x, attributes.get("alpha", 0.01)),
    "Elu": lambda attributes, x: functional.elu(x, attributes.get("alpha", 1.0)),
    "Softmax": lambda attributes, x: x.softmax(attributes.get("axis", -1)),
    "Concat": lambda attributes, *parts: torch.cat(parts, attributes["axis"]),
    "Transpose": lambda attributes, x: x.permute(attributes.get("perm", list(range(x.ndim))[::-1])),
    "Cast": lambda attributes, x: x.to(_TYPES[attributes["to"]]),
    "Identity": _plain(lambda x: x), "Equal": _plain(torch.eq), "Where": _plain(torch.where),
    "Reshape": _reshape, "Flatten": _flatten, "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Slice": _slice,
    "Split": _split, "Gather": _gather, "Shape": _shape, "Expand": _expand, "ConstantOfShape": _constant_of_shape,
    "Tile": _plain(lambda x, repeats: x.repeat(_ints(repeats))),
    "ReduceMean": _reduce(torch.mean), "ReduceSum": _reduce(torch.sum), "ReduceMax": _reduce(torch.amax),
    "ReduceL2": _reduce(torch.linalg.vector_norm),  # of zeros its slope is zero, that of a square root has no end
    **masks.OPERATORS,
}  # fmt: skip
