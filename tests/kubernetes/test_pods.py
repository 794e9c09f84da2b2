"""The manifests played through: pods in network namespaces, behind a Service that hears of changes late.

Probes, hooks, signals and grace periods are those of the manifest; each client counts every request that it gets no
answer to, and tries none again.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.kubernetes import pods, rendering
from support.kubernetes.balancer import Balancer
from support.kubernetes.load import Load
from support.kubernetes.network import Network, running
from support.kubernetes.pods import Pod
from support.kubernetes.rendering import Object
from support.pictures import shapes
from support.services import Service, espalier, eventually

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.timeout(900)]
REQUESTS = 5000
PATIENCE = 300.0  # seconds
NAME = "espalier.espalier.svc.cluster.local"


@dataclass
class Cluster:
    """One Deployment of the overlay `cpu`, and the Service before it."""

    network: Network
    balancer: Balancer
    objects: list[Object]
    secret: dict[str, str]
    overrides: dict[str, str]
    home: Path
    pods: list[Pod] = field(default_factory=list)

    @property
    def spec(self) -> Object:
        return rendering.pods(self.objects)["Deployment/espalier-serve"]

    def start(self, **overrides: str) -> Pod:
        """One pod more."""
        given = pods.variables(self.objects, self.spec["containers"][0], self.secret) | self.overrides | overrides
        pod = Pod(self.network, self.spec, given, self.home, self._hear)
        self.pods.append(pod)
        return pod.start()

    def staying(self) -> list[Pod]:
        """Those that were not told to leave, the oldest first."""
        return [pod for pod in self.pods if not pod.is_leaving]

    def _hear(self, pod: Pod, is_ready: bool) -> None:
        change = self.balancer.add if is_ready else self.balancer.discard
        change(pod.address)

    def load(self) -> Load:
        return Load(self.balancer.host, self.balancer.port, NAME, self.secret["admin-key"])


@pytest.fixture(scope="module")
def database(postgres: str) -> Iterator[str]:
    """A database of this file's own, beside the one that is named."""
    url = sa.make_url(postgres)
    name = f"{url.database}_pods"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
        yield url.set(database=name).render_as_string(hide_password=False)
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture(scope="module")
def taught(database: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artifacts, in a folder in place of a bucket, with a head that was taught."""
    home = tmp_path_factory.mktemp("taught") / "home"
    settings = {"database_url": database}
    espalier("migrate", home=home, **settings)
    service = Service(home, dict(settings)).start()
    try:
        job = service.client.finetune("shapes", shapes(("circle", "square")), method="prototype")
        assert service.client.wait(job["id"])["status"] == "succeeded"
    finally:
        service.stop()
    return home / "artifacts"


@pytest.fixture
def cluster(database: str, taught: Path, tmp_path: Path) -> Iterator[Cluster]:
    """With no pod yet."""
    objects = rendering.kustomize("cpu")
    overrides = {
        "ESPALIER_ARTIFACTS_URL": str(taught),
        "ESPALIER_PRECISION": "fp32",
        "ESPALIER_MAX_WAITING_SECONDS": "30",  # 429 on a busy machine would be right, and no fault
    }
    with ExitStack() as stack:
        network = stack.enter_context(running())
        balancer = stack.enter_context(Balancer(network.gateway, 3000))
        secret = {"database-url": database, "admin-key": secrets.token_hex(32)}
        made = Cluster(network, balancer, objects, secret, overrides, tmp_path)
        stack.callback(lambda: [pod.kill() for pod in made.pods])
        yield made


def two_ready(cluster: Cluster, **overrides: str) -> list[Pod]:
    found = [cluster.start(**overrides) for _ in range(2)]
    eventually(lambda: len(cluster.balancer.knows()) == 2, PATIENCE)
    return found


def ask_during(cluster: Cluster, change: Callable[[], None], least: int, between: Callable[[], None]) -> Load:
    """Ask all the time; change again and again until so many requests were answered while something changed."""
    load = cluster.load().start()
    try:
        eventually(lambda: load.answered > 100, PATIENCE)  # every client has its connection
        answered = 0
        while answered < least and len(load.failures) < 100:
            between()
            before = load.answered
            change()
            answered += load.answered - before
    finally:
        load.stop()
    return load


def test_a_drain_fails_no_request(cluster):
    """Pods leave one at a time, as when nodes are emptied; another takes over what clients each had."""
    two_ready(cluster)

    def replace_what_has_left() -> None:
        while len(cluster.staying()) < 2:
            cluster.start()
        eventually(lambda: len(cluster.balancer.knows()) == 2, PATIENCE)

    load = ask_during(cluster, lambda: cluster.staying()[0].leave(), REQUESTS, replace_what_has_left)
    assert load.failures == [] and cluster.balancer.refused == 0
    assert load.moved > 0
    left = [pod for pod in cluster.pods if pod not in cluster.staying()]
    for pod in left:
        assert not pod.killed and "told to stop: answering for" in pod.log.read_text()
        drain = int(pod.variables["ESPALIER_DRAIN_SECONDS"])
        assert pod.seconds_to_end >= pod.container["lifecycle"]["preStop"]["sleep"]["seconds"] + drain
    assert left and [why for pod in cluster.pods for why in pod.restarts] == []
    (stays,) = cluster.staying()
    assert cluster.balancer.knows() == [stays.address]
    request = stays.container["resources"]["requests"]["memory"]
    assert request == "1Gi" and pods.resident(stays.pid) < 2**30


def test_a_rolling_update_fails_no_request(cluster):
    """A new pod is ready before an old one is told to leave, until none of the old ones is left."""
    two_ready(cluster)

    def update() -> None:
        leaving = []
        for pod in cluster.staying():
            new = cluster.start(ESPALIER_LOG_LEVEL="debug")  # what is changed
            eventually(lambda new=new: new.is_ready, PATIENCE)
            leaving.append(threading.Thread(target=pod.leave))
            leaving[-1].start()
        for thread in leaving:
            thread.join()

    load = ask_during(cluster, update, REQUESTS, lambda: None)
    assert load.failures == [] and cluster.balancer.refused == 0
    assert load.moved > 0
    new = cluster.staying()
    assert len(new) == 2 < len(cluster.pods)
    assert not any(pod.killed for pod in cluster.pods)
    assert [why for pod in cluster.pods for why in pod.restarts] == []
    eventually(lambda: sorted(cluster.balancer.knows()) == sorted(pod.address for pod in new), PATIENCE)


def test_without_hook_and_drain_requests_fail(cluster):
    """That the tests above can fail: the same pods, told to stop while the Service still sends them clients."""
    for pod in two_ready(cluster, ESPALIER_DRAIN_SECONDS="0"):
        pod.container["lifecycle"] = {}
    load = ask_during(cluster, cluster.pods[0].leave, 1, lambda: None)
    assert load.failures


def test_a_pod_that_is_not_ready_gets_no_client_and_is_not_restarted(cluster):
    """Its backbone is not built: alive, and of no use yet."""
    pod = cluster.start(ESPALIER_DEFAULT_BACKBONE="not-built-yet")
    eventually(lambda: "is not built yet" in pod.log.read_text(), PATIENCE)
    until = time.monotonic() + 8  # of probes that say no
    while time.monotonic() < until:
        assert not pod.is_ready and cluster.balancer.knows() == []
        time.sleep(0.5)
    assert pod.restarts == []
    pod.leave()
    assert not pod.killed
