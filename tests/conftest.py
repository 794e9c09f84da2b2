"""Fixtures for all tests: a prepared home folder, one running service for all, and services of one's own."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

# OpenMP's idle threads spin: beside a busy process small training runs then take minutes instead of seconds.
# It is read when torch is imported, so before any test module is.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import sqlalchemy as sa
from support.recorder import check_history
from support.services import MIB, ROOT, Service, espalier

from adapters.store.audit import tables as _audit_tables  # noqa: F401 (dropped with the others)
from adapters.store.quotas import tables as _quota_tables  # noqa: F401
from adapters.store.schema import metadata

OwnServer = Callable[..., Service]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: some take minutes, and whichever is begun last decides when a run is over."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder after `espalier init`; copy it, never write to it."""
    home = tmp_path_factory.mktemp("prepared") / "home"
    espalier("init", home=home)
    return home


@pytest.fixture
def home(prepared: Path, tmp_path: Path) -> Path:
    """A prepared home folder of one's own."""
    return Path(shutil.copytree(prepared, tmp_path / "home"))


@pytest.fixture(scope="session")
def server(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One running service for every test that does not break it. Heads are told apart by their names.

    Whatever those tests sent, its history must be without a fault at the end.
    """
    home = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("server") / "home"))
    service = Service(home, {"max_finetune_bytes": 32 * MIB, "max_unpacked_bytes": 64 * MIB})
    try:
        yield service.start()
        check_history(service)
    finally:
        service.stop()


@pytest.fixture
def own_server(home: Path) -> Iterator[OwnServer]:
    """Starts a service on this test's own home; the test may kill it. Arguments are settings."""
    started: list[Service] = []

    def start(*, plan: Path | None = None, before: Sequence[str] = (), **settings: object) -> Service:
        service = Service(home, settings, plan, list(before))
        started.append(service)
        return service.start()

    yield start
    for service in started:
        service.stop()


@pytest.fixture
def client(server: Service) -> object:
    """The client of the common service."""
    return server.client


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real photos; see ../shared/data/README.md."""
    folder = Path(os.environ.get("ESPALIER_TEST_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"there is no folder {folder}; set ESPALIER_TEST_DATA to one with real photos")
    return folder


@pytest.fixture(scope="session")
def postgres() -> str:
    """The SQLAlchemy URL of an empty PostgreSQL database."""
    url = os.environ.get("ESPALIER_TEST_POSTGRES", "")
    if not url:
        pytest.skip("ESPALIER_TEST_POSTGRES is not set")
    return _database_of_this_process(url)


@pytest.fixture
def empty_postgres(postgres: str) -> str:
    """The same, emptied of our tables and of DBOS's."""
    engine = sa.create_engine(postgres)
    with engine.begin() as connection:
        metadata.drop_all(connection)
        for thing in ("TABLE IF EXISTS alembic_version", "SCHEMA IF EXISTS dbos CASCADE"):
            connection.execute(sa.text(f"DROP {thing}"))
    engine.dispose()
    return postgres


def _database_of_this_process(url: str) -> str:
    """Test processes run side by side (pytest-xdist), so each has a database of its own beside the one named."""
    name = f"{sa.make_url(url).database}_{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return sa.make_url(url).set(database=name).render_as_string(hide_password=False)
