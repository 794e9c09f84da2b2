"""What tests of the service share."""

import logging
from collections.abc import Iterator

import pytest


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
