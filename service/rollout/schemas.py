"""The wire contract of roll-outs."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from adapters.rollout import decision
from adapters.rollout.facts import Limits, Rollout, Rules
from adapters.tenancy import shown
from service.wire import NUMBER, Wire

Share = Annotated[float, Field(ge=0, le=1), NUMBER]
WEIGHTS = {"canary": 0.1, "shadow": 1.0}  # where the request has none
GUARD = {"answers": 50, "errors": 0.02}  # a candidate that fails is not tried for long


class LimitsBody(Wire):
    """When to decide. Without a limit a measure is not looked at."""

    answers: Annotated[int, Field(ge=1, le=10**9), NUMBER] = Field(
        description="Fewest requests that the candidate was asked."
    )
    errors: Share | None = Field(None, description="The share that it failed, less live's.")
    disagreement: Share | None = Field(None, description="The share that the two answer differently.")
    novelty: Share | None = Field(None, description="The share of inputs that it finds novel, less live's.")


class RolloutRequest(Wire):
    """Which version is tried, on how much, and what ends it."""

    version: Annotated[int, Field(ge=1, le=2**31 - 1), NUMBER]
    mode: Literal["canary", "shadow"] = Field(
        "canary", description="canary: it answers its share; shadow: live answers all, and it is asked beside live."
    )
    weight: Annotated[float, Field(gt=0, le=1), NUMBER] | None = Field(
        None,
        description="Its share of requests; default 0.1, in the shadow 1. A canary of 1 leaves live nothing to be "
        "compared by: neither errors nor novelty decide then.",
    )
    promote_when: LimitsBody | None = Field(
        None, description="Point live at it once all of these are surely kept. Default: never by itself."
    )
    roll_back_when: LimitsBody | None = Field(
        LimitsBody.model_validate(GUARD),
        description="End it once one of these is surely passed; null: never.",
    )
    confidence: Annotated[float, Field(ge=0.5, le=0.9999), NUMBER] = Field(
        0.95, description="That no decision is wrong, however often the counts are looked at."
    )

    def rollout(self, head: str) -> Rollout:
        """As it is asked for, without an id and a base yet."""
        weight = WEIGHTS[self.mode] if self.weight is None else self.weight
        rules = Rules(_limits(self.promote_when), _limits(self.roll_back_when), self.confidence)
        return Rollout("", head, self.version, 0, self.mode, weight, rules)


def _limits(body: LimitsBody | None) -> Limits | None:
    return None if body is None else Limits(**body.model_dump())


class AskedView(Wire):
    """What one version was asked. A request counts once, by its first input."""

    asked: int
    errors: int
    novel: int


class CountsView(Wire):
    """What was seen of a roll-out so far; up to a second behind."""

    live: AskedView
    candidate: AskedView
    compared: int = Field(description="Requests that both were asked.")
    disagreed: int
    dropped: int = Field(description="Comparisons that were left out, because there were too many at once.")


class IntervalView(Wire):
    """A figure and what it surely lies between, at whatever moment one looks."""

    estimate: float | None
    low: float
    high: float


class EventView(Wire):
    """What became of a roll-out, on what evidence."""

    type: Literal["started", "promoted", "rolled_back", "stopped"]
    data: dict[str, Any]
    created_at: datetime


class RolloutView(Wire):
    """The last roll-out of a head, running or ended."""

    head: str
    id: str
    version: int
    base: int = Field(description="The live version that it is compared with.")
    mode: Literal["canary", "shadow"]
    weight: float
    status: Literal["running", "promoted", "rolled_back", "stopped"]
    reason: str | None = Field(description="Why it ended.")
    promote_when: LimitsBody | None
    roll_back_when: LimitsBody | None
    confidence: float
    counts: CountsView
    evidence: dict[str, IntervalView] = Field(description="By measure: errors, disagreement, novelty.")
    events: list[EventView] = Field(description="Of all roll-outs of the head, the oldest first; the last 100.")
    created_at: datetime | None
    ended_at: datetime | None
    generation: int | None = Field(None, description="Of a change: send it as `min_generation` to be answered by it.")

    @classmethod
    def of(cls, rollout: Rollout, events: Sequence[dict[str, Any]], generation: int | None = None) -> "RolloutView":
        """On the wire."""
        facts = asdict(rollout) | {"head": shown(rollout.head)}
        evidence = decision.weigh(rollout.counts, rollout.rules.confidence)
        facts |= facts.pop("rules") | {"evidence": {name: asdict(found) for name, found in evidence.items()}}
        return cls.model_validate(facts | {"events": events, "generation": generation})
