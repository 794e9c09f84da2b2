"""Lanes are bounded and micro-batches share passes; a fake GPU session stands in for the device."""

import asyncio
import concurrent.futures
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from adapters.errors import Overloaded
from adapters.runtime.batcher import Batcher, Lanes

SIDE = 4


class FakeSession:
    """Embeds an image as its first value; a GPU's largest batch, and a gate that keeps the first pass waiting."""

    def __init__(self, max_batch: int, fail_on: int | None = None) -> None:
        self.max_batch, self.fail_on = max_batch, fail_on
        self.backbone = SimpleNamespace(preprocessing="preprocessing")
        self.passes: list[list[int]] = []
        self.gate, self.entered = threading.Event(), threading.Event()
        self.gate.set()

    def embed(self, pixels: np.ndarray) -> np.ndarray:
        values = [int(p[0, 0, 0]) for p in pixels]
        self.passes.append(values)
        self.entered.set()
        assert self.gate.wait(30)
        if self.fail_on in values:
            raise ValueError("the device is unwell")
        return np.array([[v] for v in values], np.float32)


def picture(value: int) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), value, np.uint8)


def crowd(session: FakeSession, count: int) -> list[concurrent.futures.Future]:
    """One image gets the device; the others arrive while it is at work."""
    batcher = Batcher(session)
    session.gate.clear()
    pool = concurrent.futures.ThreadPoolExecutor(count)
    futures = [pool.submit(batcher.embed, picture(0))]
    assert session.entered.wait(30)
    futures += [pool.submit(batcher.embed, picture(n)) for n in range(1, count)]
    while len(batcher._queue) < count - 1:
        threading.Event().wait(0.001)
    session.gate.set()
    pool.shutdown(wait=True)
    return futures


def test_on_a_cpu_every_image_goes_straight_through():
    session = FakeSession(max_batch=1)
    batcher = Batcher(session)
    assert [float(batcher.embed(picture(n))[0]) for n in (7, 8)] == [7.0, 8.0]
    assert session.passes == [[7], [8]] and batcher.preprocessing == "preprocessing"


def test_on_a_gpu_what_waits_shares_the_next_pass():
    session = FakeSession(max_batch=64)
    futures = crowd(session, 20)
    assert [float(f.result()[0]) for f in futures] == list(range(20))
    assert session.passes[0] == [0] and sorted(session.passes[1]) == list(range(1, 20))
    assert len(session.passes) == 2


def test_a_pass_is_never_larger_than_the_largest_batch():
    session = FakeSession(max_batch=8)
    futures = crowd(session, 20)
    assert [float(f.result()[0]) for f in futures] == list(range(20))
    assert max(map(len, session.passes)) == 8 and sum(map(len, session.passes)) == 20


def test_a_failed_pass_fails_its_own_images_and_no_other():
    session = FakeSession(max_batch=4, fail_on=3)
    futures = crowd(session, 12)
    failed = {n for n, f in enumerate(futures) if f.exception() is not None}
    (unwell,) = [set(values) for values in session.passes if 3 in values]
    assert failed == unwell and 0 not in failed
    assert all(float(f.result()[0]) == n for n, f in enumerate(futures) if n not in failed)


def test_a_lone_request_waits_for_nobody():
    session = FakeSession(max_batch=64)
    assert float(Batcher(session).embed(picture(5))[0]) == 5.0


def test_lanes_refuse_what_would_only_wait():
    """Also one request larger than the bound is taken when nothing waits."""

    async def main() -> None:
        lanes, gate = Lanes(threads=1, max_waiting=2), threading.Event()
        lanes.admit(100)
        waiting = [asyncio.create_task(lanes.run(gate.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        assert lanes.waiting == 2
        with pytest.raises(Overloaded, match="2 images are waiting") as refused:
            lanes.admit(1)
        assert refused.value.retry_after > 0
        gate.set()
        assert await asyncio.gather(*waiting) == [True, True]
        assert lanes.waiting == 0
        lanes.admit(2)
        lanes.close()

    asyncio.run(main())


def test_lanes_count_down_also_when_work_fails():
    async def main() -> None:
        lanes = Lanes(threads=1, max_waiting=1)
        with pytest.raises(ZeroDivisionError):
            await lanes.run(lambda: 1 // 0)
        assert lanes.waiting == 0
        lanes.close()

    asyncio.run(main())
