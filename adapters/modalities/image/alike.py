"""Near-duplicates among images: which pairs of pictures are copies of one photo.

Two images are near-duplicates when both their embeddings (cosine) and their 16 × 16 grey thumbnails (correlation) are
alike, in one of two degrees:
- nearly the same picture, re-encoded, resized or brightened: thumbnails ≥ 0.993 and embeddings ≥ 0.70;
- mates, one a slight crop of the other: each is the other's nearest, thumbnails ≥ 0.96 once aligned, embeddings ≥ 0.75.
Mates are joined two at a time and for two rounds only: among simple drawings many are this alike, and joining all of
them would chain a class into one group (digits: 156 of 180 images of a class at 0.96, measured).

Measured with the embedded backbone. 250 weather photos (seed 0), each changed in one way and put beside all 1,123:
found of JPEG quality 40/60/90 100 %, resized to 50/75/150 % 99.6/100/100 %, brightness ± 10 % 100 %, cropped by 3 %
99.2 %, by 5 % 95.6 %, and resized to 75 % + cropped by 3 % + quality 60 97.6 %. Six changed copies of one photo at
once: 97–100 % of the plain ones and 73–78 % of the cropped ones are joined to it. Alone, the weather photos hold 158
joined pairs of 630,003, all inside one class and in groups of 4 at most; digits (1,797, 64 px) 513 of 1,613,706 and
Omniglot (2,720 drawings) 7 of 3,697,840, in groups of 4 and 3 at most: far under 0.1 % false alarms each.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from adapters.modalities.image.tensors import SIDE
from adapters.types import Embeddings, Indices

SAME_THUMBNAIL, SAME_EMBEDDING = 0.993, 0.70
MATE_THUMBNAIL, MATE_EMBEDDING = 0.96, 0.75
MATE_UNALIGNED = 0.75  # below this no crop of 5 % is left to find
ROUNDS = 2
NEIGHBOURS = 16  # by thumbnail; embeddings are compared for these only, which keeps 20,000 images to seconds
BLOCK, LEAST_BLOCK = 1024, 64  # rows of the similarity matrix in memory at a time
MOST_ALIKE = 1 << 24  # numbers of it, 64 MiB
CROPS = (0.02, 0.035, 0.05)

Thumbnails = NDArray[np.uint8]  # [N, 256]

Round = Callable[[Indices], tuple[Indices, Indices]]


def alike(embeddings: Embeddings, fingerprints: Thumbnails, cancelled: Callable[[], None]) -> Sequence[Round]:
    """Embeddings f32 [N, D] and thumbnails uint8 [N, 256] → rounds that join pairs, the same pictures first."""
    pairs = _neighbours(embeddings, fingerprints, cancelled)
    mates: Round = partial(_mates, pairs, fingerprints)
    return [partial(_same, pairs), *[mates] * ROUNDS]


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Neighbours by thumbnail: positions i64 [P], similarities f32 [P]."""

    left: Indices
    right: Indices
    thumbnail: NDArray[np.float32]
    embedding: NDArray[np.float32]


