"""Slopes of wide convolutions of each channel by itself are torch's own, made another way."""

import pytest
import torch
from torch.nn import functional

from adapters.training.deep.interpreter import depthwise, operators

SHAPES = [  # channels, rows and columns of weights, sides, stride, padding of rows and columns
    (48, (5, 5), 7, 1, (2, 2)),
    (24, (5, 5), 14, 2, (2, 2)),
    (24, (5, 5), 17, 2, (0, 0)),
    (16, (7, 7), 28, 1, (3, 3)),
    (16, (1, 7), 20, 1, (0, 3)),
    (16, (3, 4), 9, 3, (1, 0)),
    (16, (4, 6), 8, 1, (0, 5)),  # more padding than a convolution has
]


def case(channels, kernel, side, dtype=torch.float32):
    torch.manual_seed(0)
    x = torch.randn(3, channels, side, side, dtype=dtype).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(channels, 1, *kernel, dtype=dtype), torch.randn(channels, dtype=dtype)
    return [tensor.requires_grad_() for tensor in (x, weight, bias)]


@pytest.mark.parametrize(("channels", "kernel", "side", "stride", "padding"), SHAPES)
def test_slopes_are_those_of_torch(channels, kernel, side, stride, padding):
    given = case(channels, kernel, side)
    attributes = {"group": channels, "strides": [stride] * 2, "pads": [*padding, *padding], "dilations": [1, 1]}
    ours = operators.of("Conv")(attributes, *given)
    assert ours.grad_fn.name().startswith("_Convolution")
    theirs = functional.conv2d(*given, stride, padding, groups=channels)
    assert torch.equal(ours, theirs)
    slope = torch.randn_like(theirs)
    for mine, wanted in zip(*(torch.autograd.grad(y, given, slope) for y in (ours, theirs)), strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-4, atol=1e-4)


def test_what_is_asked_for_alone_is_made_alone():
    x, weight, bias = case(8, (5, 5), 7)
    weight.requires_grad_(False)
    (slope,) = torch.autograd.grad(depthwise.convolved(x, weight, bias, (1, 1), (2, 2)).sum(), [x])
    assert slope.shape == x.shape


@pytest.mark.parametrize(
    ("kernel", "groups", "dilations", "dtype"),
    [
        ((3, 3), 8, [1, 1], torch.float32),
        ((5, 5), 4, [1, 1], torch.float32),
        ((5, 5), 8, [2, 2], torch.float32),
        ((5, 5), 8, [1, 1], torch.float64),
    ],
    ids=["narrow", "of groups", "dilated", "double"],
)
def test_any_other_is_left_to_torch(kernel, groups, dilations, dtype):
    x, weight, _ = case(8, kernel, 9, dtype)
    weight = weight.expand(8, 8 // groups, *kernel)
    assert not depthwise.suits(x, weight, dilations, groups)
