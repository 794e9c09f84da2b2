"""Heads of the common service that several modules ask about and none changes, and what a refusal leaves of it."""

from collections.abc import Iterator

import pytest
from support.pictures import shapes
from support.refusals import settled
from support.services import Service, eventually
from support.teaching import taught


@pytest.fixture(scope="session")
def shared(server: Service) -> tuple[str, dict]:
    """A head of three shapes with one version, and the job that made it."""
    return taught(server, "shared", method="auto")


@pytest.fixture(scope="session")
def other(server: Service) -> str:
    """A second head, of other classes."""
    return taught(server, "other", shapes(("cross", "bar")))[0]


@pytest.fixture(scope="session")
def known(server: Service) -> str:
    """A head that is there."""
    return taught(server, "known")[0]


@pytest.fixture
def unchanged(server: Service) -> Iterator[None]:
    """Compares what the service holds before and after: rows of every table, and blobs."""
    before = eventually(lambda: settled(server))
    yield
    assert server.footprint() == before
