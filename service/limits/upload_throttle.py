"""Uploads give way to predictions: while any are under way, heavy work is done in slices, one at a time, with rests.

Receiving and storing a thousand photos keeps a core busy for half a second, in the process that serves. On two cores
requests waited up to 0.3 s behind it; it can wait better than they can (`python -m benchmarks beside`).
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

REST = 2.0  # times the slice before
LONGEST = 0.1  # seconds, after a slice that itself had to wait


class UploadThrottle:
    """Turns for heavy work in threads; `busy` says whether somebody is to be given way to."""

    def __init__(self, busy: Callable[[], bool]) -> None:
        self._busy = busy
        self._one = threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """For one slice of work, of some milliseconds."""
        if not self._busy():
            yield
            return
        with self._one:
            began = time.perf_counter()
            yield
            time.sleep(min(REST * (time.perf_counter() - began), LONGEST))


NOBODY = UploadThrottle(lambda: False)
