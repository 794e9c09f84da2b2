"""Heads of a request, asked about what was told of its inputs.

Shallow ones take microseconds each and are run one after the other: few of them on the event loop, many in one trip to
a lane. A run of a deep one takes as long as its part of the backbone does, half a millisecond and more. So such runs
wait for their turn in the lanes as inputs do, about as many at a time as are worth an input: lanes work side by side,
other requests go on between, and what nobody waits for is not run.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
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
    said = await asyncio.gather(
        _of_deep(traffic, [head for head in heads if head.deep is not None], embedded, flow),
        _of_shallow(traffic, [head for head in heads if head.deep is None], embedded),
    )
    of_deep, of_shallow = map(iter, said)
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


async def _of_deep(traffic: Traffic, heads: Sequence[LiveHead], embedded: Found, flow: str) -> list[Answer]:
    """A few runs at a time, in turn with other flows; as many at a time as there are lanes, where lanes are free."""
    each = [_runs(head, embedded[head.source]) for head in heads]
    turns = (
        traffic.lanes.in_turn(flow, partial(_run, traffic, batch), stepped(sum(run.load for run in batch)))
        for batch in _batches([run for runs in each for run in runs], traffic.lanes.count)
    )
    said = chain.from_iterable(await asyncio.gather(*turns))
    return [
        _joined(head, embedded[head.source], list(islice(said, len(runs))))
        for head, runs in zip(heads, each, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of a deep head."""

    head: LiveHead
    taps: Rows
    load: float  # how many ordinary inputs it is worth


def _runs(head: LiveHead, found: EmbeddedInputs | EspalierError) -> list[_Run]:
    """None where its trunk failed."""
    if isinstance(found, EspalierError):
        return []
    assert head.deep is not None
    share = max(head.deep.share, 1 / MOST_ROWS)
    most = max(1, round(1 / share))
    parts = (found.embeddings[start : start + most] for start in range(0, len(found.indices), most))
    return [_Run(head, part, share * len(part)) for part in parts]


def _batches(runs: Sequence[_Run], lanes: int) -> list[list[_Run]]:
    """Runs for one trip to a lane each: worth one ordinary input at most, and less where lanes would have nothing."""
    most, found, load = min(1.0, sum(run.load for run in runs) / lanes), list[list[_Run]](), 0.0
    for run in runs:
        if not found or load + run.load > most:
            found.append([])
            load = 0.0
        found[-1].append(run)
        load += run.load
    return found


def _run(traffic: Traffic, batch: Sequence[_Run]) -> list[Answer]:
    """In a lane."""
    said: list[Answer] = []
    for run in batch:
        began = clock()
        said.append(arms.ask(run.head, run.taps))
        traffic.meters.tail_seconds(clock() - began)
    return said


def _joined(head: LiveHead, found: EmbeddedInputs | EspalierError, parts: Sequence[Answer]) -> Answer:
    """One answer of several runs; what went wrong with one of them went wrong."""
    if isinstance(found, EspalierError):
        return found
    good = [part for part in parts if isinstance(part, HeadAnswers)]
    if len(good) < len(parts):
        return next(part for part in parts if not isinstance(part, HeadAnswers))
    if len(good) < 2:
        return good[0] if good else _nothing(head)
    pooled = [part.pooled for part in good if part.pooled is not None]
    joined = arrays.joined([part.arrays for part in good])
    return HeadAnswers(joined, np.concatenate(pooled) if pooled else None)


def _nothing(head: LiveHead) -> HeadAnswers:
    """What is said of no inputs."""
    return HeadAnswers(arrays.empty(tasks.get(head.task).shapes(head.classes)))
