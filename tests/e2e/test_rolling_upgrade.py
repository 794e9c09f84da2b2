"""The release before and this one side by side on one database and bucket: nobody notices, and jobs go on.

The release before is taken out of the repository's history: the last commit of the schema before.
"""

import subprocess
import tarfile
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from support import topology
from support.pictures import shape
from support.recorder import Recorder
from support.services import ROOT, espalier, eventually
from support.topology import Cluster

from adapters.store import database

pytestmark = [pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(900)]
BEFORE = "a209a760a3e7"  # the last commit with the schema OLDEST
OLDEST = "0004_blobs_in_use"


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the release before."""
    done = subprocess.run(["git", "archive", BEFORE], cwd=ROOT, capture_output=True)
    if done.returncode:
        pytest.skip(f"the history has no commit {BEFORE}: a shallow clone, or none (git fetch --unshallow)")
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def cluster(before: Path, tmp_path: Path) -> Iterator[Cluster]:
    """One replica and one worker of the release before, on its tables."""
    plan = tmp_path / "plan"
    plan.mkdir()
    with topology.services(tmp_path / "cluster", checkout=before) as made:
        made.worker(before, plan).start()
        made.replica(before).start()
        made.replicas[0].ready()
        yield made


class Asking:
    """Somebody asks all the time, each time another replica; `seen` has each answer's port and version."""

    def __init__(self, cluster: Cluster, head: str) -> None:
        self.cluster, self.head = cluster, head
        self.seen: list[tuple[int, int]] = []
        self.failed: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Asking":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        form, files = {"head": self.head}, {"images": shape("circle", 5)}
        while not self._stop.wait(0.02):
            try:
                answer = self.cluster.http.post("/predict", data=form, files=files)
            except Exception as error:
                self.failed.append(repr(error))
                continue
            if answer.status_code == 200:
                self.seen.append((answer.extensions["port"], answer.json()["predictions"][0]["version"]))
            else:
                self.failed.append(answer.text)


def test_the_release_before_and_this_one_serve_and_teach_side_by_side(cluster, tmp_path):
    plan = tmp_path / "plan"
    recorder = Recorder(cluster, plan)
    recorder.taught("kept")
    begun = recorder.held("training", "-first")
    with Asking(cluster, "kept") as asking:
        told = espalier("migrate", home=cluster.home, **cluster.direct).stdout
        assert f"{OLDEST} → {database.newest_revision()}" in told
        recorder.go()
        assert recorder.end(begun)["status"] == "succeeded", "the worker of the release before, on the new tables"

        given_back = recorder.held("training", "-second")
        new = cluster.replica()
        new.again()
        cluster.worker(plan=plan).start()
        cluster.workers[0].stop()  # in order: the new one takes its job up
        recorder.go()
        assert recorder.end(given_back)["status"] == "succeeded"

        old = cluster.replicas[0]
        for client in (old.client, new.client):  # each release sends a job, and each sees its version
            number = recorder.taught("kept", mode="replace")["version"]
            moved = client.set_alias("kept", "live", number)
            for replica in cluster.replicas:
                asked = {"min_generation": moved["generation"]}
                said = replica.client.predict(["kept"], [shape("circle", 6)], **asked)["predictions"]
                assert said[0]["version"] == number
                recorder.answers += said
        eventually(lambda: {port for port, _ in list(asking.seen)} == {old.port, new.port})
        asked = len(asking.seen)
        eventually(lambda: len(asking.seen) > asked + 200)
        cluster.replicas.remove(old)  # the balancer sends it nothing any more …
        eventually(lambda: len(asking.seen) > asked + 400)
        old.stop()  # … when it ends
        old.client.close()
    assert asking.failed == [] and len(asking.seen) > 400
    assert recorder.taught("kept")["status"] == "succeeded"
    recorder.check()


def test_the_way_back_keeps_what_was_taught_meanwhile(before, tmp_path):
    """This release's tables, a head taught on them, everything stopped, taken back, and the release before goes on."""
    with topology.services(tmp_path / "cluster", checkout=before) as cluster:
        recorder = Recorder(cluster)
        for member in (cluster.worker(), cluster.replica()):
            member.start()
        cluster.replicas[0].ready()
        recorder.taught("later")
        for member in cluster.members:
            member.stop()
        told = espalier("migrate", "--to", OLDEST, home=cluster.home, **cluster.direct).stdout
        assert f"→ {OLDEST}" in told
        cluster.replicas.pop().client.close()
        for member in (cluster.worker(before), cluster.replica(before)):
            member.start()
        cluster.replicas[0].ready()
        assert recorder.ask("later")[0]["version"] == 1
        assert recorder.taught("later")["version"] == 2
