"""Passes of a backbone: released when full, when the device is idle, or in time; a failed one harms only its own."""

import concurrent.futures
import gc
import threading

import numpy as np
import pytest

from adapters.runtime.batcher import IN_FLIGHT, Batcher
from adapters.runtime.fake import SIDE, FakeBackbone
from adapters.runtime.meters import Meters
from adapters.types import Tensors


def picture(value: int) -> Tensors:
    return {"pixels": np.full((SIDE, SIDE, 3), value, np.uint8)}


class Waiter:
    """One who waits without a thread."""

    def __init__(self) -> None:
        self.abandoned = False
        self.future: concurrent.futures.Future = concurrent.futures.Future()

    def resolve(self, answer: object) -> None:
        if isinstance(answer, Exception):
            self.future.set_exception(answer)
        else:
            self.future.set_result(answer)

    @property
    def value(self) -> int:
        return round(float(self.future.result(30)[0]))

    @property
    def failed(self) -> bool:
        return self.future.exception(30) is not None


def crowd(batcher: Batcher, backbone: FakeBackbone, values: range) -> list[Waiter]:
    """The first image gets the device; the others arrive while it is at work."""
    askers = [Waiter() for _ in values]
    backbone.hold()
    for n, (value, waiter) in enumerate(zip(values, askers, strict=True)):
        batcher.put(picture(value), waiter)
        if n == 0:
            backbone.wait_for_pass()
    return askers


@pytest.fixture
def long_window(monkeypatch):
    """Passes are released by what waits and by the device alone, however slow the machine is."""
    monkeypatch.setattr(Batcher, "_learn", lambda self, images, seconds: setattr(self, "_window", 1000.0))


def batching(max_batch: int, **options: object) -> tuple[Batcher, FakeBackbone]:
    backbone = FakeBackbone(max_batch)
    batcher = Batcher(backbone, **options)
    batcher._window = 1000.0
    return batcher, backbone


def device_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("device")]


def test_where_batching_does_not_pay_every_image_goes_straight_through():
    """In the thread that asks: no other is started, nothing waits."""
    batcher, backbone = batching(1)
    waiter = Waiter()
    batcher.put(picture(8), waiter)
    assert float(batcher.embed(picture(7))[0]) == 7.0 and waiter.value == 8
    assert backbone.passes == [[8], [7]] and batcher.spec == backbone.backbone.spec
    assert not device_threads()


def test_what_waits_shares_the_next_pass_when_the_device_is_idle(long_window):
    batcher, backbone = batching(64)
    askers = crowd(batcher, backbone, range(20))
    backbone.release()
    assert [waiter.value for waiter in askers] == list(range(20))
    assert backbone.passes == [[0], list(range(1, 20))]
    batcher.close()


def test_a_full_pass_is_released_while_another_runs_and_no_third(long_window):
    batcher, backbone = batching(4)
    askers = crowd(batcher, backbone, range(9))
    backbone.wait_for_pass()
    assert backbone.passes == [[0], [1, 2, 3, 4]]
    backbone.release()
    assert [waiter.value for waiter in askers] == list(range(9))
    assert max(map(len, backbone.passes)) == 4 and sum(map(len, backbone.passes)) == 9
    batcher.close()


def test_a_pass_is_bounded_by_bytes_too(long_window):
    size = picture(0)["pixels"].nbytes
    batcher, backbone = batching(64, max_bytes=3 * size)
    askers = crowd(batcher, backbone, range(7))
    backbone.wait_for_pass()
    assert backbone.passes == [[0], [1, 2, 3]]
    backbone.release()
    assert [waiter.value for waiter in askers] == list(range(7))
    batcher.close()


def test_the_oldest_waits_no_longer_than_the_window():
    """With the device busy and the pass not full."""
    batcher, backbone = batching(64)
    batcher._window = 0.0
    askers = crowd(batcher, backbone, range(2))
    backbone.wait_for_pass()
    assert backbone.passes == [[0], [1]]
    backbone.release()
    assert [waiter.value for waiter in askers] == [0, 1]
    batcher.close()


def test_the_window_follows_the_load():
    """Passes of one leave nothing to wait for; full ones are worth nearly their own time."""
    batcher = Batcher(FakeBackbone(64))
    for _ in range(100):
        batcher._learn(64, 0.01)
    assert batcher._window == pytest.approx(0.01, rel=0.05)
    for _ in range(100):
        batcher._learn(1, 0.01)
    assert batcher._window == pytest.approx(0, abs=1e-4)


def test_a_failing_pass_is_split_once_and_then_fails_only_its_own(long_window):
    batcher, backbone = batching(8)
    backbone.fail_on = {3}
    askers = crowd(batcher, backbone, range(18))
    backbone.release()
    assert {n for n, waiter in enumerate(askers) if waiter.failed} == {1, 2, 3, 4}
    assert [1, 2, 3, 4] in backbone.passes and [5, 6, 7, 8] in backbone.passes
    assert all(askers[n].value == n for n in range(18) if n not in (1, 2, 3, 4))
    batcher.close()


def test_what_nobody_waits_for_never_reaches_the_backbone(long_window):
    dropped: list[int] = []
    batcher, backbone = batching(8, meters=Meters(dropped=lambda: dropped.append(1)))
    askers = crowd(batcher, backbone, range(6))
    for n in (1, 2, 4):
        askers[n].abandoned = True
    backbone.release()
    assert askers[3].value == 3 and askers[5].value == 5
    batcher.close()
    assert backbone.passes == [[0], [3, 5]] and len(dropped) == 3


def test_decoding_never_runs_far_ahead(long_window):
    """Two passes' worth may wait; who brings more waits for room."""
    batcher, backbone = batching(2)
    askers = crowd(batcher, backbone, range(7))  # one runs, two more run, four wait
    backbone.wait_for_pass()
    late = Waiter()
    bringer = threading.Thread(target=batcher.put, args=(picture(9), late))
    bringer.start()
    bringer.join(0.05)
    assert bringer.is_alive()
    backbone.release()
    bringer.join(30)
    assert [waiter.value for waiter in askers] == list(range(7)) and late.value == 9
    batcher.close()


def test_a_thread_may_wait_itself():
    batcher, backbone = batching(64)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda n: round(float(batcher.embed(picture(n))[0])), range(100)))
    assert found == list(range(100)) and sum(map(len, backbone.passes)) == 100
    backbone.fail_on = {5}
    with pytest.raises(ValueError, match="unwell"):
        batcher.embed(picture(5))
    batcher.close()


def test_a_batcher_that_is_forgotten_leaves_no_thread_behind():
    batcher, _ = batching(8)
    assert float(batcher.embed(picture(5))[0]) == 5.0
    threads = device_threads()
    assert 1 <= len(threads) <= IN_FLIGHT
    del batcher
    gc.collect()
    for thread in threads:
        thread.join(30)
    assert not device_threads()


def test_passes_are_measured():
    seen: list[tuple[str, float]] = []
    meters = Meters(backbone_seconds=lambda s: seen.append(("s", s)), batch_inputs=lambda n: seen.append(("images", n)))
    batcher, _ = batching(1, meters=meters)
    batcher.embed(picture(1))
    assert [name for name, _ in seen] == ["s", "images"] and seen[0][1] >= 0 and seen[1][1] == 1
