"""Several replicas on one database: a new version is seen at once, waited for where that is asked, and none is owed
to a replica that has vanished."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from support import topology
from support.pictures import shape, shapes
from support.services import PATIENCE, espalier, eventually
from support.topology import Cluster, Replica

from adapters.store.schema import replicas

pytestmark = [pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(600)]
IMAGE = shape("circle", 77)


@pytest.fixture(scope="module")
def cluster(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two replicas and two workers on one Postgres and one bucket."""
    with topology.running(tmp_path_factory.mktemp("cluster"), replicas=2, workers=2) as made:
        yield made


@pytest.fixture(scope="module")
def head(cluster: Cluster) -> str:
    """One with two versions, the first of which is live, on both replicas."""
    client = cluster.replicas[0].client
    for start in (0, 500):
        job = client.finetune("seen", shapes(start=start), method="prototype", mode="replace", wait="all")
        assert job["status"] == "succeeded" and job["replicas"] == {"living": 2, "serving": 2}
    client.set_alias("seen", "live", 1, everywhere=True)
    for replica in cluster.replicas:
        assert version(replica) == 1
    return "seen"


def version(replica: Replica, **options: object) -> int:
    return int(replica.client.predict(["seen"], [IMAGE], **options)["predictions"][0]["version"])


def test_what_is_moved_with_wait_all_is_served_by_all_when_the_answer_comes(cluster, head):
    for number in (2, 1) * 5:
        moved = cluster.replicas[0].client.set_alias(head, "live", number, everywhere=True)
        assert moved["replicas"] == {"living": 2, "serving": 2}
        assert [version(replica) for replica in cluster.replicas] == [number, number]


def test_who_has_seen_a_state_is_answered_by_no_older_one_on_any_replica(cluster, head):
    for number in (2, 1) * 5:
        state = cluster.replicas[0].client.set_alias(head, "live", number)["generation"]
        assert version(cluster.replicas[1], min_generation=state) == number


def test_a_replica_that_is_told_of_nothing_sees_a_version_by_itself(cluster, head):
    for number in (2, 1) * 3:
        cluster.replicas[0].client.set_alias(head, "live", number)
        eventually(lambda number=number: version(cluster.replicas[1]) == number, pause=0.02)


def test_a_state_that_nobody_has_reached_is_refused_and_not_waited_for(cluster, head):
    form = {"head": head, "min_generation": 10_000}
    answer = httpx.post(f"{cluster.replicas[1].url}/predict", data=form, files={"images": IMAGE}, timeout=60)
    assert answer.status_code == 409 and answer.json()["code"] == "stale_replica"


def test_replicas_are_listed_and_counted(cluster, head):
    def settled() -> dict | None:
        found = cluster.replicas[0].client.replicas()
        return found if {r["generation"] for r in found["replicas"]} == {found["generation"]} else None

    listed = eventually(settled)
    assert sum(r["answering"] for r in listed["replicas"]) == 1
    assert len({r["id"] for r in listed["replicas"]}) == 2 and "127.0.0.1" not in str(listed)
    told = espalier("replicas", "--server", cluster.replicas[1].url, home=cluster.folder)
    assert all(r["id"] in told.stdout for r in listed["replicas"])
    for replica in cluster.replicas:
        eventually(lambda replica=replica: "espalier_replicas 2.0" in replica.http.get("/metrics").text)


@pytest.mark.parametrize("wait", ["everybody", "-1", "61", "nan"])
def test_a_wait_that_is_none_names_the_option(cluster, head, wait):
    answer = cluster.replicas[0].http.post(f"/heads/{head}/labels?wait={wait}", json={"rename": {"circle": "disc"}})
    assert (answer.status_code, answer.json()["item"]) == (422, "wait"), answer.text


def test_jobs_are_shared_by_the_workers_and_those_of_a_dead_one_go_on(cluster, head):
    """Four heads at once; one of two workers is killed and comes back under its name."""
    client = cluster.replicas[1].client
    jobs = [client.finetune(f"many-{n}", shapes(each=5, start=100 * n), method="prototype")["id"] for n in range(4)]
    cluster.workers[0].kill()
    assert [client.wait(job)["status"] for job in jobs] == ["succeeded"] * 4
    cluster.workers[0].start()


def test_a_replica_that_vanishes_is_forgotten_and_one_that_is_begun_anew_is_waited_for(cluster, head):
    """Killed, it is waited for until it counts as gone; ended in order, it takes its row along."""
    first, second = cluster.replicas
    second.kill()
    moved = first.client.set_alias(head, "live", 2, everywhere=True)
    assert moved["replicas"] == {"living": 1, "serving": 1}
    second.again()
    eventually(lambda: len(first.client.replicas()["replicas"]) == 2)
    moved = first.client.set_alias(head, "live", 1, everywhere=True)
    assert moved["replicas"] == {"living": 2, "serving": 2} and version(second) == 1
    (own,) = [r["id"] for r in second.client.replicas()["replicas"] if r["answering"]]
    first.kill()  # it deletes rows of those that count as gone: without it, only who leaves can have done that
    assert own in rows(cluster)
    end(second)
    assert own not in rows(cluster)
    for replica in cluster.replicas:
        replica.again()


def end(replica: Replica) -> None:
    """In order, however long that takes; `stop` kills what takes long."""
    assert replica.process is not None
    replica.process.terminate()
    replica.process.wait(PATIENCE)


def rows(cluster: Cluster) -> set[str]:
    """Replicas that the database has a row of, those that count as gone among them."""
    engine = sa.create_engine(cluster.postgres.url())
    with engine.connect() as connection:
        found = set(connection.execute(sa.select(replicas.c.id)).scalars())
    engine.dispose()
    return found
