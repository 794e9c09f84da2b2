"""Outliers: examples unlike all others of their class. A screenshot among photos, a wrong crop, a lens cap.

Measured with the embedded backbone on 1,097 weather photos: a blood-cell micrograph, a drawing of a letter and a black
picture put into any of the classes score 5.0 to 8.9, and five micrographs or drawings at once 2.3 to 5.9; of the
photos themselves four reach the limit of 3.5, and 99 % of each class stay below 2.9. Of 920 letters drawn by hand, in
classes of 20, it is 31. Distances of centred embeddings, Euclidean ones and Mahalanobis' told the strangers apart less
well or not at all. A class is judged by the wider of its own spread and that of all classes: the spread of 20 examples
is a guess.
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
LEAST_SPREAD = 0.005  # cosine distance: in a class of all but equal inputs, a shade is no outlier
MAD = 1.4826  # a normal distribution's standard deviation in median absolute deviations


@dataclass(frozen=True, slots=True)
class Outliers:
    """How far each example is from its own class."""

    score: Floats  # [N], mean cosine distance to the nearest of its class: robust standard deviations above the median
    flagged: NDArray[np.bool_]  # [N]
    judged: int  # examples of classes that are large enough


def outliers(embeddings: Embeddings, targets: Indices, groups: Indices) -> Outliers:
    """Embeddings f32 [N, D], classes i64 [N], near-duplicate groups i64 [N]: a copy of oneself is no neighbour."""
    x = torch.from_numpy(embeddings)
    beyond = np.zeros(len(targets), np.float32)  # how much further than the median of its class
    large = [np.flatnonzero(targets == k) for k in np.flatnonzero(np.bincount(targets) >= ENOUGH)]
    for members in large:
        distance = _distances(_directions(x[torch.from_numpy(members)]), groups[members])
        beyond[members] = distance - np.median(distance)
    judged = np.concatenate(large) if large else np.zeros(0, np.int64)
    score = np.zeros(len(targets), np.float32)
    for members in large:
        score[members] = beyond[members] / max(_spread(beyond[members]), _spread(beyond[judged]), LEAST_SPREAD)
    return Outliers(score, score > LIMIT, len(judged))


def _directions(x: torch.Tensor) -> torch.Tensor:
    """Signed square roots of norm one, in place of what they are of."""
    for rows in x.split(BLOCK):
        rows.copy_(torch.nn.functional.normalize(rows.sign() * rows.abs().sqrt(), dim=1))
    return x


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


def _spread(beyond: Floats) -> float:
    """A robust standard deviation, from the median of absolute deviations."""
    return MAD * float(np.median(np.abs(beyond)))
