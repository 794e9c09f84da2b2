"""Images under way: only the same bytes for the same backbone are one image, and nobody gets another's answer."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

from adapters.runtime.meters import Meters
from adapters.runtime.queueing import inflight
from adapters.runtime.queueing.inflight import Item, same
from adapters.runtime.queueing.traffic import Traffic

SECONDS = 10.0  # that anybody waits


class Station:
    """Traffic with one lane, which a test holds; an image's embedding is its bytes."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.embedded: list[tuple[str, bytes]] = []
        self.open = threading.Event()
        meters = Meters(shared=partial(self.count, "shared"), dropped=partial(self.count, "dropped"))
        self.traffic = Traffic(1, 1000, 2**30, 60.0, meters)

    def count(self, name: str) -> None:
        self.seen[name] += 1

    def work(self, item: Item) -> None:
        assert self.open.wait(SECONDS)
        data = bytes(item.data)
        self.embedded.append((item.backbone, data))
        item.resolve(np.frombuffer(data, np.uint8).astype(np.float32))

    async def ask(self, *images: bytes | memoryview, backbone: str = "b", flow: str = "a") -> list[bytes]:
        """The images that the answers are of."""
        async with self.traffic.admitted(len(images), flow, SECONDS):
            found = await self.traffic.embed(images, backbone, flow, self.work)
        return [row.astype(np.uint8).tobytes() for row in found]

    async def ask_all(self, *requests: tuple[bytes | memoryview, ...], backbones: str = "b") -> list[list[bytes]]:
        """What requests get that are all there before the first image is embedded."""
        names = backbones * len(requests)
        asked = [asyncio.create_task(self.ask(*r, backbone=b)) for r, b in zip(requests, names, strict=False)]
        for _ in range(5):
            await asyncio.sleep(0)
        self.open.set()
        return await asyncio.gather(*asked)


@pytest.fixture
def station() -> Iterator[Station]:
    made = Station()
    yield made
    made.open.set()
    made.traffic.close()


@pytest.mark.parametrize(
    "images",
    [[b"aaaa", b"aaab"], [b"aaaa", b"baaa"], [bytes(10**5), bytes(10**5 - 1) + b"x"], [b"ab", b"ba"], [b"a", b"aa"]],
    ids=["last byte", "first byte", "large", "order", "length"],
)
def test_images_that_differ_in_any_byte_get_answers_of_their_own(station, images):
    """In one request, and in several at the same time."""
    requests = [tuple(images), (images[1],), (images[0],), (images[1], images[0])]
    found = asyncio.run(station.ask_all(*requests))
    assert found == [list(request) for request in requests]
    assert sorted(station.embedded) == sorted(("b", image) for image in images)
    assert station.seen["shared"] == 4


def test_a_hundred_different_images_of_one_length_are_a_hundred(station):
    """Each request is told of its own, and none is shared."""
    images = [bytes([n]) * 8 for n in range(100)]
    found = asyncio.run(station.ask_all(*[(image,) for image in images]))
    assert found == [[image] for image in images] and not station.seen["shared"]


def test_equal_images_are_one_whatever_they_are_kept_in(station):
    """Bytes of one request, a view of a larger body in another."""
    body = memoryview(b"--aaaa--")[2:6]
    assert asyncio.run(station.ask_all((b"aaaa",), (body,), (b"aaaa",))) == [[b"aaaa"]] * 3
    assert station.embedded == [("b", b"aaaa")] and station.seen["shared"] == 2


def test_another_backbone_sees_for_itself(station):
    """The same bytes for two backbones are embedded twice."""
    assert asyncio.run(station.ask_all((b"aaaa",), (b"aaaa",), backbones="bc")) == [[b"aaaa"]] * 2
    assert sorted(station.embedded) == [("b", b"aaaa"), ("c", b"aaaa")]


def test_nothing_is_left_of_what_was_answered(station):
    """No item waits and no image is held once everybody has an answer."""
    asyncio.run(station.ask_all((b"aaaa", b"bbbb"), (b"bbbb",)))
    assert not len(station.traffic.in_flight) and not station.traffic.admission.load


@pytest.mark.parametrize(
    ("a", "b", "wanted"), [(b"abc", b"abc", True), (b"abc", b"abd", False), (b"", b"", True), (b"\0a", b"\0b", False)]
)
def test_two_images_of_one_length_are_the_same_byte_by_byte(a, b, wanted):
    """Whichever comes first, and whatever holds the bytes."""
    for one, other in ((a, b), (b, a), (memoryview(a), b), (a, memoryview(b))):
        assert same(one, other) == wanted


def test_one_input_sent_a_thousand_times_is_let_go_with_the_last_who_waits(station):
    """Each of them looked at all the others: half a million looks on the event loop."""
    looked = Counter[str]()

    class Looked(Item):
        @property
        def abandoned(self) -> bool:
            looked["at all"] += 1
            return super().abandoned

    async def all_leave() -> Item:
        item = Looked(station.traffic.in_flight, ("b", 1, ""), b"x", station.work, 1.0)
        waiting = [item.join() for _ in range(1000)]
        for future in waiting[:-1]:
            item.leave(future)
        assert item.data == b"x"
        item.leave(waiting[-1])
        return item

    assert asyncio.run(all_leave()).data == b"" and looked["at all"] == 0


def test_many_inputs_of_one_length_are_not_compared_with_each_other(station, monkeypatch):
    compared = list[int]()
    monkeypatch.setattr(inflight, "same", lambda a, b: bool(compared.append(1)) or same(a, b))
    images = [number.to_bytes(2, "big") for number in range(300)]
    found = asyncio.run(station.ask_all((*images, *images)))
    assert found == [[*images, *images]]
    assert len(station.embedded) == 300 and len(compared) < 400
