"""Where measurements of serving go: the service makes metrics of them, a notebook and training leave them be."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


def _unseen(_: float = 1) -> None:
    pass


def _untold(_: object) -> None:
    pass


def _unsampled(_: str, __: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Meters:
    """One function for each thing that is measured or counted. Called from any thread."""

    queue_seconds: Callable[[float], None] = _unseen  # from admission until a lane took the input
    decode_seconds: Callable[[float], None] = _unseen  # bytes → tensors of one input
    backbone_seconds: Callable[[float], None] = _unseen  # one pass
    batch_inputs: Callable[[float], None] = _unseen  # inputs in it
    head_seconds: Callable[[float], None] = _unseen  # all shallow heads of one request
    tail_seconds: Callable[[float], None] = _unseen  # one run of a deep head
    rejected: Callable[[], None] = _unseen  # requests refused because too much waits
    expired: Callable[[], None] = _unseen  # requests whose time was up
    dropped: Callable[[], None] = _unseen  # inputs that nobody waited for any more
    shared: Callable[[], None] = _unseen  # inputs that were in flight already when they were asked for again
    cache_hit: Callable[[], None] = _unseen
    cache_miss: Callable[[], None] = _unseen
    head_loaded: Callable[[], None] = _unseen
    head_evicted: Callable[[], None] = _unseen
    rollout_request: Callable[[str], None] = _untold  # one of a head that is rolled out, by who answered
    compared: Callable[[bool], None] = _untold  # two versions of a head, by whether they disagreed
    comparison_dropped: Callable[[], None] = _unseen
    drifting: Callable[[Mapping[tuple[str, str], int]], None] = _untold  # versions by kind of drift and level
    sampled: Callable[[str, int], None] = _unsampled  # hard inputs, by what became of them, and how many
    rollout_ended: Callable[[str], None] = _untold  # by its rules, as what


UNSEEN = Meters()
