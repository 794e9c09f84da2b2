"""A deep fit that a test can make in a blink: a network of a few nodes, pictures of 32 pixels, three classes."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from adapters import recipe
from adapters.training.backbone import cuts
from adapters.training.backbone.observing import images
from adapters.training.deep import taps
from adapters.training.deep.fit import Fitting
from adapters.training.deep.fitting import augmenting, batches
from adapters.training.deep.fitting.network import Network
from adapters.training.deep.taps import Taps
from adapters.types import Affine, Cut, HeadProgram, Linear, Objective, Power
from support.networks import SIDE, residual

CLASSES, COUNT, WIDTH = 3, 24, 32
GRAPH = residual(WIDTH)


def pixels(count: int = COUNT, seed: int = 0) -> np.ndarray:
    """u8 [N, S, S, 3]: noise, brighter on one side in one colour by class."""
    random = np.random.default_rng(seed)
    found = random.integers(0, 160, (count, SIDE, SIDE, 3), np.uint8)
    for position, label in enumerate(labels(count)):
        found[position, :, : SIDE // 2, label] += 60
    return found


def labels(count: int = COUNT) -> np.ndarray:
    """i64 [N]."""
    return np.arange(count, dtype=np.int64) % CLASSES


def cut(name: str = "a.1") -> Cut:
    return cuts.named(cuts.find(GRAPH, images(SIDE)), name)


def tail(name: str = "a.1") -> bytes:
    return cuts.floated(cuts.tail(GRAPH, cut(name)))


def made_taps(folder: Path, name: str = "a.1", augment: str = "flip", count: int = COUNT, **how: Any) -> Taps:
    """Of so many pictures."""
    folder.mkdir(exist_ok=True)
    look, chosen, asked = looking(pixels(count)), cut(name), recipe.Hyperparameters(augment=augment)
    views, vary = augmenting.cached(asked, chosen.kind), augmenting.of_each(asked, 0)
    file = folder / f"{name}.{augment}.taps"
    return taps.make(file, cuts.trunk(GRAPH, chosen), chosen, look, count, views, lambda: None, vary, **how)


def looking(shown: np.ndarray) -> taps.Look:
    """At pictures u8 [N, S, S, C], as examples are looked at."""
    return lambda position: {"pixels": shown[position]}


def start(outputs: int = CLASSES) -> HeadProgram:
    """A head in the form that races make: standardised square roots, then linear."""
    random = np.random.default_rng(3)
    shift, scale = (random.uniform(0.2, 0.6, WIDTH).astype(np.float32) for _ in range(2))
    weight = random.normal(0, 0.1, (WIDTH, outputs)).astype(np.float32)
    return HeadProgram((Power(0.5), Affine(shift, scale), Linear(weight, np.zeros(outputs, np.float32))))


def fitting(
    folder: Path,
    *,
    name: str = "a.1",
    truth: Any = None,
    train: Any = None,
    unseen: Any = None,
    objective: Objective = "softmax",
    seed: int = 0,
    **hyperparameters: Any,
) -> Fitting:
    """A fit of two epochs of two steps, not begun; the last third of the examples are held out."""
    folder.mkdir(exist_ok=True)
    chosen = recipe.check({"epochs": 2, "batch_size": 8, "unfreeze": name} | hyperparameters)
    train = np.arange(16) if train is None else train
    unseen = np.arange(16, COUNT) if unseen is None else unseen
    truth = torch.from_numpy(labels() if truth is None else truth)
    outputs = CLASSES if truth.ndim == 1 else truth.shape[1]
    kind = cut(name).kind
    read = made_taps(folder, name, chosen.augment)
    drawn = batches.Batches(
        read, train, chosen.batch_size, chosen.augment, chosen.mixup, seed, kind == "input", outputs
    )
    network = Network(tail(name), start(outputs), chosen)
    return Fitting(network, drawn, truth, unseen, objective, chosen, seed, chosen.epochs)
