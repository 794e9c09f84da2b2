"""Novelty: how unlike an embedding is to everything that a head was taught, as steps of the head's own graph.

The distance is the squared one to the nearest group's mean, of embeddings that were power-normalised and brought to
length one. Their length being one makes it 1 + ‖m‖² − 2·x·m: a Linear step and a minimum. Measured against shared and
shrunk Mahalanobis distances (Lee et al., NeurIPS 2018), relative ones (Ren et al. 2021), distances to principal
subspaces and to the fifth neighbour, it found images of another kind as surely (AUROC 1.00 on five sorts of them for
a head of weather) and held-out classes about as often, at a fraction of the size; docs/concepts/trust.md has figures.

Where a head reads taps, these are scaled to weigh as much as `pooled`: left as they are they outweigh it, and photos of
traffic signs were no longer novel to a head of weather; docs/adr/0010 has figures.

What the graph gives is not the distance but the share of held-out examples with a smaller one.

A tail that was trained on an example tells it as one of its group: through that tail, what is held out of the means
alone is nearer to them than anything new. So where embeddings are a trained tail's, distances are taken through the
tails of fits to folds (`apart`), each of what it did not see.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from adapters.fitting.inputs import CHUNK, STEPS, numpy
from adapters.training import programs
from adapters.training.data.split import Split
from adapters.types import Affine, Clip, Embeddings, Floats, HeadProgram, Indices, Linear, Minimum, Step

AXES = 32  # of the means of more groups: 0.16 MB at D = 1280, whatever their number
SHARES = (0.01, 0.02, 0.05, *(k / 20 for k in range(2, 19)), 0.95, 0.98, 0.99, 0.995, 0.999)  # where knots lie
STEEPEST = 50.0  # of the share by distance: keeps float32's rounding of a distance below the tolerance of parity
EACH = 64  # examples of a group tell its mean: with them a distance comes out by a 64th part too large
LEAST = 1e-6  # of a scatter that is divided by
KEPT = 16_000_000  # numbers of embeddings that are kept as they are compared: 64 MB
REACH = 0.3  # beyond the farthest held-out example, in its distance from the median one: where novelty becomes 1


@dataclass(frozen=True, slots=True)
class Novelty:
    """Steps from an embedding to its novelty, and how they were come by."""

    steps: tuple[Step, ...]
    distances: Floats  # f32 [M], of held-out examples, ascending


@dataclass(frozen=True, slots=True)
class Apart:
    """What a fit to a fold says, through its own tail, of the examples that it did not see."""

    distances: Floats  # f32 [M], squared, to the nearest group's mean of what it was fitted to
    scatter: float  # of what it was fitted to, 0 to 1: see `_scatter`


def apart(taught: Embeddings, groups: Indices, unseen: Embeddings) -> Apart:
    """Through one tail: embeddings f32 [T, D] that it was fitted to, their groups i64 [T], and others f32 [M, D]."""
    x = _Directed(np.concatenate([taught, unseen]), STEPS["power"])
    rows = np.arange(len(taught))
    asked = np.arange(len(taught), len(taught) + len(unseen))
    return Apart(_measure(_distance(x, groups, rows), x, asked), _scatter(x, rows))


def some_of_each(groups: Indices, rows: Indices) -> Indices:
    """At most EACH of the chosen rows of each group, i64, ascending: enough to tell its mean by."""
    order = rows[np.argsort(groups[rows], kind="stable")]
    _, starts, counts = np.unique(groups[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(starts, counts)
    return np.sort(order[rank % np.repeat(-(-counts // EACH), counts) == 0])


def fit(
    embeddings: Embeddings,
    groups: Indices,
    split: Split,
    dimension: int | None = None,
    unlearned: Sequence[Apart] = (),
) -> Novelty:
    """Embeddings f32 [N, R] and the group of like examples that each is in, i64 [N] → the steps of novelty.

    `dimension` is how many numbers of an embedding are `pooled`, where others follow.
    Held-out distances are those of the test set from the final means, or, where there is none, those of each fold from
    the means of the others; those of `unlearned` in their place, where embeddings are of a tail that was trained on
    the folds.
    """
    first = (*_balanced(embeddings, split.rest, dimension), *STEPS["power"])
    x = _Directed(embeddings, first)
    final = _distance(x, groups, split.rest)
    if len(split.test):
        measured = [_measure(final, x, split.test)]
    elif unlearned:
        now = _scatter(x, some_of_each(groups, split.rest))
        measured = [each.distances * np.float32(now / max(each.scatter, LEAST)) for each in unlearned]
    else:
        measured = [_measure(_distance(x, groups, train), x, val) for train, val in split.folds]
    distances = np.sort(np.concatenate(measured))
    return Novelty((*first, *final, *_share(distances)), distances)


class _Directed:
    """Embeddings after the first steps: rows of length one. Made a part at a time, and kept where they are few."""

    def __init__(self, embeddings: Embeddings, steps: tuple[Step, ...]) -> None:
        self._embeddings, self._program = embeddings, HeadProgram(steps)
        self._kept = self._made(np.arange(len(embeddings))) if embeddings.size <= KEPT else None

    def parts(self, rows: Indices) -> Iterator[torch.Tensor]:
        """Some rows in their order, f32 [≤ CHUNK, D] each."""
        for start in range(0, len(rows), CHUNK):
            some = rows[start : start + CHUNK]
            yield self._made(some) if self._kept is None else self._kept[torch.from_numpy(some).to(self._kept.device)]

    def _made(self, rows: Indices) -> torch.Tensor:
        device = programs.device()
        return torch.from_numpy(programs.run(self._program, self._embeddings[rows], device)).to(device)


def _balanced(embeddings: Embeddings, rows: Indices, dimension: int | None) -> tuple[Step, ...]:
    """The step that scales taps so that their square roots are as long as those of `pooled`, on average."""
    if dimension is None or dimension >= embeddings.shape[1]:
        return ()
    sums = [_sums(embeddings, rows, part) for part in (slice(dimension), slice(dimension, None))]
    one, other = (float(np.sqrt(part).mean()) for part in sums)  # of Power's outcome, whose squares are |x|
    scale = np.ones(embeddings.shape[1], np.float32)
    scale[dimension:] = (one / max(other, 1e-12)) ** 2
    return (Affine(np.zeros_like(scale), scale),)


def _sums(embeddings: Embeddings, rows: Indices, part: slice) -> Floats:
    """Sums of sizes of a part of some embeddings, [M]."""
    chunks = (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK))
    return np.concatenate([np.abs(embeddings[some, part]).sum(axis=1) for some in chunks])


def _measure(steps: tuple[Step, ...], x: _Directed, rows: Indices) -> Floats:
    return np.concatenate([programs.run(HeadProgram(steps), part)[:, 0] for part in x.parts(rows)])


def _distance(x: _Directed, groups: Indices, rows: Indices) -> tuple[Step, ...]:
    """Rows of length one [N, D] → the steps to the squared distance from the nearest mean of the chosen rows."""
    present, position = np.unique(groups[rows], return_inverse=True)
    where, sums = torch.from_numpy(position), None
    for part, places in zip(x.parts(rows), where.split(CHUNK), strict=True):
        sums = part.new_zeros(len(present), part.shape[1]) if sums is None else sums
        sums.index_add_(0, places.to(part.device), part)
    assert sums is not None
    means = sums / torch.from_numpy(np.bincount(position)).to(sums)[:, None]  # [G, D]
    if len(means) <= AXES:
        return (_squared(means), Minimum())
    axes = _axes(means)  # [D, AXES]
    project = Linear(numpy(axes), np.zeros(axes.shape[1], np.float32))
    return (project, _squared(means @ axes), Minimum())


def _scatter(x: _Directed, rows: Indices) -> float:
    """The mean squared distance from the common mean, of rows of length one.

    By it distances through one tail are brought to the scale of another. Not by distances within groups: a tail makes
    these as small as it knows the examples well, and of new ones that says little.
    """
    mean = sum(part.double().sum(dim=0) for part in x.parts(rows)) / len(rows)
    return 1 - float(torch.as_tensor(mean).square().sum())


def _squared(means: torch.Tensor) -> Linear:
    """x → ‖x − mean‖² for each mean, where ‖x‖ = 1."""
    return Linear(numpy(-2 * means.T), numpy(1 + means.square().sum(dim=1)))


def _axes(means: torch.Tensor) -> torch.Tensor:
    """The orthonormal axes [D, AXES] that keep most of the means [G, D]."""
    wide = means.shape[0] < means.shape[1]
    _, vectors = torch.linalg.eigh((means @ means.T if wide else means.T @ means).double())
    top = vectors[:, -AXES:].to(means.dtype)
    return torch.linalg.qr(means.T @ top if wide else top).Q


def _share(distances: Floats) -> tuple[Step, ...]:
    """Steps from a distance [N, 1] to the share of the held-out that are nearer: linear between knots, 0…1.

    Of n held-out examples the i-th counts as i / (n + 1), so that the farthest of few is not taken for the farthest
    there is; half of them are below 0.5.
    """
    at, shares = _knots(distances.astype(np.float64))
    widths, rises = np.diff(at), np.diff(shares)
    return (
        Linear((1 / widths)[None].astype(np.float32), (-at[:-1] / widths).astype(np.float32)),
        Clip(0.0, 1.0),
        Linear(rises[:, None].astype(np.float32), np.zeros(1, np.float32)),
    )


def held_out(found: Novelty) -> list[float]:
    """The novelty of each held-out example, [M]: nearly uniform, by how it is made."""
    steps = HeadProgram(_share(found.distances))
    return [float(share) for share in programs.run(steps, found.distances[:, None].astype(np.float32))[:, 0]]


def steepness(steps: Sequence[Step]) -> float:
    """How fast the share rises by distance where it rises fastest; 0 of steps that are not `fit`'s."""
    match steps[-3:]:
        case (Linear(weight=by_width), Clip(), Linear(weight=rises)):
            return float((by_width[0] * rises[:, 0]).max())
    return 0.0


def _knots(distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances f64 [J] and the shares there, from 0 to 1, both ascending."""
    count = len(distances)
    low, high = 1 / (count + 1), count / (count + 1)
    shares = np.array([low, *(s for s in SHARES if low < s < high), high]) if count > 1 else np.array([0.5])
    at = np.quantile(distances, shares, method="weibull")
    reach = max(REACH * float(at[-1] - np.median(distances)), 1 / STEEPEST)
    at = np.array([at[0] - max(float(np.median(distances) - at[0]), 1 / STEEPEST), *at, at[-1] + reach])
    shares = np.array([0.0, *shares, 1.0])
    for left, right in pairwise(range(len(at))):
        at[right] = max(at[right], at[left] + (shares[right] - shares[left]) / STEEPEST)
    return at, shares
