"""Networks of other kinds, with random weights: cut, trained for two steps, exported, and compared with torch."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch

from adapters import tasks
from adapters.backbones import exporter
from adapters.modalities.image import Preprocessing
from adapters.runtime.onnx import session
from adapters.training.backbone import cuts
from adapters.training.backbone.observing import images
from adapters.training.data.split import split
from adapters.training.deep import deep_round, interpreter
from adapters.training.deep.examples import Examples
from adapters.training.deep.outcome import DeepResult
from adapters.training.race.race import race
from adapters.types import Cut
from benchmarks import record

NAMES = ("resnet18", "vgg16", "inception_v3", "vit_tiny_patch16_224")
QUICK = ("resnet18",)
SIDE, SIDES = 96, {"vgg16": 224}  # pixels; of VGG the last map has to be of seven cells a side
COUNT, CLASSES = 40, 2
STEPS = {"batch_size": COUNT // 2, "epochs": 1, "mix": 1}  # two steps: no fold is left out of the last fit
MOST = 0.5  # of the network's work behind the cut


def measure(names: tuple[str, ...] = NAMES) -> dict[str, Any]:
    """The largest difference between the exported tail and torch, of the largest number that either tells."""
    return {f"{name}: exported tail against torch": record.spread([_difference(name)]) for name in names}


def _difference(name: str) -> float:
    side = SIDES.get(name, SIDE)
    graph, pixels = _exported(name, side), _pixels(side)
    cut = _cut(graph, side)
    cuts.prove(graph, cut, images(side))  # raises ParityError unless the halves are the whole, bit for bit
    result = _taught(graph, pixels, cut)
    assert result.tail != cuts.floated(cuts.tail(graph, cut)), "no weight moved"
    (tap,) = session.create(cuts.trunk(graph, cut)).run(None, {"pixels": pixels})
    (served,) = session.create(result.tail).run(None, {cuts.TAP: tap})
    wanted = interpreter.run(result.tail, tap)
    return float(np.abs(served - wanted).max() / max(1.0, np.abs(wanted).max()))


def _exported(name: str, side: int) -> bytes:
    torch.manual_seed(0)
    options = {"img_size": side} if name.startswith("vit") else {}
    shape = Preprocessing(side, 0.9, "bicubic", (0.5,) * 3, (0.5,) * 3)
    return exporter.export(timm.create_model(name, pretrained=False, **options).eval(), shape)


def _cut(graph: bytes, side: int) -> Cut:
    """The first that leaves at most half of the work."""
    return next(cut for cut in cuts.find(graph, images(side)) if cut.share <= MOST)


def _pixels(side: int) -> np.ndarray:
    """u8 [N, S, S, 3]: noise, every other one brighter."""
    noise = np.random.default_rng(0).integers(0, 128, (COUNT, side, side, 3), dtype=np.uint8)
    noise[1::2] += 64
    return noise


def _taught(graph: bytes, pixels: np.ndarray, cut: Cut) -> DeepResult:
    task, targets = tasks.get("classification"), np.arange(COUNT) % CLASSES
    (pooled,) = session.create(graph).run(["pooled"], {"pixels": pixels})
    nothing: list[Any] = [None] * COUNT
    parts, classes = split(targets, np.arange(COUNT), nothing, nothing, 0), ["dark", "bright"]
    given = Examples(
        lambda at: {"pixels": pixels[at]}, pooled, pooled.shape[1], {"class": targets}, classes, parts, task,
    )  # fmt: skip
    shallow = race(
        pooled, given.targets, classes, parts, task, "auto", {}, 0, lambda _: None, lambda: None,
        lengths={"pooled": pooled.shape[1]},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        found = deep_round.run(
            Path(folder), graph, images(pixels.shape[1]), given, shallow, {"unfreeze": cut.name, **STEPS}, 0,
            lambda _: None, lambda _: None, always=True,
        )  # fmt: skip
    assert isinstance(found, DeepResult)
    return found
