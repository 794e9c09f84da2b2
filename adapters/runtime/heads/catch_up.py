"""A request that wants no older state than one that its caller has seen waits until this process serves that."""

import asyncio
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor

from adapters.errors import CorruptArtifact, EspalierError, StaleReplica

PAUSE = 0.1  # seconds between looks for a version that could not be loaded yet


class CatchUp:
    """One look at the database at a time, however many wait for what it finds."""

    def __init__(
        self, missing: Callable[[int, Collection[str]], EspalierError | None], refresh: Callable[[], None]
    ) -> None:
        """`missing`: why heads are not answered for with a generation yet; `refresh`: a look at the database."""
        self._missing, self._refresh = missing, refresh
        self._lookers = ThreadPoolExecutor(1, thread_name_prefix="catch-up")
        self._lock = threading.Lock()
        self._look: Future[None] | None = None

    async def wait(self, generation: int, heads: Collection[str]) -> None:
        """Until these heads are answered for with that generation: as long as the caller has time.

        Raises StaleReplica when nothing has reached it, HeadDamaged when that version can never be loaded here,
        SQLAlchemyError.
        """
        await self._looked()  # by a look that may have begun before it was reached
        while (missing := self._missing(generation, heads)) is not None:
            await self._looked()
            missing = self._missing(generation, heads)
            if isinstance(missing, StaleReplica | CorruptArtifact):
                raise missing
            if missing is not None:
                await asyncio.sleep(PAUSE)

    async def _looked(self) -> None:
        with self._lock:
            if self._look is None or self._look.done():
                self._look = self._lookers.submit(self._refresh)
            look = self._look
        await asyncio.shield(asyncio.wrap_future(look))

    def close(self) -> None:
        """Leave no thread behind."""
        self._lookers.shutdown(wait=True, cancel_futures=True)
