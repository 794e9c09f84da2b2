"""What the counts of a roll-out allow to decide: promote it, roll it back, or wait."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from adapters.rollout import sequential
from adapters.rollout.facts import MEASURES, PROMOTED, ROLLED_BACK, Asked, Counts, Limits, Rules
from adapters.rollout.sequential import Interval

WORDS = {
    "errors": "its share of failed requests less live's",
    "disagreement": "the share of requests that the two answer differently",
    "novelty": "its share of novel inputs less live's",
}


@dataclass(frozen=True, slots=True)
class Decision:
    """How a roll-out ends, and why."""

    status: Literal["promoted", "rolled_back"]
    reason: str


def weigh(counts: Counts, confidence: float) -> dict[str, Interval]:
    """Each measure with the interval that holds it; all of them hold at all times with the confidence.

    The level is divided by the measures, and where two shares are compared by these, so none of the intervals is wrong
    in more than 1 − confidence of roll-outs (Bonferroni).
    """
    alpha = (1 - confidence) / len(MEASURES)
    failed = [sequential.share(arm.errors, arm.asked, alpha / 2) for arm in (counts.candidate, counts.live)]
    novel = [_novel(arm, alpha / 2) for arm in (counts.candidate, counts.live)]
    return {
        "errors": sequential.difference(*failed),
        "disagreement": sequential.share(counts.disagreed, counts.compared, alpha),
        "novelty": sequential.difference(*novel),
    }


def decide(counts: Counts, rules: Rules) -> Decision | None:
    """None: not sure enough of anything yet. Where both rules would hold, the roll-out is rolled back."""
    intervals = weigh(counts, rules.confidence)
    back, on = rules.roll_back_when, rules.promote_when
    if back is not None and counts.candidate.asked >= back.answers:
        passed = [name for name, limit in back.named().items() if intervals[name].low > limit]
        if passed:
            return Decision(ROLLED_BACK, _said(passed, intervals, back, "surely above"))
    if on is not None and counts.candidate.asked >= on.answers:
        if all(intervals[name].high <= limit for name, limit in on.named().items()):
            why = _said(list(on.named()), intervals, on, "surely at most")
            return Decision(PROMOTED, why or f"it was asked {counts.candidate.asked} times")
    return None


def _novel(arm: Asked, alpha: float) -> Interval:
    return sequential.share(arm.novel, arm.answered, alpha)


def _said(names: list[str], intervals: Mapping[str, Interval], limits: Limits, how: str) -> str:
    return "; ".join(f"{WORDS[name]} is {_figures(intervals[name])}, {how} {limits.named()[name]:g}" for name in names)


def _figures(interval: Interval) -> str:
    estimate = "unknown" if interval.estimate is None else f"{interval.estimate:.4f}"
    return f"{estimate} ({interval.low:.4f} to {interval.high:.4f})"
