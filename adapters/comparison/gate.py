"""The gate: a new version goes live by itself only if it is no worse than the live one beyond chance."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters.types import Floats

SIGNIFICANT = 0.05


def gate(candidate: NDArray[np.bool_], live: NDArray[np.bool_]) -> dict[str, Any]:
    """Which answers were right, bool [N] each, on the same held-out examples that neither version trained on.

    A one-sided exact McNemar test: only examples on which the two disagree count, and were the versions equally good
    each such example would be a fair coin. The candidate is refused only when it loses so many of them that chance
    would do that in 5 % of cases or fewer. Without common examples there is nothing to hold against it.
    """
    examples = len(candidate)
    if examples == 0:
        return {"passed": True, "examples": 0, "reason": "the two versions have no held-out examples in common"}
    lost, won = int((live & ~candidate).sum()), int((candidate & ~live).sum())
    chance = tail(lost, lost + won)
    passed = chance > SIGNIFICANT
    return {
        "passed": passed,
        "examples": examples,
        "candidate_accuracy": float(candidate.mean()),
        "live_accuracy": float(live.mean()),
        "only_live_right": lost,
        "only_candidate_right": won,
        "p_value": chance,
        "reason": "no worse than the live version beyond chance" if passed else _refusal(lost, won, chance),
    }


def correct(
    probabilities: Floats, classes: Sequence[str], labels: Sequence[str], shared: Sequence[str]
) -> NDArray[np.bool_]:
    """Whether each answer is right when only `shared` classes may be chosen; probabilities f32 [N, K] → bool [N].

    A class that only one of two versions knows would hand the other its examples for free. Labels must be shared.
    """
    columns = [list(classes).index(label) for label in shared]
    chosen = probabilities[:, columns].argmax(axis=1)
    return np.array([shared[k] == label for k, label in zip(chosen, labels, strict=True)], dtype=bool)


def compare(
    candidate: Floats,
    candidate_classes: Sequence[str],
    live: Floats,
    live_classes: Sequence[str],
    labels: Sequence[str],
) -> dict[str, Any]:
    """The gate from probabilities f32 [N, K] of both versions: only examples and classes that both know count."""
    shared = sorted(set(candidate_classes) & set(live_classes))
    known = [i for i, label in enumerate(labels) if label in set(shared)]
    of_known = [labels[i] for i in known]
    if not known:
        return gate(np.zeros(0, dtype=bool), np.zeros(0, dtype=bool))
    return gate(
        correct(candidate[known], candidate_classes, of_known, shared),
        correct(live[known], live_classes, of_known, shared),
    )


def tail(lost: int, flips: int) -> float:
    """P(at least `lost` heads in `flips` fair coins), exact in integers."""
    term = total = 1  # from the all-heads end: C(n, n)
    for heads in range(flips, lost, -1):
        term = term * heads // (flips - heads + 1)  # C(n, k−1) from C(n, k)
        total += term
    return total / (1 << flips) if flips else 1.0


def _refusal(lost: int, won: int, chance: float) -> str:
    return (
        f"worse than the live version: {lost} answers that it got right are now wrong and {won} the other way round, "
        f"which chance does in {chance:.2g} of cases"
    )
