"""Running services: the real `espalier serve` in a process of its own, which a test may kill."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from service.client import ApiError, Client

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
HOOKS = Path(__file__).parent / "hooks"  # see hooks/sitecustomize.py
MIB = 2**20
PATIENCE = 120.0  # seconds that a test waits for what must happen; no test measures time
COMMAND = 300.0  # seconds for a command to its end: `init` imports torch and exports a backbone, at times beside a lot


def environment(home: Path, **settings: object) -> dict[str, str]:
    """The environment of a process of Espalier: nothing of the tester's own settings gets in."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("ESPALIER_", "BENTOML_"))}
    # A worker that gives way to everybody would starve on a busy test machine; and whatever its processor is good at,
    # every machine shall run the same tests. None trains deep unless it asks for that: it takes minutes.
    chosen = {"home": home, "worker_niceness": 0, "precision": "fp32", "deep": "never"} | settings
    ours = {f"ESPALIER_{k.upper()}": str(v) for k, v in chosen.items()}
    return inherited | {"PYTHONPATH": str(ROOT), "BENTOML_DO_NOT_TRACK": "true", "HF_HUB_OFFLINE": "1"} | ours


def espalier(*arguments: str, home: Path, check: bool = True, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    command = [sys.executable, "-m", "service.cli", *arguments]
    done = subprocess.run(command, env=environment(home, **settings), capture_output=True, text=True, timeout=COMMAND)
    if check and done.returncode:
        raise AssertionError(f"espalier {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(look: Callable[[], T], seconds: float = PATIENCE, pause: float = 0.05) -> T:
    """What `look` gives once it is true; connection errors are answers that are not there yet."""
    deadline = time.monotonic() + seconds
    while True:
        found: Any = None
        try:
            found = look()
        except (httpx.TransportError, ApiError) as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not in {seconds:.0f} s") from error
        if found:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"not in {seconds:.0f} s; last: {found!r}")
        time.sleep(pause)


@dataclass(slots=True)
class Service:
    """`espalier serve` on a home folder, or only a part of it."""

    home: Path
    settings: dict[str, object] = field(default_factory=dict)
    plan: Path | None = None  # folder of the hooks; see hooks/sitecustomize.py
    before: list[str] = field(default_factory=list)  # a command that runs the service, as strace does
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    client: Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = Client(self.url, timeout=PATIENCE)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def http(self) -> httpx.Client:
        """The connection below the client, for what the client does not do."""
        return self.client._http

    @property
    def log(self) -> Path:
        return self.home.parent / f"{self.home.name}.log"

    @property
    def artifacts(self) -> Path:
        return Path(str(self.settings.get("artifacts_url") or self.home / "artifacts"))

    def start(self) -> "Service":
        """Run `espalier serve` and wait until it is ready."""
        command = [*self.before, sys.executable, "-m", "service.cli", "serve", "--port", str(self.port)]
        env = environment(self.home, **self.settings)
        if self.plan is not None:
            env |= {"PYTHONPATH": os.pathsep.join([str(HOOKS), str(ROOT)]), "ESPALIER_TEST_PLAN": str(self.plan)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
        try:
            self.client.wait_ready(PATIENCE)
        except TimeoutError as error:
            self.stop()
            raise AssertionError(f"{error}; its log ends with:\n{self.log.read_text()[-3000:]}") from None
        return self

    def stop(self) -> None:
        """Ask it to end, and see that everything it started has ended."""
        if self.process is None:
            return
        if self.process.poll() is not None:  # a test ended it
            self.client.close()
            return
        family = descendants(self.process.pid)
        os.kill(family[0] if self.before and family else self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in family:
            kill(pid)
        self.process = None
        self.client.close()

    def pids(self, word: str) -> list[int]:
        """Processes of this service with `word` in their command line, parents first."""
        assert self.process is not None
        return [pid for pid in descendants(self.process.pid) if word in command_line(pid)]

    def rows(self, table: str, where: str = "1=1", *values: object) -> list[dict[str, Any]]:
        """Rows of its SQLite database, read past the service."""
        with closing(sqlite3.connect(f"file:{self.home / 'espalier.sqlite'}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(f'SELECT * FROM "{table}" WHERE {where}', values)]

    def blobs(self) -> set[str]:
        """Digests of everything in its artifacts folder."""
        return {path.name for path in (self.artifacts / "blobs").glob("*/*")}

    def settle(self) -> None:
        """Until no job holds anything: learning curves of jobs that have ended are written, and their drafts gone."""
        eventually(lambda: not self.rows("job_blobs"))

    def footprint(self) -> dict[str, object]:
        """What a refused request must leave as it was."""
        tables = ("jobs", "job_examples", "job_events", "examples", "embeddings", "heads", "versions", "aliases")
        return {table: len(self.rows(table)) for table in tables} | {"blobs": self.blobs()}


def descendants(pid: int) -> list[int]:
    """Processes below one, parents first (Linux)."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except OSError:  # it ended meanwhile
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


def command_line(pid: int) -> str:
    """What a process was started with; empty once it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def kill(pid: int) -> None:
    """kill -9; a process that is gone is no error."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
