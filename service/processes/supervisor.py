"""`espalier serve`: the serving process and the training worker on one machine, restarted when they die or hang."""

import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from service.processes import liveness

log = logging.getLogger("espalier.supervisor")
FAST = 0.2  # seconds before the first restart
SLOW = 10.0  # seconds at most between restarts of something that keeps dying
HEALTHY = 30.0  # seconds of life after which a death counts as the first again
GRACE = 20.0  # seconds to finish what runs before SIGKILL
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
QUIET = {"BENTOML_DO_NOT_TRACK": "true"}  # else BentoML reports each start to its makers; who wants that sets "false"


@dataclass(slots=True)
class Child:
    """One process that should always run."""

    name: str
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    grace: float = GRACE  # seconds to end in order
    deaths: int = 0
    started: float = 0.0
    due: float = field(default=0.0)  # when it may be started again

    def start(self) -> None:
        """Start it as the leader of a process group of its own, so that all it started can be ended with it.

        In our session, though: see `priority`.
        """
        self.process = subprocess.Popen(
            self.command, env=QUIET | os.environ, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=_prepared
        )
        self.started = time.monotonic()
        log.info("%s runs as process %d", self.name, self.process.pid)

    def look(self) -> None:
        """Restart it if it has died and its pause is over."""
        now = time.monotonic()
        if self.process is None:
            if now >= self.due:
                self.start()
        elif self.process.poll() is not None:
            self._bury(now)

    def _bury(self, now: float) -> None:
        assert self.process is not None
        # What it leaves behind would hold the port: end the whole group (and see `_end_orphans`) before starting anew.
        _signal_group(self.process.pid, signal.SIGKILL)
        self.deaths = 1 if now - self.started > HEALTHY else self.deaths + 1
        pause = min(FAST * 2 ** (self.deaths - 1), SLOW)
        log.warning("%s ended with %s; starting it again in %.1f s", self.name, self.process.returncode, pause)
        self.process, self.due = None, now + pause

    def stop(self) -> None:
        """Ask it to end, and make it end when it takes too long."""
        if self.process is None:
            return
        _signal_group(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(self.grace)
        except subprocess.TimeoutExpired:
            log.warning("%s did not end in %.0f s", self.name, self.grace)
        _signal_group(self.process.pid, signal.SIGKILL)
        self.process.wait()


def commands(host: str, port: int) -> dict[str, list[str]]:
    """The two processes of one machine."""
    serve = ["-m", "bentoml", "serve", "service.app:Espalier", "--host", host, "--port", str(port)]
    return {"server": [sys.executable, *serve], "worker": [sys.executable, "-m", "service.cli", "worker"]}


def run(children: list[Child], stop: threading.Event, patience: float = 0.0) -> None:
    """Keep the children running until told to stop; replace what gives no sign of life for `patience` seconds, if any.

    A serving process that hangs is replaced by its own parent, the others beside it serve on.
    """
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    with tempfile.TemporaryDirectory(prefix="espalier-signs-") as folder:
        os.environ[liveness.FOLDER] = folder  # for the children
        watch = liveness.Watch(Path(folder), patience) if patience else None
        try:
            while not stop.wait(0.1):
                for child in children:
                    child.look()
                _end_orphans(children)
                if watch is not None:
                    _end_hung(children, watch)
        finally:
            for child in children:
                child.stop()
            _end_orphans(children)


def _end_hung(children: list[Child], watch: liveness.Watch) -> None:
    leaders = [child.process.pid for child in children if child.process is not None]
    for pid in watch.hung(leaders):
        log.warning("process %d gives no sign of life any more; replacing it", pid)
        if pid in leaders:
            _signal_group(pid, signal.SIGKILL)
        else:
            _signal(pid, signal.SIGKILL)


def _end_orphans(children: list[Child]) -> None:
    """End what children of ours left behind, which is ours now.

    bentoml gives its workers sessions of their own. One whose parent was killed would serve on beside its successor,
    on the same port, and nobody would ever end it.
    """
    known = {child.process.pid for child in children if child.process is not None}
    while orphans := set(_own_children()) - known:
        for pid in orphans:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _own_children() -> list[int]:
    # Only Linux lists them here, and only Linux made us their parent.
    found = Path("/proc/self/task").glob("*/children")
    return [int(pid) for file in found for pid in file.read_text().split()]


def _signal_group(leader: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, number)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _prepared() -> None:
    """In a child, before it runs anything: it ends with us, and a terminal does not stop it for writing to it."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)


def _prctl(option: int, value: int) -> None:
    # Only Linux has this; elsewhere a killed process leaves its children to the user.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)
