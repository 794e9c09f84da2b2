"""The gate: a new version goes live by itself only if it is no worse than the live one beyond chance."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from adapters import arrays
from adapters.tasks import Task
from adapters.types import Arrays, Floats, Schema

SIGNIFICANT = 0.05


def gate(candidate: Floats, live: Floats, merit: str = "accuracy") -> dict[str, Any]:
    """How good the answers were, f32 [N] each, on the same held-out examples that neither version trained on.

    A one-sided exact sign test, which for right and wrong is McNemar's: only examples on which the two differ count,
    and were the versions equally good each such example would be a fair coin. The candidate is refused only when it
    loses so many of them that chance would do that in 5 % of cases or fewer. Without common examples there is nothing
    to hold against it.
    """
    examples = len(candidate)
    if examples == 0:
        return {"passed": True, "examples": 0, "reason": "the two versions have no held-out examples in common"}
    lost, won = int((live > candidate).sum()), int((candidate > live).sum())
    chance = tail(lost, lost + won)
    passed = chance > SIGNIFICANT
    return {
        "passed": passed,
        "examples": examples,
        f"candidate_{merit}": float(candidate.mean()),
        f"live_{merit}": float(live.mean()),
        "live_better": lost,
        "candidate_better": won,
        "p_value": chance,
        "reason": "no worse than the live version beyond chance" if passed else _refusal(lost, won, chance),
    }


def merits(task: Task, answers: Arrays, schema: Schema, labels: Sequence[str], shared: Sequence[str]) -> Floats:
    """How good each of N answers is when only `shared` classes may be chosen, f32 [N].

    A class that only one of two versions knows would hand the other its examples for free. Labels must be shared.
    """
    among, read = task.among(answers, schema, shared)
    return task.merits(among, task.targets(labels, shared), read)


def compare(
    task: Task, candidate: Arrays, of_candidate: Schema, live: Arrays, of_live: Schema, labels: Sequence[str]
) -> dict[str, Any]:
    """The gate from the answers of both versions to N examples: only examples and classes that both know count."""
    shared = sorted(set(of_candidate.classes) & set(of_live.classes))
    known = [i for i, label in enumerate(labels) if set(task.names(label)) <= set(shared)]
    of_known = [labels[i] for i in known]
    if not known or not shared:
        return gate(np.zeros(0, np.float32), np.zeros(0, np.float32))
    return gate(
        merits(task, arrays.take(candidate, known), of_candidate, of_known, shared),
        merits(task, arrays.take(live, known), of_live, of_known, shared),
        task.MERIT,
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
        f"worse than the live version: {lost} answers are now worse and {won} better, which chance does in "
        f"{chance:.2g} of cases"
    )
