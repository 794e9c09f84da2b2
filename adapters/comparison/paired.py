"""Paired figures: two versions answered the same examples, so only those on which they disagree tell them apart."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters.comparison.gate import tail

Z = 1.959963984540054  # 95 %


def figures(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> dict[str, Any]:
    """Which answers were right, bool [N] each → accuracies, their paired difference, its 95 % interval, McNemar's p.

    Without examples there is nothing to say: the figures are None and p is 1.
    """
    examples = len(a)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    return {
        "examples": examples,
        "accuracy_a": float(a.mean()) if examples else None,
        "accuracy_b": float(b.mean()) if examples else None,
        "difference": (only_b - only_a) / examples if examples else None,
        "difference_interval": interval(only_a, only_b, examples) if examples else None,
        "p_value": min(1.0, 2 * tail(max(only_a, only_b), only_a + only_b)),
        "only_a_right": only_a,
        "only_b_right": only_b,
    }


def interval(only_a: int, only_b: int, examples: int) -> tuple[float, float]:
    """The 95 % interval of the difference of two paired shares, b less a.

    Bonett & Price (2012): Wald with one example added to each kind of disagreement. It keeps its level from a few
    examples on, where plain Wald has zero width when nothing differs (Fagerland, Lydersen & Laake, 2014, recommend it).
    """
    n = examples + 2
    p_a, p_b = (only_a + 1) / n, (only_b + 1) / n
    half = Z * ((p_a + p_b - (p_b - p_a) ** 2) / n) ** 0.5
    return max(-1.0, p_b - p_a - half), min(1.0, p_b - p_a + half)
