"""One fit: a tail and its head, trained on taps. Deterministic for a seed on one device, and resumed at any step.

What is drawn (order, views, dropout) is drawn anew from the seed and the number of the step, so that a fit goes on from
its weights, moments and step alone, and ends in the same bits as one that was never interrupted.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from adapters.pools import Pool, give_way
from adapters.recipe import Hyperparameters
from adapters.training.deep.fitting import losses, schedule
from adapters.training.deep.fitting.batches import Batches
from adapters.training.deep.fitting.network import Network, Weights
from adapters.training.deep.fitting.repeatable import repeatable
from adapters.training.deep.fitting.state import Row, State
from adapters.types import Floats, Indices, Objective

BETAS, EPSILON = (0.9, 0.999), 1e-8
PARTS = 2  # of a batch, whose gradients are made side by side: a number of its own, so that cores change no bit
Watch = Callable[[Callable[[], bytes]], None]


@dataclass(frozen=True, slots=True)
class Fit:
    """What became of a fit."""

    weights: Weights  # where it ended: of the last step, or their average
    said: list[Floats]  # raw outputs of the held-out examples after each epoch, f32 [M, K]
    curves: list[Row]  # {"epoch", "train_loss", "held_out_loss"}, ready for JSON; see `Fitting._look`


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
        self._loss, self._sample = losses.of(objective), batches.sample(0 if held_out is None else len(held_out))
        self.per_epoch = batches.count
        self.total = recipe.epochs * self.per_epoch  # of the schedule
        self.epochs = min(epochs, recipe.epochs)  # that are made
        zeros = [torch.zeros_like(weight) for weight in network.weights]
        self._state = State(first=zeros, second=[zero.clone() for zero in zeros], steps=[0] * len(zeros))
        self._aside: Weights | None = None  # the weights of the fit, while others answer
        if recipe.ema:
            self._state.average = network.copied()

    def run(self, watch: Watch, told: Callable[[Row], None] = lambda row: None) -> Fit:
        """Train to the end. `watch` is called after each step with what makes the state, and may raise; `told` gets a
        row of the curves after each epoch.
        """
        with repeatable(self.network.device), Pool(PARTS, thread_name_prefix="fit", initializer=give_way) as pool:
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
        return self._state.to_bytes(self._aside or self.network.weights)

    def resume(self, state: bytes) -> None:
        """Go on from there."""
        self._state, weights = State.of(state, self.network.device)
        self.network.become(weights)

    # Steps
    def _step(self, pool: Pool, epoch: int) -> None:
        mine = self._state
        moving = self.network.move(schedule.moving(self.recipe, epoch, len(self.network.blocks)))
        rows = self._batches.rows(epoch, mine.step % self.per_epoch)
        taps, targets = self._batches.drawn(rows, mine.step, self._truth)
        keep = self._dropout(len(rows))
        gradients = self._gradients(pool, moving, taps, targets.to(self.network.device), keep)
        rate = schedule.highest(self.recipe) * schedule.share(self.recipe, mine.step, self.total)
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

        def part(begin: int) -> Sequence[torch.Tensor]:
            chosen = slice(begin, begin + size)
            raw = self.network.raw(taps[chosen], None if keep is None else keep[chosen])
            loss = self._loss(raw, targets[chosen], self.recipe.label_smoothing) / count
            return torch.autograd.grad(loss, weights)

        made = list(pool.map(part, range(0, count, size)))
        summed = [torch.stack(each).sum(dim=0) for each in zip(*made, strict=True)]
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
        """The end of an epoch: its losses, and what is said of the held-out examples.

        Both losses are of the same kind: of examples as they are served, by the weights that would be kept, without
        mixup, smoothing or dropout. A mean over the epoch's own steps has them all, and with mixed targets cannot fall
        below their entropy, so that a fit that overfits seems not to. That of training examples is of a fixed sample.
        """
        mine, held_out = self._state, self._held_out
        row: Row = {"epoch": len(mine.curves) + 1}
        with self._kept():
            row["train_loss"], _ = self._asked(self._sample, watch)
            if held_out is not None and len(held_out):
                row["held_out_loss"], said = self._asked(held_out, watch)
                mine.said.append(said)
        mine.curves.append(row)

    def _asked(self, index: Indices, watch: Watch) -> tuple[float, Floats]:
        """The mean loss of M examples, and their raw outputs f32 [M, K]."""
        said = self.network.asked(self._batches.taps, index, lambda: watch(self.state))
        truth = self._truth[torch.from_numpy(index)]
        return float(self._loss(torch.from_numpy(said), truth, 0.0)) / len(index), said

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """The network by the weights that would be kept; those of the fit are put aside meanwhile."""
        self._aside = self.network.copied()
        self.network.become(self.network.mixed(self._latest(), self.recipe.answering))
        try:
            yield
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
