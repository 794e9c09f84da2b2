"""Novelty: how unlike an embedding is to everything that a head was taught, as steps of the head's own graph.

The distance is the squared one to the nearest group's mean, of embeddings that were power-normalised and brought to
length one. Their length being one makes it 1 + ‖m‖² − 2·x·m: a Linear step and a minimum. Measured against shared and
shrunk Mahalanobis distances (Lee et al., NeurIPS 2018), relative ones (Ren et al. 2021), distances to principal
subspaces and to the fifth neighbour, it found images of another kind as surely (AUROC 1.00 on five sorts of them for
a head of weather) and held-out classes about as often, at a fraction of the size; docs/concepts/trust.md has figures.

Where a head reads taps, these are scaled to weigh as much as `pooled`: left as they are they outweigh it, and photos of
traffic signs were no longer novel to a head of weather; docs/adr/0010 has figures.

What the graph gives is not the distance but the share of held-out examples with a smaller one.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from adapters.inputs import Inputs, numpy
from adapters.training import programs
from adapters.training.split import Split
from adapters.types import Affine, Clip, Embeddings, Floats, HeadProgram, Indices, Linear, Minimum, Step

AXES = 32  # of the means of more groups: 0.16 MB at D = 1280, whatever their number
SHARES = (0.01, 0.02, 0.05, *(k / 20 for k in range(2, 19)), 0.95, 0.98, 0.99, 0.995, 0.999)  # where knots lie
STEEPEST = 50.0  # of the share by distance: keeps float32's rounding of a distance below the tolerance of parity
REACH = 0.3  # beyond the farthest held-out example, in its distance from the median one: where novelty becomes 1


@dataclass(frozen=True, slots=True)
class Novelty:
    """Steps from an embedding to its novelty, and how they were come by."""

    steps: tuple[Step, ...]
    distances: Floats  # f32 [M], of held-out examples, ascending


def fit(embeddings: Embeddings, groups: Indices, split: Split, dimension: int | None = None) -> Novelty:
    """Embeddings f32 [N, R] and the group of like examples that each is in, i64 [N] → the steps of novelty.

    `dimension` is how many numbers of an embedding are `pooled`, where others follow.
    Held-out distances are those of the test set from the final means, or, where there is none, those of each fold from
    the means of the others.
    """
    balance = _balanced(embeddings[split.rest], dimension)
    inputs = Inputs(torch.from_numpy(_through(balance, embeddings)).to(programs.device()))
    power, x = inputs.form("power")
    first = (*balance, *power)
    final = _distance(x, groups, split.rest)
    if len(split.test):
        measured = [_measure(final, x, split.test)]
    else:
        measured = [_measure(_distance(x, groups, train), x, val) for train, val in split.folds]
    distances = np.sort(np.concatenate(measured))
    return Novelty((*first, *final, *_share(distances)), distances)


def _balanced(embeddings: Embeddings, dimension: int | None) -> tuple[Step, ...]:
    """The step that scales taps so that their square roots are as long as those of `pooled`, on average."""
    if dimension is None or dimension >= embeddings.shape[1]:
        return ()
    sums = np.abs(embeddings[:, :dimension]).sum(axis=1), np.abs(embeddings[:, dimension:]).sum(axis=1)
    one, other = (float(np.sqrt(part).mean()) for part in sums)  # of Power's outcome, whose squares are |x|
    scale = np.ones(embeddings.shape[1], np.float32)
    scale[dimension:] = (one / max(other, 1e-12)) ** 2
    return (Affine(np.zeros_like(scale), scale),)


def _through(steps: tuple[Step, ...], embeddings: Embeddings) -> Embeddings:
    return programs.run(HeadProgram(steps), embeddings) if steps else embeddings


def _measure(steps: tuple[Step, ...], x: torch.Tensor, rows: Indices) -> Floats:
    return programs.run(HeadProgram(steps), x[torch.from_numpy(rows).to(x.device)])[:, 0]


def _distance(x: torch.Tensor, groups: Indices, rows: Indices) -> tuple[Step, ...]:
    """Rows of length one f32 [N, D] → the steps to the squared distance from the nearest mean of the chosen rows."""
    present, position = np.unique(groups[rows], return_inverse=True)
    sums = x.new_zeros(len(present), x.shape[1])
    sums.index_add_(0, torch.from_numpy(position).to(x.device), x[torch.from_numpy(rows).to(x.device)])
    means = sums / torch.from_numpy(np.bincount(position)).to(x)[:, None]  # [G, D]
    if len(means) <= AXES:
        return (_squared(means), Minimum())
    axes = _axes(means)  # [D, AXES]
    project = Linear(numpy(axes), np.zeros(axes.shape[1], np.float32))
    return (project, _squared(means @ axes), Minimum())


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
