"""A tail and its head, as one: where a fit begins, what of it moves at which rate, and what it has become."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from adapters.recipe import Hyperparameters
from adapters.training import programs
from adapters.training.deep.fitting import schedule
from adapters.training.deep.fitting.head import Head
from adapters.training.deep.interpreter import Tail, as_input
from adapters.training.deep.taps import Taps
from adapters.types import Floats, HeadProgram, Indices

ASKED = 64  # examples a pass
Weights = list[torch.Tensor]


def parts(index: Indices) -> list[Indices]:
    """Examples in passes."""
    return np.array_split(index, max(1, math.ceil(len(index) / ASKED)))


class Network:
    """Taps → raw outputs. It begins as the shallow head on what the tail said before (LP-FT, Kumar et al. 2022)."""

    def __init__(self, tail: bytes, start: HeadProgram, recipe: Hyperparameters) -> None:
        where = programs.device()
        self.tail, self.head = Tail(tail).to(where), Head(start).to(where)
        for weight in self.tail.weights:  # convolutions are a fifth quicker with channels last, on a CPU, too
            weight.data = _channels_last(weight.data)
        self.device = where
        groups = self.tail.groups()
        self.blocks = [weights for _, weights in groups]  # nearest to the input first
        self.decay = schedule.decay(recipe, len(groups))
        factors = schedule.factors(self.decay, len(groups))
        rates = {id(w): factor for (_, weights), factor in zip(groups, factors, strict=True) for w in weights}
        self.weights: list[torch.nn.Parameter] = [*self.tail.weights, *self.head.weights]
        self.factors = [rates.get(id(weight), 1.0) for weight in self.weights]
        self.start: Weights = self.copied()

    def raw(self, taps: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        """Taps of M examples, as stored → raw outputs f32 [M, K]; `keep` is dropout, see `Head`."""
        seen = self._seen(taps)
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda"):
            pooled = self.tail(seen)
        return self.head(pooled.float(), keep)

    def _seen(self, taps: torch.Tensor) -> torch.Tensor:
        return _channels_last(as_input(taps.to(self.device)))

    def pooled(self, taps: Taps, index: Indices, watch: Callable[[], None]) -> Floats:
        """What the tail makes of examples, f32 [M, D]; see `asked`."""
        return self._each(lambda seen: self.tail(self._seen(seen)), taps, index, watch)

    def asked(self, taps: Taps, index: Indices, watch: Callable[[], None]) -> Floats:
        """Raw outputs f32 [M, K] of examples, as they are served; `watch` is called often and may raise."""
        return self._each(self.raw, taps, index, watch)

    def _each(
        self, say: Callable[[torch.Tensor], torch.Tensor], taps: Taps, index: Indices, watch: Callable[[], None]
    ) -> Floats:
        order, found = taps.order(index), []
        with torch.no_grad():
            for chosen in parts(index[order]):
                found.append(say(taps.served(chosen)).float().cpu())
                watch()
        told = torch.cat(found).numpy()
        said: Floats = np.empty_like(told)
        said[order] = told
        return said

    def move(self, blocks: int) -> list[int]:
        """Let the head and so many blocks from the top move, and hold the others; positions of what moves."""
        held = {id(weight) for block in self.blocks[: len(self.blocks) - blocks] for weight in block}
        for weight in self.weights:
            weight.requires_grad_(id(weight) not in held)
        return [position for position, weight in enumerate(self.weights) if weight.requires_grad]

    def copied(self) -> Weights:
        """The weights as they are now, in memory of their own."""
        return [weight.detach().clone() for weight in self.weights]

    def become(self, weights: Sequence[torch.Tensor]) -> None:
        """Take these weights."""
        with torch.no_grad():
            for mine, other in zip(self.weights, weights, strict=True):
                mine.copy_(other)

    def mixed(self, weights: Weights, mix: float) -> Weights:
        """A part of the way from the start to these weights (WiSE-FT); the start itself for none of it."""
        if mix in (0.0, 1.0):
            return [other.clone() for other in (weights if mix else self.start)]
        return [begin + mix * (other - begin) for begin, other in zip(self.start, weights, strict=True)]


def _channels_last(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
