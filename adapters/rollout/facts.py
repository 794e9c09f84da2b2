"""A roll-out: a version that is tried beside the live one, the rules that end it, and what was counted."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal

Mode = Literal["canary", "shadow"]  # canary: it answers its share; shadow: it is asked too, and live answers
Status = Literal["running", "promoted", "rolled_back", "stopped"]
Arm = Literal["live", "candidate", "failed"]  # failed: it was the candidate's turn, and live had to answer
MEASURES = ("errors", "disagreement", "novelty")
PROMOTED: Final = "promoted"
ROLLED_BACK: Final = "rolled_back"
STOPPED: Final = "stopped"


@dataclass(frozen=True, slots=True)
class Limits:
    """When to decide, from 0 to 1 each; None: this is not looked at."""

    answers: int  # fewest requests that it was the candidate's turn for (shadow: on which it was asked)
    errors: float | None = None  # share of requests that it failed, less live's share
    disagreement: float | None = None  # share of requests that the two answer differently
    novelty: float | None = None  # share of inputs that it finds novel, less live's share

    def named(self) -> dict[str, float]:
        """Limits by measure, of what is looked at."""
        found = {name: getattr(self, name) for name in MEASURES}
        return {name: limit for name, limit in found.items() if limit is not None}


@dataclass(frozen=True, slots=True)
class Rules:
    """What ends a roll-out by itself. None: only its owner does."""

    promote_when: Limits | None = None  # all of its limits are surely kept
    roll_back_when: Limits | None = None  # one of its limits is surely passed
    confidence: float = 0.95  # that no decision of a roll-out is wrong, however often its counts are looked at


@dataclass(frozen=True, slots=True)
class Asked:
    """What one version did. A request counts once, by its first input: inputs sent together are seldom independent."""

    asked: int = 0
    errors: int = 0  # of them
    novel: int = 0  # of those answered: more novel than all but one in a hundred held-out examples

    @property
    def answered(self) -> int:
        return self.asked - self.errors

    def plus(self, other: "Asked") -> "Asked":
        return Asked(self.asked + other.asked, self.errors + other.errors, self.novel + other.novel)


@dataclass(frozen=True, slots=True)
class Counts:
    """What was seen of a roll-out."""

    live: Asked = Asked()
    candidate: Asked = Asked()
    compared: int = 0  # requests that both were asked
    disagreed: int = 0  # of them
    dropped: int = 0  # comparisons that were due and were left out, because there were too many at once

    def plus(self, other: "Counts") -> "Counts":
        return Counts(
            self.live.plus(other.live), self.candidate.plus(other.candidate), self.compared + other.compared,
            self.disagreed + other.disagreed, self.dropped + other.dropped,
        )  # fmt: skip

    def asked(self, arm: Literal["live", "candidate"], error: bool = False, novel: bool = False) -> "Counts":
        """One request more that a version was asked."""
        more = getattr(self, arm).plus(Asked(1, int(error), int(novel)))
        return replace(self, live=more) if arm == "live" else replace(self, candidate=more)


@dataclass(frozen=True, slots=True)
class Rollout:
    """One roll-out of one head."""

    id: str
    head: str
    version: int  # the candidate
    base: int  # the version that was live when it began; it counts only while that is so
    mode: Mode
    weight: float  # share of requests, 0 to 1: that the candidate answers, or that it is asked beside live
    rules: Rules
    status: Status = "running"
    reason: str | None = None  # why it ended
    counts: Counts = field(default_factory=Counts)
    created_at: datetime | None = None
    ended_at: datetime | None = None
