"""Near-duplicates: copies of one input must not straddle a split, or memory would look like skill.

What is alike is the modality's to say (`<m>/alike.py`); here it is joined, with equal bytes and the caller's groups.
"""

from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from adapters.modalities import TrainingSide
from adapters.types import Embeddings, Indices

Fingerprints = NDArray[np.uint8]  # [N, F]


def groups(
    side: TrainingSide,
    embeddings: Embeddings,
    fingerprints: Fingerprints,
    sha256s: Sequence[str],
    caller_groups: Sequence[str | None],
    cancelled: Callable[[], None] = lambda: None,
) -> Indices:
    """Group numbers i64 [N] for embeddings f32 [N, D] and fingerprints uint8 [N, F]; `side` says what is alike.

    Identical bytes, one caller group and near-duplicates end in one group; a group's number is its first member's
    position. `cancelled` is called often and raises when the job was cancelled.
    """
    forest = _Forest(len(sha256s))
    forest.join_equal(sha256s)
    forest.join_equal(caller_groups)
    if len(sha256s) > 1:
        for more in side.alike(embeddings, fingerprints, cancelled):
            forest.join(*more(forest.roots()))
    return forest.roots()


def without_callers(
    grouped: Indices,
    side: TrainingSide,
    embeddings: Embeddings,
    fingerprints: Fingerprints,
    sha256s: Sequence[str],
    caller_groups: Sequence[str | None],
) -> Indices:
    """Of such groups, those without what only the caller's groups hold together."""
    if all(group is None for group in caller_groups):
        return grouped
    return groups(side, embeddings, fingerprints, sha256s, [None] * len(sha256s))


class _Forest:
    """Union-find; the root of a tree is its smallest member."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def _root(self, node: int) -> int:
        while self._parent[node] != node:
            self._parent[node] = self._parent[self._parent[node]]
            node = self._parent[node]
        return node

    def join(self, left: Indices, right: Indices) -> None:
        for a, b in zip(left.tolist(), right.tolist(), strict=True):
            a, b = self._root(a), self._root(b)
            self._parent[max(a, b)] = min(a, b)

    def join_equal(self, keys: Sequence[Hashable | None]) -> None:
        first: dict[Hashable, int] = {}
        pairs = [(first.setdefault(key, i), i) for i, key in enumerate(keys) if key is not None]
        self.join(*np.array(pairs, dtype=np.int64).reshape(-1, 2).T)

    def roots(self) -> Indices:
        return np.array([self._root(node) for node in range(len(self._parent))], dtype=np.int64)
