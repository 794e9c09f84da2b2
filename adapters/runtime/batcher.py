"""Micro-batches: requests share passes through the backbone, whatever heads they ask for.

On a CPU, where a batch of N costs N single runs, an input goes straight through in the lane that decoded it. Where
batching pays, lanes hand their tensors over and decode on; two threads of the device's own make passes of what has
gathered, so that the next pass is put together while the present one runs. What waits is released

- at once when the device is idle: a lone input waits for nobody;
- when a pass is full, by inputs or by bytes;
- when the oldest has waited its window, which follows the load: passes that carry one input leave nothing to wait
  for, full ones are worth nearly the time of a pass.
"""

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from adapters import modalities
from adapters.runtime.meters import UNSEEN, Meters
from adapters.runtime.queueing.lanes import clock
from adapters.types import Backbone, Rows, Tensors, Told

IN_FLIGHT = 2  # passes: one runs, the next is put together
PASS_BYTES = 64 * 2**20  # of the tensors of one pass
SMOOTHING = 1 / 8  # weight of the newest pass in the window


class Embeds(Protocol):
    """A backbone that answers: `BackboneSession`, or a fake one."""

    @property
    def backbone(self) -> Backbone: ...

    @property
    def max_batch(self) -> int:
        """Inputs a pass; 1 where batching does not pay."""

    def embed(self, inputs: Sequence[Tensors], alone: bool = False) -> Rows:
        """Tensors of N inputs → f32 [N, E], or what else it tells; `alone`: no other input wants the device."""


class Waiter(Protocol):
    """Who waits for an embedding."""

    @property
    def abandoned(self) -> bool: ...

    def resolve(self, answer: Told | Exception) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    tensors: Tensors  # of one input
    bytes: int
    waiter: Waiter
    since: float


@dataclass(slots=True)
class _Call:
    """A thread that waits itself."""

    answer: Told | Exception | None = None
    abandoned: bool = False
    done: threading.Event = field(default_factory=threading.Event)

    def resolve(self, answer: Told | Exception) -> None:
        self.answer = answer
        self.done.set()


class Batcher:
    """Gathers the inputs of concurrent requests into passes of one backbone."""

    def __init__(self, session: Embeds, meters: Meters = UNSEEN, max_bytes: int = PASS_BYTES) -> None:
        self._session, self._meters = session, meters
        self._max_inputs, self._max_bytes = session.max_batch, max_bytes
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._room = threading.Condition(self._lock)
        self._queue: deque[_Waiting] = deque()
        self._bytes = 0  # of tensors in the queue
        self._makers = 0  # threads that make passes
        self._running = 0  # passes
        self._window = 0.0  # seconds
        # Its threads end when the batcher is forgotten, and none is started where batching does not pay.
        self._pool = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="device")
        self.modality_name, self.spec = session.backbone.modality, session.backbone.spec
        self.modality = modalities.of(session.backbone)
        self.dimension = session.backbone.dimension  # of `pooled`, the first part of an embedding

    def embed(self, tensors: Tensors) -> Any:
        """One input → f32 [E], or its tap, in a pass that may carry others; the caller waits."""
        if self._max_inputs == 1:
            return self._embed((tensors,))[0]
        call = _Call()
        self.put(tensors, call)
        call.done.wait()
        if isinstance(call.answer, Exception):
            raise call.answer
        assert call.answer is not None
        return call.answer

    def put(self, tensors: Tensors, waiter: Waiter, alone: bool = False) -> None:
        """Settle `waiter` with its embedding: now where batching does not pay, else with a pass.

        `alone`: nothing else is on its way, so that it may have every core.

        Waits while two passes' worth of inputs wait already, so that decoding never runs far ahead.
        """
        if self._max_inputs == 1:
            waiter.resolve(self._embed((tensors,), alone)[0])
            return
        size = sum(tensor.nbytes for tensor in tensors.values())
        with self._lock:
            while len(self._queue) >= 2 * self._max_inputs or self._bytes >= 2 * self._max_bytes:
                self._room.wait()
            self._queue.append(_Waiting(tensors, size, waiter, clock()))
            self._bytes += size
            self._arrived.notify()
            if self._makers < IN_FLIGHT:
                self._makers += 1
                self._pool.submit(self._make_passes)

    def close(self) -> None:
        """Let passes end. Nothing may be put after that."""
        self._pool.shutdown(wait=True)

    def _make_passes(self) -> None:
        while batch := self._gather():
            began = clock()
            self._pass(batch)
            with self._lock:
                self._running -= 1
                self._learn(len(batch), clock() - began)
                self._arrived.notify()  # the device is idle: whoever gathers may release

    def _gather(self) -> list[_Waiting]:
        """The inputs of the next pass, once it is time; none when nothing waits."""
        with self._lock:
            while self._queue:
                pause = self._pause()
                if pause <= 0:
                    self._running += 1
                    return self._take()
                self._arrived.wait(pause)
            self._makers -= 1
            return []

    def _pause(self) -> float:
        """Seconds until what waits is to be released."""
        if not self._running or len(self._queue) >= self._max_inputs or self._bytes >= self._max_bytes:
            return 0
        return self._queue[0].since + self._window - clock()

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._queue and len(batch) < self._max_inputs and (not batch or size < self._max_bytes):
            batch.append(self._queue.popleft())
            size += batch[-1].bytes
        self._bytes -= size
        self._room.notify_all()
        return batch

    def _learn(self, inputs: int, seconds: float) -> None:
        """A pass of one was worth no wait, one of sixteen nearly its own time."""
        self._window += (seconds * (1 - 1 / inputs) - self._window) * SMOOTHING

    def _pass(self, batch: Sequence[_Waiting]) -> None:
        """One pass; one that fails is tried once more in two halves, and a half that fails fails its own inputs."""
        wanted = [waiting for waiting in batch if not waiting.waiter.abandoned]
        for _ in range(len(batch) - len(wanted)):
            self._meters.dropped()
        if not wanted or self._settle(wanted) is None:
            return
        middle = (len(wanted) + 1) // 2
        for half in (wanted[:middle], wanted[middle:]):
            error = self._settle(half) if half else None
            if error is not None:
                for waiting in half:
                    waiting.waiter.resolve(error)

    def _settle(self, batch: Sequence[_Waiting]) -> Exception | None:
        """Give every input its embedding; what went wrong, if something did."""
        try:
            embeddings = self._embed([waiting.tensors for waiting in batch])  # a GPU's buffers take them one by one
        except Exception as error:
            return error
        for waiting, embedding in zip(batch, embeddings, strict=True):
            waiting.waiter.resolve(embedding)
        return None

    def _embed(self, inputs: Sequence[Tensors], alone: bool = False) -> Rows:
        """Tensors of N inputs → what the backbone tells of each, measured."""
        began = clock()
        embeddings = self._session.embed(inputs, alone)
        self._meters.backbone_seconds(clock() - began)
        self._meters.batch_inputs(len(inputs))
        return embeddings
