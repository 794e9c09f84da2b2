"""What tests of the service share."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine

from adapters.store import database


class Clock:
    """Stands still until a test moves it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A new database in a file."""
    made = database.connect(f"sqlite:///{tmp_path / 'espalier.sqlite'}")
    database.migrate(made)
    yield made
    made.dispose()


@pytest.fixture(autouse=True)
def loggers_as_they_were() -> Iterator[None]:
    """Logging is of the whole process: a handler that writes to what one test caught fails in another that logs."""
    kept = {logger: (logger.handlers[:], logger.propagate, logger.level) for logger in _loggers()}
    yield
    for logger in _loggers():
        logger.handlers, logger.propagate, level = kept.get(logger, ([], True, logging.NOTSET))
        logger.setLevel(level)


def _loggers() -> list[logging.Logger]:
    known = (found for found in logging.Logger.manager.loggerDict.values() if isinstance(found, logging.Logger))
    return [logging.getLogger(), *known]
