"""Inputs on their way through a backbone: identical ones go once, and one that nobody waits for is dropped.

Everything here happens on the event loop but `run`, `resolve` and `abandoned`, which lanes and the device use.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from adapters import spans
from adapters.errors import InvalidInput
from adapters.runtime.meters import Meters
from adapters.runtime.queueing.lanes import Lanes, clock, resolve, tell
from adapters.tenancy import tenant_of
from adapters.types import Told

Bytes: TypeAlias = bytes | memoryview
Answer: TypeAlias = Told | Exception  # f32 [E] or what else was told of an input, or what went wrong
Key: TypeAlias = tuple[str, int, str]  # backbone, length, tenant: nobody may learn by the clock what others ask
FEW = 4  # inputs of one length that are compared byte by byte: a thousand with each other would take seconds
Future: TypeAlias = "asyncio.Future[Any]"  # Told or InvalidInput


class Item:
    """One input for one backbone, and all who wait for its embedding."""

    __slots__ = (
        "_embed", "_flights", "_in_backbone", "_left", "_loop", "_mark", "_since", "_trace", "_waiters", "data", "key",
        "load",
    )  # fmt: skip

    def __init__(
        self, flights: "InFlight", key: Key, data: Bytes, embed: Callable[["Item"], None], load: float
    ) -> None:
        self.key, self.data, self.load = key, data, load
        self._flights, self._embed = flights, embed
        self._loop = asyncio.get_running_loop()
        self._waiters: list[Future] = []
        self._left = 0  # of them; counted, as a request may send one input a thousand times
        self._mark: int | None = None
        self._since = clock()
        self._trace = spans.here()  # of the first who asks
        self._in_backbone = False

    @property
    def backbone(self) -> str:
        """The digest of the backbone that it is for."""
        return self.key[0]

    @property
    def tenant(self) -> str:
        """Whose request it is of."""
        return self.key[2]

    def join(self) -> Future:
        """One more who waits. The error of a bad input is an answer, so that it fails alone."""
        future: Future = self._loop.create_future()
        self._waiters.append(future)
        return future

    def leave(self, future: Future) -> None:
        """One less; the bytes go with the last, not only when a lane comes across the rest."""
        future.cancel()
        self._left += 1
        if self._left == len(self._waiters):
            self.data = b""
            self._flights.remove(self)

    @property
    def abandoned(self) -> bool:
        """Whether all who waited have left. Nobody joins after that."""
        return all(future.done() for future in self._waiters)

    def joinable(self, data: Bytes) -> bool:
        """Whether somebody who waits on this event loop for the same bytes may join."""
        return not self.abandoned and self._loop is asyncio.get_running_loop() and same(self.data, data)

    @property
    def mark(self) -> int:
        """What tells its bytes from most others of that length."""
        if self._mark is None:
            self._mark = marked(self.data)
        return self._mark

    def run(self) -> None:
        """In a lane: embed, unless nobody waits."""
        if self.abandoned:
            self._flights.meters.dropped()
            return
        began = clock()
        self._flights.meters.queue_seconds(began - self._since)
        self._ended("wait", began)
        try:
            self._embed(self)
        except Exception as error:
            self.resolve(error)
        self._flights.lanes.took(clock() - began, self.load)

    def decoded(self) -> None:
        """In a lane: its tensors are there, and the backbone is next."""
        self._ended("decode", clock())
        self._in_backbone = True

    def _ended(self, step: str, now: float) -> None:
        if self._trace is not None:
            spans.record(self._trace, step, now - self._since)
            self._since = now

    def drop(self, error: Exception) -> None:
        """It will not be run."""
        self.resolve(error)

    def resolve(self, answer: Answer) -> None:
        """Hand the answer to everybody who waits. From any thread."""
        if self._in_backbone:
            self._ended("backbone", clock())
        tell(self._loop, self._land, answer)

    def _land(self, answer: Answer) -> None:
        self._flights.remove(self)
        for future in self._waiters:
            if isinstance(answer, InvalidInput) and not future.done():
                future.set_result(answer)
            else:
                resolve(future, answer)


class InFlight:
    """The items between admission and answer, found by what they hold."""

    def __init__(self, lanes: Lanes, meters: Meters) -> None:
        self.lanes, self.meters = lanes, meters
        # By length, then byte by byte: that is the same as by SHA-256, and costs nothing while lengths differ.
        self._items: dict[Key, list[Item]] = {}

    def join_or_start(
        self, flow: str, backbone: str, data: Bytes, embed: Callable[[Item], None], load: float = 1.0
    ) -> tuple[Item, Future]:
        """The item of these bytes, joined where one is under way, else on its way from now on; see `Item.load`."""
        key = (backbone, len(data), tenant_of(flow))
        items = self._items.setdefault(key, [])
        mark = marked(data) if len(items) > FEW else None
        for item in items:
            if (mark is None or item.mark == mark) and item.joinable(data):
                self.meters.shared()
                return item, item.join()
        item = Item(self, key, data, embed, load)
        items.append(item)
        future = item.join()
        self.lanes.put(flow, item, load)
        return item, future

    def remove(self, item: Item) -> None:
        """It has its answer, or needs none."""
        items = self._items.get(item.key, [])
        if item in items:
            items.remove(item)
        if not items:
            self._items.pop(item.key, None)

    def __len__(self) -> int:
        return sum(map(len, self._items.values()))


def marked(data: Bytes) -> int:
    """Python's own hash, which is another in each process: nobody can make many inputs that have the same."""
    return hash(bytes(data))


def same(a: Bytes, b: Bytes) -> bool:
    """Whether two inputs of one length are the same file."""
    return a is b or not len(a) or bool(np.array_equal(np.frombuffer(a, np.uint8), np.frombuffer(b, np.uint8)))
