"""No row ever refers to a blob that is gone: by every order of two requests, by random orders, and by kills between."""

import itertools
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa
from alembic import command
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from sqlalchemy.engine import Engine
from support.services import ROOT
from support.stores import NAMES, Store, opened, sha

from adapters.errors import Cancelled, JobNotFound, StorageError
from adapters.store import database, heads, jobs, leases
from adapters.store.objects import blobs
from adapters.store.objects.artifacts import Artifacts
from adapters.store.objects.folder import Folder
from adapters.store.schema import blob_holds, job_examples, metadata, tombstones, version_blobs


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty one on each kind of database."""
    if request.param == "sqlite":
        made = opened(tmp_path)
    else:
        engine = database.connect(request.getfixturevalue("postgres"))
        with engine.begin() as connection:
            metadata.drop_all(connection)
            connection.execute(sa.text("DROP TABLE IF EXISTS alembic_version"))
        database.migrate(engine)
        made = Store(engine, Artifacts(str(tmp_path / "artifacts")))
    yield made
    made.engine.dispose()


# Two requests in every order


@pytest.mark.slow
def test_a_head_is_deleted_in_every_way_beside_an_upload_of_its_images(store):
    """Two steps of one and three of the other: in none of the orders is a blob lost, and nothing is left over."""
    for number, places in enumerate(itertools.combinations(range(5), 2)):
        _delete_beside_an_upload(store, number, places)
        assert store.lost() == []
    for head in heads.page(store.engine, limit=100):
        heads.delete(store.engine, head.name)
    for job in jobs.list_page(store.engine, limit=100):
        jobs.abandon(store.engine, job.id, "failed", None)
    store.sweep()
    assert store.there() == set()


def _delete_beside_an_upload(store: Store, number: int, places: tuple[int, ...]) -> None:
    names = "".join(chr(ord("a") + 6 * number + i) for i in range(6))  # that no other order has
    store.teach(names, f"old{number}")
    deleting: list[Callable[[], object]] = [lambda: heads.delete(store.engine, f"old{number}"), store.sweep]
    uploading: list[Callable[[], object]] = [
        lambda: store.hold(f"new{number}", names),
        lambda: store.put(names),
        lambda: store.accept(f"new{number}", names, f"new{number}"),
    ]
    for place in range(5):
        (deleting if place in places else uploading).pop(0)()


def test_two_uploads_of_the_same_images_of_which_one_fails_lose_nothing(store):
    """The first wrote them, the second found them; the first gives up when the second is through, or before."""
    for early in (True, False):
        store.hold("first", NAMES)
        store.put(NAMES)
        store.hold("second", NAMES)
        store.put(NAMES)
        if early:
            blobs.let_go(store.engine, store.artifacts, "first")
        job_id = store.accept("second", NAMES, "cats")
        blobs.let_go(store.engine, store.artifacts, "first")
        assert store.lost() == [] and len(store.there()) == len(NAMES)
        jobs.abandon(store.engine, job_id, "failed", None)
        store.sweep()
        assert store.there() == set()


def test_an_upload_that_is_killed_leaves_nothing_for_longer_than_its_patience(store, monkeypatch):
    store.hold("killed", NAMES)
    store.put(NAMES)
    store.sweep()
    assert len(store.there()) == len(NAMES)
    monkeypatch.setattr(blobs, "PATIENCE", timedelta(seconds=-1))
    store.sweep()
    assert store.there() == set() and store.count(blob_holds) == store.count(tombstones) == 0
    with pytest.raises(StorageError, match="send it again"):
        store.accept("killed", NAMES, "cats")
    assert store.count(job_examples) == 0


@pytest.mark.slow
def test_many_at_once_lose_nothing_and_wait_for_nobody_for_ever(store):
    """Uploads, workers with leases, cancelling, deleting and sweeping, each in a thread of its own."""
    errors: list[Exception] = []
    stop = threading.Event()
    threads = [threading.Thread(target=_again, args=(stop, errors, step, store)) for step in ACTORS]
    for thread in threads:
        thread.start()
    stop.wait(4)
    stop.set()
    for thread in threads:
        thread.join(60)
    assert errors == [] and store.lost() == []


def _again(stop: threading.Event, errors: list[Exception], step: Callable[[Store, Random], object], store: Store):
    random = Random(step.__name__)
    while not stop.is_set():
        try:
            step(store, random)
        except EXPECTED:
            continue
        except Exception as error:  # a deadlock, for one
            errors.append(error)
            stop.set()


def _some(random: Random) -> str:
    return "".join(random.sample(NAMES, 3))


def _uploads(store: Store, random: Random) -> None:
    store.upload(_some(random), random.choice(HEADS))


def _works(store: Store, random: Random) -> None:
    lease = leases.claim(store.engine, "worker")
    if lease is not None:
        own = leases.fenced(store.engine, lease)
        store.publish(lease.job_id, own)
        jobs.release(own, lease.job_id)


def _cancels(store: Store, random: Random) -> None:
    for job in jobs.list_page(store.engine, limit=3):
        jobs.request_cancel(store.engine, job.id)


def _deletes(store: Store, random: Random) -> None:
    heads.delete(store.engine, random.choice(HEADS))


def _sweeps(store: Store, random: Random) -> None:
    store.sweep()


HEADS = ("cats", "dogs", "birds")
ACTORS = (_uploads, _works, _works, _cancels, _deletes, _sweeps)
EXPECTED = (heads.HeadNotFound, heads.Conflict, Cancelled, JobNotFound, leases.LeaseLost)


def test_what_a_store_does_not_let_go_of_now_goes_later(store, monkeypatch):
    """Deleting a head is done when its rows are gone; a bucket that is away does not make it fail."""
    store.teach(NAMES, "cats")
    heads.delete(store.engine, "cats")
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "delete", _refuse)
        store.sweep()
    assert store.there() and store.count(tombstones)
    store.sweep()
    assert store.there() == set() and store.count(tombstones) == 0


def test_who_meets_a_store_that_is_away_does_not_wait_for_it_once_more(store, monkeypatch):
    """What was stored before that is deleted by whoever sweeps next."""
    asked: list[object] = []
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "delete", lambda folder, paths: asked.append(list(paths)))
        with pytest.raises(StorageError), blobs.holding(store.engine, store.artifacts, map(sha, NAMES)):
            store.put(NAMES)
            raise StorageError("the bucket says nothing")
    assert asked == [] and store.there() and store.count(tombstones) == len(NAMES)
    store.sweep()
    assert store.there() == set() and store.count(tombstones) == 0


def _refuse(folder: Folder, paths: object) -> None:
    raise OSError(5, "Input/output error")


def test_what_a_worker_lets_go_of_goes_at_once(store):
    """Although its lease ends with that; and what it wrote while its job was cancelled goes, too."""
    store.teach(NAMES, "cats")
    job_id = store.upload("xyz", "cats")
    lease = leases.claim(store.engine, "worker")
    own = leases.fenced(store.engine, lease)
    store.publish(job_id, own)
    jobs.release(own, job_id)
    blobs.sweep(own, store.artifacts)
    assert store.there() == store.referred() and store.count(tombstones) == 0
    late = store.upload("w", "dogs")
    lease = leases.claim(store.engine, "worker")
    blobs.JobArtifacts(leases.fenced(store.engine, lease), _Slow(store, late), late).put(b"a draft")
    assert store.there() == store.referred()


class _Slow(Artifacts):
    """One whose owner cancels a job while it writes."""

    def __init__(self, store: Store, job_id: str) -> None:
        self.place = _SlowFolder(store, job_id)


class _SlowFolder(Folder):
    def __init__(self, store: Store, job_id: str) -> None:
        super().__init__(store.artifacts.place.root)
        self._store, self._job_id = store, job_id

    def write(self, path: str, data: bytes) -> None:
        jobs.request_cancel(self._store.engine, self._job_id)
        self._store.sweep()
        super().write(path, data)


def test_blobs_are_deleted_in_one_place():
    """Whoever calls `delete` of the store itself goes past everything that is shown here."""
    callers = {
        path.relative_to(ROOT).as_posix()
        for folder in ("adapters", "service")
        for path in (ROOT / folder).rglob("*.py")
        if "rtifacts.delete(" in path.read_text()
    }
    assert callers == {"adapters/store/objects/blobs.py"}


def test_versions_of_an_older_installation_keep_their_blobs(tmp_path):
    """The migration reads once from manifests what publishing notes from then on."""
    engine = database.connect(f"sqlite:///{tmp_path / 'espalier.sqlite'}")
    _upgrade(engine, "0001_first")
    moment = database.now()
    manifest = {"data": {"digest": "list", "answers": "answers", "classes": {}}}
    version = {
        "head": "cats", "number": 1, "digest": "graph", "status": "published", "manifest": manifest, "job_id": "j",
        "created_at": moment,
    }  # fmt: skip
    with engine.begin() as connection:
        old = sa.MetaData()
        old.reflect(connection)
        head = {"name": "cats", "task": "classification", "created_at": moment, "next_version": 2}
        connection.execute(old.tables["heads"].insert(), head)
        connection.execute(old.tables["versions"].insert(), version)
    database.migrate(engine)
    with engine.begin() as connection:
        assert set(connection.execute(sa.select(version_blobs.c.digest)).scalars()) == {"graph", "list", "answers"}
    assert {"graph", "list", "answers"} <= set(heads.delete(engine, "cats"))
    engine.dispose()


def _upgrade(engine: Engine, revision: str) -> None:
    config = database._alembic_config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


# Any order


class Life(RuleBasedStateMachine):
    """Uploads, jobs, heads and sweeps in any order, each of which may be killed after any of its steps."""

    uploads, stored, accepted, published = (Bundle(name) for name in ("uploads", "stored", "accepted", "published"))

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = opened(Path(self.folder.name))
        self.number = 0

    @rule(target=uploads, names=st.sets(st.sampled_from(NAMES), min_size=1))
    def hold(self, names: set[str]) -> tuple[str, str]:
        self.number += 1
        upload = (f"upload{self.number}", "".join(sorted(names)))
        self.store.hold(*upload)
        return upload

    @rule(target=stored, upload=consumes(uploads))
    def put(self, upload: tuple[str, str]) -> tuple[str, str]:
        self.store.put(upload[1])
        return upload

    @rule(target=accepted, upload=consumes(stored), head=st.sampled_from(("cats", "dogs")))
    def accept(self, upload: tuple[str, str], head: str) -> str:
        return self.store.accept(*upload, head)

    @rule(upload=st.one_of(consumes(uploads), consumes(stored)))
    def fail(self, upload: tuple[str, str]) -> None:
        blobs.let_go(self.store.engine, self.store.artifacts, upload[0])

    @rule(upload=st.one_of(consumes(uploads), consumes(stored)))
    def is_killed(self, upload: tuple[str, str]) -> None:
        """And is not heard of again."""

    @rule(job_id=accepted)
    def work(self, job_id: str) -> None:
        """A step that writes something, and is done again after a kill."""
        blobs.JobArtifacts(self.store.engine, self.store.artifacts, job_id).put(f"draft of {job_id}".encode())

    @rule(target=published, job_id=consumes(accepted))
    def publish(self, job_id: str) -> object:
        self.store.publish(job_id)
        return job_id if self.number % 2 else multiple()  # the other half is killed before it lets go

    @rule(job_id=published)
    def release(self, job_id: str) -> None:
        jobs.release(self.store.engine, job_id)

    @rule(job_id=consumes(accepted))
    def abandon(self, job_id: str) -> None:
        jobs.abandon(self.store.engine, job_id, "failed", None)

    @rule(head=st.sampled_from(("cats", "dogs")))
    def delete(self, head: str) -> None:
        with suppress(heads.HeadNotFound, heads.Conflict):
            heads.delete(self.store.engine, head)

    @rule()
    def sweep(self) -> None:
        self.store.sweep()

    @rule(files=st.integers(0, 3))
    def sweep_is_killed(self, files: int) -> None:
        """After so many files, before its transaction ends."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Folder, "delete", lambda folder, paths: _die_after(files, folder, paths))
            self.store.sweep()

    @invariant()
    def nothing_is_lost(self) -> None:
        assert self.store.lost() == []

    def teardown(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(blobs, "PATIENCE", timedelta(seconds=-1))
            self.store.sweep()
        assert self.store.there() == self.store.referred()
        assert self.store.count(tombstones) == self.store.count(blob_holds) == 0
        self.store.engine.dispose()
        self.folder.cleanup()


_delete = Folder.delete


def _die_after(files: int, folder: Folder, paths: Iterator[str]) -> None:
    _delete(folder, itertools.islice(paths, files))
    raise OSError(5, "killed here")


TestLife = pytest.mark.slow(Life.TestCase)
TestLife.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
