"""Hard inputs on their way from an answer to the database: a bounded queue, and a thread that empties it.

A request hands in what it has, or drops it: it never waits. Bytes are hashed, compared and stored by the thread. Where
the database or the store is away, what was handed in is lost, and counted.
"""

import hashlib
import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from adapters import arrays, tasks
from adapters.errors import EspalierError, QuotaExceeded
from adapters.monitoring import hard
from adapters.monitoring.hard import Hard
from adapters.runtime.heads.head import HeadAnswers
from adapters.runtime.heads.loaded import LiveHead
from adapters.runtime.meters import UNSEEN, Meters
from adapters.sampling.facts import Candidate
from adapters.sampling.selection import unit
from adapters.store.objects.artifacts import Artifacts
from adapters.store.quotas.limits import Limits
from adapters.store.sampling import merging, switches
from adapters.types import Embeddings, Floats

log = logging.getLogger("espalier.sampling")
EVERY = 2.0  # seconds between looks: at who has switched it on, and at what waits
MOST_WAITING, MOST_OF_HEAD = 64, 16  # inputs, so that no head takes all places
MOST_BYTES = 64 << 20  # of them
MOST_INPUT = 16 << 20  # bytes of one
OUTCOMES = ("kept", "passed_over", "queue_full", "no_room", "failed")
Found = Callable[[str], Embeddings]  # digest of a backbone → `pooled` of what was asked, f32 [M, D]


class Said(Protocol):
    """What one head says of one input."""

    @property
    def index(self) -> int: ...

    @property
    def head(self) -> LiveHead: ...

    @property
    def answer(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    head: LiveHead
    hard: Hard
    answer: Mapping[str, Any]
    data: bytes
    embedding: Floats  # [D]
    space: str  # digest of what made it: only such can be compared


@dataclass(slots=True)
class _Queue:
    """Bounded in inputs, in inputs of a head, and in bytes."""

    most_bytes: int
    items: list[_Waiting] = field(default_factory=list)
    bytes: int = 0
    by_head: Counter[str] = field(default_factory=Counter)

    def has_room(self, head: str, size: int) -> bool:
        few = len(self.items) < MOST_WAITING and self.by_head[head] < MOST_OF_HEAD
        return few and size <= MOST_INPUT and self.bytes + size <= self.most_bytes

    def put(self, item: _Waiting) -> None:
        self.items.append(item)
        self.bytes += len(item.data)
        self.by_head[item.head.version.head] += 1


class Sampler:
    """Keeps hard inputs of the heads that are `heads`. `saw` is called for each request."""

    def __init__(
        self, engine: Engine, artifacts: Artifacts, limits: Limits | None = None, meters: Meters = UNSEEN,
        most_bytes: int = MOST_BYTES, every: float = EVERY,
    ) -> None:  # fmt: skip
        """`limits` are what a tenant may have where nobody has set it."""
        self._engine, self._artifacts, self._limits = engine, artifacts, limits or Limits()
        self._meters, self._every, self._most_bytes = meters, every, most_bytes
        self.heads: frozenset[str] = frozenset()
        self._version = -1  # of the switches, when they were read
        self._queue = _Queue(most_bytes)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Store what waits, and leave no thread behind."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._empty()

    def saw(
        self,
        heads: Sequence[LiveHead],
        outputs: Sequence[HeadAnswers | EspalierError],
        said: Sequence[Said],
        embedded: Found,
        inputs: Sequence[bytes | memoryview],
    ) -> None:
        """An answered request: its heads with their outputs, all that they said, embeddings f32 [M, E] by backbone.

        `said` is by input, then by head that answered. In any thread.
        """
        asked = [(h, output) for h, output in zip(heads, outputs, strict=True) if isinstance(output, HeadAnswers)]
        for position, (head, output) in enumerate(asked):
            if head.version.head in self.heads:
                self._look(head, output, said[position :: len(asked)], embedded, inputs)

    def _look(
        self, head: LiveHead, output: HeadAnswers, said: Sequence[Said], embedded: Found,
        inputs: Sequence[bytes | memoryview],
    ) -> None:  # fmt: skip
        for found in hard.rows(head, output, [one.answer for one in said]):
            one = said[found.row]
            data = inputs[one.index]
            with self._lock:
                room = self._queue.has_room(head.version.head, len(data))
                if room:
                    space, rows = _compared_by(head, output, embedded)
                    self._queue.put(_Waiting(head, found, one.answer, bytes(data), rows[found.row].copy(), space))
            if not room:
                self._meters.sampled("queue_full", 1)

    def look(self) -> None:
        """Once: who has switched it on or off, and then what waits."""
        try:
            version = switches.version(self._engine)
            if version != self._version:
                self.heads, self._version = switches.switched_on(self._engine), version
        except SQLAlchemyError as error:  # it is asked again in a moment
            log.debug("the database did not say of which heads inputs are kept: %s", type(error).__name__)
        self._empty()

    def _run(self) -> None:
        self._attempt(self.look)
        while not self._stop.wait(self._every):
            self._attempt(self.look)

    def _attempt(self, task: Callable[[], None]) -> None:
        try:
            task()
        except Exception:
            log.exception("could not keep hard inputs")

    def _empty(self) -> None:
        with self._lock:
            waiting, self._queue = self._queue.items, _Queue(self._most_bytes)
        comparable = defaultdict(list)  # two versions of a head may answer at a time, and each see inputs its own way
        for item in waiting:
            comparable[item.head.version.head, item.space].append(item)
        for items in comparable.values():
            self._store([_candidate(item) for item in items])

    def _store(self, found: list[Candidate]) -> None:
        try:
            kept = merging.add(self._engine, self._artifacts, found, self._limits)
        except QuotaExceeded:
            self._meters.sampled("no_room", len(found))
        except (SQLAlchemyError, EspalierError) as error:
            log.warning("%d hard inputs of %s are lost: %s", len(found), found[0].head, type(error).__name__)
            self._meters.sampled("failed", len(found))
        else:
            self._meters.sampled("kept", kept)
            self._meters.sampled("passed_over", len(found) - kept)


def _compared_by(head: LiveHead, output: HeadAnswers, embedded: Found) -> tuple[str, Floats]:
    """What inputs are compared by, f32 [M, D]: `pooled` of the backbone, of a deep version that of its own tail."""
    if head.deep is None:
        return head.backbone_digest, embedded(head.backbone_digest)
    shapes = tasks.get(head.task).shapes(head.classes)
    return head.version.digest, output.pooled if output.pooled is not None else arrays.flat(output.arrays, shapes)


def _candidate(item: _Waiting) -> Candidate:
    version, embedding = item.head.version, unit(np.asarray(item.embedding, np.float32)[None])[0]
    return Candidate(
        version.head, version.number, item.space, hashlib.sha256(item.data).hexdigest(), item.data,
        embedding, hard.kept_answer(item.answer), item.hard.why, item.hard.hardness,
    )  # fmt: skip
