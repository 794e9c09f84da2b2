"""Reliability: does a probability of 0.8 come true 80 % of the time? Bins of the held-out answers, for the diagram."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters.figures import wilson
from adapters.types import Floats

BINS = 10


def reliability(confidence: Floats, right: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """The probability of each held-out answer [M], and whether it was right → the bins of equal width that hold any.

    Each is {"from", "to", "examples", "confidence", "accuracy", "interval"}, ascending: mean of the probabilities,
    share that was right, and its 95 % Wilson interval.
    """
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    return [_bin(int(b), confidence[bins == b], right[bins == b]) for b in np.unique(bins)]


def _bin(number: int, confidence: Floats, right: Any) -> dict[str, Any]:
    return {
        "from": number / BINS, "to": (number + 1) / BINS, "examples": len(right),
        "confidence": float(confidence.mean()), "accuracy": float(right.mean()),
        "interval": wilson(int(right.sum()), len(right)),
    }  # fmt: skip
