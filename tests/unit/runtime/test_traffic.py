"""Images on their way: each once, in turn, only while wanted, in time or not at all."""

import asyncio
import threading
from collections import Counter
from collections.abc import Coroutine
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest

from adapters.errors import DeadlineExceeded, InvalidImage, NotReady, Overloaded
from adapters.runtime.batcher import Batcher
from adapters.runtime.fake import SIDE, FakeBackbone
from adapters.runtime.meters import Meters
from adapters.runtime.queueing.inflight import Item
from adapters.runtime.queueing.traffic import Traffic


class FakeTraffic:
    """Traffic before a fake backbone; an image is one byte, its value, and b"" or a value over 250 is a bad one."""

    def __init__(self, max_batch: int = 1, threads: int = 1, max_images: int = 100, max_seconds: float = 60.0) -> None:
        self.seen: Counter[str] = Counter()
        count = {name: partial(self._count, name) for name in ("dropped", "shared", "rejected", "expired")}
        self.backbone = FakeBackbone(max_batch)
        self.traffic = Traffic(threads, max_images, 10_000, max_seconds, Meters(**count))
        self.batcher = Batcher(self.backbone, self.traffic.meters)
        self.batcher._window = 1000.0  # seconds: a pass is released when the device is idle, not by the time it takes

    def _count(self, name: str) -> None:
        self.seen[name] += 1

    def work(self, item: Item) -> None:
        value = bytes(item.data)[0] if len(item.data) else 255
        if value > 250:
            raise InvalidImage("not an image")
        self.batcher.put({"pixels": np.full((SIDE, SIDE, 3), value, np.uint8)}, item, self.traffic.lanes.alone())

    async def embed(self, *values: int, flow: str = "a", backbone: str = "b", seconds: float | None = None) -> list:
        """What comes back: values, or errors."""
        async with self.traffic.admitted(len(values), flow, seconds):
            found = await self.traffic.embed([bytes([v]) for v in values], backbone, flow, self.work)
        return [f if isinstance(f, Exception) else round(float(f[0])) for f in found]

    async def busy(self) -> "asyncio.Task[list]":
        """The only lane is at work on image 0, and stays there until `backbone.release`."""
        self.backbone.hold()
        first = asyncio.create_task(self.embed(0, flow="first"))
        await asyncio.to_thread(self.backbone.wait_for_pass)
        return first


@contextmanager
def fake_traffic(**options: float):
    made = FakeTraffic(**options)
    try:
        yield made
    finally:
        made.backbone.release()
        made.traffic.close()
        made.batcher.close()
    assert not [t for t in threading.enumerate() if t.name.startswith(("lane-", "device"))]


def soon(work: Coroutine) -> asyncio.Task:
    return asyncio.create_task(work)


async def turns(count: int = 5) -> None:
    """Let what was started on the loop get as far as it can."""
    for _ in range(count):
        await asyncio.sleep(0)


def test_an_image_that_is_alone_may_have_every_core():
    async def main(made: FakeTraffic) -> None:
        assert await made.embed(1) == [1]
        made.backbone.wait_for_pass()
        first = await made.busy()
        second = soon(made.embed(2))
        await asyncio.to_thread(made.backbone.wait_for_pass)
        made.backbone.release()
        assert [await first, await second] == [[0], [2]]
        assert made.backbone.passes == [[1], [0], [2]]
        assert made.backbone.alone == [True, True, False]

    with fake_traffic(threads=2) as made:
        asyncio.run(main(made))


@pytest.mark.parametrize("max_batch", [1, 8])
def test_a_bad_image_fails_alone(max_batch):
    async def main(fake: FakeTraffic) -> None:
        first, bad, last = await fake.embed(1, 255, 3)
        assert (first, last) == (1, 3) and isinstance(bad, InvalidImage)
        assert not len(fake.traffic.in_flight) and not fake.traffic.admission.load

    with fake_traffic(max_batch=max_batch, threads=2) as made:
        asyncio.run(main(made))


@pytest.mark.parametrize("max_batch", [1, 8])
def test_what_the_device_fails_on_fails_its_request_and_no_other(max_batch):
    async def main(fake: FakeTraffic) -> None:
        fake.backbone.fail_on = {7}
        with pytest.raises(ValueError, match="unwell"):
            await fake.embed(7)
        assert await fake.embed(5) == [5]

    with fake_traffic(max_batch=max_batch) as made:
        asyncio.run(main(made))


@pytest.mark.parametrize("max_batch", [1, 8])
def test_identical_images_in_flight_are_embedded_once(max_batch):
    """Whoever asks and for whichever head; once it is answered, the next is a new one."""

    async def main(fake: FakeTraffic) -> None:
        first = await fake.busy()
        others = [soon(fake.embed(9, 9, flow=flow)) for flow in "abc"]
        elsewhere = soon(fake.embed(9, backbone="another"))
        await turns()
        assert len(fake.traffic.in_flight) == 3 and fake.seen["shared"] == 5
        fake.backbone.release()
        assert await first == [0] and await asyncio.gather(*others) == [[9, 9]] * 3 and await elsewhere == [9]
        assert Counter(v for values in fake.backbone.passes for v in values) == {0: 1, 9: 2}
        assert await fake.embed(9) == [9] and not len(fake.traffic.in_flight)

    with fake_traffic(max_batch=max_batch) as made:
        asyncio.run(main(made))


