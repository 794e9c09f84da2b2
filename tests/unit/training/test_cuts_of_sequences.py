"""Cuts of an encoder of sequences: what is cut, what a tap has beside, and what a tail makes of it."""

import numpy as np
import onnx
import pytest
from support.sequences import WIDTH, encoder, made_up, several

from adapters import padding
from adapters.errors import ParityError
from adapters.runtime.onnx import session
from adapters.training.backbone import cuts, weights
from adapters.training.backbone.cuts import halves
from adapters.training.deep import interpreter

GRAPH = encoder()


@pytest.fixture(scope="module")
def cut() -> cuts.listing.Cut:
    (found,) = cuts.find(GRAPH, made_up)
    return found


def told(graph: bytes, given: dict) -> np.ndarray:
    return session.create(graph).run(None, dict(given))[-1]


def test_blocks_are_found_and_named_by_their_weights(cut):
    """Behind the last one no layer multiplies, and before the first are tables."""
    assert (cut.name, cut.kind, cut.dtype, cut.stride) == ("layer.0", "sequence", "float32", None)
    assert cut.shape[1] == WIDTH + 1 and cut.share == 0.5
    assert cut.bytes == 2 * WIDTH * WIDTH * 4


def test_halves_and_the_whole_with_a_tap_have_the_bits_of_the_backbone(cut):
    cuts.prove(GRAPH, cut, made_up)


def test_another_bit_is_told(cut, monkeypatch):
    """Of a tail whose weights are others."""
    model = onnx.load_from_string(halves.tail(GRAPH, cut))
    (tensor,) = [each for each in model.graph.initializer if each.name.endswith("1.value.weight")]
    values = onnx.numpy_helper.to_array(tensor).copy()
    values[0, 0] += 1e-3
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    monkeypatch.setattr(halves, "tail", lambda graph, cut: model.SerializeToString())
    with pytest.raises(ParityError, match="trunk and tail"):
        cuts.prove(GRAPH, cut, made_up)


def test_a_tap_says_where_pieces_are(cut):
    """1 behind each of them, 0 where a row is padded."""
    given = several(2, seed=1)
    tap = told(cuts.trunk(GRAPH, cut), padding.collate(given, pad=False))
    assert tap.shape[2] == WIDTH + 1
    for row, one in zip(tap, given, strict=True):
        length = len(one["ids"])
        assert (row[:length, -1] == 1).all() and (row[length:, -1] == 0).all()


def test_taps_of_several_passes_are_read_together_as_one_by_one(cut):
    """Stacked, the shorter ones have zeros behind them."""
    trunk, tail = cuts.trunk(GRAPH, cut), cuts.tail(GRAPH, cut)
    taps = [told(trunk, padding.collate([one], pad=False))[0] for one in several(5)]
    alone = np.concatenate([told(tail, {"tap": tap[np.newaxis]}) for tap in taps])
    np.testing.assert_allclose(told(tail, {"tap": padding.stacked(taps)}), alone, atol=1e-6)
    parts = [padding.stacked(taps[:2]), padding.stacked(taps[2:])]
    np.testing.assert_array_equal(padding.joined(parts), padding.stacked(taps))


def test_a_tail_that_reads_what_is_seen_is_no_cut():
    """Its shape it may read, which the mask has, too."""
    assert cuts.find(encoder(seen_again=True), made_up) == []


def test_a_graph_without_a_mask_that_reads_no_pixels_has_none():
    model = onnx.load_from_string(GRAPH)
    del model.graph.input[1]
    assert cuts.listed(model.SerializeToString(), made_up) == ([], [])


@pytest.mark.parametrize("mask", [np.array([7]), np.ones((1, 5), np.int32)])
def test_a_second_input_that_is_no_such_mask_is_not_taken_for_one(mask):
    """A length, or numbers of another kind: a tail could not give them back."""
    given = {"ids": np.zeros((1, 5), np.int64), "mask": mask}
    assert cuts.find(GRAPH, lambda graph, count: given) == []


def test_torch_computes_what_a_tail_does(cut):
    """And its weights lie in the blocks that their names say."""
    tail = cuts.floated(cuts.tail(GRAPH, cut))
    tap = told(cuts.trunk(GRAPH, cut), made_up(None, 4))
    np.testing.assert_allclose(interpreter.run(tail, tap), told(tail, {"tap": tap}), atol=5e-6)
    assert [name for name, _ in interpreter.Tail(tail).groups()] == ["layer.1"]


# Names of weights
def test_modules_are_told_by_weights_without_what_all_share():
    found = weights.paths(["net.layer.0.query.weight", "net.norm.bias", "val_3"])
    assert found == {"net.layer.0.query.weight": ["layer", "layer.0", "layer.0.query"], "net.norm.bias": ["norm"]}


def test_a_weight_without_a_name_is_in_the_block_of_the_next():
    """A transposed matrix is followed by its bias; the last one has none behind it."""
    names = ["a.0.norm.weight", "val_1", "a.1.dense.bias", "b.head.weight", "val_2"]
    assert weights.blocks(names) == {
        "a.0.norm.weight": "a.0", "val_1": "a.1", "a.1.dense.bias": "a.1", "b.head.weight": "b.head", "val_2": "b.head",
    }  # fmt: skip
