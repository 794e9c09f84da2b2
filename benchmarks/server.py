"""A real service in a home of its own, for as long as a benchmark needs it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from service.client import Client


@dataclass(frozen=True, slots=True)
class Running:
    """A running service."""

    home: Path
    port: int
    process: subprocess.Popen[bytes]

    def client(self) -> Client:
        """A client of it."""
        return Client(f"http://127.0.0.1:{self.port}")

    def resident(self) -> dict[str, float]:
        """MiB resident of each process under the supervisor, by what it is."""
        found: dict[str, float] = {}
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if f"ESPALIER_HOME={self.home}".encode() in (path / "environ").read_bytes().split(b"\0"):
                    found[f"{path.name} {command[:120]}"] = _resident(path)
        return found


def _resident(path: Path) -> float:
    line = next(li for li in (path / "status").read_text().splitlines() if li.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


@contextlib.contextmanager
def running(**environment: str) -> Iterator[Running]:
    """`espalier serve` in a temporary home, ready."""
    with tempfile.TemporaryDirectory(prefix="espalier-bench-") as folder:
        home, port = Path(folder), free_port()
        env = os.environ | {"ESPALIER_HOME": folder, "ESPALIER_LOG_LEVEL": "warning"} | environment
        command = [sys.executable, "-m", "service.cli", "serve", "--port", str(port)]
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            Client(f"http://127.0.0.1:{port}").wait_ready()
            yield Running(home, port, process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


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
