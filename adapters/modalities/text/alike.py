"""Near-duplicate texts: copies of one message must not straddle a split, or memory would look like skill.

Two are near-duplicates when their fingerprints (MinHash of runs of three letters) agree in 0.75 of their bytes, and
each stands for the other among its 16 nearest embeddings with a cosine of 0.4 or more. The letters decide: one wrong
letter breaks a word into other pieces, and takes the embedding of a short question as far away as 0.41.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from adapters.types import Embeddings, Floats, Indices

LIKENESS, COSINE = 0.75, 0.4
NEIGHBOURS = 16  # by embedding; fingerprints are compared for these only
BLOCK = 512  # rows of the matrix of cosines in memory at a time: 40 MB of 20,000 texts

Pairs = tuple[Indices, Indices]


def alike(
    embeddings: Embeddings, fingerprints: NDArray[np.uint8], cancelled: Callable[[], None]
) -> Sequence[Callable[[Indices], Pairs]]:
    """Embeddings f32 [N, D] and fingerprints u8 [N, 128] of N ≥ 2 texts → the one round of pairs to join.

    `cancelled` is called for each block and raises when the job was cancelled.
    """
    found = [_same(*pairs, fingerprints) for pairs in _neighbours(embeddings, cancelled)]
    left, right = (np.concatenate(ends) for ends in zip(*found, strict=True))
    return [lambda roots: (left, right)]


def _neighbours(embeddings: Embeddings, cancelled: Callable[[], None]) -> Iterator[Pairs]:
    """Pairs of neighbours by embedding, a block of rows at a time."""
    unit = _unit(embeddings)
    count = min(NEIGHBOURS, len(unit) - 1)
    for start in range(0, len(unit), BLOCK):
        cancelled()
        cosines = unit[start : start + BLOCK] @ unit.T
        rows = np.arange(len(cosines))
        cosines[rows, rows + start] = -2  # oneself
        best = np.argpartition(cosines, -count, axis=1)[:, -count:]
        near = np.take_along_axis(cosines, best, axis=1) >= COSINE
        yield np.broadcast_to(rows[:, None] + start, best.shape)[near], best[near]


def _same(left: Indices, right: Indices, fingerprints: NDArray[np.uint8]) -> Pairs:
    same = (fingerprints[left] == fingerprints[right]).mean(axis=1) >= LIKENESS
    return left[same], right[same]


def _unit(embeddings: Embeddings) -> Floats:
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return np.asarray(embeddings / np.maximum(lengths, 1e-12), np.float32)
