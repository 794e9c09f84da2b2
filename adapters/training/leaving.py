"""A worker that is told to stop: a deep fit keeps what it has reached first, and the others are left as they are."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Leaving:
    """Between whoever stops a worker and the fit at work, in threads of their own."""

    def __init__(self) -> None:
        self._asked, self._away = threading.Event(), threading.Event()
        self._away.set()

    def __bool__(self) -> bool:
        """Whether the worker is to stop."""
        return self._asked.is_set()

    def ask(self, seconds: float) -> None:
        """Ask for it, and wait so long at most for a fit at work to have left; return at once where there is none."""
        self._asked.set()
        self._away.wait(seconds)

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """While a fit looks at this between its steps."""
        self._away.clear()
        try:
            yield
        finally:
            self._away.set()
