"""What glibc's malloc keeps of freed memory, given back to the system; nothing where the C library is another."""

import ctypes
from typing import Any

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # malloc.h


def _function(name: str) -> Any:
    """Looked for once: to ask where the C library is starts a process."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return lambda *_: None


_TRIM, _SET = _function("malloc_trim"), _function("mallopt")


def trim() -> None:
    """Return what is free to the system, and let other threads run meanwhile."""
    _TRIM(0)


def share_arenas(count: int = 2) -> None:
    """Have malloc keep at most so many arenas; to be called before threads have made theirs.

    glibc makes one for each thread, up to 8 a core, and what is free in one serves no other thread: after 250 jobs a
    worker with two had 728 MiB, one with all of them 740 (`python -m benchmarks soak`).
    """
    _SET(_M_ARENA_MAX, count)


def map_large(size: int = 1 << 20) -> None:
    """Have blocks of so many bytes and more come from the system one by one, and go back to it when they are freed.

    glibc starts that way and stops with the first such block that is freed: from then on they lie in the arena of a
    thread, the end of which `trim` does not return. Four lanes that decoded 5.8 MP in turn had 104 MiB instead of 51.
    """
    _SET(_M_MMAP_THRESHOLD, size)
