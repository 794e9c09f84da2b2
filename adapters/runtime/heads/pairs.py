"""What a deep head reads in which the shallow one has a say: taps, and embeddings of the same inputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters import padding
from adapters.types import Embeddings, Indices, Rows, Told


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Of N inputs. Rows of them are taken as those of an array are; one of them stays a row."""

    taps: Rows  # [N, *shape], or, where they vary in length, [N] of [T, W] each
    embeddings: Embeddings  # f32 [N, E]

    def __len__(self) -> int:
        return len(self.embeddings)

    def __getitem__(self, chosen: slice | Indices | int) -> "Pairs":
        rows = slice(chosen, chosen + 1) if isinstance(chosen, int) else chosen
        return Pairs(self.taps[rows], self.embeddings[rows])

    def copy(self) -> "Pairs":
        """In memory of its own: what is told of an input is a row of a whole pass."""
        return Pairs(self.taps.copy(), self.embeddings.copy())


def alone(told: NDArray[Any] | Pairs) -> Rows:
    """What was told of one input, as that of N inputs where N is one."""
    return told if isinstance(told, Pairs) else told[np.newaxis]


def rows(told: Sequence[Told]) -> Rows:
    """What was told of N ≥ 1 inputs, one by one: a tap, or an embedding and a tap. Shorter taps are padded."""
    if not isinstance(told[0], tuple):
        return padding.stacked([np.asarray(one) for one in told])
    embeddings, taps = zip(*told, strict=True)
    return Pairs(padding.stacked(list(taps)), np.stack(embeddings))


def joined(parts: Sequence[Rows]) -> Rows:
    """Rows of several passes as one."""
    if not isinstance(parts[0], Pairs):
        return padding.joined(parts)
    return Pairs(padding.joined([part.taps for part in parts]), np.concatenate([part.embeddings for part in parts]))
