"""One fit: a tail and its head, trained on taps. Deterministic for a seed on one device, and resumed at any step.

What is drawn (order, views, dropout) is drawn anew from the seed and the number of the step, so that a fit goes on from
its weights, moments and step alone, and ends in the same bits as one that was never interrupted.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from adapters.pools import Pool
from adapters.recipe import Hyperparameters
from adapters.training.deep.fitting import losses, schedule
from adapters.training.deep.fitting.batches import Batches
from adapters.training.deep.fitting.network import Network, Weights
from adapters.types import Floats, Indices, Objective

BETAS, EPSILON = (0.9, 0.999), 1e-8
PARTS = 2  # of a batch, whose gradients are made side by side: a number of its own, so that cores change no bit
Watch = Callable[[Callable[[], bytes]], None]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fit:
    """What became of a fit."""

    weights: Weights  # where it ended: of the last step, or their average
    said: list[Floats]  # raw outputs of the held-out examples after each epoch, f32 [M, K]
    curves: list[Row]  # {"epoch", "train_loss", "held_out_loss"}, ready for JSON


@dataclass(slots=True)
class _State:
    """All that a fit has to remember."""

    step: int = 0
    first: Weights = field(default_factory=list)  # moments
    second: Weights = field(default_factory=list)
    steps: list[int] = field(default_factory=list)  # that each weight has made
    average: Weights = field(default_factory=list)  # of weights; empty without ema
    said: list[Floats] = field(default_factory=list)
    curves: list[Row] = field(default_factory=list)
    lost: float = 0.0  # of the epoch under way, summed


class Fitting:
    """A fit under way."""

    def __init__(
        self,
        network: Network,
        batches: Batches,
        truth: torch.Tensor,
        held_out: Indices | None,
        objective: Objective,
        recipe: Hyperparameters,
        seed: int,
        epochs: int,
    ) -> None:
        """`truth` i64 [N] or f32 [N, K], as the objective scales it; `epochs`: to make."""
        self.network, self.recipe, self.seed = network, recipe, seed
        self._batches, self._truth, self._held_out = batches, truth, held_out
        self._loss = losses.of(objective)
        self.per_epoch = batches.count
        self.total = recipe.epochs * self.per_epoch  # of the schedule
        self.epochs = min(epochs, recipe.epochs)  # that are made
        zeros = [torch.zeros_like(weight) for weight in network.weights]
        self._state = _State(first=zeros, second=[zero.clone() for zero in zeros], steps=[0] * len(zeros))
        self._aside: Weights | None = None  # the weights of the fit, while others answer
        if recipe.ema:
            self._state.average = network.copied()

    def run(self, watch: Watch, told: Callable[[Row], None] = lambda row: None) -> Fit:
        """Train to the end. `watch` is called after each step with what makes the state, and may raise; `told` gets a
        row of the curves after each epoch.
        """
        with Pool(PARTS, thread_name_prefix="fit") as pool:
            while not self._ended():
                epoch = self._state.step // self.per_epoch
                if self._state.step == (len(self._state.curves) + 1) * self.per_epoch:
                    self._look(watch)
                    told(self._state.curves[-1])
                    continue
                self._step(pool, epoch)
                watch(self.state)
        reached = [weight.clone() for weight in self._latest()]
        self.network.become(reached)
        return Fit(reached, self._state.said, self._state.curves)

    def state(self) -> bytes:
        """What `resume` goes on from: safetensors."""
        mine = self._state
        named: dict[str, Any] = {
            "weight": self._aside or self.network.weights,
            "first": mine.first,
            "second": mine.second,
        }
        named |= {"average": mine.average}
        named |= {"said": [torch.from_numpy(said) for said in mine.said]}
        tensors = {
            f"{kind}.{number}": tensor.detach().cpu().contiguous()
            for kind, several in named.items()
            for number, tensor in enumerate(several)
        }
        facts = {"step": mine.step, "steps": mine.steps, "curves": mine.curves, "lost": mine.lost}
        return save_tensors(tensors, {"fit": json.dumps(facts)})

    def resume(self, state: bytes) -> None:
        """Go on from there."""
        tensors = load_tensors(state)
        header = json.loads(state[8 : 8 + int.from_bytes(state[:8], "little")])
        facts = json.loads(header["__metadata__"]["fit"])
        several = {kind: list(_numbered(tensors, kind)) for kind in ("weight", "first", "second", "average")}
        self.network.become(several.pop("weight"))
        moved = {kind: [t.to(self.network.device) for t in found] for kind, found in several.items()}
        said = [tensor.numpy() for tensor in _numbered(tensors, "said")]
        self._state = _State(said=said, **facts)
        for kind, found in moved.items():
            setattr(self._state, kind, found)

    # Steps
    def _step(self, pool: Pool, epoch: int) -> None:
        mine = self._state
        moving = self.network.move(schedule.moving(self.recipe, epoch, len(self.network.blocks)))
        rows = self._batches.rows(epoch, mine.step % self.per_epoch)
        taps, targets = self._batches.drawn(rows, mine.step, self._truth)
        keep = self._dropout(len(rows))
        gradients = self._gradients(pool, moving, taps, targets.to(self.network.device), keep)
        rate = self.recipe.learning_rate * schedule.share(self.recipe, mine.step, self.total)
        mine.step += 1
        with torch.no_grad():
            self._update(moving, gradients, rate)
            self._averaged()

    def _gradients(
        self,
        pool: Pool,
        moving: list[int],
        taps: torch.Tensor,
        targets: torch.Tensor,
        keep: torch.Tensor | None,
    ) -> Weights:
        """Of the mean loss of a batch, made in parts and added up in their order."""
        count = len(taps)
        parts = PARTS if self.network.device.type == "cpu" and count >= PARTS else 1
        size = math.ceil(count / parts)
        weights = [self.network.weights[position] for position in moving]

        def part(begin: int) -> tuple[float, Sequence[torch.Tensor]]:
            chosen = slice(begin, begin + size)
            raw = self.network.raw(taps[chosen], None if keep is None else keep[chosen])
            loss = self._loss(raw, targets[chosen], self.recipe.label_smoothing) / count
            told = self._loss(raw.detach(), targets[chosen], 0.0) / count  # as held-out examples are judged
            return float(told), torch.autograd.grad(loss, weights)

        made = list(pool.map(part, range(0, count, size)))
        self._state.lost += sum(loss for loss, _ in made) * count
        summed = [torch.stack(each).sum(dim=0) for each in zip(*(found for _, found in made), strict=True)]
        return _clipped(summed, self.recipe.clip_grad) if self.recipe.clip_grad else summed

    def _update(self, moving: list[int], gradients: Weights, rate: float) -> None:
        for position, gradient in zip(moving, gradients, strict=True):
            weight, mine = self.network.weights[position], self._state
            each = rate * self.network.factors[position]
            mine.steps[position] += 1
            if weight.ndim > 1:  # not of biases and scales, as is usual
                gradient = self._decayed(weight, gradient, each)
            weight.sub_(self._moved(position, gradient), alpha=each)
            if self.recipe.stay:  # L2-SP, as a proximal step: stable however strong the pull
                begin = self.network.start[position]
                weight.sub_(begin).div_(1 + each * self.recipe.stay).add_(begin)

    def _decayed(self, weight: torch.Tensor, gradient: torch.Tensor, rate: float) -> torch.Tensor:
        """Weight decay: of Adam a part of the gradient, else taken off the weight itself."""
        if self.recipe.optimizer == "adam":
            return gradient.add(weight, alpha=self.recipe.weight_decay)
        weight.mul_(1 - rate * self.recipe.weight_decay)
        return gradient

    def _moved(self, position: int, gradient: torch.Tensor) -> torch.Tensor:
        """The direction of a step: Adam's, or that of SGD with momentum."""
        mine = self._state
        first, second, steps = mine.first[position], mine.second[position], mine.steps[position]
        if self.recipe.optimizer == "sgd":
            return first.mul_(self.recipe.momentum).add_(gradient)
        first.lerp_(gradient, 1 - BETAS[0])
        second.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        mean = first / (1 - BETAS[0] ** steps)
        spread = (second / (1 - BETAS[1] ** steps)).sqrt_().add_(EPSILON)
        return mean.div_(spread)

    def _averaged(self) -> None:
        for average, weight in zip(self._state.average, self.network.weights, strict=False):
            average.lerp_(weight.detach(), 1 - self.recipe.ema)

    def _dropout(self, count: int) -> torch.Tensor | None:
        """Factors [M, D'] of what the head reads; None without dropout."""
        if not self.recipe.dropout:
            return None
        random = torch.Generator().manual_seed(self.seed * 1_000_003 + self._state.step)
        kept = torch.rand(count, self.network.head.width, generator=random) >= self.recipe.dropout
        return (kept / (1 - self.recipe.dropout)).to(self.network.device)

    # Epochs
    def _look(self, watch: Watch) -> None:
        """The end of an epoch: its losses, and what is said of the held-out examples."""
        mine = self._state
        row: Row = {"epoch": len(mine.curves) + 1, "train_loss": mine.lost / self._batches.examples}
        if self._held_out is not None and len(self._held_out):
            said = self._said(self._held_out, lambda: watch(self.state))
            truth = self._truth[torch.from_numpy(self._held_out)]
            row["held_out_loss"] = float(self._loss(torch.from_numpy(said), truth, 0.0)) / len(truth)
            mine.said.append(said)
        mine.curves.append(row)
        mine.lost = 0.0

    def _said(self, index: Indices, watch: Callable[[], None]) -> Floats:
        """Raw outputs f32 [M, K], by the weights that would be kept; those of the fit are put aside meanwhile."""
        self._aside = self.network.copied()
        self.network.become(self.network.mixed(self._latest(), self.recipe.answering))
        try:
            return self.network.asked(self._batches.taps.served, index, watch)
        finally:
            self.network.become(self._aside)
            self._aside = None

    def _held_out_losses(self) -> list[float]:
        return [row["held_out_loss"] for row in self._state.curves if "held_out_loss" in row]

    def _latest(self) -> Weights:
        mine = self._state
        return mine.average or [weight.detach() for weight in self.network.weights]

    def _ended(self) -> bool:
        done = len(self._state.curves)
        seen = self._held_out_losses()
        waited = len(seen) - 1 - int(np.argmin(seen)) if seen else 0
        return done >= self.epochs or bool(self.recipe.patience and waited >= self.recipe.patience)


def _clipped(gradients: Weights, most: float) -> Weights:
    length = torch.stack([gradient.norm() for gradient in gradients]).norm()
    factor = (most / length.clamp_min(1e-12)).clamp_max(1.0)
    return [gradient * factor for gradient in gradients]


def _numbered(tensors: dict[str, torch.Tensor], kind: str) -> Iterator[torch.Tensor]:
    number = 0
    while f"{kind}.{number}" in tensors:
        yield tensors[f"{kind}.{number}"]
        number += 1
