"""A real service in a home of its own, for as long as a benchmark needs it."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.record import ROOT
from service.client import Client

SILENT: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@dataclass(frozen=True, slots=True)
class Running:
    """A running service."""

    home: Path
    port: int
    process: subprocess.Popen[bytes]

    def client(self) -> Client:
        """A client of it."""
        return Client(f"http://127.0.0.1:{self.port}")

    def resident(self) -> float:
        """MiB resident of the process that serves: the largest but for the training worker, which holds torch."""
        serving = [pid for pid in marked(f"ESPALIER_HOME={self.home}") if "service.cli worker" not in command(pid)]
        return max(map(resident, serving))


def marked(mark: str) -> list[int]:
    """Processes with `mark` (NAME=value) in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended meanwhile
            if mark.encode() in (path / "environ").read_bytes().split(b"\0"):
                found.append(int(path.name))
    return found


def resident_of(mark: str) -> list[float]:
    """MiB resident of each such process."""
    return [resident(pid) for pid in marked(mark)]


def resident(pid: int) -> float:
    """MiB resident of a process; none of one that has ended."""
    return _memory(pid, "status", "VmRSS")


def anonymous(pid: int) -> float:
    """MiB resident of a process that no file backs: what it allocated itself, without its libraries."""
    return _memory(pid, "status", "RssAnon")


def proportional(mark: str) -> float:
    """MiB of all such processes together, where what several share counts once."""
    return sum(_memory(pid, "smaps_rollup", "Pss") for pid in marked(mark))


def peak(pid: int) -> float:
    """The most MiB that were ever resident of a process."""
    return _memory(pid, "status", "VmHWM")


def _memory(pid: int, file: str, name: str) -> float:
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:")), 0.0)


def command(pid: int) -> str:
    """What a process was started with."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


@contextlib.contextmanager
def running(checkout: Path = ROOT, **environment: str) -> Iterator[Running]:
    """`espalier serve`, worker and all, of a checkout in a temporary home; ready."""
    with tempfile.TemporaryDirectory(prefix="espalier-bench-") as folder:
        _begin(Path(folder))
        with _started(Path(folder), "-m", "service.cli", "serve", checkout=checkout, **environment) as started:
            yield started


@contextlib.contextmanager
def serving_and_training(home: Path, checkout: Path = ROOT, **environment: str) -> Iterator[Running]:
    """The same in a home that stays."""
    with _started(home, "-m", "service.cli", "serve", checkout=checkout, **environment) as started:
        yield started


@contextlib.contextmanager
def serving(home: Path, **environment: str) -> Iterator[Running]:
    """The serving process alone, as a container of its own would run it, in a prepared home; ready."""
    with _started(
        home, "-m", "bentoml", "serve", "service.app:Espalier", "--host", "127.0.0.1", checkout=ROOT, **environment
    ) as started:
        yield started


@contextlib.contextmanager
def prepared(**environment: str) -> Iterator[Path]:
    """A temporary home after `espalier init`: tables and the default backbone, no heads."""
    with tempfile.TemporaryDirectory(prefix="espalier-bench-") as folder:
        _begin(Path(folder))
        command = [sys.executable, "-m", "service.cli", "init"]
        subprocess.run(command, env=_environment(Path(folder)) | environment, check=True, capture_output=True)
        yield Path(folder)


def _begin(home: Path) -> None:
    """A copy of the home that BENCHMARK_HOME names, where it does: to export a backbone takes seconds of each."""
    if begun := os.environ.get("BENCHMARK_HOME"):
        shutil.copytree(begun, home, dirs_exist_ok=True)


@contextlib.contextmanager
def _started(home: Path, *command: str, checkout: Path = ROOT, **environment: str) -> Iterator[Running]:
    port = free_port()
    env = _environment(home) | {"PYTHONPATH": str(checkout)} | environment
    process = subprocess.Popen([sys.executable, *command, "--port", str(port)], env=env, cwd=checkout, **SILENT)
    try:
        with Client(f"http://127.0.0.1:{port}") as client:
            client.wait_ready()
        yield Running(home, port, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _environment(home: Path) -> dict[str, str]:
    ours = {"ESPALIER_HOME": str(home), "ESPALIER_LOG_LEVEL": "warning", "BENTOML_DO_NOT_TRACK": "true"}
    ours["ESPALIER_DEEP"] = "never"  # no second stage runs on beside what is measured
    return os.environ | {"PYTHONPATH": str(ROOT)} | ours


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def seconds(action: object) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    action()  # type: ignore[operator]
    return time.perf_counter() - began
