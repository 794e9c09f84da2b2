"""The wire contract of drift."""

from typing import Literal

from pydantic import Field

from service.wire import Wire

Level = Literal["none", "moderate", "major", "unknown"]


class DriftFigures(Wire):
    """One histogram of what is answered against that of held-out examples."""

    level: Level = Field(description="none, moderate (0.1), major (0.25); unknown: too few to tell from chance.")
    psi: float = Field(description="Population stability index.")
    chance: float | None = Field(
        description="What it is below in 95 % of cases where nothing has moved; null: too few."
    )
    answers: int
    effective: float = Field(description="How many independent answers tell as much: hours differ more than chance.")
    bins: list[str]
    taught: list[float] = Field(description="Shares of held-out answers, by bin.")
    asked: list[float] = Field(description="Shares of answers to what was asked, by bin.")


class DriftView(Wire):
    """What a version is asked against what it was taught."""

    head: str
    version: int
    hours: int = Field(description="That were looked at, the present one included.")
    answers: int
    labels: DriftFigures | None = Field(description="Shares of what is answered; null without a reference.")
    novelty: DriftFigures | None = Field(description="How unlike what was taught; null without a reference.")
    note: str = Field(description="What to know of these figures.")
