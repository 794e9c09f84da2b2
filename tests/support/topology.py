"""An installation of several processes, as a cluster runs them: replicas and workers on one Postgres and one bucket.

Each process is alone in what would be its container: a kill takes all of it. Postgres and the bucket are behind proxies
that can be told to fail.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from service.client import Client
from support import object_store, own_postgres
from support.balancer import Balancer
from support.fault_proxy import FaultProxy
from support.own_postgres import OwnPostgres
from support.services import HOOKS, PATIENCE, ROOT, command_line, descendants, environment, free_port, kill

BACK_OFF = 1.0  # seconds until what has died is started again, as an orchestrator does


@dataclass(slots=True)
class Member:
    """One process with all that it starts."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Path
    cwd: Path = ROOT  # of the release that it runs
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin; returns at once."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.environment, cwd=self.cwd, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def pids(self, word: str) -> list[int]:
        """Its processes with `word` in their command line, parents first."""
        assert self.process is not None
        family = [self.process.pid, *descendants(self.process.pid)]
        return [pid for pid in family if word in command_line(pid)]

    def kill(self) -> None:
        """As the kernel ends a container: all of it, at once."""
        if self.process is not None:
            for pid in [self.process.pid, *descendants(self.process.pid)]:
                kill(pid)
            self.process.wait()

    def stop(self) -> None:
        """As an orchestrator asks it to end; killed when it takes too long."""
        if self.is_running:
            assert self.process is not None
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
            self.kill()


@dataclass(slots=True)
class Replica(Member):
    """A serving process."""

    port: int = 0
    client: Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = Client(self.url, timeout=PATIENCE)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def http(self) -> httpx.Client:
        return self.client._http

    def again(self) -> None:
        """Begin once more, and wait until it is ready."""
        self.start()
        self.ready()

    def ready(self) -> None:
        """Wait until it is; says what its log does where it is not."""
        try:
            self.client.wait_ready(PATIENCE)
        except TimeoutError as error:
            raise AssertionError(f"{error}; its log ends with:\n{self.log.read_text()[-3000:]}") from None


@dataclass(slots=True)
class Cluster:
    """All of it. `client` goes through a load balancer to whichever replica is ready."""

    folder: Path
    settings: dict[str, object]  # with the URLs of the proxies
    direct: dict[str, object]  # with those of the services themselves
    postgres: OwnPostgres
    database: FaultProxy
    bucket: FaultProxy
    replicas: list[Replica] = field(default_factory=list)
    workers: list[Member] = field(default_factory=list)
    balancer: Balancer = field(init=False)

    def __post_init__(self) -> None:
        self.balancer = Balancer(lambda: [replica.port for replica in self.replicas])

    @property
    def client(self) -> Client:
        return self.balancer.client

    @property
    def http(self) -> httpx.Client:
        return self.balancer.client._http

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def members(self) -> list[Member]:
        return [*self.replicas, *self.workers]

    def replica(self, checkout: Path = ROOT) -> Replica:
        """One more serving process, of this release or of the one in another checkout; not started yet."""
        number, port = len(self.replicas), free_port()
        command = [sys.executable, "-m", "bentoml", "serve", "service.app:Espalier", "--host", "127.0.0.1", "--port"]
        home = self.folder / f"replica-{number}"
        made = Replica(home.name, [*command, str(port)], self._environment(home, checkout, servers=1),
                       self.folder / f"{home.name}.log", checkout, port=port)  # fmt: skip
        self.replicas.append(made)
        return made

    def worker(self, checkout: Path = ROOT, plan: Path | None = None) -> Member:
        """One more worker; not started yet. With a `plan` it has hooks (support/hooks)."""
        home = self.folder / f"worker-{len(self.workers)}"
        env = self._environment(home, checkout, worker_id=home.name)
        if plan is not None:
            path = os.pathsep.join([str(HOOKS), str(checkout)])
            env |= {"PYTHONPATH": path, "ESPALIER_TEST_PLAN": str(plan)}
        command = [sys.executable, "-m", "service.cli", "worker"]
        made = Member(home.name, command, env, self.folder / f"{home.name}.log", checkout)
        self.workers.append(made)
        return made

    def _environment(self, home: Path, checkout: Path, **more: object) -> dict[str, str]:
        return environment(home, **(self.settings | more)) | {"PYTHONPATH": str(checkout)}

    def stop(self) -> None:
        """End everything."""
        self.balancer.close()
        for member in self.members:
            member.stop()
        for replica in self.replicas:
            replica.client.close()


@contextlib.contextmanager
def services(folder: Path, checkout: Path = ROOT, proxied: bool = True, **settings: object) -> Iterator[Cluster]:
    """A Postgres and a bucket behind proxies, what a release makes in them, and nothing of ours running yet."""
    with own_postgres.running() as postgres, object_store.running(_made(folder / "bucket")) as store:
        with FaultProxy(postgres.port) as database, FaultProxy(store.port) as bucket:
            ours = {"artifacts_url": store.url("cluster")} | settings
            direct = ours | {"database_url": postgres.url()}
            with _environment(store.environment()):
                _initialise(folder / "home", checkout, direct)
            with _environment(store.environment(bucket.port if proxied else None)):
                through = ours | {"database_url": postgres.url(database.port if proxied else None)}
                cluster = Cluster(folder, through, direct, postgres, database, bucket)
                try:
                    yield cluster
                finally:
                    cluster.stop()


@contextlib.contextmanager
def running(
    folder: Path,
    replicas: int = 2,
    workers: int = 2,
    plan: Path | None = None,
    proxied: bool = True,
    **settings: object,
) -> Iterator[Cluster]:
    """The same with so many replicas, ready, and workers, started."""
    with services(folder, proxied=proxied, **settings) as cluster:
        for _ in range(workers):
            cluster.worker(plan=plan).start()
        for _ in range(replicas):
            cluster.replica().start()
        for replica in cluster.replicas:
            replica.ready()
        yield cluster


@contextlib.contextmanager
def restarting(cluster: Cluster) -> Iterator[None]:
    """Whatever of ours dies meanwhile is started again."""
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(BACK_OFF):
            for member in cluster.members:
                if not member.is_running:
                    member.start()

    watcher = threading.Thread(target=look, name="restarting")
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()


def _initialise(home: Path, checkout: Path, settings: dict[str, object]) -> None:
    env = environment(home, **settings) | {"PYTHONPATH": str(checkout)}
    command = [sys.executable, "-m", "service.cli", "init"]
    done = subprocess.run(command, env=env, cwd=checkout, capture_output=True, text=True, timeout=2 * PATIENCE)
    assert done.returncode == 0, done.stderr[-2000:]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Variables of this process and of all that it starts, until the end of the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
