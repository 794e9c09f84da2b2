"""Views in training: further looks at each example, rows beside it that have its target and stay in its fold.

A few examples say little of what does not matter about an input; a mirrored or a closer look at each says some of it.
What answers are measured and calibrated on is the one view that serving computes.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from adapters import modalities
from adapters.errors import InvalidInput
from adapters.fitting.inputs import InPlace, Inputs
from adapters.modalities import AUTO, NONE
from adapters.store.embeddings import EmbeddingCache
from adapters.types import Embeddings, Indices

FEW = 100  # examples up to which `auto` embeds further views
Names = Mapping[str, tuple[str, ...]]  # choice → names of views
Choices = Mapping[str, Embeddings]  # what may be trained on beside the examples f32 [N, D]: name → views f32 [V, N, D]


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """What a candidate is fitted to: which rows, and how much of each."""

    views: str  # of each example beside it
    reads: str  # which part of embeddings: see adapters.backbones.parts


def wanted(modality: Any, asked: str, examples: int) -> Names:
    """What the race shall compare: what was asked for, or nothing against the first that a modality offers.

    Raises InvalidInput for a choice that it does not offer.
    """
    offered = modalities.views(modality)
    if asked == AUTO:
        first = list(offered)[:1] if examples <= FEW else []
        return {NONE: ()} | {name: offered[name] for name in first}
    if asked not in modalities.choices(modality):
        known = ", ".join(modalities.choices(modality))
        raise InvalidInput(f"there are no views {asked[:50]!r}; there are: {known}", item="views")
    return {asked: offered.get(asked, ())}


def names(choices: Names) -> list[str]:
    """Every view that one of the choices needs, once."""
    return list(dict.fromkeys(view for views in choices.values() for view in views))


def cached(cache: EmbeddingCache, choices: Names, sha256s: Sequence[str], embeddings: Embeddings) -> Choices:
    """The choices with their views, embedded before, of the examples f32 [N, D]. Raises CorruptArtifact."""
    found = {view: cache.of(view).get(sha256s)[0] for view in names(choices)}
    return {
        name: np.stack([found[v] for v in views]) if views else no_views(embeddings) for name, views in choices.items()
    }


def no_views(embeddings: Embeddings) -> Embeddings:
    """No further views of examples f32 [N, D]: f32 [0, N, D]."""
    return np.zeros((0, *embeddings.shape), np.float32)


class Rows:
    """Examples with V views of each beside them, of which fits see some. `rest` i64 [R] are all that any fit may see.

    The rows of M examples are (1 + V)·M: the examples, then their first view in the same order, and so on.
    """

    def __init__(self, embeddings: torch.Tensor, views: torch.Tensor, rest: Indices) -> None:
        plain = embeddings[None]
        self.all = torch.cat([plain, views]) if len(views) else plain  # f32 [1 + V, N, D]
        self.position = torch.full((len(embeddings),), -1)
        self.position[torch.from_numpy(rest)] = torch.arange(len(rest))
        self._rest = rest

    @functools.cached_property
    def rest(self) -> Inputs:
        """All that any fit may see, in forms that fits share."""
        return self.apart(self._rest)

    def forget(self) -> None:
        """Let go of those forms: they take several times the memory of the examples."""
        self.__dict__.pop("rest", None)

    @property
    def each(self) -> int:
        """How many rows an example has."""
        return len(self.all)

    def apart(self, index: Indices) -> Inputs:
        """Some of the examples, in forms that are made from them alone."""
        return Inputs(self._copied(index), self.each)

    def in_place(self, index: Indices) -> InPlace:
        """The same for one fit, in little memory."""
        return InPlace(self._copied(index), self.each)

    def _copied(self, index: Indices) -> torch.Tensor:
        chosen = torch.from_numpy(index).to(self.all.device)
        copies = [view[chosen] for view in self.all]
        return copies[0] if len(copies) == 1 else torch.cat(copies)

    def among(self, index: Indices) -> Inputs:
        """Some of the rest, in forms that are made from all of the rest: those depend on no label."""
        position = self.position[torch.from_numpy(index)]
        starts = torch.arange(self.each)[:, None] * len(self._rest)
        return self.rest.part((starts + position).flatten().to(self.all.device))

    def repeated(self, targets: torch.Tensor) -> torch.Tensor:
        """Targets of M examples, [M] or [M, K], for their rows."""
        return targets.repeat(self.each, *[1] * (targets.ndim - 1))
