"""Python work on large answers: off the event loop, a step at a time, the requests that have any taking turns.

One thread does it. Python runs one thread at a time anyway, and with several the event loop would wait for each of
them whenever it wants to go on. A call of compiled code, as to write JSON, keeps all others waiting until it returns:
so a step must be short even here.
"""

import asyncio
import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from adapters.pools import Pool

T = TypeVar("T")
INLINE = 2_000  # numbers of answers that are made on the event loop: 2 ms at most, where a trip here takes 0.1
STEP = 5_000  # numbers of a step: 5 ms at most, of which compiled code keeps Python's lock for 4 (measured: json)

_THREAD = Pool(1, "large-answers")


async def run(work: Callable[[], T], numbers: float = math.inf) -> T:
    """What `work` gives: at once where it is for few numbers, else, and where nobody knows how many, as one step.

    Python itself stops for others in between; compiled code must be a short call.
    """
    if numbers <= INLINE:
        return work()
    return await asyncio.wrap_future(_THREAD.submit(work))


async def in_steps(work: Callable[[Any], T], items: Any, numbers: int) -> list[T]:
    """What `work` gives for all items at once where they are few, else for some at a time, in their order.

    `items`: a list, or rows of an array; `numbers`: how many of an answer come of one.
    """
    if len(items) * numbers <= INLINE:
        return [work(items)]
    size = max(1, STEP // numbers)
    parts = (items[start : start + size] for start in range(0, len(items), size))
    return [await asyncio.wrap_future(_THREAD.submit(work, part)) for part in parts]


async def drop(items: list[Any], numbers: int) -> None:
    """Empty a list of answers of so many numbers: a million objects let go at once hold up the event loop for 0.1 s."""
    size = max(1, STEP // numbers)
    while len(items) > size:
        await run(partial(items.__delitem__, slice(-size, None)))
    items.clear()
