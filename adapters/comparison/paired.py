"""Paired figures: two versions answered the same examples, so only those on which they disagree tell them apart."""

from typing import Any

import numpy as np

from adapters.comparison.gate import tail
from adapters.figures import Z, around_mean
from adapters.types import Floats


def figures(a: Floats, b: Floats, merit: str = "accuracy") -> dict[str, Any]:
    """How good the answers were, f32 [N] each → means, their paired difference, its 95 % interval, the sign test's p.

    Without examples there is nothing to say: the figures are None and p is 1.
    """
    examples = len(a)
    better_a, better_b = int((a > b).sum()), int((b > a).sum())
    return {
        "examples": examples,
        "merit": merit,
        "merit_a": float(a.mean()) if examples else None,
        "merit_b": float(b.mean()) if examples else None,
        "difference": float((b - a).mean()) if examples else None,
        "difference_interval": _interval(a, b) if examples else None,
        "p_value": min(1.0, 2 * tail(max(better_a, better_b), better_a + better_b)),
        "a_better": better_a,
        "b_better": better_b,
    }


def _interval(a: Floats, b: Floats) -> tuple[float, float]:
    """Of right and wrong the one below, of other merits the mean's."""
    if set(np.unique(np.concatenate([a, b])).tolist()) <= {0.0, 1.0}:
        return interval(int((a > b).sum()), int((b > a).sum()), len(a))
    low, high = around_mean(b - a)
    return low, high


def interval(only_a: int, only_b: int, examples: int) -> tuple[float, float]:
    """The 95 % interval of the difference of two paired shares, b less a.

    Bonett & Price (2012): Wald with one example added to each kind of disagreement. It keeps its level from a few
    examples on, where plain Wald has zero width when nothing differs (Fagerland, Lydersen & Laake, 2014, recommend it).
    """
    n = examples + 2
    p_a, p_b = (only_a + 1) / n, (only_b + 1) / n
    half = Z * ((p_a + p_b - (p_b - p_a) ** 2) / n) ** 0.5
    return max(-1.0, p_b - p_a - half), min(1.0, p_b - p_a + half)
