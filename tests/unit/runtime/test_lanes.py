"""Lanes run work in turn, survive what goes wrong, and end."""

import asyncio
import threading

import pytest

from adapters.errors import NotReady
from adapters.runtime.queueing.lanes import Lanes


class Note:
    """Work that notes that it was run or dropped."""

    def __init__(self, notes: list[str], name: str, gate: threading.Event | None = None) -> None:
        self.notes, self.name, self.gate = notes, name, gate

    def run(self) -> None:
        if self.gate is not None:
            self.gate.wait(30)
        self.notes.append(self.name)
        if self.name == "broken":
            raise ZeroDivisionError

    def drop(self, error: Exception) -> None:
        self.notes.append(f"{self.name} dropped")


def lane_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("lane-")]


def test_flows_take_turns_in_a_lane_and_closing_waits_for_what_runs():
    notes: list[str] = []
    lanes, gate, done = Lanes(1), threading.Event(), threading.Event()
    lanes.put("x", Note(notes, "first", gate))
    for flow in "aaab":
        lanes.put(flow, Note(notes, flow))
    lanes.put("c", Note(notes, "broken"))
    lanes.put("d", Note(notes, "d"))

    class Last(Note):
        def run(self) -> None:
            done.set()

    lanes.put("a", Last(notes, ""))
    gate.set()
    assert done.wait(30)
    lanes.close()
    assert notes == ["first", "a", "b", "broken", "d", "a", "a"] and not lane_threads()


def test_closing_drops_what_waits():
    notes: list[str] = []
    lanes, gate = Lanes(1), threading.Event()
    lanes.put("a", Note(notes, "runs", gate))
    while lanes._queue.ahead("a", 0):
        threading.Event().wait(0.001)
    lanes.put("a", Note(notes, "waits"))
    threading.Timer(0.01, gate.set).start()
    lanes.close()
    assert sorted(notes) == ["runs", "waits dropped"] and not lane_threads()


def test_a_function_runs_in_a_lane_and_its_error_comes_back():
    async def main() -> None:
        lanes = Lanes(1)
        assert await lanes.run(lambda: threading.current_thread().name) == "lane-0"
        with pytest.raises(ZeroDivisionError):
            await lanes.run(lambda: 1 // 0)
        lanes.close()

    asyncio.run(main())


def test_a_function_that_closing_drops_is_not_waited_for_in_vain():
    async def main() -> None:
        lanes, gate, entered = Lanes(1), threading.Event(), threading.Event()
        running = asyncio.create_task(lanes.run(lambda: entered.set() or gate.wait(30)))
        await asyncio.to_thread(entered.wait, 30)
        waiting = asyncio.create_task(lanes.run(lambda: 1))
        await asyncio.sleep(0)
        threading.Timer(0.01, gate.set).start()
        lanes.close()
        assert await running is True
        with pytest.raises(NotReady):
            await waiting
        with pytest.raises(NotReady):
            await lanes.run(lambda: "too late")
        notes: list[str] = []
        lanes.put("a", Note(notes, "too late"))
        assert notes == ["too late dropped"]

    asyncio.run(main())


def test_work_outlives_its_event_loop_without_harm():
    lanes, gate = Lanes(1), threading.Event()

    async def leave() -> None:
        asyncio.ensure_future(lanes.run(lambda: gate.wait(30)))  # noqa: RUF006
        await asyncio.sleep(0)

    asyncio.run(leave())
    gate.set()
    assert asyncio.run(lanes.run(lambda: 5)) == 5
    lanes.close()


def test_how_long_it_takes_is_learned_and_shared_by_the_lanes():
    lanes = Lanes(2)
    assert lanes.seconds(100) == 0 == lanes.expected("a", 100)
    lanes.took(0.1)
    assert lanes.seconds(10) == pytest.approx(0.5) == lanes.expected("a", 10)
    for _ in range(200):
        lanes.took(0.2)
    assert lanes.seconds(10) == pytest.approx(1, rel=0.01)
    lanes.close()


def test_how_long_an_image_waits_depends_on_its_own_flow():
    lanes, gate = Lanes(1), threading.Event()
    assert lanes.behind("a") == 0
    lanes.took(2.0)
    lanes.put("first", Note([], "first", gate))
    while lanes.behind("a"):  # until the lane has taken it
        gate.wait(0.01)
    for _ in range(5):
        lanes.put("flood", Note([], "x"))
    assert lanes.behind("flood") == 10.0
    assert lanes.behind("quiet") == 2.0, "they take turns"
    gate.set()
    lanes.close()


def test_a_long_input_says_how_long_an_ordinary_one_takes():
    lanes = Lanes(2)
    lanes.took(0.4, 4.0)
    assert lanes.seconds(1) == pytest.approx(0.05) and lanes.seconds(0.25) == pytest.approx(0.0125)
    lanes.close()
