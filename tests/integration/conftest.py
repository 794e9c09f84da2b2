"""A database of each kind for whoever tests the store."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine
from support.databases import empty

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
