"""int8 and fp16 variants of the real embedded backbone: same inputs and outputs, nearly the same embeddings."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from adapters.errors import DeviceError, InvalidInput, ParityError
from adapters.runtime import processor
from adapters.runtime.backbone import BackboneSession
from adapters.store import backbones, database
from adapters.store.artifacts import Artifacts
from adapters.training import calibration_images, precisions, variant
from adapters.training.calibration_images import CalibrationImages
from adapters.training.precisions import int8

FLOAT, UINT8 = onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8


class Shop:
    """The store of a prepared home, with its fp32 backbone and images to convert it with."""

    def __init__(self, home: Path) -> None:
        self.engine = database.connect(f"sqlite:///{home / 'espalier.sqlite'}")
        self.artifacts = Artifacts(str(home / "artifacts"))
        self.full = backbones.find(self.engine, "tf_efficientnet_lite0")
        images = calibration_images.crops(self.full.preprocessing)
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
    assert precisions.names() == ("fp16", "int8", "int8full")
    with pytest.raises(InvalidInput, match=r"'bf16'.*fp16, int8, int8full"):
        precisions.get("bf16")


def test_int8_keeps_inputs_and_outputs(small):
    """uint8 pixels in, two float outputs of the same names and widths: normalisation stays inside."""
    graph = onnx.load_from_string(small).graph
    assert [(i.name, i.type.tensor_type.elem_type) for i in graph.input] == [("pixels", UINT8)]
    assert [(o.name, o.type.tensor_type.elem_type) for o in graph.output] == [("pooled", FLOAT), ("features", FLOAT)]
    width = [[d.dim_value for d in o.type.tensor_type.shape.dim[1:]] for o in graph.output]
    assert width == [[1280], [1280, 7, 7]]


def test_no_pair_of_products_can_overflow_16_bits(small):
    """Weights have 7 bits where x86 without VNNI adds pairs in 16 bits; each channel has a scale of its own."""
    graph = onnx.load_from_string(small).graph
    weights = [numpy_helper.to_array(t) for t in graph.initializer if t.name.endswith("_quantized")]
    convolutions = [w for w in weights if w.ndim == 4]
    assert len(convolutions) == 49 and all(w.dtype == np.int8 for w in convolutions)
    depthwise = [w for w in convolutions if w.shape[1] == 1]
    assert len(depthwise) == 16 and max(np.abs(w.astype(int)).max() for w in depthwise) == 127
    assert max(np.abs(w.astype(int)).max() for w in convolutions if w.shape[1] > 1) == 64
    scales = [numpy_helper.to_array(t) for t in graph.initializer if t.name.endswith("weight_scale")]
    assert all(scale.size > 1 for scale in scales)


def test_the_processors_kernels_answer_as_the_graph_says(shop, small):
    """Optimised integer kernels against the same graph in float arithmetic: no saturation on this processor."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain = ort.InferenceSession(small, options, providers=["CPUExecutionProvider"])
    served = BackboneSession(shop.full, small, "cpu")
    pixels = shop.images.held_out[:5]
    wanted = np.concatenate([plain.run(["pooled"], {"pixels": p[None]})[0] for p in pixels])
    got = np.concatenate([served.embed(p[None]) for p in pixels])
    assert variant._cosines(wanted, got).min() > 0.99


needs_exact_sums = pytest.mark.skipif(
    not processor.fast_int8(), reason="this processor has no instructions for int8 networks (VNNI, dot products)"
)


@needs_exact_sums
def test_weights_of_8_bits_are_computed_exactly_and_nearer_to_fp32(shop, small):
    built = shop.build("int8full")
    assert built.details["parity"]["cosine_worst"] > 0.95
    graph = shop.artifacts.get(built.artifact)
    weights = (numpy_helper.to_array(t) for t in onnx.load_from_string(graph).graph.initializer)
    assert max(np.abs(w.astype(int)).max() for w in weights if w.dtype == np.int8 and w.ndim == 4) == 127
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    pixels = shop.images.held_out[:5]
    exact = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    wanted = np.concatenate([exact.run(["pooled"], {"pixels": p[None]})[0] for p in pixels])
    assert variant._cosines(wanted, BackboneSession(built, graph).embed(pixels)).min() > 0.99
    fp32, seven = (BackboneSession(shop.full, g).embed(pixels) for g in (shop.artifacts.get(shop.full.artifact), small))
    eight = BackboneSession(built, graph).embed(pixels)
    assert variant._cosines(fp32, eight).min() > variant._cosines(fp32, seven).min()


def test_weights_of_8_bits_are_refused_where_sums_would_overflow(shop, small, monkeypatch):
    """Under the same digest other embeddings would come out; the refusal says what to use instead."""
    monkeypatch.setattr(processor, "fast_int8", lambda: False)
    with pytest.raises(DeviceError, match=r"without VNNI.*ESPALIER_PRECISION=fp32 or int8"):
        shop.build("int8full")
    assert [b.name for b in backbones.list_all(shop.engine)] == [shop.full.name]
    for device in ("cpu", "auto"):
        with pytest.raises(DeviceError, match="int8full"):
            BackboneSession(replace(shop.full, precision="int8full"), small, device)


def test_bias_correction_puts_the_means_back(shop, small, monkeypatch):
    """Without it the embeddings are further from fp32."""
    original = shop.artifacts.get(shop.full.artifact)
    monkeypatch.setattr(int8, "_correct_biases", lambda *arguments: None)
    plain = int8.convert(original, shop.images.calibrated)
    full, *others = (BackboneSession(shop.full, graph, "cpu") for graph in (original, small, plain))
    corrected, uncorrected = (variant._compare(full, o, shop.images.held_out)["cosine_mean"] for o in others)
    assert corrected > uncorrected + 0.005


def test_a_shift_goes_through_groups_of_channels():
    """Plain, grouped and depthwise convolutions."""
    random = np.random.default_rng(0)
    means = random.normal(size=6)
    for groups, outputs in ((1, 4), (2, 4), (6, 12)):
        weights = random.normal(size=(outputs, 6 // groups))
        per = outputs // groups
        by_hand = [weights[o] @ means.reshape(groups, -1)[o // per] for o in range(outputs)]
        np.testing.assert_allclose(int8._through(weights, means, groups), by_hand)


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
        pooled, features = BackboneSession(built, shop.artifacts.get(built.artifact)).features(shop.images.held_out[:2])
        assert (pooled.dtype, pooled.shape) == (np.float32, (2, 1280))
        assert (features.dtype, features.shape) == (np.float32, (2, 1280, 7, 7))
    assert backbones.find(shop.engine, shop.full.name) == shop.full


def test_a_variant_too_far_from_fp32_is_refused_with_its_figures_unless_forced(shop):
    """Calibrated on black pictures, it cannot tell photos apart."""
    black = replace(shop.images, calibrated=np.zeros_like(shop.images.calibrated[:2]))
    with pytest.raises(ParityError, match=r"int8 moves .* too far: on 20 held-out images .*at least 0\.95"):
        shop.build("int8", black)
    assert [b.name for b in backbones.list_all(shop.engine)] == [shop.full.name]
    kept = shop.build("int8", black, name="coarse", force=True)
    assert kept.name == "coarse" and kept.details["parity"]["forced"]
    assert kept.details["parity"]["cosine_mean"] < 0.95


def test_a_variant_of_a_variant_is_refused(shop):
    """Rounding twice would lose more than the report says."""
    half = shop.build("fp16")
    with pytest.raises(InvalidInput, match="is fp16 already"):
        variant.build(half, "int8", shop.images, shop.engine, shop.artifacts)
