"""The plain loops that people write in torch, on the same pixels: fastai's `fine_tune`, and from scratch.

`fine_tune` is fastai's recipe (Howard & Gugger 2020, `Learner.fine_tune`): an epoch of a new head over a body that
stands still, then all layers, the body at a hundredth of the head's rate; one cycle each, base rate 2e-3 halved for the
second part, weight decay 0.01, batch normalisation trained throughout, fastai's head of two layers on the mean and the
maximum; for 5 epochs, and for 20. `scratch` is the same network with random weights, all layers at one rate. No photo
is mirrored, and none of ours: a mirrored sign is another one. The last epoch counts: no test photo chooses anything.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from adapters.backbones import loader
from adapters.backbones.cards import DEFAULT, embedded_card
from benchmarks.deep.rounds import Draw, Row

BATCH, WIDE = 32, 512
RATE, SLOWER, DECAY = 2e-3, 100.0, 0.01  # fastai's base rate, and by how much the body learns slower


@dataclass(frozen=True, slots=True)
class Loop:
    """How a network is trained."""

    way: str
    weights: str | None  # `random`, or None: those of the card
    frozen: int  # epochs of the head alone
    epochs: int  # of all
    slower: float  # by how much the body learns slower
    rate: float


FINE_TUNE = Loop("fine_tune", None, 1, 5, SLOWER, RATE / 2)
LONGER = Loop("fine_tune, 20 epochs", None, 1, 20, SLOWER, RATE / 2)  # five do not take it to its end
SCRATCH = Loop("scratch", "random", 0, 20, 1.0, RATE)
EACH = (LONGER, FINE_TUNE, SCRATCH)


def run(loop: Loop, draw: Draw, seed: int) -> Row:
    """Train and ask: a row as `rounds.rows` gives them."""
    torch.manual_seed(seed)
    began = time.process_time()
    network = Network(loop, len(draw.examples.classes))
    if loop.frozen:
        _fit(network, draw, loop.frozen, [network.head], [RATE], 0.99)
    _fit(network, draw, loop.epochs, [network.body, network.head], [loop.rate / loop.slower, loop.rate], 0.3)
    seconds = time.process_time() - began
    row = {"way": loop.way, "examples": len(draw.examples.embeddings), "seconds": seconds, "won": loop.way}
    return row | draw.figures(_said(network, draw))


class Network(nn.Module):
    """The embedded backbone in torch, and a head as fastai makes it."""

    def __init__(self, loop: Loop, classes: int) -> None:
        super().__init__()
        card = embedded_card(DEFAULT)
        self.body, spec = loader.load(replace(card, weights=loop.weights or card.weights))
        self.mean, self.std = (torch.tensor(each).view(1, 3, 1, 1) * 255 for each in (spec.mean, spec.std))
        width = 2 * self.body.num_features
        self.head = nn.Sequential(
            nn.BatchNorm1d(width), nn.Dropout(0.25), nn.Linear(width, WIDE, bias=False), nn.ReLU(),
            nn.BatchNorm1d(WIDE), nn.Dropout(0.5), nn.Linear(WIDE, classes, bias=False),
        )  # fmt: skip

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels u8 [N, S, S, 3] → logits [N, K]."""
        x = (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std
        features = self.body.forward_features(x)
        return self.head(torch.cat([features.amax(dim=(2, 3)), features.mean(dim=(2, 3))], dim=1))


def _fit(network: Network, draw: Draw, epochs: int, parts: list[nn.Module], rates: list[float], rise: float) -> None:
    """One cycle (Smith 2018) over some parts of a network; the others stand still but for their statistics."""
    network.train()
    for parameter in network.parameters():
        parameter.requires_grad = False
    for part in parts:
        part.requires_grad_(True)
    groups = [{"params": list(part.parameters()), "lr": rate} for part, rate in zip(parts, rates, strict=True)]
    optimizer: Any = torch.optim.AdamW(groups, weight_decay=DECAY)
    steps = epochs * _steps(draw)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps + 1, pct_start=rise, div_factor=5)
    for _ in range(epochs):
        for pixels, truth in _batches(draw):
            loss = functional.cross_entropy(network(pixels), truth)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            cycle.step()


def _steps(draw: Draw) -> int:
    """Of an epoch; the last batch is left out where it is not full, as a single example has no statistics."""
    return max(1, len(draw.examples.embeddings) // BATCH)


def _batches(draw: Draw) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """An epoch in random order."""
    assert draw.train is not None
    order = torch.randperm(len(draw.train)).numpy()
    for step in range(_steps(draw)):
        rows = draw.train[order[step * BATCH : (step + 1) * BATCH]]
        yield torch.from_numpy(draw.photos.pixels[rows]), torch.from_numpy(draw.photos.targets[rows])


def _said(network: Network, draw: Draw) -> np.ndarray:
    """Probabilities f32 [M, K] of the test photos."""
    network.eval()
    with torch.no_grad():
        parts = [
            network(torch.from_numpy(draw.photos.pixels[rows])).softmax(dim=1).numpy()
            for rows in np.array_split(draw.test, max(1, len(draw.test) // BATCH))
        ]
    return np.concatenate(parts)
