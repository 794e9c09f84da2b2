"""Services that go through a fault, and a check of their history when a test is over."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.recorder import Recorder, recorded


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the hooks in a worker leave their marks; see support/hooks/sitecustomize.py."""
    return tmp_path_factory.mktemp("plan")


@pytest.fixture(scope="module")
def recorder(prepared: Path, tmp_path_factory: pytest.TempPathFactory, plan: Path) -> Iterator[Recorder]:
    """One for all tests of a module."""
    with recorded(prepared, tmp_path_factory.mktemp("recorded"), plan) as running:
        yield running


@pytest.fixture
def checked(recorder: Recorder) -> Iterator[Recorder]:
    """The same; what it did must be without a fault when the test is over."""
    yield recorder
    recorder.check()
