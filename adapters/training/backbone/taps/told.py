"""What the numbers of an embedding behind `pooled` tell."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from adapters.training.backbone.blocks import End

NARROW = 1 / 8  # of pooled's channels: a map with as many or fewer


@dataclass(frozen=True, slots=True)
class Tap:
    """Numbers of an embedding that tell one thing of the end of one block."""

    name: str  # of the block
    statistic: str  # regions | max | mean | deviation | class
    offset: int  # in the embedding
    length: int


@dataclass(frozen=True, slots=True)
class Part:
    """A tensor [N, C, 2, 2], [N, C, 1, 1] or [N, C], and what it tells of which ends, in order."""

    tensor: str
    statistic: str
    ends: list[End]
    each: int = 1  # numbers a channel


def is_narrow(end: End, dimension: int) -> bool:
    """Whether a map tells where things are."""
    return end.channels <= NARROW * dimension


def listed(parts: Sequence[Part], offset: int) -> Iterator[Tap]:
    for part in parts:
        for end in part.ends:
            tap = Tap(end.name, part.statistic, offset, part.each * end.channels)
            yield tap
            offset += tap.length


def facts(taps: Sequence[Tap]) -> list[dict[str, Any]]:
    """Ready for JSON."""
    return [asdict(tap) for tap in taps]
