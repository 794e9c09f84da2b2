"""A process that hangs is told from one that is busy, one that starts, and one whose supervisor was held up itself."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.services import ROOT, eventually, kill

from service.processes import liveness
from service.processes.liveness import FOLDER, Watch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
THREAD = "from service.processes import liveness; liveness.beat_in_thread()\n"
LOOP = """
import asyncio, time
from service.processes import liveness
async def main():
    liveness.beat_on(asyncio.get_running_loop())
    {work}
asyncio.run(main())
"""
CASES = {
    "idle": THREAD + "import time; time.sleep(600)",
    "busy in Python": THREAD + "while True: sum(range(10**6))",
    "an idle loop": LOOP.format(work="await asyncio.sleep(600)"),
    "a busy loop": LOOP.format(work="while True: sum(range(10**6)); await asyncio.sleep(0)"),
}


class Clock:
    """The watch's own time: no test waits for patience to run out."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(liveness.time, "monotonic", made)
    return made


@pytest.fixture
def start(tmp_path: Path) -> Iterator[object]:
    started: list[subprocess.Popen[bytes]] = []

    def run(code: str) -> int:
        env = os.environ | {FOLDER: str(tmp_path)}
        started.append(subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=env))
        return started[-1].pid

    yield run
    for process in started:
        kill(process.pid)
        process.wait()


def sign(folder: Path, pid: int) -> Path:
    return eventually(lambda: next(folder.glob(f"{pid}-*"), None))


def look(watch: Watch, clock: Clock, seconds: float, leaders: tuple[int, ...] = ()) -> list[int]:
    """Often enough for the watch to know that it was not held up itself."""
    hung: list[int] = []
    for _ in range(int(seconds)):
        clock.now += 1
        hung = watch.hung(list(leaders))
    return hung


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_signs_come_from_whoever_is_not_stopped_and_only_from_him(tmp_path, clock, start, case):
    pid = start(CASES[case])
    file, watch = sign(tmp_path, pid), Watch(tmp_path, 10)
    for _ in range(2):  # alive: there are new signs
        before = file.stat().st_mtime_ns
        assert look(watch, clock, 8) == []
        eventually(lambda before=before: file.stat().st_mtime_ns != before)
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: liveness._state(pid) == "T")
    assert look(watch, clock, 9) == [] and look(watch, clock, 3) == [pid]
    os.kill(pid, signal.SIGCONT)
    before = file.stat().st_mtime_ns
    eventually(lambda: file.stat().st_mtime_ns != before)
    assert look(watch, clock, 1) == []


def test_a_loop_that_is_blocked_gives_no_sign(tmp_path, clock, start):
    """Though its process is at work: it answers nobody."""
    pid = start(LOOP.format(work="await asyncio.sleep(0.1); time.sleep(600)"))
    sign(tmp_path, pid)
    watch = Watch(tmp_path, 10)
    seen = [look(watch, clock, 1), look(watch, clock, 12)]
    assert seen == [[], [pid]]


def test_a_parent_that_gives_no_signs_is_seen_to_be_stopped(tmp_path, clock, start):
    pid = start("import time; time.sleep(600)")
    watch = Watch(tmp_path, 10)
    assert look(watch, clock, 30, (pid,)) == []
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: liveness._state(pid) == "T")
    assert look(watch, clock, 12, (pid,)) == [pid]


def test_whoever_was_held_up_himself_begins_anew(tmp_path, clock, start):
    """A machine that slept wakes everybody at once."""
    pid = start(CASES["idle"])
    sign(tmp_path, pid)
    watch = Watch(tmp_path, 10)
    look(watch, clock, 1)
    os.kill(pid, signal.SIGSTOP)
    clock.now += 3600
    assert watch.hung([]) == []
    assert look(watch, clock, 12) == [pid]


def test_numbers_of_processes_that_have_ended_are_forgotten(tmp_path, clock):
    (tmp_path / "1-0").touch()  # init, but of another birth
    (tmp_path / f"{2**22}-5").touch()
    assert look(Watch(tmp_path, 10), clock, 30) == [] and not list(tmp_path.iterdir())


def test_without_a_supervisor_nobody_gives_signs(monkeypatch):
    monkeypatch.delenv(FOLDER, raising=False)
    assert liveness._own_file() is None
