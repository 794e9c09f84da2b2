"""Signs that a job is being worked at: that a library hangs in a step of it shows by their absence only."""

import time


class Signs:
    """Given by whatever a job passes on its way, looked at from another thread; by a monotonic clock."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def give(self) -> None:
        """The job goes on. Costs next to nothing."""
        self._last = time.monotonic()

    def age(self) -> float:
        """Seconds since the last."""
        return time.monotonic() - self._last
