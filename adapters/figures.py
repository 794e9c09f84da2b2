"""Figures that several tasks report. numpy only."""

import math
from typing import Any

import numpy as np

from adapters.types import Floats

ECE_BINS = 15
PROBABILITY_FLOOR = 1e-7  # in the log-loss: one sure mistake costs 16 nats, not infinity
Z = 1.959963984540054  # 95 %


def wilson(successes: int, trials: int) -> list[float]:
    """The 95 % Wilson score interval of a share: honest at 0 and 1, where the textbook interval has no width."""
    share, n = successes / trials, trials + Z * Z
    centre = (successes + Z * Z / 2) / n
    half = Z * math.sqrt(share * (1 - share) * trials + Z * Z / 4) / n
    return [max(0.0, centre - half), min(1.0, centre + half)]


def around_mean(values: Any) -> list[float]:
    """The 95 % interval of a mean of N values by the central limit; of one value it has no width, and says nothing."""
    values = np.asarray(values, np.float64)
    half = Z * float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return [float(values.mean()) - half, float(values.mean()) + half]


def log_loss(of_truth: Floats) -> float:
    """Mean −log of the probabilities that the truth was given, in nats; they are clipped at 1e-7."""
    return float(-np.log(of_truth.astype(np.float64).clip(PROBABILITY_FLOOR, 1.0)).mean())


def ece(confidence: Floats, right: Any) -> float:
    """Expected calibration error: the gap between confidence and accuracy, averaged over 15 bins by their size."""
    bins = np.minimum((confidence * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    gap = np.bincount(bins, weights=confidence - right, minlength=ECE_BINS)
    return float(np.abs(gap).sum() / len(confidence))
