"""Cuts: where the embedded backbone and networks of a few nodes come in two, and that trunk and tail are the whole."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from support.networks import SIDE, Network, branching, chain, inverted, residual, with_unknown

from adapters.backbones.cuts import check_recorded
from adapters.errors import InvalidInput, ParityError
from adapters.modalities import image
from adapters.modalities.image import Preprocessing, calibration
from adapters.modalities.image.calibration import CalibrationImages
from adapters.runtime.fake import FAKE
from adapters.runtime.onnx import session
from adapters.store import backbones, database
from adapters.store.objects.artifacts import Artifacts
from adapters.training.backbone import cuts
from adapters.training.backbone.cuts import halves, listing, proof
from adapters.training.backbone.observing import MadeUp, images
from adapters.training.backbone.precisions import fp16, int8
from adapters.training.backbone.taps.build import tapped, without_taps
from adapters.training.deep.interpreter import Tail
from adapters.types import Cut

NAMES = ["all", *(f"blocks.{stage}" for stage in range(7))]
PIXELS = 224


@pytest.fixture(scope="module")
def photos(prepared: Path) -> CalibrationImages:
    """Crops of two photos."""
    engine = database.connect(f"sqlite:///{prepared / 'espalier.sqlite'}")
    spec = backbones.find(engine, "tf_efficientnet_lite0").spec
    engine.dispose()
    return calibration.crops(spec)


@pytest.fixture(scope="module")
def full(prepared: Path) -> bytes:
    """The embedded backbone's graph in fp32."""
    engine = database.connect(f"sqlite:///{prepared / 'espalier.sqlite'}")
    artifact = backbones.find(engine, "tf_efficientnet_lite0").artifact
    engine.dispose()
    return Artifacts(str(prepared / "artifacts")).get(artifact)


@pytest.fixture(scope="module")
def small(full: bytes, photos: CalibrationImages) -> bytes:
    """The same in int8."""
    return int8.convert(full, photos.calibrated[:20])


@pytest.fixture(params=["fp32", "int8"])
def graph(request: pytest.FixtureRequest) -> bytes:
    """The embedded backbone in either precision."""
    return request.getfixturevalue({"fp32": "full", "int8": "small"}[request.param])


def signature(graph: bytes) -> dict[str, tuple]:
    """Names of inputs and outputs with types and dimensions."""
    model = onnx.load_from_string(graph).graph
    return {
        value.name: (
            onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name,
            *(d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim),
        )
        for value in [*model.input, *model.output]
    }


def run(graph: bytes, **inputs: np.ndarray) -> np.ndarray:
    (answered,) = session.create(graph).run(None, inputs)
    return answered


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    a, b = one.astype(np.float64), other.astype(np.float64)
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


# The embedded backbone
@pytest.mark.slow
def test_the_embedded_backbone_is_cut_behind_every_block(graph):
    found = cuts.find(graph, images(PIXELS))
    assert [cut.name for cut in found] == NAMES
    shares, weights = [cut.share for cut in found], [cut.bytes for cut in found]
    assert shares == sorted(shares, reverse=True) and weights == sorted(weights, reverse=True) and shares[0] == 1


def test_shares_of_work_and_weights_are_those_of_the_layers(graph):
    """384 million multiply-adds, of which 37 % come after `blocks.4` and 13 % after `blocks.5`."""
    by_name = {cut.name: cut for cut in cuts.find(graph, images(PIXELS))}
    for name, share, megabytes in (("blocks.4", 0.37, 10.7), ("blocks.5", 0.13, 4.1)):
        assert by_name[name].share == pytest.approx(share, abs=0.01)
        assert by_name[name].bytes / 1e6 == pytest.approx(megabytes, abs=0.1)
    head = 320 * 1280 * 49  # of the last convolution alone
    assert by_name["blocks.6"].share == pytest.approx(head / 384e6, rel=0.01)
    assert by_name["blocks.6"].bytes == (320 * 1280 + 1280) * 4


def test_a_cut_says_what_is_read_there(graph):
    told = {cut.name: (cut.kind, cut.shape, cut.stride) for cut in cuts.find(graph, images(PIXELS))}
    assert told["all"] == ("input", (224, 224, 3), None)
    assert told["blocks.4"] == ("map", (112, 14, 14), 16)
    assert told["blocks.5"] == ("map", (192, 7, 7), 32)


def test_maps_in_8_bits_are_cut_where_they_have_8_bits(full, small):
    assert {cut.dtype for cut in cuts.find(full, images(PIXELS))[1:]} == {"float32"}
    assert {cut.dtype for cut in cuts.find(small, images(PIXELS))} == {"uint8"}


