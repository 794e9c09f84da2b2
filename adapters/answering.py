"""Heads of a request, asked about what was told of its inputs.

Shallow ones take microseconds each and are run one after the other: few of them on the event loop, many in one trip to
a lane. A run of a deep one takes as long as its part of the backbone does, so it waits for its turn in the lanes as
inputs do, a few of them at a time: lanes work side by side, other requests go on between, and what nobody waits for is
not run.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TypeAlias

import numpy as np

from adapters import arrays, tasks
from adapters.errors import EspalierError
from adapters.monitoring import arms
from adapters.runtime.heads.head import HeadAnswers
from adapters.runtime.heads.loaded import LiveHead
from adapters.runtime.passes import EmbeddedInputs, Found
from adapters.runtime.queueing.fair import stepped
from adapters.runtime.queueing.lanes import clock
from adapters.runtime.queueing.traffic import Traffic
from adapters.spans import traced
from adapters.types import Embeddings, Rows

# Numbers of answers below which shallow heads run on the event loop: 20 µs a run, where a trip to a lane and back takes
# 350 (measured).
INLINE = 512
MOST_ROWS = 8  # inputs that a deep head is asked at a time; fewer where its part is a large one

Answer: TypeAlias = HeadAnswers | EspalierError


@traced("heads")
async def answers(traffic: Traffic, heads: Sequence[LiveHead], embedded: Found, flow: str) -> list[Answer]:
    """What each says of all inputs, M rows each; of one whose backbone failed, why that did."""
    if all(head.deep is None for head in heads):
        return await _of_shallow(traffic, heads, embedded)
    deep = [head for head in heads if head.deep is not None]
    *said, rest = await asyncio.gather(
        *(_of_deep(traffic, head, embedded[head.source], flow) for head in deep),
        _of_shallow(traffic, [head for head in heads if head.deep is None], embedded),
    )
    of_deep, of_shallow = (answer for (answer,) in said), iter(rest)
    return [next(of_shallow if head.deep is None else of_deep) for head in heads]


async def _of_shallow(traffic: Traffic, heads: Sequence[LiveHead], embedded: Found) -> list[Answer]:
    """One run a head over all inputs."""
    if not heads:
        return []
    good = {digest: found for digest, found in embedded.items() if isinstance(found, EmbeddedInputs)}

    def work() -> list[Answer]:
        began = clock()
        lengths = {d: {head.head.reads for head in heads if head.source == d} for d in good}
        read = {digest: found.first(lengths[digest]) for digest, found in good.items() if lengths[digest]}
        said = [_ask(head, read.get(head.source), embedded) for head in heads]
        traffic.meters.head_seconds(clock() - began)
        return said

    rows = max((len(found.indices) for found in good.values()), default=0)
    if rows * sum(head.numbers for head in heads) <= INLINE:
        return work()
    return await traffic.lanes.run(work)


def _ask(head: LiveHead, read: dict[int, Embeddings] | None, embedded: Found) -> Answer:
    if read is None:
        failed = embedded[head.source]
        assert isinstance(failed, EspalierError)
        return failed
    rows = read[head.head.reads]
    return arms.ask(head, rows) if len(rows) else _nothing(head)


async def _of_deep(traffic: Traffic, head: LiveHead, found: EmbeddedInputs | EspalierError, flow: str) -> list[Answer]:
    """What one head says, in several runs that take turns with other flows; each is worth about what an input is."""
    if isinstance(found, EspalierError):
        return [found]
    assert head.deep is not None
    share = max(head.deep.share, 1 / MOST_ROWS)
    most = max(1, round(1 / share))
    parts = [found.embeddings[start : start + most] for start in range(0, len(found.indices), most)]
    if not parts:
        return [_nothing(head)]
    run = partial(_run, traffic, head)
    turns = (traffic.lanes.in_turn(flow, partial(run, part), stepped(share * len(part))) for part in parts)
    return [_joined(await asyncio.gather(*turns))]


def _run(traffic: Traffic, head: LiveHead, taps: Rows) -> Answer:
    """In a lane."""
    began = clock()
    said = arms.ask(head, taps)
    traffic.meters.tail_seconds(clock() - began)
    return said


def _joined(parts: Sequence[Answer]) -> Answer:
    """One answer of several parts; what went wrong with one of them went wrong."""
    good = [part for part in parts if isinstance(part, HeadAnswers)]
    if len(good) < len(parts):
        return next(part for part in parts if not isinstance(part, HeadAnswers))
    if len(good) == 1:
        return good[0]
    pooled = [part.pooled for part in good if part.pooled is not None]
    joined = arrays.joined([part.arrays for part in good])
    return HeadAnswers(joined, np.concatenate(pooled) if pooled else None)


def _nothing(head: LiveHead) -> HeadAnswers:
    """What is said of no inputs."""
    return HeadAnswers(arrays.empty(tasks.get(head.task).shapes(head.classes)))
