"""The supervisor runs children for ever: what dies is started again, and nothing that it left behind lives on."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.services import ROOT, command_line, descendants, eventually, kill

from service.processes import supervisor

ORPHAN_MARK = "orphan-of-espalier-test"
# A child as bentoml is one: it starts a process in a session of its own and waits.
CHILD = f"""
import subprocess, sys, time
command = [sys.executable, "-c", "import time; time.sleep(600)", "{ORPHAN_MARK}"]
grand = subprocess.Popen(command, start_new_session=True)
open(sys.argv[1], "a").write(f"{{grand.pid}}\\n")
time.sleep(600)
"""
# The supervisor adopts what its children leave behind, so it must be a process of its own here.
SUPERVISOR = """
import signal, sys, threading
from service.processes import supervisor
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
supervisor.run([supervisor.Child("child", [sys.executable, "-c", sys.argv[1], sys.argv[2]])], stop)
"""


@pytest.fixture
def running(tmp_path: Path):
    log = tmp_path / "grandchildren"
    process = subprocess.Popen([sys.executable, "-c", SUPERVISOR, CHILD, str(log)], cwd=ROOT)
    yield process, log
    for pid in descendants(process.pid):
        kill(pid)
    process.kill()
    process.wait()


def grandchildren(log: Path) -> list[int]:
    return [int(line) for line in log.read_text().split()] if log.exists() else []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives orphans to a supervisor")
def test_a_killed_child_is_started_again_and_its_own_children_are_ended(running):
    process, log = running
    (first,) = eventually(lambda: grandchildren(log))
    (child,) = [p for p in descendants(process.pid) if str(log) in command_line(p)]
    kill(child)
    eventually(lambda: len(grandchildren(log)) == 2)
    assert ORPHAN_MARK not in command_line(first)
    assert ORPHAN_MARK in command_line(grandchildren(log)[1])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives orphans to a supervisor")
def test_when_it_ends_everything_it_started_has_ended(running):
    process, log = running
    (grandchild,) = eventually(lambda: grandchildren(log))
    process.terminate()
    assert process.wait(60) == 0
    assert ORPHAN_MARK not in command_line(grandchild)


def test_a_child_that_keeps_dying_is_started_less_and_less_often(monkeypatch):
    """The pause doubles up to a bound, and is short again after a healthy life."""
    clock = [100.0]
    monkeypatch.setattr(supervisor.time, "monotonic", lambda: clock[0])
    child = supervisor.Child("child", [sys.executable, "-c", ""])
    pauses = []
    for life in [0.0] * 8 + [supervisor.HEALTHY + 1, 0.0]:
        child.start()
        assert child.process is not None
        child.process.wait()
        clock[0] += life
        child.look()
        pauses.append(round(child.due - clock[0], 3))
        child.look()
        assert child.process is None, "not before the pause is over"
        clock[0] = child.due
    assert pauses[:8] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0] and pauses[8:] == [0.2, 0.4]


def test_both_processes_run_on_the_interpreter_that_was_started():
    commands = supervisor.commands("127.0.0.1", 3000)
    assert set(commands) == {"server", "worker"}
    assert all(command[0] == sys.executable for command in commands.values())