def _neighbours(embeddings: Embeddings, fingerprints: Thumbnails, cancelled: Callable[[], None]) -> _Pairs:
    thumbnails = _centred(torch.from_numpy(fingerprints.astype(np.float32)))
    count = min(NEIGHBOURS, len(thumbnails) - 1)
    left, right, alike = [], [], []
    block = min(BLOCK, max(LEAST_BLOCK, MOST_ALIKE // len(thumbnails)))
    for start in range(0, len(thumbnails), block):
        cancelled()
        similar = thumbnails[start : start + block] @ thumbnails.T
        rows = torch.arange(len(similar))
        similar[rows, rows + start] = -2  # oneself
        best = similar.topk(count, dim=1)
        keep = best.values >= MATE_UNALIGNED
        left.append((rows[:, None] + start).expand_as(keep)[keep])
        right.append(best.indices[keep])
        alike.append(best.values[keep])
    i, j = torch.cat(left), torch.cat(right)
    cosines = _cosines(torch.from_numpy(embeddings), i, j)
    return _Pairs(i.numpy(), j.numpy(), torch.cat(alike).numpy(), cosines.numpy())


def _cosines(embeddings: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    norms = embeddings.norm(dim=1).clamp_min(1e-12)
    ends = torch.stack([torch.minimum(left, right), torch.maximum(left, right)], dim=1)
    pairs, where = torch.unique(ends, dim=0, return_inverse=True)  # most are each other's neighbours
    found = [(embeddings[i] * embeddings[j]).sum(dim=1) / (norms[i] * norms[j]) for i, j in _ends(pairs)]
    return torch.cat(found)[where] if found else norms[:0]


def _ends(pairs: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    return ((some[:, 0], some[:, 1]) for some in pairs.split(BLOCK))


def _same(pairs: _Pairs, roots: Indices) -> tuple[Indices, Indices]:
    """Pairs of nearly the same picture, whatever they are joined to."""
    same = (pairs.thumbnail >= SAME_THUMBNAIL) & (pairs.embedding >= SAME_EMBEDDING)
    return pairs.left[same], pairs.right[same]


def _mates(pairs: _Pairs, fingerprints: Thumbnails, roots: Indices) -> tuple[Indices, Indices]:
    """Pairs of groups that are each other's nearest, and one a crop of the other."""
    near = (pairs.embedding >= MATE_EMBEDDING) & (roots[pairs.left] != roots[pairs.right])
    left, right = pairs.left[near], pairs.right[near]
    score = (pairs.thumbnail + pairs.embedding)[near]
    # Each pair from both ends; sorted, the last row of a group names its nearest.
    ends = [np.concatenate(e) for e in ((left, right), (right, left))]
    mine, other = roots[ends[0]], roots[ends[1]]
    order = np.lexsort((*reversed(ends), other, np.concatenate((score, score)), mine))
    last = order[np.flatnonzero(np.diff(mine[order], append=-1))]
    nearest = np.full(len(roots), -1)
    nearest[mine[last]] = other[last]
    mutual = last[(nearest[other[last]] == mine[last]) & (mine[last] < other[last])]
    i, j = ends[0][mutual], ends[1][mutual]
    crops = _all_aligned(fingerprints[i], fingerprints[j]) >= MATE_THUMBNAIL
    return i[crops], j[crops]


def _all_aligned(one: Thumbnails, other: Thumbnails) -> NDArray[np.float32]:
    """`_aligned` a block at a time: crops of all frames of a film would be gigabytes."""
    starts = range(0, max(len(one), 1), BLOCK)
    return np.concatenate([_aligned(one[at : at + BLOCK], other[at : at + BLOCK]) for at in starts])


def _aligned(one: Thumbnails, other: Thumbnails) -> NDArray[np.float32]:
    """The best correlation [P] of thumbnails [P, 256] when either is cropped a little; bilinear, 27 crops."""
    a, b = torch.from_numpy(one.astype(np.float32)), torch.from_numpy(other.astype(np.float32))
    best = torch.full((len(a),), -1.0)
    for share in CROPS:
        for x, y in ((a, b), (b, a)):
            found = torch.einsum("pcd,pd->pc", _centred(_cropped(x, share)), _centred(y))
            best = torch.maximum(best, found.max(dim=1).values)
    return best.numpy()


def _cropped(thumbnails: torch.Tensor, share: float) -> torch.Tensor:
    """Thumbnails [P, 256] with `share` cut off and the rest stretched back, at nine positions: [P, 9, 256]."""
    ways = torch.stack([_crop(share, at) for at in (0.0, 0.5, 1.0)])  # [3, 16, 16]
    square = thumbnails.view(-1, 1, 1, SIDE, SIDE)
    return (ways[:, None] @ square @ ways.mT[None, :]).flatten(3).flatten(1, 2)


@functools.cache
def _crop(share: float, at: float) -> torch.Tensor:
    """Linear interpolation along one axis, [16, 16]: `share` is cut off, `at` of it at the start."""
    source = ((torch.arange(SIDE) + 0.5) * (1 - share) + at * share * SIDE - 0.5).clamp(0, SIDE - 1)
    below = source.floor().long().clamp(max=SIDE - 2)
    weight, rows = source - below, torch.arange(SIDE)
    operator = torch.zeros(SIDE, SIDE)
    operator[rows, below], operator[rows, below + 1] = 1 - weight, weight
    return operator


def _centred(x: torch.Tensor) -> torch.Tensor:
    """Rows of mean zero and norm one: their products are correlations. A blank picture is like nothing."""
    return torch.nn.functional.normalize(x - x.mean(dim=-1, keepdim=True), dim=-1)
