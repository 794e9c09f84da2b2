"""Batches of a fit: which examples a step sees, and how. All is drawn from the seed and the step's number."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from adapters.training.deep.fitting import augmenting
from adapters.training.deep.taps import Taps
from adapters.types import Indices

ASKED, MOST = 64, 500  # of the examples that are trained on: at least and at most so many tell an epoch's loss
TOGETHER = 8  # batches that sequences are put in order of length in


def split(order: Indices, count: int, lengths: Indices | None, random: np.random.Generator) -> list[Indices]:
    """So many batches of examples, about as large. Of sequences those of about the same length are together.

    Of a few batches at a time, so that an epoch's batches are drawn anew: of a bank's questions, of 16 pieces in the
    mean, batches of 32 are 22 long then and not 49.
    """
    batches = np.array_split(order, count)
    if lengths is None:
        return batches
    found: list[Indices] = []
    for start in range(0, count, TOGETHER):
        several = batches[start : start + TOGETHER]
        some = np.concatenate(several)
        some = some[np.argsort(lengths[some], kind="stable")]
        found += np.split(some, np.cumsum([len(batch) for batch in several])[:-1])
    return [found[position] for position in random.permutation(count)]


@dataclass(frozen=True)
class Batches:
    """Examples to train on, in batches of about `size`, in another order each epoch."""

    taps: Taps
    index: Indices  # positions to train on
    size: int
    augment: str
    mixup: float
    seed: int
    pixels: bool  # taps are pixels
    classes: int

    @property
    def examples(self) -> int:
        """How many are seen in an epoch."""
        return len(self.index)

    @property
    def count(self) -> int:
        """Batches an epoch, all about as large: a small one at the end would count its examples for more."""
        return max(1, math.ceil(len(self.index) / self.size))

    def rows(self, epoch: int, number: int) -> Indices:
        """The examples of a batch."""
        if self._order.get("epoch") != epoch:
            random = np.random.default_rng((self.seed, 1, epoch))
            batches = split(random.permutation(self.index), self.count, self.taps.lengths, random)
            self._order.update(epoch=epoch, batches=batches)
        found: Indices = self._order["batches"][number]
        return found

    def sample(self, held_out: int) -> Indices:
        """Some examples whose loss is told beside that of so many held out: about as many, the same for a seed.

        Drawn apart from all that steps draw. Where few or none are held out, a single pass's worth.
        """
        most = min(len(self.index), MOST, max(held_out, ASKED))
        return np.sort(np.random.default_rng((self.seed, 3)).choice(self.index, most, replace=False))

    def drawn(self, rows: Indices, step: int, truth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """A view of each of M examples [M, *shape], and their targets [M] or [M, K]."""
        random = np.random.default_rng((self.seed, 2, step))
        views = random.integers(0, len(self.taps.views), len(rows))
        taps, targets = self.taps.rows(views, rows), truth[torch.from_numpy(rows)]
        if self.pixels:
            taps = augmenting.varied(taps, self.augment, random)
        return self._mixed(taps, targets, random) if self.pixels and self.mixup else (taps, targets)

    def _mixed(
        self, taps: torch.Tensor, targets: torch.Tensor, random: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Each example with another one, and their targets in the same shares (Zhang et al., ICLR 2018)."""
        share, others = float(random.beta(self.mixup, self.mixup)), torch.from_numpy(random.permutation(len(taps)))
        wanted = functional.one_hot(targets, self.classes).float() if targets.ndim == 1 else targets
        both = share * taps.float() + (1 - share) * taps[others].float()
        return both.round().to(taps.dtype), share * wanted + (1 - share) * wanted[others]

    @cached_property
    def _order(self) -> dict[str, Any]:
        return {}
