"""The worker goes behind serving, in whatever session it runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.services import ROOT

LOOK = """
import os
from service.processes.worker import step_aside
step_aside(7)
print(os.nice(0), open("/proc/self/autogroup").read())
"""


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this kernel has no autogroup")
def test_a_worker_lowers_its_session_too():
    """Niceness counts within a session only, and the supervisor gives the worker one of its own."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK], cwd=ROOT, start_new_session=True, capture_output=True, text=True, check=True,
    )  # fmt: skip
    nice, group = done.stdout.split(maxsplit=1)
    assert int(nice) == min(os.nice(0) + 7, 19)  # 19 is the most there is: this test may run at a low priority itself
    assert group.split() == [group.split()[0], "nice", "7"]
