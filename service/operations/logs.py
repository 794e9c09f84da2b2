"""Log lines: one form for all that a process says, libraries included, as text for people or as JSON for programs.

A line tells by itself whose it is: the request (`service.operations.requests`), the caller
(`service.access.principal`), the job, its head and version. Nothing of a header, a body or a query is ever in one.
"""

import json
import logging
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Protocol

from adapters import tenancy
from service.access import principal
from service.operations import requests

CONTROL = {number: f"\\x{number:02x}" for number in (*range(32), *range(127, 160), 0x2028, 0x2029)}
OURS = "espalier"
# Loggers with handlers of their own, or that get some when they find none.
THEIRS = ("", "bentoml", "circus", "dbos", "py.warnings", "uvicorn", "uvicorn.error")
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_FACTS: ContextVar[Mapping[str, Any]] = ContextVar("facts", default=_NOTHING)


class Job(Protocol):
    """A job, or a part of one, that a worker has taken up."""

    @property
    def job_id(self) -> str: ...
    @property
    def head(self) -> str: ...  # by the name under which it is kept
    @property
    def request_id(self) -> str | None: ...
    @property
    def traceparent(self) -> str | None: ...


@contextmanager
def about(**facts: Any) -> Iterator[None]:
    """Lines of what is done inside, in this thread, say that they are about this: job_id, head, version, …"""
    token = _FACTS.set({**_FACTS.get(), **{name: value for name, value in facts.items() if value is not None}})
    try:
        yield
    finally:
        _FACTS.reset(token)


def facts(record: logging.LogRecord) -> dict[str, Any]:
    """What a line is about."""
    origin = requests.current()
    found: dict[str, Any] = {} if origin is None else {"request_id": origin.request_id}
    return found | caller() | dict(_FACTS.get()) | getattr(record, "facts", {})


def caller() -> dict[str, str]:
    """Whose request this is: the default tenant's where no key or token was needed. Nothing outside of any."""
    who = principal.current()
    if who == principal.LOCAL:
        return {} if requests.current() is None else {"tenant": tenancy.IN_LOGS}
    return {"tenant": who.tenant or tenancy.IN_LOGS, "principal": who.name}


def of_job(job: Job) -> dict[str, str | None]:
    """What lines about a job, or a part of one, say of it."""
    return {"request_id": job.request_id, "job_id": job.job_id} | tenancy.in_log(job.head)["facts"]


class Text(logging.Formatter):
    """For people. A message cannot end its line or move a terminal's cursor: names that strangers send are in some."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        known = " ".join(f"{name}={value}" for name, value in facts(record).items())
        record.message = f"{record.message}{f' [{known}]' if known else ''}".translate(CONTROL)
        return super().formatMessage(record)


class Json(logging.Formatter):
    """For programs: an object a line, ASCII alone, so that nothing in a message can look like anything else."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        line = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage(),
            "process": record.process,
        }  # fmt: skip
        line |= facts(record)
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(line, default=str)


def configure(level: str, form: str = "text", warnings: Iterable[str] = ()) -> None:
    """All lines of this process to standard error, in one form; `level` is that of our own. `warnings` come first."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if form == "json" else Text())
    ours = logging.getLogger(OURS)
    ours.handlers, ours.propagate = [handler], False
    ours.setLevel(level.upper())
    for name in THEIRS:
        _take_over(logging.getLogger(name), handler)
    # Left as it is, uvicorn puts a line together for each request, of which BentoML's level then lets none pass.
    access = logging.getLogger("uvicorn.access")
    access.handlers, access.propagate = [], False
    if form == "json":
        _take_over_the_rest()
    for sentence in warnings:
        ours.warning(sentence)


def configure_arbiter(environment: Mapping[str, str]) -> None:
    """In BentoML's arbiter, which cannot wait for `Settings` to be imported; the processes say what is wrong there."""
    level = environment.get("ESPALIER_LOG_LEVEL", "").upper()
    known = level in logging.getLevelNamesMapping()
    configure(level if known else "INFO", environment.get("ESPALIER_LOG_FORMAT", "text").lower())


def _take_over(logger: logging.Logger, handler: logging.Handler) -> None:
    """Its lines come once, from this handler; handlers that are no plain streams (OpenTelemetry's, pytest's) stay."""
    others = [found for found in logger.handlers if type(found) is not logging.StreamHandler]
    logger.handlers = [*others, handler]
    logger.propagate = False


def _take_over_the_rest() -> None:
    """Warnings and what nobody caught would be text among JSON."""
    logging.captureWarnings(True)
    log = logging.getLogger(OURS)
    sys.excepthook = lambda kind, error, trace: log.critical("it ends", exc_info=(kind, error, trace))
    threading.excepthook = _of_thread


def _of_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None and not isinstance(ended.exc_value, SystemExit):
        what = (ended.exc_type, ended.exc_value, ended.exc_traceback)
        logging.getLogger(OURS).critical("a thread ended", exc_info=what)
