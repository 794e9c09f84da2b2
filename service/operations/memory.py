"""Memory of the serving process that is free, given back to the system now and then.

malloc keeps what was freed, and what lives for minutes (the weights of a version until the next takes its place) comes
to lie between: page by page the process grew by 2 to 3 MiB for each 1,000 jobs, with nothing in use that was not before
(`python -m benchmarks soak`). A worker gives back after each job; here it is a matter of time, as jobs end elsewhere.
"""

import threading
from collections.abc import Callable

from adapters import malloc

EVERY = 30.0  # seconds; it takes 1 to 2 ms, in which other threads run


def keep_giving_back(every: float = EVERY, give_back: Callable[[], None] = malloc.trim) -> threading.Event:
    """Begin; whoever sets the event that this returns ends it."""
    stop = threading.Event()
    threading.Thread(target=_keep_on, args=(stop, every, give_back), name="memory", daemon=True).start()
    return stop


def _keep_on(stop: threading.Event, every: float, give_back: Callable[[], None]) -> None:
    while not stop.wait(every):
        give_back()
