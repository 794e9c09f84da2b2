"""The worker goes behind serving, in whatever session it runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.services import ROOT

LOOK = """
import os
from service.processes.priority import step_aside
step_aside(7)
print(os.nice(0), open("/proc/self/autogroup").read())
"""


GROUPED = pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this kernel has no autogroup")


def looked(**environment: str) -> tuple[int, list[str]]:
    """Niceness of a worker, and the words about its session."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK], cwd=ROOT, env=os.environ | environment, start_new_session=True,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    nice, group = done.stdout.split(maxsplit=1)
    return int(nice), group.split()


@GROUPED
def test_a_worker_of_its_own_lowers_its_session_too():
    """Niceness counts within a session only."""
    nice, group = looked()
    assert nice == min(os.nice(0) + 7, 19)  # 19 is the most there is: this test may run at a low priority itself
    assert group == [group[0], "nice", "7"]


@GROUPED
def test_a_worker_that_is_supervised_leaves_its_session_alone(tmp_path: Path):
    """It has the serving processes in it."""
    nice, group = looked(ESPALIER_SIGNS_OF_LIFE=str(tmp_path))
    assert nice == min(os.nice(0) + 7, 19)
    assert group == [group[0], "nice", "0"]


def nicenesses(before: int) -> list[int]:
    """Of a process that has stepped aside so far: a thread that gives way, the thread that began it afterwards."""
    look = (
        "import os; from adapters.pools import Pool, give_way\n"
        f"os.nice({before} - os.nice(0))\n"
        "with Pool(1, initializer=give_way) as pool:\n"
        "    print(pool.submit(os.nice, 0).result(), os.nice(0))"
    )
    done = subprocess.run([sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux knows a thread's niceness")
def test_threads_that_work_for_minutes_go_last_in_a_process_that_gives_way():
    assert nicenesses(10) == [19, 10]


@pytest.mark.skipif(sys.platform != "linux" or os.nice(0) > 0, reason="runs at a low priority itself")
def test_none_does_in_a_process_that_does_not():
    assert nicenesses(0) == [0, 0]
