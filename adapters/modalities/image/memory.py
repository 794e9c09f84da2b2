"""Memory for decoding: what one decode may take, and a budget that all lanes of a process share.

A decode may take BYTES_PER_PIXEL for each of `max_pixels`, whatever the format: a format that takes more for a pixel is
read up to fewer pixels. Large decodes wait for each other, so that it is also what all lanes take together; small ones
(below SMALL) go ahead. Measured by tests/unit/modalities/test_decoding_memory.py.
"""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from adapters import malloc
from adapters.errors import ImageTooLarge

BYTES_PER_PIXEL = 8  # of max_pixels: 512 MB for 64 million
SMALL = 32 << 20  # bytes of a decode that asks nobody: of about 4 million pixels and fewer


class Budget:
    """Bytes that decodes hold at the moment."""

    def __init__(self) -> None:
        self._held = 0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, cost: int, most: int) -> Iterator[None]:
        """Wait until `cost` bytes fit below `most`, and hold them. `cost` must not be above `most`."""
        with self._changed:
            self._changed.wait_for(lambda: self._held + cost <= most)
            self._held += cost
        try:
            yield
        finally:
            with self._changed:
                self._held -= cost
                self._changed.notify_all()


_FREE = nullcontext()
_BUDGET = Budget()


def held(cost: int, max_pixels: int, size: tuple[int, int], name: str) -> AbstractContextManager[None]:
    """For the time of a decode that takes so many bytes. Raises ImageTooLarge for more than the budget ever allows."""
    if cost <= SMALL:
        return _FREE
    most = max(BYTES_PER_PIXEL * max_pixels, SMALL)
    if cost > most:
        width, height = size
        raise ImageTooLarge(
            f"too large: {width}×{height} pixels of this kind of {name} take {cost // 1_000_000:,} MB to decode, over"
            f" the {most // 1_000_000:,} MB that {max_pixels:,} pixels may take; downscale it"
        )
    return _held(cost, most)


@contextmanager
def _held(cost: int, most: int) -> Iterator[None]:
    malloc.map_large()
    with _BUDGET.hold(cost, most):
        try:
            yield
        finally:
            # glibc keeps what a thread has freed for that thread: four lanes that decoded 36 MP in turn had 1.2 GB.
            malloc.trim()