def test_images_of_one_length_are_told_apart():
    async def main(fake: FakeTraffic) -> None:
        first = await fake.busy()
        both = soon(fake.embed(1, 2))
        await turns()
        fake.backbone.release()
        assert await both == [1, 2] and await first == [0] and not fake.seen["shared"]

    with fake_traffic() as made:
        asyncio.run(main(made))


def test_heads_take_turns():
    """A flood of one is no reason for another to wait for all of it."""

    async def main(fake: FakeTraffic) -> None:
        first = await fake.busy()
        flood = soon(fake.embed(*range(10, 30), flow="flood"))
        await turns()
        quiet = soon(fake.embed(1, 2, flow="quiet"))
        await turns()
        fake.backbone.release()
        await asyncio.gather(first, flood, quiet)
        order = [values[0] for values in fake.backbone.passes]
        assert order[:5] == [0, 10, 1, 11, 2] and order[5:] == list(range(12, 30))

    with fake_traffic() as made:
        asyncio.run(main(made))


@pytest.mark.parametrize("max_batch", [1, 8])
def test_what_a_client_that_left_had_asked_for_is_dropped(max_batch):
    async def main(fake: FakeTraffic) -> None:
        first = await fake.busy()
        leaver, stayer = soon(fake.embed(5, 6, 7)), soon(fake.embed(6, 8))
        await turns()
        leaver.cancel()
        await turns()
        assert len(fake.traffic.in_flight) == 3, "5 and 7 are nobody's any more"
        fake.backbone.release()
        assert await stayer == [6, 8] and await first == [0]
        with pytest.raises(asyncio.CancelledError):
            await leaver
        assert await fake.embed(9) == [9]
        assert sorted(v for values in fake.backbone.passes for v in values) == [0, 6, 8, 9]
        assert fake.seen["dropped"] == 2 and not fake.traffic.admission.load

    with fake_traffic(max_batch=max_batch) as made:
        asyncio.run(main(made))


def test_nobody_joins_what_was_abandoned():
    """Who asks for the image after the last one left gets an embedding of their own."""

    async def main(fake: FakeTraffic) -> None:
        first = await fake.busy()
        leaver = soon(fake.embed(5))
        await turns()
        leaver.cancel()
        await turns()
        late = soon(fake.embed(5))
        await turns()
        fake.backbone.release()
        assert await late == [5] and await first == [0] and not fake.seen["shared"]

    with fake_traffic() as made:
        asyncio.run(main(made))


def test_a_request_whose_time_is_up_is_dropped():
    async def main(fake: FakeTraffic) -> None:
        first = await fake.busy()
        with pytest.raises(DeadlineExceeded, match=r"within 0\.01 seconds"):
            await fake.embed(5, 6, seconds=0.01)
        assert fake.seen["expired"] == 1 and not fake.traffic.in_flight._items.get(("b", 2))
        fake.backbone.release()
        assert await first == [0] and await fake.embed(7, seconds=30) == [7]
        assert sorted(v for values in fake.backbone.passes for v in values) == [0, 7]

    with fake_traffic() as made:
        asyncio.run(main(made))


def test_a_timeout_of_somebody_else_is_not_taken_for_ours():
    async def main(fake: FakeTraffic) -> None:
        with pytest.raises(TimeoutError, match="the database"):
            async with fake.traffic.admitted(1, "a", 30):
                raise TimeoutError("the database")
        assert not fake.seen["expired"]

    with fake_traffic() as made:
        asyncio.run(main(made))


def test_what_cannot_be_done_in_time_is_refused_at_once():
    """With when to come back; unless nothing else is held: then the estimate may be wrong."""

    async def main(fake: FakeTraffic) -> None:
        for _ in range(100):
            fake.traffic.lanes.took(10)
        first = await fake.busy()
        with pytest.raises(Overloaded, match=r"would take 20\.0 seconds, more than the 3 allowed") as refused:
            await fake.embed(1, 2, seconds=3)
        assert refused.value.retry_after == pytest.approx(17) and fake.seen["rejected"] == 1
        fake.backbone.release()
        assert await first == [0] and await fake.embed(1, 2, seconds=15) == [1, 2]

    with fake_traffic() as made:
        asyncio.run(main(made))


def test_a_full_queue_refuses():
    async def main(fake: FakeTraffic) -> None:
        first = await fake.busy()
        second = soon(fake.embed(1))
        await turns()
        with pytest.raises(Overloaded):
            await fake.embed(2)
        fake.backbone.release()
        assert await first == [0] and await second == [1] and await fake.embed(2) == [2]

    with fake_traffic(max_images=2) as made:
        asyncio.run(main(made))


def test_closing_answers_who_waits():
    async def main(fake: FakeTraffic) -> None:
        first = await fake.busy()
        waiting = soon(fake.embed(1, 2))
        await turns()
        threading.Timer(0.01, fake.backbone.release).start()
        fake.traffic.close()
        assert await first == [0]
        with pytest.raises(NotReady, match="stopping"):
            await waiting

    with fake_traffic() as made:
        asyncio.run(main(made))


def test_event_loops_do_not_meet():
    """A notebook runs one after the other; an image of the first is not joined by the second."""
    with fake_traffic() as made:
        made.backbone.hold()

        async def leave() -> None:
            task = soon(made.embed(5))
            await asyncio.to_thread(made.backbone.wait_for_pass)
            task.cancel()

        asyncio.run(leave())
        made.backbone.release()
        assert asyncio.run(made.embed(5)) == [5]
