"""Cuts in what timm exports: the kinds of networks that people bring, with random weights."""

import numpy as np
import pytest
import timm
import torch

from adapters.backbones import exporter
from adapters.modalities.image import Preprocessing
from adapters.runtime.onnx import session
from adapters.training.backbone import cuts

# torch and timm say this of the exporter that we use, and of what it traces.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]
SIDE = 224
FOUND = {
    "resnet18": ["maxpool", "layer1.0", "layer1", "layer2.0", "layer2", "layer3.0", "layer3", "layer4.0"],
    "mobilenetv2_050": [
        "blocks.0", "blocks.1.0", "blocks.1", "blocks.2.0", "blocks.2.1", "blocks.2",
        *(f"blocks.3.{n}" for n in range(3)), "blocks.3", "blocks.4.0", "blocks.4.1", "blocks.4",
        "blocks.5.0", "blocks.5.1", "blocks.5", "blocks.6",
    ],
    "vit_tiny_patch16_224": [f"blocks.{n}" for n in range(11)],
}  # fmt: skip
LARGE = {
    "resnet50": [
        "maxpool", "layer1.0", "layer1.1", "layer1", *(f"layer2.{n}" for n in range(3)), "layer2",
        *(f"layer3.{n}" for n in range(5)), "layer3", "layer4.0", "layer4.1",
    ],
    "vgg16": [f"features.{n}" for n in (4, 9, 16, 23, 30)],
    "vgg16_bn": [f"features.{n}" for n in (6, 13, 23, 33, 43)],
    "inception_v3": [
        "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e",
        "Mixed_7a", "Mixed_7b",
    ],
    "convnext_atto": [],
    "regnety_002": [],
    "mobilenetv3_small_050": [],
    "swin_tiny_patch4_window7_224": [],
    "densenet121": [],
}  # fmt: skip
EVERY = [*FOUND, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)]


def exported(name: str) -> bytes:
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False).eval()
    return exporter.export(model, Preprocessing(SIDE, 0.9, "bicubic", (0.5,) * 3, (0.5,) * 3))


@pytest.mark.parametrize("name", EVERY)
def test_networks_are_cut_behind_their_blocks_and_answer_as_before(name):
    """Proven at a cut early, in the middle and late; the tail that is trained answers as the backbone's."""
    graph = exported(name)
    found = cuts.find(graph, SIDE)
    assert [cut.name for cut in found] == ["all", *(FOUND | LARGE)[name]]
    for cut in (found[0], found[1], found[len(found) // 2], found[-1]):
        cuts.prove(graph, cut, SIDE)
        tail = cuts.tail(graph, cut)
        tap = _tap(cuts.trunk(graph, cut))
        wanted, got = (session.create(each).run(None, {"tap": tap})[0] for each in (tail, cuts.floated(tail)))
        np.testing.assert_array_equal(got, wanted)


def _tap(trunk: bytes) -> np.ndarray:
    pixels = np.random.default_rng(1).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    return session.create(trunk).run(None, {"pixels": pixels})[0]
