"""Tails of what timm exports, with random weights: in torch they answer as in ONNX Runtime, and once trained, too."""

import numpy as np
import pytest
import timm
import torch
from support.deep_fits import looking

from adapters import recipe
from adapters.backbones import exporter
from adapters.modalities.image import Preprocessing
from adapters.runtime.onnx import session
from adapters.training import programs
from adapters.training.backbone import cuts
from adapters.training.backbone.observing import images
from adapters.training.deep import interpreter, taps
from adapters.training.deep.fit import Fitting
from adapters.training.deep.fitting.batches import Batches
from adapters.training.deep.fitting.network import Network
from adapters.types import HeadProgram, Linear

# torch and timm say this of the exporter that we use, and of what it traces.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]
SIDES = {"vgg16": 224}  # whose last map has to be of seven cells a side
QUICK = ["tf_efficientnet_lite0", "mobilenetv2_050", "resnet18", "vit_tiny_patch16_224"]
SLOW = ["resnet50", "vgg16", "inception_v3", "densenet121", "regnety_002", "mobilenetv3_small_050", "convnext_atto"]
SLOW += ["convnextv2_atto"]  # with global response normalisation
EVERY = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
COUNT, CLASSES = 8, 3
TOLERANCE = 1e-4  # of the largest number


def exported(name: str, side: int) -> bytes:
    torch.manual_seed(0)
    options = {"img_size": side} if name.startswith("vit") else {}
    model = timm.create_model(name, pretrained=False, **options).eval()
    return exporter.export(model, Preprocessing(side, 0.9, "bicubic", (0.5,) * 3, (0.5,) * 3))


def close(one: np.ndarray, other: np.ndarray) -> bool:
    return float(np.abs(one - other).max()) <= TOLERANCE * float(np.abs(other).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_a_network_is_cut_trained_two_steps_exported_and_proven(name, tmp_path):
    """At a cut half-way, a late one, and all of it; of VGG, whose layers are large, at the late one."""
    side = SIDES.get(name, 96)
    graph = exported(name, side)
    found = cuts.find(graph, images(side))
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, side, side, 3), np.uint8)
    for cut in [found[-1]] if name in SIDES else [found[len(found) // 2], found[-1], found[0]]:
        tail = cuts.floated(cuts.tail(graph, cut))
        read = taps.make(
            tmp_path / f"{cut.name}.taps", cuts.trunk(graph, cut), cut, looking(pixels), COUNT, ["served"],
            lambda: None,
        )  # fmt: skip
        stored = read.data[0].astype(np.float32) if read.data.dtype == np.float16 else np.array(read.data[0])
        before = answered(tail, stored)
        assert close(interpreter.run(tail, stored), before)
        fitting = two_steps(tail, read, before)
        fitting.run(lambda state: None)
        made = fitting.network.tail.to_onnx()
        after = answered(made, stored)
        assert close(interpreter.run(made, stored), after)
        assert not close(after, before), "two steps change what it says"
        said = programs.run(fitting.network.head.program(), after)
        assert close(fitting.network.asked(read, np.arange(COUNT), lambda: None), said)


def answered(tail: bytes, tap: np.ndarray) -> np.ndarray:
    found: np.ndarray = session.create(tail).run(None, {"tap": tap})[0]
    return found


def two_steps(tail: bytes, read: taps.Taps, pooled: np.ndarray) -> Fitting:
    """A fit of as many, from a head of noise."""
    chosen = recipe.check({"epochs": 1, "batch_size": COUNT // 2, "augment": "none", "warmup": 0})
    weight = np.random.default_rng(1).normal(0, 0.1, (pooled.shape[1], CLASSES)).astype(np.float32)
    start = HeadProgram((Linear(weight, np.zeros(CLASSES, np.float32)),))
    truth, everyone = torch.arange(COUNT) % CLASSES, np.arange(COUNT)
    batches = Batches(read, everyone, chosen.batch_size, "none", 0.0, 0, read.data.dtype == np.uint8, CLASSES)
    return Fitting(Network(tail, start, chosen), batches, truth, None, "softmax", chosen, 0, 1)
