"""How many heads drift, for a metric: those that this process was asked for, looked at in turn."""

import time
from collections import Counter
from collections.abc import Iterable

from sqlalchemy.engine import Engine

from adapters.errors import NotFound
from adapters.monitoring import drift
from adapters.store import heads
from adapters.types import HeadRef

AT_A_TIME = 50  # versions a look: two small queries each
HOURS = 24  # of answers that are looked at
MOST = 10_000  # versions
KINDS, LEVELS = ("labels", "novelty"), ("none", "moderate", "major", "unknown")
Key = tuple[str, int]  # head and version


class DriftWatch:
    """Used by one thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._due: dict[Key, None] = {}  # in the order in which they came
        self._levels: dict[Key, tuple[float, tuple[str, ...]]] = {}  # when it was looked at, and the levels by kind

    def asked(self, keys: Iterable[Key]) -> None:
        """Versions that answered something since the last look."""
        for key in keys:
            if len(self._due) < MOST:
                self._due.setdefault(key)

    def look(self) -> Counter[tuple[str, str]]:
        """Look at some of those that are due; gives how many versions have each (kind, level). What was not asked for a
        day counts no more."""
        for key in list(self._due)[:AT_A_TIME]:
            del self._due[key]
            self._look_at(key)
        old = time.monotonic() - HOURS * 3600
        self._levels = {key: found for key, found in self._levels.items() if found[0] > old}
        pairs = (zip(KINDS, levels, strict=True) for _, levels in self._levels.values())
        return Counter(pair for found in pairs for pair in found)

    def _look_at(self, key: Key) -> None:
        name, number = key
        self._levels.pop(key, None)
        try:
            version = heads.resolve(self._engine, HeadRef(name, version=number))
        except NotFound:
            return
        figures = drift.look(self._engine, version, HOURS)
        levels = tuple("unknown" if figures[kind] is None else figures[kind]["level"] for kind in KINDS)
        self._levels[key] = time.monotonic(), levels
