"""Reliability: does a probability of 0.8 come true 80 % of the time? Bins of the held-out answers, for the diagram."""

from typing import Any

import numpy as np

from adapters.figures import wilson
from adapters.types import Floats, Indices

BINS = 10


def reliability(probabilities: Floats, targets: Indices) -> list[dict[str, Any]]:
    """Held-out probabilities f32 [M, K], classes i64 [M] → the bins of equal width that hold examples, ascending.

    Each is {"from", "to", "examples", "confidence", "accuracy", "interval"}: mean of the largest probability, share
    that was right, and its 95 % Wilson interval.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    return [_bin(int(b), confidence[bins == b], right[bins == b]) for b in np.unique(bins)]


def _bin(number: int, confidence: Floats, right: Any) -> dict[str, Any]:
    return {
        "from": number / BINS, "to": (number + 1) / BINS, "examples": len(right),
        "confidence": float(confidence.mean()), "accuracy": float(right.mean()),
        "interval": wilson(int(right.sum()), len(right)),
    }  # fmt: skip
