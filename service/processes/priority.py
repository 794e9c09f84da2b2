"""Predictions before training, where one kernel schedules both.

Linux shares cores between sessions first, and looks at niceness within one (sched(7), "the autogroup feature"). Where
server and worker were sessions of their own, p99 beside a short deep job was 3.7 to 5.0 times as long, 2.2 to 2.5 in
one session (Linux 6.18, two cores, a worker at niceness 10 in both; ADR 35). Threads that wake seem to wait longer for
one of another session than its niceness says. So what the supervisor starts stays in its session.
"""

import contextlib
import os
from pathlib import Path

from service.processes import liveness


def step_aside(niceness: int) -> None:
    """Let serving go first; a worker that nobody supervises has its session step aside as well."""
    os.nice(niceness)
    if not _supervised():
        with contextlib.suppress(OSError):  # no such feature here
            Path("/proc/self/autogroup").write_text(str(niceness))


def stay_in_session() -> None:
    """In bentoml's arbiter: processes that it starts get process groups of their own instead of sessions.

    circus calls `setsid` between fork and exec, and has no option against it. It ends processes by their numbers, not
    by their sessions.
    """
    if _supervised():
        os.setsid = lambda: os.setpgid(0, 0)


def _supervised() -> bool:
    return liveness.FOLDER in os.environ