@pytest.mark.slow
def test_trunk_and_tail_are_the_backbone_bit_for_bit(graph):
    """Where deep versions are likely to be cut; a slow test does so behind every stage."""
    found = cuts.find(graph, images(PIXELS))
    for name in ("all", "blocks.4", "blocks.5"):
        cuts.prove(graph, cuts.named(found, name), images(PIXELS))


@pytest.mark.slow
def test_trunk_and_tail_are_the_backbone_at_every_cut(graph):
    for cut in cuts.find(graph, images(PIXELS)):
        cuts.prove(graph, cut, images(PIXELS))


@pytest.mark.slow
def test_the_halves_answer_as_the_stored_graph_does(graph, photos):
    """Which tells taps as well: the same bits on photos, too."""
    backbone = session.create(graph)
    for cut in cuts.find(graph, images(PIXELS)):
        for pixels in (photos.held_out[:1], photos.held_out[1:4]):
            tap = run(cuts.trunk(graph, cut), pixels=pixels)
            (wanted,) = backbone.run(["pooled"], {"pixels": pixels})
            np.testing.assert_array_equal(run(cuts.tail(graph, cut), tap=tap), wanted)


def test_where_another_last_bit_would_come_out_is_no_cut(full):
    """Inside of a stage: ONNX Runtime makes one step of a convolution and the sum with what came before."""
    (cut,) = [cut for cut in cuts.find(full, images(PIXELS)) if cut.name == "blocks.5"]
    inside = replace(cut, name="blocks.5.1", tensor="/blocks/blocks.5/blocks.5.1/Add_output_0")
    with pytest.raises(ParityError, match=r"blocks\.5\.1"):
        cuts.prove(full, inside, images(PIXELS))


def test_what_else_a_graph_tells_is_in_neither_half(graph):
    """Taps and `features` leave no node and no constant; both halves together have the weights once."""
    cut = cuts.named(cuts.find(graph, images(PIXELS)), "blocks.4")
    trunk, tail = cuts.trunk(graph, cut), cuts.tail(graph, cut)
    tap = (cut.dtype, "batch", *cut.shape)
    assert signature(trunk) == {"pixels": ("uint8", "batch", 224, 224, 3), "tap": tap}
    assert signature(tail) == {"tap": tap, "pooled": ("float32", "batch", 1280)}
    plain = without_taps(graph)
    assert (cuts.trunk(plain, cut), cuts.tail(plain, cut)) == (trunk, tail)
    names = [{t.name for t in onnx.load_from_string(half).graph.initializer} for half in (trunk, tail)]
    assert all(names) and len(trunk) + len(tail) == pytest.approx(len(plain), rel=0.01)
    for half in (trunk, tail):
        model = onnx.load_from_string(half)
        read = {name for node in model.graph.node for name in node.input} | {o.name for o in model.graph.output}
        assert all(read & set(node.output) for node in model.graph.node), "a node that nothing reads"
        assert all(tensor.name in read for tensor in model.graph.initializer), "a constant that nothing reads"


@pytest.mark.slow
def test_halves_have_the_same_bytes_every_time(graph):
    (again,) = [cut for cut in cuts.find(graph, images(PIXELS)) if cut.name == "blocks.5"]
    for make in (cuts.trunk, cuts.tail, cuts.whole, lambda g, c: cuts.floated(cuts.tail(g, c))):
        assert make(graph, again) == make(graph, cuts.named(cuts.find(graph, images(PIXELS)), "blocks.5"))


def test_the_whole_tells_all_that_it_did_and_the_tap(graph):
    cut = cuts.named(cuts.find(graph, images(PIXELS)), "blocks.4")
    before, after = signature(graph), signature(cuts.whole(graph, cut))
    assert after == before | {"tap": (cut.dtype, "batch", *cut.shape)}
    count = [len(onnx.load_from_string(each).graph.node) for each in (graph, cuts.whole(graph, cut))]
    assert count[0] == count[1], "a node more is a copy more"


def test_before_everything_the_trunk_hands_on_the_pixels(graph):
    cut = cuts.named(cuts.find(graph, images(PIXELS)), "all")
    pixels = np.random.default_rng(0).integers(0, 256, (3, PIXELS, PIXELS, 3), np.uint8)
    np.testing.assert_array_equal(run(cuts.trunk(graph, cut), pixels=pixels), pixels)
    assert signature(cuts.tail(graph, cut))["tap"] == ("uint8", "batch", PIXELS, PIXELS, 3)


# The tail that is trained
@pytest.mark.parametrize("name", ["all", "blocks.4", "blocks.5"])
def test_a_tail_in_float32_answers_as_it_did_when_it_is_made_ready_for_training(full, photos, name):
    cut = cuts.named(cuts.find(full, images(PIXELS)), name)
    tap = run(cuts.trunk(full, cut), pixels=photos.held_out[:3])
    tail = cuts.tail(full, cut)
    np.testing.assert_array_equal(run(cuts.floated(tail), tap=tap), run(tail, tap=tap))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["all", "blocks.4", "blocks.5"])
