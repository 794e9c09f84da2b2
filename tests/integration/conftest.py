"""A database of each kind for whoever tests the store, and a bench for whoever teaches deep versions."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine
from support import teachable
from support.databases import empty
from support.training import Bench

from adapters.store import database


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A migrated database of each kind, empty."""
    if request.param == "sqlite":
        made = database.connect(f"sqlite:///{tmp_path / 'espalier.sqlite'}")
    else:
        made = database.connect(request.getfixturevalue("postgres"))
        empty(made)
    database.migrate(made)
    yield made
    if request.param == "postgres":
        empty(made)
    made.dispose()


@pytest.fixture
def quick_homes(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Homes that benchmarks begin are copies of the prepared one, in fp32: another takes half a minute each time."""
    monkeypatch.setenv("ESPALIER_PRECISION", "fp32")
    monkeypatch.setenv("BENCHMARK_HOME", str(prepared))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A bench on the small backbone; heads are told apart by their names."""
    with teachable.bench(tmp_path_factory.mktemp("deep")) as made:
        yield made
