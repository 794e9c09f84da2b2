"""Room for the bodies of uploads, in memory and in temporary files, for all requests of this process together.

What has been received is charged, not what is announced: a client that announces much and sends nothing takes nothing.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from adapters.errors import Overloaded

MEMORY_BYTES = 256 << 20  # of all uploads that may stay in memory; beyond, even small ones go to temporary files
UNBOUNDED = 1 << 62
RETRY = 5.0  # seconds that a refused client is told to wait


class Space:
    """Counts what is held; its methods may be called from any thread."""

    def __init__(self, max_bytes: int = UNBOUNDED, memory_bytes: int = MEMORY_BYTES) -> None:
        self._max_bytes, self._memory_bytes = max_bytes, memory_bytes
        self._lock = threading.Lock()
        self.bytes = 0  # of bodies that are received or worked on
        self.memory = 0  # of these, those that lie in memory
        self.temporary = 0  # of these, those that lie in temporary files

    @contextmanager
    def holding(self) -> Iterator[Callable[[int], None]]:
        """Take on a body; what this gives is called with each number of bytes that came, and raises Overloaded."""
        held = 0

        def take(size: int) -> None:
            nonlocal held
            self._take(size, held)
            held += size

        try:
            yield take
        finally:
            with self._lock:
                self.bytes -= held

    def keep(self, size: int) -> bool:
        """Whether so many bytes more may stay in memory; then they are counted."""
        with self._lock:
            if self.memory + size > self._memory_bytes:
                return False
            self.memory += size
            return True

    def move(self, memory: int, temporary: int) -> None:
        """So many bytes more in memory and in temporary files; negative for less."""
        with self._lock:
            self.memory += memory
            self.temporary += temporary

    def _take(self, size: int, held: int) -> None:
        """One upload alone is taken to its end, whatever its size."""
        with self._lock:
            if self.bytes > held and self.bytes + size > self._max_bytes:
                why = f"uploads of {self.bytes:,} bytes are under way"
                raise Overloaded(f"{why}; try again shortly", retry_after=RETRY)
            self.bytes += size
