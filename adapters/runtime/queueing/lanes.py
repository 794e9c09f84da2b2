"""Lanes: the threads that decode and embed, one a core (more on a GPU, where decoding must keep up with it).

Where there are as many as cores, all of one kind, each is bound to one. The kernel puts a thread that wakes where it
ran last unless another core is idle. Beside training no core is, and two lanes were found waiting for one core for
milliseconds while training had the other, whatever its priority. Measured on two cores (ADR 35): p99 beside a deep job
is 1.5 times as long instead of 2.1 to 3.2; without one 1.06 ± 0.02 as many requests of sixteen connections.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from adapters.errors import NotReady
from adapters.runtime.onnx import processor
from adapters.runtime.queueing.fair import FairQueue

T = TypeVar("T")
log = logging.getLogger("espalier.lanes")
SMOOTHING = 1 / 16  # weight of the newest item in the mean time of one


class Work(Protocol):
    """What a lane does. `run` takes its errors to whoever waits; `drop` says that it will not be run."""

    def run(self) -> None: ...

    def drop(self, error: Exception) -> None: ...


class Lanes:
    """A fixed number of threads that take work in turn from its flows; `cores` has one for each, or none."""

    def __init__(self, threads: int, cores: Sequence[int] = ()) -> None:
        self._queue: FairQueue[Work] = FairQueue()
        self._closed, self._cores = False, cores
        self._busy: set[int] = set()  # lanes, by number; sets are changed in one step, so no lock
        self._seconds = 0.0  # that a lane spends on one ordinary input, smoothed
        self._threads = [
            threading.Thread(target=self._serve, args=(n,), name=f"lane-{n}", daemon=True) for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._threads)

    def put(self, flow: str, work: Work, load: float = 1.0) -> None:
        """Do this when its flow's turn comes; it is worth so many ordinary inputs."""
        if self._closed:
            work.drop(_stopping())
        else:
            self._queue.put(flow, work, load)

    async def run(self, work: Callable[[], T]) -> T:
        """The result of `work`, done before whatever waits: for a last small step."""
        call = _Call(work)
        if self._closed:
            call.drop(_stopping())
        else:
            self._queue.put_first(call)
        answer: T = await call.future
        return answer

    async def in_turn(self, flow: str, work: Callable[[], T], load: float) -> T:
        """The result of `work`, done when its flow's turn comes, and not at all for who was cancelled before that."""
        call = _Call(work, lambda seconds: self.took(seconds, load))
        self.put(flow, call, load)
        answer: T = await call.future
        return answer

    def expected(self, flow: str, load: float) -> float:
        """Seconds until so much more of a flow is done, if nothing else comes; 0 until one input has been timed."""
        return self.seconds(self._queue.ahead(flow, load))

    def behind(self, flow: str) -> float:
        """Seconds until the next input of a flow is begun; 0 until one has been timed."""
        return self.seconds(self._queue.ahead(flow, 1) - 1)

    def seconds(self, load: float) -> float:
        """Seconds that all lanes together need for so much."""
        return load * self._seconds / len(self._threads)

    def took(self, seconds: float, load: float = 1.0) -> None:
        """An input kept its lane busy for so long. Lanes may lose a beat to each other: it is an estimate."""
        mean, one = self._seconds, seconds / load
        self._seconds = mean + (one - mean) * SMOOTHING if mean else one

    def close(self) -> None:
        """Let running work end and drop what waits."""
        self._closed = True
        for work in self._queue.close():
            work.drop(_stopping())
        for thread in self._threads:
            thread.join()

    def alone(self) -> bool:
        """In a lane: whether all others are idle, and nothing waits for them."""
        return len(self._busy) <= 1 and not self._queue.waiting

    def _serve(self, number: int) -> None:
        if self._cores:
            processor.bind({self._cores[number]})
        while (work := self._queue.take()) is not None:
            self._busy.add(number)
            try:
                work.run()
            except Exception:  # a lane that died would be missing for ever
                log.exception("work in a lane went wrong")
            self._busy.discard(number)


def _stopping() -> NotReady:
    return NotReady("the server is stopping")


class _Call:
    """A function for a lane, and the task on the event loop that waits for what it gives."""

    def __init__(self, work: Callable[[], Any], took: Callable[[float], None] = lambda seconds: None) -> None:
        self._work, self._took, self._loop = work, took, asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self._loop.create_future()

    def run(self) -> None:
        if self.future.done():  # cancelled
            return
        began = clock()
        try:
            result = self._work()
        except Exception as error:
            self.drop(error)
        else:
            tell(self._loop, resolve, self.future, result)
        self._took(clock() - began)

    def drop(self, error: Exception) -> None:
        tell(self._loop, resolve, self.future, error)


def tell(loop: asyncio.AbstractEventLoop, what: Callable[..., None], *arguments: Any) -> None:
    """Call on the event loop from a thread; a loop that has been closed has nobody left to tell."""
    try:
        loop.call_soon_threadsafe(what, *arguments)
    except RuntimeError:
        log.debug("the event loop ended before its work did")


def resolve(future: "asyncio.Future[Any]", answer: Any) -> None:
    """Give a future its answer, or raise it where it is an error, unless nobody waits any more."""
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def clock() -> float:
    """Seconds, for measuring how long something took."""
    return time.perf_counter()
