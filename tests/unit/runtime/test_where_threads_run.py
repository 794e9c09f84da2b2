"""Each lane runs on a core of its own where there are as many, and nothing else is bound to one by that."""

import asyncio
import os
import threading
import time
from pathlib import Path

import pytest
from support.graphs import TINY, tiny

from adapters.runtime.backbone import Backbones
from adapters.runtime.onnx import processor
from adapters.runtime.queueing.lanes import Lanes


def where(lanes: Lanes) -> list[set[int]]:
    """Cores that each lane may run on; all of them at work at once, so that each is asked."""
    meet, found = threading.Barrier(lanes.count), [set[int]() for _ in range(lanes.count)]

    def look() -> None:
        meet.wait(30)
        found[int(threading.current_thread().name.removeprefix("lane-"))] = os.sched_getaffinity(0)

    async def ask() -> None:
        await asyncio.gather(*(lanes.run(look) for _ in range(lanes.count)))

    asyncio.run(ask())
    return found


def threads() -> set[int]:
    """Of this process, by the system's numbers."""
    return {int(task.name) for task in Path("/proc/self/task").iterdir()}


def test_each_lane_runs_on_a_core_of_its_own_and_who_looks_from_there_sees_all():
    cores = sorted(processor.affinity())
    lanes = Lanes(len(cores), cores)
    assert where(lanes) == [{core} for core in cores]
    assert asyncio.run(lanes.run(processor.affinity)) == set(cores) == os.sched_getaffinity(0)
    lanes.close()


def test_lanes_without_cores_of_their_own_run_anywhere():
    lanes = Lanes(2)
    assert where(lanes) == [processor.affinity()] * 2
    lanes.close()


def test_a_lane_runs_anywhere_where_the_system_does_not_let_it_choose(monkeypatch):
    def forbidden(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    lanes = Lanes(1, [0])
    assert where(lanes) == [processor.affinity()]
    lanes.close()


@pytest.mark.parametrize(
    ("files", "alike"),
    [
        ({}, True),
        ({"cpu_core/cpus": "0-7"}, True),
        ({"cpu_core/cpus": "0-15", "cpu_atom/cpus": "16-23"}, False),
        ({"system/cpu/cpu0/cpu_capacity": "1024\n", "system/cpu/cpu1/cpu_capacity": "1024\n"}, True),
        ({"system/cpu/cpu0/cpu_capacity": "446\n", "system/cpu/cpu10/cpu_capacity": "1024\n"}, False),
    ],
    ids=["says nothing", "x86", "x86 of two kinds", "Arm", "Arm of two kinds"],
)
def test_cores_of_two_kinds_are_left_to_the_kernel(tmp_path, files, alike):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert processor.alike(tmp_path) == (processor.affinity() if alike else set())


@pytest.mark.skipif(len(processor.affinity()) < 2, reason="on one core all run there")
def test_a_backbone_that_a_lane_loads_has_its_threads_anywhere():
    before, backbones = threads(), Backbones(lambda _: (TINY, tiny()), threads=2)
    lanes = Lanes(1, [min(processor.affinity())])
    session = asyncio.run(lanes.run(lambda: backbones.get(TINY.digest)))
    until = time.monotonic() + 30
    while session._wide is session._session and time.monotonic() < until:
        time.sleep(0.01)
    lanes.close()
    left = threads() - before
    assert left, "onnxruntime has a thread of its own for inputs that are alone"
    assert all(os.sched_getaffinity(thread) == processor.affinity() for thread in left)
