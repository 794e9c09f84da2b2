"""int8 and fp16 variants of the real embedded backbone: same inputs and outputs, nearly the same embeddings."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper
from support.graphs import SIDE, TINY, tiny

from adapters.errors import InvalidInput, ParityError
from adapters.modalities.image import calibration
from adapters.modalities.image.calibration import CalibrationImages
from adapters.runtime.backbone import BackboneSession
from adapters.runtime.onnx import session
from adapters.store import backbones, database
from adapters.store.objects.artifacts import Artifacts
from adapters.training.backbone import precisions, rounding, variant
from adapters.training.backbone.precisions import int8

FLOAT, UINT8 = onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8


class Shop:
    """The store of a prepared home, with its fp32 backbone and images to convert it with."""

    def __init__(self, home: Path) -> None:
        self.engine = database.connect(f"sqlite:///{home / 'espalier.sqlite'}")
        self.artifacts = Artifacts(str(home / "artifacts"))
        self.full = backbones.find(self.engine, "tf_efficientnet_lite0")
        images = calibration.crops(self.full.spec)
        self.images = replace(images, calibrated=images.calibrated[:40], held_out=images.held_out[:20])

    def build(self, precision: str, images: CalibrationImages | None = None, **options: object):
        return variant.build(self.full, precision, images or self.images, self.engine, self.artifacts, **options)


@pytest.fixture
def shop(home: Path):
    shop = Shop(home)
    yield shop
    shop.engine.dispose()


@pytest.fixture(scope="module")
def small(prepared: Path) -> bytes:
    """The embedded backbone in int8."""
    shop = Shop(prepared)
    graph = int8.convert(shop.artifacts.get(shop.full.artifact), shop.images.calibrated)
    shop.engine.dispose()
    return graph


def test_the_precisions_are_the_files():
    assert precisions.names() == ("fp16", "int8")
    with pytest.raises(InvalidInput, match=r"'bf16'.*fp16, int8"):
        precisions.get("bf16")


@pytest.mark.slow
def test_int8_keeps_inputs_and_what_is_read(small):
    """uint8 pixels in, float outputs of the same names and widths: normalisation stays inside. No whole map is told."""
    graph = onnx.load_from_string(small).graph
    assert [(i.name, i.type.tensor_type.elem_type) for i in graph.input] == [("pixels", UINT8)]
    outputs = [(o.name, o.type.tensor_type.elem_type) for o in graph.output]
    assert outputs == [("pooled", FLOAT), ("embedding", FLOAT)]
    width = [[d.dim_value for d in o.type.tensor_type.shape.dim[1:]] for o in graph.output]
    assert width == [[1280], [1280 + 2184]]


@pytest.mark.slow
def test_weights_have_8_bits_and_are_near_to_what_they_were(small, shop):
    """In the scales of the graph, channel by channel: also where the quantiser enlarges one to let a bias fit."""
    simple = onnx.load_from_string(session.simplified(shop.artifacts.get(shop.full.artifact)))
    original = {tensor.name: numpy_helper.to_array(tensor) for tensor in simple.graph.initializer}
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(small).graph.initializer}
    weights = {name: w for name, w in tensors.items() if name.endswith("_quantized") and w.ndim == 4}
    assert len(weights) == 47
    for name, weight in weights.items():
        assert weight.dtype == np.int8 and np.abs(weight.astype(int)).max() == 127
        plain = name.removesuffix("_quantized")
        scale = tensors[f"{plain}_scale"].reshape(-1, 1, 1, 1)
        assert len(scale) == len(weight)
        moved = np.abs(weight * scale - original[plain]).reshape(len(weight), -1).max(axis=1)
        assert (moved / scale.reshape(-1)).max() < 40  # steps; rounded to what is nearest it would be half a one


def test_the_beginning_stays_in_float(small):
    """The image's convolution and the depthwise one behind it; what comes after them is rounded."""
    graph = onnx.load_from_string(small).graph
    tensors = {tensor.name: tensor.data_type for tensor in graph.initializer}
    found, tensor = [], "pixels"
    for _ in range(9):
        (taker,) = [node for node in graph.node if tensor in node.input]
        found.append(taker.op_type)
        tensor = taker.output[0]
        assert taker.op_type != "Conv" or tensors[taker.input[1]] == FLOAT
    wanted = ["Transpose", "Cast", "Mul", "Sub", "Conv", "Clip", "Conv", "Clip", "QuantizeLinear"]
    assert found == wanted


