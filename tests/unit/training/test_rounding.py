"""Weights of convolutions in int8 that answer as before: plain, strided, padded, grouped and depthwise."""

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from adapters.training.backbone import rounding
from adapters.training.backbone.rounding import Inputs, Shape

CASES = [  # outputs, inputs, groups, kernel, stride, pads
    (24, 16, 1, 1, 1, (0, 0, 0, 0)), (24, 16, 1, 3, 2, (0, 0, 1, 1)), (16, 16, 16, 5, 1, (2, 2, 2, 2)),
    (24, 16, 4, 3, 1, (1, 1, 1, 1)),
]  # fmt: skip


def images(channels: int, count: int = 40, side: int = 12) -> np.ndarray:
    """Channels that go together, and neighbours that are alike, as behind a layer: f32 [N, C, H, W], none below 0."""
    random = np.random.default_rng(0)
    mixed = np.einsum("cd,ndhw->nchw", random.normal(size=(channels, 4)), random.normal(size=(count, 4, side, side)))
    smooth = mixed + np.roll(mixed, 1, axis=2) + np.roll(mixed, 1, axis=3)
    return np.maximum(smooth + 0.1 * random.normal(size=smooth.shape), 0).astype(np.float32)


def convolved(values: np.ndarray, weight: np.ndarray, groups: int, stride: int, pads: tuple[int, ...]) -> np.ndarray:
    top, left, bottom, right = pads
    padded = torch.nn.functional.pad(torch.from_numpy(values), (left, right, top, bottom))
    kernel = torch.from_numpy(weight.astype(np.float32))
    return torch.nn.functional.conv2d(padded, kernel, stride=stride, groups=groups).numpy()


@pytest.mark.parametrize(("outputs", "channels", "groups", "size", "stride", "pads"), CASES)
def test_answers_are_nearer_than_with_weights_rounded_to_what_is_nearest(outputs, channels, groups, size, stride, pads):
    """On images that were not looked at."""
    weight = np.random.default_rng(1).normal(size=(outputs, channels // groups, size, size))
    seen = Inputs(Shape(groups, (size, size), (stride, stride), pads))
    values = images(channels)
    for value in values[:30]:
        seen.look(value[None])
    scale = np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / 127
    nearest = np.round(weight / scale).astype(np.int8)
    wanted = convolved(values[30:], weight, groups, stride, pads)
    errors = []
    for found in (rounding.fitted(weight, scale, seen), nearest):
        assert found.dtype == np.int8 and found.shape == weight.shape and np.abs(found.astype(int)).max() <= 127
        errors.append(float(((convolved(values[30:], found * scale, groups, stride, pads) - wanted) ** 2).sum()))
    assert errors[0] < 0.85 * errors[1]


def test_inputs_are_those_that_the_kernel_covers():
    """Every product is of a patch of the padded image, at its stride."""
    values = images(2, count=1, side=5)
    seen = Inputs(Shape(1, (3, 3), (2, 2), (0, 0, 1, 1)))
    seen.look(values)
    padded = np.pad(values[0], ((0, 0), (0, 1), (0, 1)))
    patches = [padded[:, y : y + 3, x : x + 3].reshape(-1) for y in (0, 2) for x in (0, 2)]
    counts = np.linalg.lstsq(
        np.stack([np.outer(p, p).reshape(-1) for p in patches], axis=1), seen.products()[0].reshape(-1), rcond=None
    )[0]
    assert seen.products().shape == (1, 18, 18)
    np.testing.assert_allclose(counts, counts.round(), atol=1e-2)
    assert counts.round().sum() == rounding.PLACES


def test_a_convolution_of_nothing_but_zeros_is_left_as_it_is():
    """Neither its scale nor what it never saw divides by zero."""
    seen = Inputs(Shape(1, (1, 1), (1, 1), (0, 0, 0, 0)))
    seen.look(np.zeros((1, 3, 4, 4), np.float32))
    scale = np.full(2, 0.5 / 127)
    assert not rounding.fitted(np.zeros((2, 3, 1, 1)), scale, seen).any()
    np.testing.assert_array_equal(rounding.fitted(np.full((2, 3, 1, 1), 0.5), scale, seen), np.full((2, 3, 1, 1), 127))


@pytest.mark.parametrize(
    ("attributes", "plain"), [({}, True), ({"dilations": [2, 2]}, False), ({"auto_pad": "SAME_UPPER"}, False)]
)
def test_only_plain_convolutions_are_fitted(attributes, plain):
    node = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3], **attributes)
    assert (Shape.of(node, np.zeros((4, 3, 3, 3))) is not None) is plain
    assert Shape.of(node, np.zeros((4, 3, 3))) is None
    assert Shape.of(node, np.zeros((1, 600, 3, 3))) is None  # too many inputs


def test_weights_are_put_in_by_name():
    tensors = [numpy_helper.from_array(np.zeros(2, np.int8), name) for name in ("a", "b")]
    model = helper.make_model(helper.make_graph([], "g", [], [], tensors))
    rounding.replace(model, {"b": np.array([3, 4], np.int8)})
    assert isinstance(model, onnx.ModelProto)
    found = {tensor.name: numpy_helper.to_array(tensor).tolist() for tensor in model.graph.initializer}
    assert found == {"a": [0, 0], "b": [3, 4]}
