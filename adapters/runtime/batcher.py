"""Micro-batches: requests share passes through the backbone, whatever heads they ask for.

On a CPU, where a batch of N costs N single runs, an item goes straight through: decode and backbone in one thread,
one thread a core. On a GPU the first thread to get the device takes everything that waits (up to the largest batch);
nobody waits for company, so a lone request pays nothing and a crowd forms batches by itself.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from adapters.errors import Overloaded
from adapters.runtime.backbone import BackboneSession
from adapters.types import Embeddings, Floats, Pixels

T = TypeVar("T")
RETRY_AFTER = 1.0  # seconds


@dataclass(slots=True, eq=False)
class _Waiting:
    pixels: Pixels  # [S, S, 3]
    embedding: Floats | None = None
    error: Exception | None = None


class Lanes:
    """A bounded pool of threads, one a core (more on a GPU, where decoding must keep up with it)."""

    def __init__(self, threads: int, max_waiting: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="lane")
        self._max_waiting = max_waiting
        self.waiting = 0  # only touched on the event loop

    def admit(self, count: int) -> None:
        """Refuse work that would only grow the queue. Raises Overloaded."""
        if self.waiting and self.waiting + count > self._max_waiting:
            raise Overloaded(f"{self.waiting} images are waiting; try again shortly", retry_after=RETRY_AFTER)

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in a lane."""
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self.waiting -= 1

    def close(self) -> None:
        """Let running work end and drop what waits."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class Batcher:
    """Gathers the images of concurrent requests into passes of one backbone."""

    def __init__(self, session: BackboneSession) -> None:
        self._session = session
        self._queue: deque[_Waiting] = deque()
        self._device = threading.Lock()
        self.preprocessing = session.backbone.preprocessing

    def embed(self, pixels: Pixels) -> Floats:
        """One image uint8 [S, S, 3] → f32 [D], in a pass that may carry others. Called from a lane."""
        if self._session.max_batch == 1:
            return self._session.embed(pixels[None])[0]
        mine = _Waiting(pixels)
        self._queue.append(mine)
        while mine.embedding is None and mine.error is None:
            with self._device:
                if mine.embedding is None and mine.error is None:
                    self._pass()
        if mine.error is not None:
            raise mine.error
        assert mine.embedding is not None
        return mine.embedding

    def _pass(self) -> None:
        count = min(len(self._queue), self._session.max_batch)
        batch = [self._queue.popleft() for _ in range(count)]
        try:
            embeddings: Embeddings = self._session.embed(np.stack([item.pixels for item in batch]))
            for item, embedding in zip(batch, embeddings, strict=True):
                item.embedding = embedding
        except Exception as error:  # a failed pass fails its own items, never the thread that ran it for others
            for item in batch:
                item.error = error