def test_paddings_lie_in_the_convolutions(small, shop):
    """A padding of its own, between conversions of layout, cost a fifth of a pass; in int8 it was in float, too."""
    for graph in (small, session.simplified(shop.artifacts.get(shop.full.artifact))):
        kinds = {node.op_type for node in onnx.load_from_string(graph).graph.node}
        assert "Conv" in kinds and "Pad" not in kinds


def test_a_graph_of_one_convolution_is_left_as_it_is():
    plain = tiny()
    pixels = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)
    full, small = (BackboneSession(TINY, graph) for graph in (plain, int8.convert(plain, pixels)))
    np.testing.assert_allclose(small.embed({"pixels": pixels}), full.embed({"pixels": pixels}), rtol=1e-5)


def test_the_processors_kernels_answer_as_the_graph_says(shop, small):
    """Optimised integer kernels against the same graph in float arithmetic: no saturation on this processor."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain = ort.InferenceSession(small, options, providers=["CPUExecutionProvider"])
    served = BackboneSession(shop.full, small, "cpu")
    pixels = shop.images.held_out[:5]
    wanted = np.concatenate([plain.run(["embedding"], {"pixels": p[None]})[0] for p in pixels])
    got = np.concatenate([served.embed({"pixels": p[None]}) for p in pixels])
    assert variant._cosines(wanted, got).min() > 0.99


@pytest.mark.slow
def test_weights_that_fit_their_inputs_leave_embeddings_nearer_to_fp32(shop, small, monkeypatch):
    """Than weights that are rounded each to what is nearest."""
    original = shop.artifacts.get(shop.full.artifact)
    monkeypatch.setattr(rounding, "replace", lambda quantized, weights: None)
    plain = int8.convert(original, shop.images.calibrated)
    full, *others = (BackboneSession(shop.full, graph, "cpu") for graph in (original, small, plain))
    fitted, nearest = (variant._compare(full, o, shop.images.held_out)["cosine_mean"] for o in others)
    assert 1 - fitted < 0.5 * (1 - nearest)


@pytest.mark.slow
def test_each_variant_is_a_backbone_of_its_own(shop):
    """int8 and fp16: own names, digests and parity reports; both load on a CPU; fp32 stays as it was."""
    made = {p: shop.build(p) for p in ("int8", "fp16")}
    assert {b.name for b in made.values()} == {"tf_efficientnet_lite0-int8", "tf_efficientnet_lite0-fp16"}
    assert len({shop.full.digest, *(b.digest for b in made.values())}) == 3
    for precision, built in made.items():
        parity, kind = built.details["parity"], precisions.get(precision)
        assert built == backbones.find(shop.engine, built.name) and built.precision == precision
        assert built.details["variant_of"] == {"name": shop.full.name, "digest": shop.full.digest}
        assert (parity["calibrated_on"], parity["held_out"], parity["forced"]) == (40, 20, False)
        assert kind.LEAST_WORST <= parity["cosine_worst"] <= parity["cosine_mean"] <= 1
        assert len(shop.artifacts.get(built.artifact)) < 0.6 * len(shop.artifacts.get(shop.full.artifact))
        session = BackboneSession(built, shop.artifacts.get(built.artifact))
        told = session.embed({"pixels": shop.images.held_out[:2]})
        assert (told.dtype, told.shape) == (np.float32, (2, session.backbone.dimension + 2184))
    assert backbones.find(shop.engine, shop.full.name) == shop.full


@pytest.mark.slow
def test_a_variant_too_far_from_fp32_is_refused_with_its_figures_unless_forced(shop):
    """Calibrated on black pictures, it cannot tell photos apart."""
    black = replace(shop.images, calibrated=np.zeros_like(shop.images.calibrated[:2]))
    with pytest.raises(ParityError, match=r"int8 moves .* too far: on 20 held-out images .*at least 0\.97"):
        shop.build("int8", black)
    assert [b.name for b in backbones.list_all(shop.engine) if b.modality == "image"] == [shop.full.name]
    kept = shop.build("int8", black, name="coarse", force=True)
    assert kept.name == "coarse" and kept.details["parity"]["forced"]
    assert kept.details["parity"]["cosine_mean"] < 0.97


def test_a_variant_of_a_variant_is_refused(shop):
    """Rounding twice would lose more than the report says."""
    half = shop.build("fp16")
    with pytest.raises(InvalidInput, match="is fp16 already"):
        variant.build(half, "int8", shop.images, shop.engine, shop.artifacts)