def test_a_tail_in_8_bits_is_trained_in_float32_from_nearly_the_same_answers(small, full, photos, name):
    """Nothing but the tap is rounded, and what rounding was for (a ReLU6 in its range) is still there."""
    cut = cuts.named(cuts.find(small, images(PIXELS)), name)
    tap = run(cuts.trunk(small, cut), pixels=photos.held_out)
    tail = cuts.tail(small, cut)
    ready = cuts.floated(tail)
    assert cosines(run(tail, tap=tap), run(ready, tap=tap)).min() > (0.98 if name == "all" else 0.995)
    nodes = onnx.load_from_string(ready).graph.node
    rounding = [node.input[0] for node in nodes if node.op_type.endswith("QuantizeLinear")]
    rounding += [node.input[0] for node in nodes if node.op_type.endswith("DequantizeLinear")]
    assert rounding == ([] if name == "all" else ["tap"])


@pytest.mark.data
def test_on_real_photos_a_tail_in_float32_is_as_near_to_the_8_bit_one_as_is_said(small, data):
    """The figures of `floated`'s docstring, with room: they were measured on another calibration."""
    spec = Preprocessing(PIXELS, 0.875, "bicubic", (0.5,) * 3, (0.5,) * 3)
    files = [file for file in sorted((data / "weather").rglob("*")) if file.suffix.lower() in (".jpg", ".jpeg")][::50][
        :20
    ]
    pixels = np.stack([image.pixels(file.read_bytes(), spec) for file in files])
    cut = cuts.named(cuts.find(small, images(PIXELS)), "blocks.4")
    tap, tail = run(cuts.trunk(small, cut), pixels=pixels), cuts.tail(small, cut)
    found = cosines(run(tail, tap=tap), run(cuts.floated(tail), tap=tap))
    assert len(found) == 20 and found.mean() > 0.999 and found.min() > 0.995


def test_a_floated_tail_has_layers_and_little_else(graph):
    cut = cuts.named(cuts.find(graph, images(PIXELS)), "blocks.4")
    kinds = {node.op_type for node in onnx.load_from_string(cuts.floated(cuts.tail(graph, cut))).graph.node}
    assert kinds - {"DequantizeLinear"} == {"Conv", "Clip", "Add", "GlobalAveragePool", "Flatten"}


# Networks of a few nodes
def names(graph: bytes) -> list[tuple[str, tuple[int, ...]]]:
    return [(cut.name, cut.shape) for cut in cuts.find(graph, images(SIDE))[1:]]


def test_residual_networks_are_cut_where_nothing_is_added_to_what_was_before():
    assert names(residual()) == [("a.1", (8, 4, 4)), ("b.1", (16, 2, 2))]


def test_a_chain_is_cut_behind_its_poolings():
    """`f.4` halves what the last layer of the first size tells: the same work comes after it."""
    assert names(chain()) == [("f.4", (6, 2, 2))]


def test_an_inverted_block_is_cut_at_its_narrow_end():
    assert names(inverted()) == [("c.0", (4, 4, 4))]


def test_what_a_branch_goes_around_is_no_cut():
    assert [cut.name for cut in cuts.find(branching(), images(SIDE))] == ["all"]


def test_a_tensor_whose_tail_would_read_an_earlier_shape_is_no_cut():
    def network(reads_shape_of_start: bool) -> bytes:
        net = Network()
        last = net.relu(net.conv(net.start, 3, 8, "/a/a.0/Conv", stride=8), "/a/a.0/Relu")
        last = net.relu(net.add(net.conv(last, 8, 8, "/a/a.1/Conv"), last, "/a/a.1/Add"), "/a/a.1/act/Relu")
        deep = net.conv(last, 8, 8, "/b/Conv")
        shape = net.node("Shape", [net.start if reads_shape_of_start else deep], "shape", start=0, end=1)
        rest = net.constant(np.array([8, 4, 4]), "rest")
        flat = net.node("Reshape", [deep, net.node("Concat", [shape, rest], "sizes", axis=0)], "/b/Reshape")
        return net.finished(flat, 8)

    assert [cut.name for cut in cuts.find(network(False), images(SIDE))] == ["all", "a.1"]
    assert [cut.name for cut in cuts.find(network(True), images(SIDE))] == ["all"]


