"""Tails as torch modules: they answer as ONNX Runtime does, and are exported as the same graph with other weights."""

import numpy as np
import onnx
import pytest
import torch
from support.networks import SIDE, inverted, residual

from adapters.runtime.onnx import session
from adapters.training.backbone import cuts
from adapters.training.backbone.observing import images
from adapters.training.backbone.precisions import int8
from adapters.training.deep import interpreter

CUTS = [(residual, "a.1"), (residual, "b.1"), (inverted, "c.0"), (residual, "all")]


def taps(graph: bytes, cut: str, count: int = 3) -> tuple[bytes, np.ndarray]:
    """A tail and what it reads."""
    found = cuts.named(cuts.find(graph, images(SIDE)), cut)
    pixels = np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)
    tap = session.create(cuts.trunk(graph, found)).run(None, {"pixels": pixels})[0]
    return cuts.floated(cuts.tail(graph, found)), tap


def answered(tail: bytes, tap: np.ndarray) -> np.ndarray:
    return session.create(tail).run(None, {"tap": tap})[0]


@pytest.mark.parametrize(("network", "cut"), CUTS)
def test_a_tail_answers_as_its_graph_does(network, cut):
    """Wherever the backbone is cut, before everything, too."""
    tail, tap = taps(network(), cut)
    wanted = answered(tail, tap)
    np.testing.assert_allclose(interpreter.run(tail, tap), wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize(("network", "cut"), CUTS)
def test_what_was_trained_is_exported_as_the_same_graph_with_other_weights(network, cut):
    """Equal to the module that it came from; what is not trained, such as the scale of pixels, stays."""
    tail, tap = taps(network(), cut)
    module = interpreter.Tail(tail)
    assert module.to_onnx() == module.to_onnx()
    untouched = answered(module.to_onnx(), tap)
    np.testing.assert_array_equal(untouched, answered(tail, tap))
    with torch.no_grad():
        for weight in module.weights:
            weight.mul_(1.1).add_(0.01)
    made = module.to_onnx()
    wanted = module(torch.from_numpy(tap)).detach().numpy()
    np.testing.assert_allclose(answered(made, tap), wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())
    assert np.abs(wanted - untouched).max() > 1e-3
    before, after = onnx.load_from_string(tail), onnx.load_from_string(made)
    assert [node.op_type for node in before.graph.node] == [node.op_type for node in after.graph.node]
    changed = {a.name for a, b in zip(before.graph.initializer, after.graph.initializer, strict=True) if a != b}
    assert changed == set(module.names)


def test_weights_are_those_of_layers_and_go_by_their_blocks():
    """Nearest to the input first: what the rates of a fit fall by. A scale of pixels and bounds are no weights."""
    tail, _ = taps(residual(), "a.1")
    groups = interpreter.Tail(tail).groups()
    assert [name for name, _ in groups] == ["b", "b.0", "b.1", "head"]
    assert all(weight.ndim == 4 for _, weights in groups for weight in weights)
    whole, _ = taps(residual(), "all")
    assert {name for name, _ in interpreter.Tail(whole).groups()} >= {"stem", "a.0", "a.1", "b.0", "b.1", "head"}
    assert not {"scale"} & set(interpreter.Tail(whole).names)


def test_a_tail_computes_in_another_precision():
    """In float64 the rounding of float32 shows."""
    tail, tap = taps(residual(), "a.1")
    exact = interpreter.run(tail, tap, torch.float64)
    np.testing.assert_allclose(interpreter.run(tail, tap), exact, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def rounded() -> bytes:
    """A network in 8 bits."""
    pixels = np.random.default_rng(2).integers(0, 256, (20, SIDE, SIDE, 3), np.uint8)
    return int8.convert(residual(), pixels)


@pytest.mark.parametrize("cut", ["a.1", "b.1"])
def test_a_tail_of_a_rounded_backbone_reads_bytes_and_computes_in_floats(rounded, cut):
    """The very bytes that serving's trunk tells; their scale is no weight."""
    tail, tap = taps(rounded, cut)
    assert tap.dtype == np.uint8
    wanted = answered(tail, tap)
    np.testing.assert_allclose(interpreter.run(tail, tap), wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())
    exact = interpreter.run(tail, tap, torch.float64)
    np.testing.assert_allclose(exact, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())
    module = interpreter.Tail(tail)
    assert all(weight.ndim == 4 or weight.ndim == 1 for weight in module.weights)
    assert answered(module.to_onnx(), tap).tobytes() == wanted.tobytes()
