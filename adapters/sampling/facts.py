"""What is kept of a hard input, and how much a head keeps."""

from dataclasses import dataclass, field
from typing import Any, Literal

from adapters.types import Floats

Why = Literal["abstained", "unsure", "novel"]
KEEP, DAYS = 200, 30.0  # where a head's owner says nothing else
MOST_KEPT, MOST_DAYS = 500, 366.0


@dataclass(frozen=True, slots=True)
class Sampling:
    """What a head's owner has switched on."""

    head: str
    keep: int  # samples at most
    days: float  # that one is kept
    since: float  # seconds since 1970


@dataclass(frozen=True, slots=True)
class Candidate:
    """A hard input that was answered just now."""

    head: str
    version: int
    backbone: str  # digest of the one that embedded it
    sha256: str
    data: bytes = field(repr=False)
    embedding: Floats = field(repr=False)  # unit, f32 [E]
    answer: dict[str, Any]
    why: tuple[Why, ...]
    hardness: float  # 0 to 1


@dataclass(frozen=True, slots=True)
class Sample:
    """One that was kept."""

    sha256: str
    version: int
    answer: dict[str, Any]
    why: tuple[Why, ...]
    hardness: float
    size: int  # bytes
    asked_at: float  # seconds since 1970
