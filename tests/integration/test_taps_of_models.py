"""Taps in what timm exports: the kinds of networks that people bring."""

import numpy as np
import pytest
import timm

from adapters.backbones import exporter
from adapters.modalities.image import Preprocessing
from adapters.runtime.onnx import session
from adapters.training.backbone.taps import build

# torch and timm say this of the exporter that we use, and of what it traces.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]
SIDE = 224
FOUND = {
    "resnet18": [("layer2.1", "mean"), ("layer3.1", "mean"), ("layer2.1", "deviation"), ("layer3.1", "deviation")],
    "mobilenetv2_050": [
        *((f"blocks.{n}", "regions") for n in ("2.2", "3.3", "4.2", "5.2", "6.0")),
        *((f"blocks.{n}", "max") for n in ("2.2", "3.3", "4.2", "5.2", "6.0")),
    ],
    "convnext_atto": [("blocks.1", "mean"), ("blocks.5", "mean"), ("blocks.1", "deviation"), ("blocks.5", "deviation")],
    "vit_tiny_patch16_224": [("blocks.5", "class"), ("blocks.5", "mean"), ("blocks.8", "class"), ("blocks.8", "mean")],
    "densenet121": [
        *(("features.denseblock" + n, kind) for kind in ("mean", "deviation") for n in "23"),
    ],
    "regnety_002": [("s2.b1", "mean"), ("s3.b4", "mean"), ("s2.b1", "deviation"), ("s3.b4", "deviation")],
}  # fmt: skip
LARGE = {
    "vgg11": [("features.14", "regions"), ("features.19", "regions"), ("features.14", "max"), ("features.19", "max")],
    "inception_v3": [
        ("Mixed_5b", "regions"), ("Mixed_5b", "max"),
        *((name, kind) for kind in ("mean", "deviation") for name in ("Mixed_5d", "Mixed_6e", "Mixed_7a")),
    ],
    "swin_tiny_patch4_window7_224": [(f"blocks.{n}", kind) for kind in ("mean", "deviation") for n in (1, 5)],
}  # fmt: skip


def exported(name: str) -> bytes:
    model = timm.create_model(name, pretrained=False).eval()
    return exporter.export(model, Preprocessing(SIDE, 0.9, "bicubic", (0.5,) * 3, (0.5,) * 3))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FOUND, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)])
def test_ends_of_blocks_are_found(name):
    made, taps = build.tapped(exported(name), SIDE)
    assert [(tap["name"], tap["statistic"]) for tap in taps] == (FOUND | LARGE)[name]
    pixels = np.zeros((3, SIDE, SIDE, 3), np.uint8)
    (embedding,) = session.create(made).run(["embedding"], {"pixels": pixels})
    assert embedding.shape == (3, taps[-1]["offset"] + taps[-1]["length"]) and np.isfinite(embedding).all()


@pytest.mark.slow
def test_a_transformers_class_token_is_its_first_and_the_mean_is_of_patches():
    """One token stands before the 196 of patches."""
    graph = exported("vit_tiny_patch16_224")
    made, taps = build.tapped(graph, SIDE)
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    tokens = _tokens(graph, pixels)  # [2, 197, 192]
    (embedding,) = session.create(made).run(["embedding"], {"pixels": pixels})
    for tap, wanted in zip(taps, (tokens[:, 0], tokens[:, 1:].mean(axis=1)), strict=False):
        got = embedding[:, tap["offset"] : tap["offset"] + tap["length"]]
        np.testing.assert_allclose(got, wanted, atol=1e-4)


def _tokens(graph: bytes, pixels: np.ndarray) -> np.ndarray:
    import onnx

    from adapters.training.backbone import observing
    from adapters.training.backbone.taps import ends

    model = onnx.load_from_string(graph)
    first = ends.find(model.graph, SIDE, lambda names: observing.shapes(graph, names, SIDE))[0]
    model.graph.output.append(onnx.helper.make_tensor_value_info(first.tensor, onnx.TensorProto.FLOAT, None))
    return session.create(model.SerializeToString()).run([first.tensor], {"pixels": pixels})[0]
