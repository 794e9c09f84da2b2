"""Cuts in what timm exports: the kinds of networks that people bring, with random weights."""

import numpy as np
import onnx
import pytest
import timm
import torch

from adapters.backbones import exporter
from adapters.modalities.image import Preprocessing
from adapters.runtime.onnx import session
from adapters.training.backbone import cuts
from adapters.training.backbone.observing import images, noise
from adapters.training.backbone.precisions import int8
from adapters.types import Cut

# torch and timm say this of the exporter that we use, and of what it traces.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]
SIDE = 224
FOUND = {
    "mobilenetv2_050": [f"blocks.{n}" for n in range(7)],
    "resnet18": ["layer1", "layer2", "layer3"],
    "vit_tiny_patch16_224": [f"blocks.{n}" for n in range(11)],
}
LARGE = {
    "resnet50": ["maxpool", "layer1", "layer2", "layer3"],
    "vgg16": [f"features.{n}" for n in (4, 9, 16, 23, 30)],
    "vgg16_bn": [f"features.{n}" for n in (6, 13, 23, 33, 43)],
    "inception_v3": [
        "Conv2d_1a_3x3", "Pool1", "Conv2d_3b_1x1", "Pool2", *(f"Mixed_5{n}" for n in "bcd"),
        *(f"Mixed_6{n}" for n in "abcde"), "Mixed_7a", "Mixed_7b",
    ],
    "convnext_atto": ["stages.0", "stages.1", "stages.2"],
    "convnextv2_atto": ["stages.0", "stages.1", "stages.2"],
    "regnety_002": ["stem.bn", "s1", "s2", "s3"],
}  # fmt: skip
EVERY = [*FOUND, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)]
ROUNDED = [
    "mobilenetv2_050",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("resnet18", "vit_tiny_patch16_224")),
]


def exported(name: str) -> bytes:
    torch.manual_seed(0)
    narrow = {"mlp_ratio": 0.05} if name.startswith("vgg") else {}  # else its last layers take half a gigabyte
    model = timm.create_model(name, pretrained=False, **narrow).eval()
    return exporter.export(model, Preprocessing(SIDE, 0.9, "bicubic", (0.5,) * 3, (0.5,) * 3))


def some(found: list[Cut]) -> list[Cut]:
    """Before everything, in the middle and late."""
    return [found[0], found[len(found) // 2], found[-1]]


def answer(graph: bytes, **inputs: np.ndarray) -> np.ndarray:
    return session.create(graph).run(None, inputs)[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_networks_are_cut_behind_their_blocks_and_answer_as_before(name):
    """By the names that timm gives the blocks. The tail that is trained has the same bits, too."""
    graph = exported(name)
    found = cuts.find(graph, images(SIDE))
    assert [cut.name for cut in found] == ["all", *(FOUND | LARGE)[name]]
    for cut in some(found):
        cuts.prove(graph, cut, images(SIDE))
        tap, tail = answer(cuts.trunk(graph, cut), pixels=noise(2, SIDE)), cuts.tail(graph, cut)
        assert tap.dtype == cut.dtype and tap.shape == (2, *cut.shape)
        wanted = answer(tail, tap=tap)
        np.testing.assert_allclose(answer(cuts.floated(tail), tap=tap), wanted, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", ROUNDED)
def test_so_do_networks_in_8_bits(name):
    graph = int8.convert(exported(name), noise(2, SIDE))
    found = cuts.find(graph, images(SIDE))
    assert [cut.name for cut in found] == ["all", *FOUND[name]] and {cut.dtype for cut in found} == {"uint8"}
    for cut in some(found):
        cuts.prove(graph, cut, images(SIDE))
        kinds = [node.op_type for node in onnx.load_from_string(cuts.floated(cuts.tail(graph, cut))).graph.node]
        assert kinds.count("DequantizeLinear") == (cut.kind != "input") and "QuantizeLinear" not in kinds
