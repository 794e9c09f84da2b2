"""A PostgreSQL server of a test's own, from Debian's package: it may be stopped, killed and started again."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.services import PATIENCE, free_port


@dataclass(frozen=True, slots=True)
class OwnPostgres:
    """A cluster with one database `espalier` on 127.0.0.1."""

    programs: Path
    folder: Path
    port: int

    def url(self, port: int | None = None) -> str:
        """Its SQLAlchemy URL, by its own port or that of a proxy."""
        return f"postgresql+psycopg://espalier@127.0.0.1:{port or self.port}/espalier"

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1"
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-w", "-l", f"{self.folder}/log", "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        """End it as a crash would (`immediate`), or in order (`fast`)."""
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-w", "-m", mode, "stop")

    def make(self) -> None:
        """Make the cluster and its database, and leave it running."""
        self._run("initdb", "-D", f"{self.folder}/data", "-U", "espalier", "--auth", "trust", "--encoding", "UTF8")
        self.start()
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "espalier", "espalier")

    def _run(self, program: str, *arguments: str) -> None:
        command = _as_postgres([str(self.programs / program), *arguments])
        log = Path(self.folder / "commands.log")
        with log.open("ab") as out:  # no pipe: the server would keep it open, and nobody's wait would end
            subprocess.run(command, stdout=out, stderr=out, timeout=PATIENCE, cwd="/", check=True)


def _as_postgres(command: Sequence[str]) -> list[str]:
    """It refuses to run as root."""
    return ["runuser", "-u", "postgres", "--", *command] if os.geteuid() == 0 else list(command)


@contextmanager
def running() -> Iterator[OwnPostgres]:
    """A server until the end of the block; skips the test where Debian's package is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("there is no PostgreSQL server: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="espalier-postgres-"))  # pytest's own folders are closed to other users
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    server = OwnPostgres(found[-1].parent, folder, free_port())
    try:
        server.make()
        yield server
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
