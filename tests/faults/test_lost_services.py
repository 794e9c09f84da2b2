"""Postgres and S3 go away in every manner: jobs are finished when they are back, and requests are told soon."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from support import object_store, own_postgres
from support.fault_proxy import FaultProxy
from support.object_store import ObjectStore
from support.own_postgres import OwnPostgres
from support.pictures import shape
from support.recorder import Recorder, status
from support.services import Service, eventually

pytestmark = [pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(600)]
AWAY = 4.0  # seconds without it
SOON = 10.0  # seconds that an answer may take on a busy machine; 2 on one that is not
FAULTS = ("refuse", "swallow", "reset", "slow")
PHASES = ("embedding", "training", "publishing")


@dataclass(frozen=True, slots=True)
class Scene:
    """A service, and what it needs behind proxies."""

    recorder: Recorder
    postgres: OwnPostgres
    database: FaultProxy
    bucket: FaultProxy

    @contextlib.contextmanager
    def without(self, which: str, fault: str) -> Iterator[None]:
        """A while in which one of the two is away."""
        proxy: FaultProxy = getattr(self, which)
        proxy.set(fault)  # type: ignore[arg-type]
        try:
            yield
            time.sleep(AWAY)
        finally:
            proxy.set("ok")


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with object_store.running(tmp_path_factory.mktemp("bucket")) as store:
        yield store


@pytest.fixture(scope="module")
def postgres() -> Iterator[OwnPostgres]:
    with own_postgres.running() as server:
        yield server


@pytest.fixture(scope="module")
def scene(prepared, tmp_path_factory, plan, postgres, bucket) -> Iterator[Scene]:
    """A service on both, with two heads, one of which is loaded."""
    folder = tmp_path_factory.mktemp("scene")
    with FaultProxy(postgres.port) as database, FaultProxy(bucket.port) as store, pytest.MonkeyPatch.context() as patch:
        for name, value in bucket.environment(store.port).items():
            patch.setenv(name, value)
        settings = {"database_url": postgres.url(database.port), "artifacts_url": bucket.url("faults")}
        service = Service(folder / "home", settings, plan)
        try:
            recorder = Recorder(service.start(), plan)
            for head in ("warm", "cold"):
                recorder.taught(head)
            yield Scene(recorder, postgres, database, store)
        finally:
            service.stop()


@pytest.fixture
def checked(scene: Scene) -> Iterator[Scene]:
    """The same, all well before and after: nothing was lost."""
    eventually(lambda: scene.recorder.ask("warm"))
    yield scene
    eventually(lambda: scene.recorder.service.http.get("/heads").status_code == 200)
    scene.recorder.check()


@pytest.mark.parametrize("which", ["database", "bucket"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_job_goes_on_when_what_it_needs_is_back(checked, which, fault):
    job = checked.recorder.held("training")
    with checked.without(which, fault):
        checked.recorder.go()
    assert checked.recorder.end(job)["status"] == "succeeded"


@pytest.mark.parametrize("phase", PHASES)
def test_a_job_goes_on_when_postgres_was_killed_in_the_midst_of_it(checked, phase):
    job = checked.recorder.held(phase)
    checked.postgres.stop("immediate")
    checked.recorder.go()
    time.sleep(AWAY)
    checked.postgres.start()
    ended = checked.recorder.end(job)
    assert ended["status"] == "succeeded" and ended["error"] is None


@pytest.mark.parametrize("fault", ["refuse", "swallow", "reset"])
def test_without_its_database_the_service_answers_what_needs_none_and_is_soon_about_the_rest(checked, fault):
    http = checked.recorder.service.http
    with checked.without("database", fault):
        assert checked.recorder.ask("warm"), "a loaded head needs no database"
        for path in ("/heads", "/jobs", "/heads/warm", "/jobs/job_x", "/heads/warm/examples", "/backbones"):
            began = time.monotonic()
            assert status(lambda path=path: http.get(path))[0] == 503, path
            assert time.monotonic() - began < SOON, path
        assert http.get("/livez").status_code == 200 and http.get("/metrics").status_code == 200
        put = status(lambda: http.put("/heads/warm/aliases/canary", json={"version": 1}))
        assert put[0] == 503


@pytest.mark.parametrize("fault", ["refuse", "swallow", "reset"])
def test_without_its_bucket_the_service_answers_from_what_is_loaded(checked, fault):
    http, files = checked.recorder.service.http, {"images": shape("circle", 1)}
    with checked.without("bucket", fault):
        assert checked.recorder.ask("warm")
        assert http.get("/heads").status_code == 200 and http.get("/metrics").status_code == 200
        cold = status(lambda: http.post("/predict", data={"head": "cold@1"}, files=files))
        assert cold in ((200, ""), (503, "storage_error"))


@pytest.mark.parametrize("path", ["/heads/x%00", "/heads?after=%00", "/jobs?head=%00", "/jobs/%00", "/jobs/%00/events"])
def test_a_nul_in_a_name_finds_nothing(checked, path):
    answer = checked.recorder.service.http.get(path)
    assert answer.status_code in (200, 404, 422) and "psycopg" not in answer.text


def test_postgres_that_restarts_again_and_again_loses_no_job(checked):
    jobs = [checked.recorder.teach(f"loop-{n % 3}") for n in range(6)]
    for _ in range(4):
        checked.postgres.stop("immediate")
        time.sleep(0.5)
        checked.postgres.start()
        time.sleep(2)
    assert [checked.recorder.end(job)["status"] for job in jobs] == ["succeeded"] * 6
