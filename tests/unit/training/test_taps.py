"""Taps: where blocks end in an exported graph, and what is told of them."""

import numpy as np
import onnx
import pytest
from support.networks import SIDE, Network, branching, chain, inverted, residual

from adapters.backbones import parts
from adapters.errors import InvalidInput
from adapters.runtime.fake import FAKE
from adapters.runtime.onnx import session
from adapters.training.backbone import observing
from adapters.training.backbone.blocks import End
from adapters.training.backbone.precisions import int8
from adapters.training.backbone.taps import build, ends, rounded


def pixels(count: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


def found(graph: bytes) -> list[End]:
    model = onnx.load_from_string(graph)
    return ends.find(model.graph, SIDE, lambda names: observing.shapes(graph, names, SIDE))


def test_residual_blocks_end_where_paths_join_and_the_last_of_each_size_is_read():
    assert [(end.name, end.shape) for end in found(residual())] == [("a.1", (8, 4, 4)), ("b.1", (16, 2, 2))]


def test_the_activation_behind_a_join_belongs_to_its_block():
    assert all(end.tensor.endswith("act2/Relu") for end in found(residual()))


def test_an_inverted_block_without_a_join_ends_at_its_narrow_convolution():
    assert [(end.tensor, end.channels) for end in found(inverted())] == [("/c/c.0/project/Conv", 4)]


def test_a_chain_is_read_at_the_last_map_of_each_size():
    assert [end.tensor for end in found(chain())] == ["/f/f.3/Relu"]  # the last size is what `pooled` is the mean of


def test_what_a_branch_goes_around_is_no_end():
    assert found(branching()) == []


def test_the_map_that_pooled_is_the_mean_of_is_not_told_twice():
    assert all(end.size != (2, 2) for end in found(residual(16))), "the last blocks have the width of `pooled`"


def test_maps_finer_than_eight_pixels_a_step_are_not_read():
    net = Network()
    fine = net.conv(net.start, 3, 8, "/fine/Conv", stride=4)
    joined = net.relu(net.add(net.conv(fine, 8, 8, "/fine/inner/Conv", size=3), fine, "/fine/Add"), "/fine/Relu")
    assert found(net.finished(net.relu(net.conv(joined, 8, 64, "/h/Conv", stride=8), "/h/Relu"), 64)) == []


def test_a_graph_without_ends_stays_as_it_is():
    graph = branching()
    assert build.tapped(graph, SIDE) == (graph, [])


@pytest.mark.parametrize("make", [lambda: residual(256), residual, inverted, chain])
def test_numbers_are_what_the_statistics_say(make):
    """Each tap, worked out with numpy from the tensor that it is about; `pooled` comes first, bit for bit."""
    graph = make()
    made, taps = build.tapped(graph, SIDE)
    by_name = {end.name: end for end in found(graph)}
    model = onnx.load_from_string(graph)
    for end in by_name.values():
        model.graph.output.append(onnx.helper.make_tensor_value_info(end.tensor, onnx.TensorProto.FLOAT, None))
    plain = session.create(model.SerializeToString())
    pooled, *maps = plain.run(["pooled", *(end.tensor for end in by_name.values())], {"pixels": pixels()})
    maps_by_name = dict(zip(by_name, maps, strict=True))
    (embedding,) = session.create(made).run(["embedding"], {"pixels": pixels()})
    np.testing.assert_array_equal(embedding[:, : pooled.shape[1]], pooled)
    offset = pooled.shape[1]
    for tap in taps:
        assert tap["offset"] == offset, "taps lie one behind the other"
        offset += tap["length"]
        got = embedding[:, tap["offset"] : offset]
        np.testing.assert_allclose(got, _statistic(maps_by_name[tap["name"]], tap["statistic"]), atol=2e-4)
    assert offset == embedding.shape[1] > pooled.shape[1]


def _statistic(x: np.ndarray, name: str) -> np.ndarray:
    if name == "regions":
        half, step = (x.shape[-1] + 1) // 2, x.shape[-1] // 2
        quarters = [x[:, :, r : r + half, c : c + half].mean(axis=(2, 3)) for r in (0, step) for c in (0, step)]
        return np.stack(quarters, axis=2).reshape(len(x), -1)
    flat = x.reshape(*x.shape[:2], -1).astype(np.float64)
    return {"max": flat.max, "mean": flat.mean, "deviation": flat.std}[name](axis=2)


def test_narrow_maps_tell_regions_and_wide_ones_how_they_vary():
    _, taps = build.tapped(residual(256), SIDE)
    assert [(t["name"], t["statistic"]) for t in taps] == [
        ("a.1", "regions"),
        ("b.1", "regions"),
        ("a.1", "max"),
        ("b.1", "max"),
    ]
    _, taps = build.tapped(residual(), SIDE)
    assert [t["statistic"] for t in taps] == ["mean", "mean", "deviation", "deviation"]


def test_parts_of_an_embedding_are_offered_as_far_as_there_are_any():
    assert parts.lengths("auto", FAKE) == {"pooled": 4}
    with pytest.raises(InvalidInput, match="'fake' has no taps to read; `espalier backbones upgrade fake` adds"):
        parts.lengths("taps", FAKE)
    with pytest.raises(InvalidInput, match="one of auto, pooled, taps, not 'all'"):
        parts.lengths("all", FAKE)


@pytest.mark.parametrize("make", [lambda: residual(256), residual, inverted, chain])
def test_taps_of_8_bit_maps_are_what_reading_them_as_floats_tells(make, monkeypatch):
    """To float noise: narrow maps and wide ones, one end of a size and several, of even and odd sizes."""
    full, _ = build.tapped(make(), SIDE)
    quick = int8.convert(full, pixels(8))
    kinds = {node.op_type for node in onnx.load_from_string(quick).graph.node}
    monkeypatch.setattr(rounded, "add", lambda *_: [])
    small = int8.convert(full, pixels(8))
    for seen in (pixels(1), pixels(3), *(np.full_like(pixels(1), value) for value in (0, 77, 255))):
        wanted, got = (session.create(g).run(["embedding"], {"pixels": seen})[0] for g in (small, quick))
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-3 if np.ptp(seen) == 0 else 1e-4)
    assert {"MatMulInteger", "MatMul"} & kinds, "the 8-bit maps themselves were not read"


def test_what_cannot_be_read_in_8_bits_is_read_as_floats():
    graph, taps = build.tapped(residual(), SIDE)
    again, same = build.tapped(build.without_taps(graph), SIDE)
    assert again == graph and same == taps, "a graph in float has no 8-bit maps"