@pytest.mark.parametrize("make", [residual, inverted, chain, branching])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_halves_of_small_networks_are_the_whole(make, precision):
    graph, _ = tapped(make(), SIDE)
    if precision == "int8":
        graph = int8.convert(graph, np.random.default_rng(1).integers(0, 256, (8, SIDE, SIDE, 3), np.uint8))
    for cut in cuts.find(graph, images(SIDE)):
        cuts.prove(graph, cut, images(SIDE))


@pytest.mark.parametrize(
    ("behind", "wanted", "unknown"),
    [(None, ["all", "s.0", "s.1"], []), (0, ["s.0", "s.1"], ["LRN"]), (1, ["s.1"], ["LRN"]), (2, [], ["LRN"])],
)
def test_a_cut_before_an_operator_that_cannot_be_trained_is_none_and_the_operator_is_named(behind, wanted, unknown):
    """On record, too: so `POST /finetune` refuses what a job would fail at, once it has embedded and raced."""
    graph = with_unknown(behind)
    found, missing = cuts.listed(graph, images(SIDE))
    assert ([cut.name for cut in found], missing) == (wanted, unknown)
    for cut in found:
        Tail(cuts.floated(cuts.tail(graph, cut)))
    told = cuts.record(graph, images(SIDE))
    assert told == cuts.facts(found) | ({"untrainable": unknown} if unknown else {})
    known = replace(FAKE, details=json.loads(json.dumps(told)))
    if unknown:
        with pytest.raises(InvalidInput, match=r"an operator that cannot be trained here are left out: LRN"):
            check_recorded(known, "all")
    else:
        check_recorded(known, "all")


def test_a_network_in_half_precision_is_trained_whole_or_not_at_all():
    half = fp16.convert(residual(), np.zeros((0, SIDE, SIDE, 3), np.uint8))
    (cut,) = cuts.find(half, images(SIDE))
    assert cut.name == "all"
    ready = cuts.floated(cuts.tail(half, cut))
    kinds = {tensor.data_type for tensor in onnx.load_from_string(ready).graph.initializer}
    assert onnx.TensorProto.FLOAT16 not in kinds and onnx.TensorProto.FLOAT in kinds
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    wanted = run(cuts.tail(residual(), cut), tap=pixels)
    np.testing.assert_allclose(run(ready, tap=pixels), wanted, rtol=5e-3, atol=5e-3 * np.abs(wanted).max())


def test_a_proof_can_fail(monkeypatch):
    graph = residual()
    cut = cuts.find(graph, images(SIDE))[1]
    real = halves.tail

    def changed(graph: bytes, cut: Cut) -> bytes:
        model = onnx.load_from_string(real(graph, cut))
        weight = model.graph.initializer[0]
        values = onnx.numpy_helper.to_array(weight) * np.float32(1.0001)
        weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
        return model.SerializeToString()

    monkeypatch.setattr(halves, "tail", changed)
    with pytest.raises(ParityError, match=r"cut at 'a\.1', trunk and tail answer otherwise"):
        cuts.prove(graph, cut, images(SIDE))


def test_a_cut_is_proven_once_and_again_where_that_failed(monkeypatch):
    cut, spec = cuts.find(residual(), images(SIDE))[1], replace(FAKE.spec, size=SIDE)
    backbone, tried = replace(FAKE, digest="proven once", spec=spec), []

    def prove(graph: bytes, cut: Cut, made_up: MadeUp) -> None:
        tried.append((cut.name, made_up(graph, 1)["pixels"].shape[1]))
        if len(tried) == 1:
            raise ParityError("another bit")

    monkeypatch.setattr(proof, "prove", prove)
    with pytest.raises(ParityError):
        cuts.prove_once(backbone, residual(), cut)
    for _ in range(2):
        cuts.prove_once(backbone, residual(), cut)
    assert tried == [("a.1", SIDE)] * 2


def test_a_name_that_is_no_cut_is_refused_with_those_that_are():
    with pytest.raises(InvalidInput, match=r"there is no cut 'c'; there are: all, a\.1, b\.1") as refused:
        cuts.named(cuts.find(residual(), images(SIDE)), "c")
    assert refused.value.item == "unfreeze"


# Of a backbone
def test_cuts_that_are_on_record_are_not_worked_out_again(monkeypatch):
    found = cuts.find(residual(), images(SIDE))
    known = replace(FAKE, digest="recorded", details=cuts.facts(found))
    monkeypatch.setattr(listing, "find", None)
    assert cuts.of(known, b"") == found


def test_cuts_that_are_not_are_worked_out_once(monkeypatch):
    asked = []
    monkeypatch.setattr(listing, "find", lambda graph, side: asked.append(side) or cuts.find(residual(), images(SIDE)))
    old = replace(FAKE, digest="not recorded")
    assert cuts.of(old, residual()) == cuts.of(old, residual()) and len(asked) == 1
