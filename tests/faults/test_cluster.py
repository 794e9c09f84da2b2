"""Two replicas and two workers on one Postgres and one bucket, which are killed and cut off: what is asked through a
load balancer is answered, and every job ends once."""

import contextlib
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import topology
from support.recorder import Recorder
from support.services import eventually
from support.topology import Cluster

from benchmarks import chaos

pytestmark = [pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(900)]
AWAY = 4.0  # seconds without a service
FAULTS = ("refuse", "swallow", "reset", "slow")
WARM = ("warm-0", "warm-1")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, plan: Path) -> Iterator[Cluster]:
    """What dies in it is started again."""
    with topology.running(tmp_path_factory.mktemp("cluster"), 2, 2, plan) as made, topology.restarting(made):
        yield made


@pytest.fixture(scope="module")
def recorder(cluster: Cluster, plan: Path) -> Recorder:
    """With two heads that both replicas have loaded."""
    made = Recorder(cluster, plan)
    for head in WARM:
        made.taught(head)
    return made


@pytest.fixture
def whole(cluster: Cluster, recorder: Recorder) -> Iterator[Cluster]:
    """All of it well, and the heads loaded everywhere, before and after; then nothing was lost."""
    _settle(cluster, recorder)
    yield cluster
    _settle(cluster, recorder)
    recorder.check()


def _settle(cluster: Cluster, recorder: Recorder) -> None:
    eventually(lambda: all(replica.client.is_ready() for replica in cluster.replicas))
    eventually(lambda: cluster.client.heads())
    for replica in cluster.replicas:
        eventually(lambda replica=replica: replica.client.predict(list(WARM), [chaos._picture(1)]))


@contextlib.contextmanager
def asking(recorder: Recorder) -> Iterator[list[Exception]]:
    """Somebody asks all the time; what went wrong."""
    stop, wrong = threading.Event(), list[Exception]()

    def ask() -> None:
        while not stop.wait(0.1):
            try:
                recorder.ask(*WARM)
            except Exception as error:
                wrong.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield wrong
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("which", ["database", "bucket"])
@pytest.mark.parametrize("fault", FAULTS)
def test_loaded_heads_are_answered_and_jobs_go_on_when_a_service_was_away(whole, recorder, which, fault):
    proxy = getattr(whole, which)
    job = recorder.held("training", f"-{which}-{fault}")
    with asking(recorder) as wrong:
        proxy.set(fault)
        recorder.go()
        time.sleep(AWAY)
        proxy.set("ok")
        assert recorder.end(job)["status"] == "succeeded"
    assert wrong == []


def test_a_job_of_a_worker_that_is_killed_goes_on_at_the_other(whole, recorder):
    """Both are held in a job; one dies, and the one that lives finishes both, or its successor does."""
    jobs = [recorder.held("training", f"-kill-{n}") for n in range(2)]
    whole.workers[0].kill()
    recorder.go()
    ended = [recorder.end(job) for job in jobs]
    assert [(job["status"], job["version"]) for job in ended] == [("succeeded", 1)] * 2


def test_no_prediction_is_lost_when_one_replica_after_the_other_is_killed(whole, recorder):
    with asking(recorder) as wrong:
        for replica in whole.replicas:
            replica.kill()
            eventually(replica.client.is_ready)
            time.sleep(1.0)  # until the balancer knows
    assert wrong == []


def test_nothing_is_lost_when_replicas_workers_and_postgres_are_killed_at_random(whole, recorder):
    chance, jobs = random.Random(23), []
    for _ in range(12):
        jobs.append(recorder.teach(chance.choice(WARM)))
        time.sleep(2 * chance.random())
        chaos.FAULTS[chance.choice(["replica killed", "worker killed", "Postgres killed"])](whole, chance, 1.0)
    ends = [recorder.end(job) for job in jobs]
    assert {end["status"] for end in ends} <= {"succeeded", "rejected"}, [end["error"] for end in ends]


def test_a_minute_of_chaos_loses_nothing_and_is_hardly_noticed():
    """`python -m benchmarks chaos` does the same for twenty."""
    results = chaos.main(quick=True)
    assert results["violations_of_history"]["median"] == results["jobs_that_did_not_end_well"]["median"] == 0
    assert results["availability"]["median"] >= 0.99  # of 600, on a machine that may be busy
