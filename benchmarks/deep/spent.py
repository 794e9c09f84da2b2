"""Seconds of processor that work takes, of all threads of this process."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def spent(work: Callable[[], T]) -> tuple[T, float]:
    """What it gives, and the seconds."""
    began = time.process_time()
    found = work()
    return found, time.process_time() - began
