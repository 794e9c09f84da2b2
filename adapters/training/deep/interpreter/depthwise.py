"""Convolutions of each channel by itself, whose slopes a processor makes several times as fast as torch's own.

oneDNN has a kernel for the gradient of such weights that are at most three columns wide; wider ones go to the kernel
for groups of sixteen channels, fifteen of which are padding. So the gradient of wider weights is made a few columns at
a time. That of the input is a convolution of the same kind by the weights turned round, for which its forward kernel is
the faster one. Times before and after: ADR 30.
"""

from typing import Any

import torch
from torch.nn import functional

COLUMNS = 3  # of weights, that oneDNN's kernel takes
Pair = tuple[int, int]  # of rows, of columns


def suits(x: torch.Tensor, weight: torch.Tensor, dilations: Any, groups: int) -> bool:
    """Whether what is asked for is such a convolution, too wide for that kernel, of float32 on a processor."""
    alone = groups == x.shape[1] == weight.shape[0] and weight.shape[1] == 1
    wide = x.ndim == 4 and weight.shape[3] > COLUMNS and set(dilations) == {1}
    return alone and wide and x.dtype == torch.float32 and x.device.type == "cpu"


def convolved(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, stride: Any, padding: Any) -> Any:
    """x f32 [N, C, H, W] and weight f32 [C, 1, h, w] → f32 [N, C, H', W'], as `functional.conv2d` with C groups."""
    return _Convolution.apply(x, weight, bias, tuple(stride), tuple(padding))


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Any, weight: Any, bias: Any, stride: Pair, padding: Pair) -> Any:
        context.save_for_backward(x, weight)
        context.stride, context.padding = stride, padding
        return functional.conv2d(x, weight, bias, stride, padding, groups=len(weight))

    @staticmethod
    def backward(context: Any, slope: Any) -> Any:
        x, weight = context.saved_tensors
        slope = slope.contiguous(memory_format=torch.channels_last)
        asked, how = context.needs_input_grad, (context.stride, context.padding)
        of_input = _of_input(slope, x, weight, *how) if asked[0] else None
        of_weight = _of_weight(slope, x, weight, *how) if asked[1] else None
        return of_input, of_weight, slope.sum((0, 2, 3)) if asked[2] else None, None, None


def _of_input(slope: Any, x: Any, weight: Any, stride: Pair, padding: Pair) -> torch.Tensor:
    rows, columns = (size - 1 - pad for size, pad in zip(weight.shape[2:], padding, strict=True))
    if stride == (1, 1) and min(rows, columns) >= 0:
        return functional.conv2d(slope, weight.flip(2, 3), None, 1, (rows, columns), groups=len(weight))
    return _backward(slope, x, weight, stride, padding, (True, False, False))[0]


def _of_weight(slope: Any, x: Any, weight: Any, stride: Pair, padding: Pair) -> torch.Tensor:
    parts, first = [], 0
    for few in weight.split(COLUMNS, dim=3):
        met = _met(x, first - padding[1], (slope.shape[3] - 1) * stride[1] + few.shape[3])
        parts.append(_backward(slope, met, few, stride, (padding[0], 0), (False, True, False))[1])
        first += few.shape[3]
    return torch.cat(parts, dim=3)


def _met(x: Any, begin: int, width: int) -> torch.Tensor:
    """So many columns of x from that one on, which a few columns of weights meet; outside of it they are zeros."""
    moved = functional.pad(x, (-begin, begin + width - x.shape[3]))
    return moved.contiguous(memory_format=torch.channels_last)


def _backward(slope: Any, x: Any, weight: Any, stride: Pair, padding: Pair, asked: tuple[bool, ...]) -> Any:
    return torch.ops.aten.convolution_backward(
        slope, x, weight, None, stride, padding, (1, 1), False, (0, 0), len(weight), asked
    )
