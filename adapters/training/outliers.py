"""Outliers: examples unlike all others of their class. A screenshot among photos, a wrong crop, a lens cap.

Measured with the embedded backbone on 1,097 weather photos: a blood-cell micrograph, a drawing of a letter and a black
picture put into any of the classes score 5.0 to 8.9, and five micrographs or drawings at once 2.3 to 6.7; of the
photos themselves four reach the limit of 3.5, and 99 % of each class stay below 3.1. Distances of centred embeddings,
Euclidean ones and Mahalanobis' told these apart less well or not at all.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from adapters.types import Embeddings, Floats, Indices

LEAST_NEIGHBOURS = 5  # else √M of M: a handful of strangers of one kind must not vouch for each other
REFERENCES = 500  # examples of a class that others are compared with: bounds the work for large classes
ENOUGH = 10  # examples of a class: among fewer nothing is usual
LIMIT = 3.5  # modified z-score, as Iglewicz & Hoaglin (1993) advise
BLOCK = 2048  # rows compared at a time
LEAST_SPREAD = 0.005  # cosine distance: in a class of all but equal pictures, a shade is no outlier
MAD = 1.4826  # a normal distribution's standard deviation in median absolute deviations


@dataclass(frozen=True, slots=True)
class Outliers:
    """How far each example is from its own class."""

    score: Floats  # [N], mean cosine distance to the nearest of its class, in robust standard deviations of the class
    flagged: NDArray[np.bool_]  # [N]
    judged: int  # examples of classes that are large enough


def outliers(embeddings: Embeddings, targets: Indices, groups: Indices) -> Outliers:
    """Embeddings f32 [N, D], classes i64 [N], near-duplicate groups i64 [N]: a copy of oneself is no neighbour."""
    x = _directions(torch.from_numpy(embeddings))
    score = np.zeros(len(targets), np.float32)
    judged = 0
    for k in np.flatnonzero(np.bincount(targets) >= ENOUGH):
        members = np.flatnonzero(targets == k)
        judged += len(members)
        score[members] = _modified_z(_distances(x[torch.from_numpy(members)], groups[members]))
    return Outliers(score, score > LIMIT, judged)


def _directions(x: torch.Tensor) -> torch.Tensor:
    """Signed square roots of norm one."""
    return torch.nn.functional.normalize(x.sign() * x.abs().sqrt(), dim=1)


def _distances(x: torch.Tensor, groups: Indices) -> Floats:
    """Of each member [M, D] of a class to its neighbours in it, [M]."""
    references = torch.linspace(0, len(x) - 1, min(len(x), REFERENCES)).long()
    others, of_others = x[references].T, torch.from_numpy(groups)[references]
    count = min(max(LEAST_NEIGHBOURS, int(len(references) ** 0.5)), len(references) - 1)
    found = []
    for start in range(0, len(x), BLOCK):
        cosines = x[start : start + BLOCK] @ others  # [B, R]
        cosines[torch.from_numpy(groups[start : start + BLOCK])[:, None] == of_others] = 0
        found.append(1 - cosines.topk(count, dim=1).values.mean(dim=1))
    distances: Floats = torch.cat(found).numpy()
    return distances


def _modified_z(distance: Floats) -> Floats:
    middle = np.median(distance)
    spread = MAD * np.median(np.abs(distance - middle))
    scores: Floats = (distance - middle) / max(float(spread), LEAST_SPREAD)
    return scores
