"""Heads of the common service that several modules ask about and none changes, and what a refusal leaves of it."""

import functools
from collections.abc import Callable, Iterator

import pytest
from support.inputs import EVERY, PICTURES, Inputs
from support.pictures import shapes
from support.refusals import settled
from support.services import Service, eventually
from support.teaching import taught


@pytest.fixture(scope="session")
def shared(server: Service) -> tuple[str, dict]:
    """A head of three shapes with one version, and the job that made it."""
    return taught(server, "shared", method="auto")


@pytest.fixture(scope="module", params=EVERY, ids=lambda one: one.modality)
def inputs(request: pytest.FixtureRequest) -> Inputs:
    """What a test says of it, it says of every modality."""
    found: Inputs = request.param
    return found


@pytest.fixture(scope="session")
def heads_of(server: Service, shared: tuple[str, dict]) -> Callable[[Inputs], tuple[str, dict]]:
    """A head of three kinds of some inputs with one version, and the job that made it; of pictures `shared`."""

    @functools.cache
    def of(inputs: Inputs) -> tuple[str, dict]:
        if inputs is PICTURES:
            return shared
        return taught(server, "learned", inputs.several(), **inputs.asked(method="auto"))

    return of


@pytest.fixture(scope="module")
def learned(inputs: Inputs, heads_of: Callable[[Inputs], tuple[str, dict]]) -> tuple[str, dict]:
    """Such a head of these inputs."""
    return heads_of(inputs)


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
