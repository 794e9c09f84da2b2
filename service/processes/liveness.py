"""Signs of life: a process touches a file of its own every second; the supervisor replaces one that no longer does.

A serving process does it from its event loop, which answers requests; a worker from a thread, since its loop may wait
long for a step that is at work. Where no supervisor asks for it, nobody does. What hangs otherwise is found by the
kernel's word: a process that was stopped (SIGSTOP) and is not continued.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger("espalier.supervisor")
FOLDER = "ESPALIER_SIGNS_OF_LIFE"  # no setting: how the supervisor tells its children where it looks
BEAT = 1.0  # seconds
OWN_PAUSE = 5.0  # seconds between two looks after which the supervisor itself was held up, and so perhaps everybody
STOPPED = "T"  # state of a process in /proc; one that is traced has another


def beat_on(loop: asyncio.AbstractEventLoop) -> None:
    """Give signs from an event loop for as long as it runs."""
    if (file := _own_file()) is not None:
        _beat(loop, file)


def beat_in_thread() -> None:
    """Give signs from a thread, until the process ends."""
    if (file := _own_file()) is not None:
        threading.Thread(target=_keep_touching, args=(file,), name="signs-of-life", daemon=True).start()


class Watch:
    """What the supervisor has seen of the processes that give signs in a folder, and of those it is told to look at."""

    def __init__(self, folder: Path, patience: float) -> None:
        self._folder, self._patience = folder, patience
        self._signs: dict[str, tuple[object, float]] = {}  # by process: the last sign, and when it was new
        self._looked = time.monotonic()

    def hung(self, leaders: list[int]) -> list[int]:
        """Processes without a sign of life for too long. Of `leaders`, who give none: those that were stopped."""
        now = time.monotonic()
        if now - self._looked > OWN_PAUSE:
            self._signs.clear()
        self._looked = now
        signs = dict(self._given()) | {f"{pid}": _not_stopped(pid, now) for pid in leaders}
        self._signs = {name: self._kept(name, sign, now) for name, sign in signs.items()}
        return [int(name.partition("-")[0]) for name, (_, since) in self._signs.items() if now - since > self._patience]

    def _kept(self, name: str, sign: object, now: float) -> tuple[object, float]:
        old = self._signs.get(name)
        return old if old is not None and old[0] == sign else (sign, now)

    def _given(self) -> Iterator[tuple[str, object]]:
        """Files of processes that are there; those of others are deleted."""
        for file in self._folder.iterdir():
            pid, _, born = file.name.partition("-")
            if _birth(int(pid)) == born:
                yield file.name, file.stat().st_mtime_ns
            else:
                file.unlink(missing_ok=True)


def _own_file() -> Path | None:
    folder = os.environ.get(FOLDER)
    return Path(folder) / f"{os.getpid()}-{_birth(os.getpid())}" if folder else None


def _beat(loop: asyncio.AbstractEventLoop, file: Path) -> None:
    _touch(file)
    loop.call_later(BEAT, _beat, loop, file)


def _keep_touching(file: Path) -> None:
    while True:
        _touch(file)
        time.sleep(BEAT)


def _touch(file: Path) -> None:
    try:
        file.touch()
    except OSError as error:  # no room for a name: the supervisor knows of nobody then, and so replaces nobody
        log.debug("no sign of life: %s", error)


def _not_stopped(pid: int, now: float) -> object:
    """Another one at each look, but for a process that is stopped."""
    return STOPPED if _state(pid) == STOPPED else now


def _state(pid: int) -> str | None:
    return _facts(pid)[0] if _facts(pid) else None


def _birth(pid: int) -> str | None:
    """When a process was started, in ticks since the machine was: numbers of processes are used again."""
    return _facts(pid)[19] if _facts(pid) else None


def _facts(pid: int) -> list[str]:
    """Of /proc/PID/stat, from the state on; empty where there is no such process, or no such file system."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
